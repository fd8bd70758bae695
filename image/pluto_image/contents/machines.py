"""Registers by machine, from measurements.json: what a verifier expects of each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pluto_measure.measurements import Measurements, Profile
from pluto_measure.registers.rules import RegisterRule

_MEANINGS: Final = {
    "exact": "this value",
    "oneOf": "one of these values",
    "zero": "never extended",
    "replay": "what the machine's log replays to",
    "any": "not judged",
}


@dataclass(frozen=True, slots=True)
class Register:
    """A register's rule. `values`: accepted digests with their bank, such as "sha384:00…"."""

    name: str
    rule: str
    source: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """One profile: the machine in short, and its registers; claims instead, where a token shows no register."""

    id: str
    platform: str
    about: tuple[str, ...]
    registers: tuple[Register, ...]
    has_claims: bool


def machines(measurements: Measurements) -> tuple[Machine, ...]:
    """All machines of measurements.json in its order."""
    return tuple(
        Machine(one.id, one.platform, tuple(_about(one)), tuple(_registers(one)), bool(one.claims))
        for one in measurements.profiles
    )


def _about(profile: Profile) -> Iterator[str]:
    inputs = profile.inputs
    cpus, memory = inputs.get("cpus"), inputs.get("memory")
    if isinstance(cpus, int) and cpus:
        yield f"{cpus} CPUs"
    if isinstance(memory, int) and memory:
        yield f"{memory >> 20} MiB"
    if boot := inputs.get("boot"):
        yield {"uki-kernel": "the UKI by -kernel", "disk": "from a disk"}.get(str(boot), str(boot))


def _registers(profile: Profile) -> Iterator[Register]:
    """Those that say something: of a TPM's many, not the ones that nothing extends and nobody looks at."""
    for name, rule in profile.registers.items():
        if name.startswith("pcr") and rule.match in ("zero", "any"):
            continue
        yield Register(_shown(name), _rule(rule), rule.source, tuple(_values(rule)))


def _rule(rule: RegisterRule) -> str:
    if rule.match == "oneOf" and not rule.values:
        return "nothing yet: a value has to be observed or endorsed first"
    return _MEANINGS[rule.match]


def _values(rule: RegisterRule) -> Iterator[str]:
    for banks in rule.values:
        for bank, value in banks.items():
            yield f"{bank}:{value.hex()}"


def _shown(name: str) -> str:
    if name.startswith("rtmr"):
        return f"RTMR[{name[4:]}]"
    return f"PCR {name[3:]}" if name.startswith("pcr") else name.upper()
