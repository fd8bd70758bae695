"""One rule per register: what a machine may hold there. Pure.

`rules_for` makes them from a prediction. Nothing that is not known becomes "any": where an input is missing, the rule
is a list of allowed values that is still empty, so that nothing is accepted until somebody puts a value there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Self

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.predict import predict
from pluto_measure.predict.events import Banks, ExpectedEvent, parse_digests
from pluto_measure.predict.media import DYNAMIC, MEDIA, Medium
from pluto_measure.registers.replay import Registers, ima_boot_aggregate, replay_expected

MATCHES: Final = ("exact", "oneOf", "zero", "any", "replay")
SOURCES: Final = ("computed", "observed", "endorsed")
_MOST_VALUES: Final = 256
_OWN_OF_FIRMWARE: Final = ("pcr0", "pcr1")
_OWN_OF_AZURE: Final = ("pcr0", "pcr1", "pcr2", "pcr3", "pcr5", "pcr6", "pcr7")


@dataclass(frozen=True, slots=True)
class RegisterRule:
    """What one register may hold.

    match   exact    `values` has one set of digests by bank
            oneOf    `values` has several; with none, nothing is accepted until somebody adds what was observed or
                     endorsed
            zero     never extended, all bytes zero
            replay   what the log, which itself is not trusted, replays to; PCR 10: what Linux' IMA makes of PCR 0-9
            any      not judged
    """

    match: str
    values: tuple[Banks, ...]
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
        values = tuple(parse_digests(item, what=what) for item in listed)
        listable = len(values) > 0 or source != "computed"
        wanted = {"exact": len(values) == 1, "oneOf": listable}.get(match, len(values) == 0)
        if not wanted:
            raise FormatError(what, f"match {match} does not go with {len(values)} values")
        return cls(match, values, source)


_UNTIL_OBSERVED: Final = RegisterRule("oneOf", (), "observed")
_REPLAY: Final = RegisterRule("replay", (), "observed")
_ZERO: Final = RegisterRule("zero", (), "computed")


def rules_for(launch: Launch | None, platform: Platform, expected: Sequence[ExpectedEvent]) -> dict[str, RegisterRule]:
    """The rule of every register that this kind of machine has. `expected` is predict(launch, platform)."""
    medium = MEDIA[platform.kind]
    by_register: dict[str, list[ExpectedEvent]] = {}
    for event in expected:
        by_register.setdefault(event.register, []).append(event)
    closed = replay_expected(event for event in expected if event.digests)
    rules = {}
    for name in medium.all:
        found = by_register.get(name, [])
        if not found:
            known = launch is not None or name == "mrtd"
            rules[name] = _without_events(name, platform, medium) if known else _UNTIL_OBSERVED
        elif any(event.is_open for event in found):
            rules[name] = _REPLAY if _is_left_to_the_log(found, platform) else _UNTIL_OBSERVED
        elif all(event.digests for event in found):
            rules[name] = RegisterRule("exact", ({bank: closed[bank][name] for bank in medium.banks},), "computed")
        else:
            rules[name] = RegisterRule("oneOf", tuple(_values(name, launch, platform, medium)), "computed")
    return rules


def _without_events(name: str, platform: Platform, medium: Medium) -> RegisterRule:
    if name == "mrtd":
        return _mrtd(platform)
    if name in (_OWN_OF_AZURE if platform.kind == "azure-tdx" else _OWN_OF_FIRMWARE):
        return _REPLAY
    if name == "pcr10":
        # With Secure Boot on, IMA's own policy measures more than the boot aggregate, and nothing logs it here.
        return RegisterRule("any", (), "observed") if platform.secure_boot.state == "on" else _REPLAY
    if name in DYNAMIC:
        return RegisterRule("exact", ({bank: medium.initial(name, bank) for bank in medium.banks},), "computed")
    return _ZERO


def _mrtd(platform: Platform) -> RegisterRule:
    firmware = platform.firmware
    if platform.kind == "azure-tdx":
        return RegisterRule("any", (), "observed")  # Microsoft's paravisor, which changes without notice
    if firmware is not None and firmware.sections:
        return RegisterRule("exact", ({"sha384": firmware.mrtd(platform.order)},), "computed")
    if platform.kind == "qemu-tdx":
        hint = "name the image with --firmware FILE"
        raise FormatError("platform file", "the firmware's image is not given, so MRTD cannot be computed", hint=hint)
    return RegisterRule("oneOf", tuple({"sha384": value} for value in platform.endorsed_mrtds), "endorsed")


def _is_left_to_the_log(events: Sequence[ExpectedEvent], platform: Platform) -> bool:
    """Whether nothing but ACPI is open, and the platform file says that this weakening is meant."""
    names = [event.role for event in events if event.is_open]
    return platform.insecure_unmeasured_acpi and all(role.startswith("acpi:") for role in names)


def _values(name: str, launch: Launch | None, platform: Platform, medium: Medium) -> Iterator[Mapping[str, bytes]]:
    """The register for each way in which the allow-lists can be met: ACPI blobs of one machine belong together."""
    seen: list[Mapping[str, bytes]] = []
    for acpi in platform.acpi or (None,):
        one = platform if acpi is None else replace(platform, acpi=(acpi,))
        events = [event for event in predict(launch, one) if event.register == name]
        choices = [event.allowed or (event.digests,) for event in events]
        for digests in product(*choices):
            if len(seen) == _MOST_VALUES:
                raise FormatError("platform file", f"{name} has more than {_MOST_VALUES} allowed values")
            chosen = [replace(event, digests=d, allowed=()) for event, d in zip(events, digests, strict=True)]
            value = {bank: replay_expected(chosen)[bank][name] for bank in medium.banks}
            if value not in seen:
                seen.append(value)
                yield value
