"""What is on a target, as it was found there: machines in their slots, and which of them serves. Pure values.

A target keeps no state of ours that could not be found again: a machine names the generation that it was made for, and
a generation is named by the digests of all that decides it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, loads

SLOTS: Final = ("a", "b")
State = Literal["incomplete", "stopped", "running", "broken"]
VERSION: Final = 1
_TOOLS: Final = re.compile(r"([0-9a-f]{64})?")
_MADE: Final = re.compile(r"[0-9a-f]{64}")
_PROFILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TEE: Final = re.compile(r"tdx|confidential-space|insecure_none")
_NETWORK: Final = re.compile(r"local|routed|address|(bridge|macvtap):[A-Za-z0-9._-]{1,15}")


@dataclass(frozen=True, slots=True)
class Generation:
    """All that decides what a machine is. Digests in hex.

    release  SHA-256 of release.json; of a build that nobody signed: of its digest list
    config   SHA-256 of the run-time configuration
    tools    digest of the tools tree whose QEMU runs it; empty where the target has its own
    profile  the machine's id in the reference values
    tee      "tdx", "confidential-space" (TDX, by Google's word), "insecure_none" (emulated, software TPM)
    network  how clients are led to it; "address": a public address of a cloud's moves
    platform SHA-256 of what else of [platform] decides what a cloud makes; empty elsewhere, and left out then
    """

    release: str
    config: str
    tools: str
    profile: str
    cpus: int
    memory: int
    tee: str
    network: str
    platform: str = ""

    @property
    def id(self) -> str:
        """SHA-256 of everything in it, in hex."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    @property
    def short(self) -> str:
        """For people."""
        return self.id[:12]

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "version": VERSION,
            "release": self.release,
            "config": self.config,
            "tools": self.tools,
            "profile": self.profile,
            "cpus": self.cpus,
            "memory": self.memory,
            "tee": self.tee,
            "network": self.network,
        }
        return {**document, "platform": self.platform} if self.platform else document

    def to_text(self) -> bytes:
        """As it lies in a slot."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError for anything that `to_text` does not write."""
        fields = Fields(loads(text, what="generation"), what="generation")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("generation", f"version {version} is not known")
        generation = cls(
            release=fields.hex("release", 32).hex(),
            config=fields.hex("config", 32).hex(),
            tools=_matching(fields, "tools", _TOOLS),
            profile=_matching(fields, "profile", _PROFILE),
            cpus=_positive(fields, "cpus"),
            memory=_positive(fields, "memory"),
            tee=_matching(fields, "tee", _TEE),
            network=_matching(fields, "network", _NETWORK),
            platform=_made(fields),
        )
        fields.end()
        return generation


def _matching(fields: Fields, name: str, form: re.Pattern[str]) -> str:
    value: str = fields.take(name, str)
    if not form.fullmatch(value):
        raise FormatError("generation", f"{name} cannot be {value[:80]!r}")
    return value


def _made(fields: Fields) -> str:
    value: str | None = fields.get("platform", None, str)
    if value is not None and not _MADE.fullmatch(value):
        raise FormatError("generation", f"platform cannot be {value[:80]!r}")
    return value or ""


def _positive(fields: Fields, name: str) -> int:
    value: int = fields.take(name, int)
    if value <= 0:
        raise FormatError("generation", f"{name} cannot be {value}")
    return value


@dataclass(frozen=True, slots=True)
class Machine:
    """One slot that is not empty.

    incomplete  its making was interrupted; `generation` is None then
    stopped     complete, and not running
    running     its program runs, which says nothing about what it is
    broken      it ended by itself and is not coming back
    """

    slot: str
    generation: Generation | None
    state: State
    refused: bool = False  # it was appraised last and refused
    since: str = ""  # when it was started, RFC 3339; empty if not known
    made: int = 0  # when it was made, by the target's clock: of two machines, the one with the higher number is newer

    def to_json(self) -> dict[str, object]:
        generation = None if self.generation is None else {**self.generation.to_json(), "id": self.generation.id}
        facts: dict[str, object] = {"slot": self.slot, "state": self.state, "refused": self.refused}
        return {**facts, "since": self.since or None, "made": self.made or None, "generation": generation}


@dataclass(frozen=True, slots=True)
class Scene:
    """A target, looked at. `releases` and `tools` are there by digest, whole; `serving`: the slot that clients reach.

    `led`: clients are led there, and as the deployment file asks: by its ports. `notes`: what was odd, in words.
    """

    releases: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    machines: tuple[Machine, ...] = ()
    serving: str | None = None
    notes: tuple[str, ...] = ()
    led: bool = True

    def machine(self, slot: str | None) -> Machine | None:
        """The machine in a slot."""
        return next((machine for machine in self.machines if machine.slot == slot), None)

    @property
    def server(self) -> Machine | None:
        """The machine that clients reach, if there is one."""
        return self.machine(self.serving)

    @property
    def other(self) -> Machine | None:
        """The machine that clients do not reach: the previous one, or one that did not get so far."""
        if self.serving is None:
            return self.machines[0] if self.machines else None
        return self.machine(opposite(self.serving))

    def to_json(self) -> dict[str, object]:
        return {
            "serving": self.serving,
            "led": self.led,
            "machines": [machine.to_json() for machine in self.machines],
            "releases": sorted(self.releases),
            "tools": sorted(self.tools),
            "notes": list(self.notes),
        }


def opposite(slot: str) -> str:
    """The other slot."""
    return SLOTS[1 - SLOTS.index(slot)]
