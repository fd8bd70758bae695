"""measurements.json: the reference values of one build, a profile per platform shape. Pure.

A profile holds every expected event and one rule per register. `RegisterRule.accepted` gives the values that a rule
allows. Format: docs/formats/measurements.md, schemas/measurements.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.launch import FLAVOURS, Launch
from pluto_measure.platform import KINDS, Platform
from pluto_measure.predict import predict
from pluto_measure.predict.events import BANKS, ExpectedEvent, parse_digests
from pluto_measure.replay import PCR_COUNT, Registers, ima_boot_aggregate, initial, replay_expected

VERSION: Final = 1
MATCHES: Final = ("exact", "oneOf", "zero", "any", "replay")
SOURCES: Final = ("computed", "observed", "endorsed")
REGISTERS: Final = tuple(f"pcr{i}" for i in range(PCR_COUNT))


@dataclass(frozen=True, slots=True)
class RegisterRule:
    """What one register may hold.

    match   exact    `values` has one set of digests by bank
            oneOf    `values` has several
            zero     never extended, all bytes zero
            replay   what the log, which itself is not trusted, replays to; PCR 10: what Linux' IMA makes of PCR 0-9
            any      not judged
    """

    match: str
    values: tuple[Mapping[str, bytes], ...]
    source: str

    def accepted(self, register: str, bank: str, replayed: Registers) -> tuple[bytes, ...] | None:
        """The values allowed for `register` in `bank`; None for any. `replayed` is replay() of the machine's log."""
        match self.match:
            case "any":
                return None
            case "replay" if register == "pcr10":
                return (ima_boot_aggregate(replayed["sha256"], bank),) if "sha256" in replayed else ()
            case "replay":
                value = replayed.get(bank, {}).get(register)
                return () if value is None else (value,)
            case "zero":
                return (bytes(ALGORITHMS[bank][1]),)
            case _:
                return tuple(value[bank] for value in self.values if bank in value)

    def to_json(self) -> dict[str, object]:
        values = [{bank: digest.hex() for bank, digest in value.items()} for value in self.values]
        return {"match": self.match, "values": values, "source": self.source}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """FormatError for rules that do not fit their own kind."""
        fields = Fields(value, what=what)
        match, source = fields.take("match", str), fields.take("source", str)
        listed = fields.take("values", list)
        fields.end()
        if match not in MATCHES or source not in SOURCES:
            raise FormatError(what, f"match {match!r} with source {source!r} is not known")
        values = tuple(_digests(item, what=what) for item in listed)
        wanted = {"exact": len(values) == 1, "oneOf": len(values) > 0}.get(match, len(values) == 0)
        if not wanted:
            raise FormatError(what, f"match {match} does not go with {len(values)} values")
        return cls(match, values, source)


@dataclass(frozen=True, slots=True)
class Profile:
    """Reference values for one machine shape: what decided them, one rule per register, every expected event.

    `logged` names the registers whose events are listed in `events`: there, an event too many is a difference.
    """

    id: str
    platform: str
    inputs: Mapping[str, object]
    registers: Mapping[str, RegisterRule]
    events: tuple[ExpectedEvent, ...]

    @property
    def logged(self) -> tuple[str, ...]:
        """Registers whose every event is known: all but those that replay or are not judged."""
        return tuple(name for name, rule in self.registers.items() if rule.match not in ("replay", "any"))

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "platform": self.platform,
            "inputs": dict(self.inputs),
            "registers": {name: rule.to_json() for name, rule in self.registers.items()},
            "events": [event.to_json() for event in self.events],
        }

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
        )
        fields.end()
        profile.check(what)
        return profile

    def check(self, what: str) -> None:
        """FormatError unless platform and registers are known, and events and rules say the same."""
        if self.platform not in KINDS:
            raise FormatError(what, f"platform {self.platform!r} is not one of {', '.join(KINDS)}")
        if set(self.registers) != set(REGISTERS):
            odd = sorted(set(self.registers) ^ set(REGISTERS))[0]
            raise FormatError(what, f"register {odd} is missing or not known: there is one rule for each PCR")
        for bank, registers in replay_expected(self.events).items():
            for name, value in registers.items():
                rule = self.registers.get(name)
                if rule is None or rule.match != "exact" or rule.values[0].get(bank) != value:
                    raise FormatError(what, f"events of {name} do not replay to its {bank} value")


@dataclass(frozen=True, slots=True)
class Measurements:
    """The reference values of one build."""

    build_id: str
    flavour: str
    profiles: tuple[Profile, ...]

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


def profile_for(launch: Launch, platform: Platform, profile_id: str | None = None) -> Profile:
    """One profile; its id is made of kind, boot and Secure Boot state unless given."""
    expected = predict(launch, platform)
    name = profile_id or f"{platform.kind}-{platform.boot}-secureboot-{platform.secure_boot.state}"
    rules = _rules(replay_expected(expected), secure_boot_on=platform.secure_boot.state == "on")
    inputs = {**platform.to_json(), "stub": launch.stub, "commandLine": launch.command_line}
    return Profile(name, platform.kind, inputs, rules, expected)


def _rules(predicted: Registers, *, secure_boot_on: bool) -> dict[str, RegisterRule]:
    start = {bank: initial("tpm", bank) for bank in BANKS}
    rules: dict[str, RegisterRule] = {}
    for name in REGISTERS:
        if name in ("pcr0", "pcr1"):
            rules[name] = RegisterRule("replay", (), "observed")
        elif name == "pcr10":
            # With Secure Boot on, IMA's own policy measures more than the boot aggregate, and nothing logs it here.
            rules[name] = RegisterRule("any" if secure_boot_on else "replay", (), "observed")
        elif name in predicted[BANKS[0]]:
            rules[name] = RegisterRule("exact", ({bank: predicted[bank][name] for bank in BANKS},), "computed")
        elif any(start[BANKS[0]][name]):
            rules[name] = RegisterRule("exact", ({bank: start[bank][name] for bank in BANKS},), "computed")
        else:
            rules[name] = RegisterRule("zero", (), "computed")
    return rules


def _digests(value: object, *, what: str) -> Mapping[str, bytes]:
    if not isinstance(value, dict):
        raise FormatError(what, f"a value must be an object, not {type(value).__name__}")
    return parse_digests(value, what=what)
