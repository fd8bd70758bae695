"""measurements.json: the reference values of one build, a profile per platform shape. Pure.

A profile holds every expected event and one rule per register. `RegisterRule.accepted` gives the values that a rule
allows. Format: docs/formats/measurements.md, schemas/measurements.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.launch import FLAVOURS, Launch
from pluto_measure.machine.platform import KINDS, Platform
from pluto_measure.predict import claims, predict
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.media import MEDIA
from pluto_measure.publish.vouched import Vouched
from pluto_measure.registers.replay import replay_expected
from pluto_measure.registers.rules import RegisterRule, rules_for

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Profile:
    """Reference values for one machine shape: what decided them, one rule per register, every expected event.

    `claims` are what the token of a Confidential Space must say; empty elsewhere.
    """

    id: str
    platform: str
    inputs: Mapping[str, object]
    registers: Mapping[str, RegisterRule]
    events: tuple[ExpectedEvent, ...]
    claims: Mapping[str, object] = field(default_factory=dict)

    @property
    def logged(self) -> tuple[str, ...]:
        """Registers whose every event is known: an event too many is a difference there.

        Not those that only replay or are not judged, unless their events are listed.
        """
        listed = {event.register for event in self.events}
        return tuple(
            name for name, rule in self.registers.items() if name in listed or rule.match not in ("replay", "any")
        )

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "id": self.id,
            "platform": self.platform,
            "inputs": dict(self.inputs),
            "registers": {name: rule.to_json() for name, rule in self.registers.items()},
            "events": [event.to_json() for event in self.events],
        }
        return {**document, "claims": dict(self.claims)} if self.claims else document

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """FormatError, also where the events do not replay to the exact registers beside them."""
        fields = Fields(value, what=what)
        profile = cls(
            id=fields.take("id", str),
            platform=fields.take("platform", str),
            inputs=fields.take("inputs", dict),
            registers={
                name: RegisterRule.from_json(rule, what=f"{what}.registers.{name}")
                for name, rule in fields.take("registers", dict).items()
            },
            events=tuple(
                ExpectedEvent.from_json(event, what=f"{what}.events[{i}]")
                for i, event in enumerate(fields.take("events", list))
            ),
            claims=fields.get("claims", {}, dict),
        )
        fields.end()
        profile.check(what)
        return profile

    def check(self, what: str) -> None:
        """FormatError unless platform and registers are known, and events and rules say the same."""
        if self.platform not in KINDS:
            raise FormatError(what, f"platform {self.platform!r} is not one of {', '.join(KINDS)}")
        wanted = set(MEDIA[self.platform].all)
        if set(self.registers) != wanted:
            odd = sorted(set(self.registers) ^ wanted)[0]
            raise FormatError(what, f"register {odd} is missing or not known: there is one rule for each register")
        if self.platform == "qemu-tdx":
            for name, rule in self.registers.items():
                if rule.match in ("any", "replay"):
                    raise FormatError(what, f"{name} is {rule.match}, and nothing else witnesses what a host prepares")
        if bool(self.claims) != (self.platform == "gcp-confidential-space"):
            raise FormatError(what, "claims are for gcp-confidential-space, and needed there")
        self._check_events(what)

    def _check_events(self, what: str) -> None:
        open_ones = {event.register for event in self.events if not event.digests}
        replayed = replay_expected(event for event in self.events if event.register not in open_ones)
        for bank, registers in replayed.items():
            for name, value in registers.items():
                rule = self.registers.get(name)
                if rule is None or rule.match != "exact" or rule.values[0].get(bank) != value:
                    raise FormatError(what, f"events of {name} do not replay to its {bank} value")
        for name in sorted(open_ones):
            if name not in self.registers or self.registers[name].match == "exact":
                raise FormatError(what, f"an event of {name} is open, so its register cannot be exact")


@dataclass(frozen=True, slots=True)
class Measurements:
    """The reference values of one build; `vouched`: the signed release that they come from, if they do."""

    build_id: str
    flavour: str
    profiles: tuple[Profile, ...]
    vouched: Vouched | None = field(default=None, compare=False)

    def profile(self, platform: str) -> tuple[Profile, ...]:
        """The profiles for a platform kind such as "qemu-vtpm"."""
        return tuple(profile for profile in self.profiles if profile.platform == platform)

    def to_json(self) -> dict[str, object]:
        profiles = [profile.to_json() for profile in self.profiles]
        return {"version": VERSION, "buildId": self.build_id, "flavour": self.flavour, "profiles": profiles}

    def to_text(self) -> str:
        """The file's bytes; the same for the same values."""
        return pretty(self.to_json())

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """measurements.json. FormatError for anything unknown, missing or at odds with itself."""
        what = "measurements.json"
        fields = Fields(loads(text, what=what), what=what)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(what, f"version {version} is not known")
        build_id, flavour = fields.hex("buildId", 32).hex(), fields.take("flavour", str)
        if flavour not in FLAVOURS:
            raise FormatError(what, f"flavour {flavour!r} is not one of {', '.join(FLAVOURS)}")
        listed = fields.take("profiles", list)
        fields.end()
        profiles = tuple(Profile.from_json(item, what=f"{what}.profiles[{i}]") for i, item in enumerate(listed))
        if len({profile.id for profile in profiles}) != len(profiles):
            raise FormatError(what, "a profile's id occurs twice")
        return cls(build_id, flavour, profiles)


def measure(launch: Launch, platform: Platform, profile_id: str | None = None) -> Measurements:
    """The reference values of one build on one machine shape. FormatError where it cannot be predicted."""
    return Measurements(launch.build_id, launch.flavour, (profile_for(launch, platform, profile_id),))


def profile_for(launch: Launch | None, platform: Platform, profile_id: str | None = None) -> Profile:
    """One profile; its id is made of kind, boot and Secure Boot state unless given.

    Without a build, what firmware and machine decide alone: no other register accepts anything then.
    """
    expected = predict(launch, platform)
    name = profile_id or f"{platform.kind}-{platform.boot}-secureboot-{platform.secure_boot.state}"
    inputs = platform.to_json()
    said: Mapping[str, object] = {}
    if launch is not None:
        inputs |= {"stub": launch.stub, "commandLine": launch.command_line}
        if platform.kind == "gcp-confidential-space":
            said = claims.expected(launch)
    return Profile(name, platform.kind, inputs, rules_for(launch, platform, expected), expected, said)
