"""Replay: the registers that a log's digests extend to, and what Linux adds to them after the firmware's log. Pure.

Extend is `R = H(R ‖ digest)`; EV_NO_ACTION is never extended. PCRs begin with zeros, PCR 17 to 22 with ones, PCR 0 with
the start-up locality in its last byte. RTMRs begin with zeros. TCG PC Client Platform TPM Profile, section 4.6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventLog, EventType, Kind, register_name

if TYPE_CHECKING:
    from pluto_measure.predict.events import ExpectedEvent

Registers = dict[str, dict[str, bytes]]  # bank: register: value

PCR_COUNT: Final = 24
_DYNAMIC: Final = range(17, 23)
_LOCALITY: Final = b"StartupLocality\0"
_NO_REGISTER: Final = "none"
# Looked up once: `hashlib.new` searches by name at every call, which takes as long as the hashing itself.
_HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}


def initial(kind: Kind, algorithm: str) -> dict[str, bytes]:
    """Every register as it is before the first event."""
    size = ALGORITHMS[algorithm][1]
    if kind == "cc":
        return {f"rtmr{i}": bytes(size) for i in range(4)}
    return {f"pcr{i}": (b"\xff" if i in _DYNAMIC else b"\0") * size for i in range(PCR_COUNT)}


def extend(algorithm: str, value: bytes, digest: bytes) -> bytes:
    """The register after one more event."""
    extended: bytes = _HASHES[algorithm](value + digest).digest()
    return extended


def replay(log: EventLog) -> Registers:
    """All registers per bank after the log: {"sha256": {"pcr0": ..., "pcr23": ...}} or {"sha384": {"rtmr0": ...}}.

    FormatError where the log extends what nothing extends at run time (MRTD). What a canonical log records for NV
    indices concerns no register.
    """
    banks = {name: initial(log.kind, name) for name in log.algorithms if name in ALGORITHMS}
    locality, extended = _by_register(log, set(next(iter(banks.values()), {})))
    for bank, registers in banks.items():
        if locality:
            registers["pcr0"] = bytes(ALGORITHMS[bank][1] - 1) + locality
        new = _HASHES[bank]
        for register, steps in extended.items():
            value = registers[register]
            for digests in steps:
                value = new(value + digests[bank]).digest()
            registers[register] = value
    return banks


def _by_register(log: EventLog, known: set[str]) -> tuple[bytes, dict[str, list[Mapping[str, bytes]]]]:
    """The start-up locality (b"" for none), and the digests that each register is extended with, in order."""
    names = {index: register_name(log.kind, index) for index in range(-1, PCR_COUNT)}
    extended: dict[str, list[Mapping[str, bytes]]] = {name: [] for name in known}
    locality, silent = b"", int(EventType.EV_NO_ACTION)
    for position, event in enumerate(log.events):
        register = names.get(event.index) or log.register(event)
        if event.type == silent:
            if register == "pcr0" and event.data.startswith(_LOCALITY):
                locality = _locality(event.data, position, any(locality) or bool(extended.get("pcr0")))
        elif register in extended:
            extended[register].append(event.digests)
        elif register != _NO_REGISTER and known:
            raise FormatError("event log", f"event {position} extends {register}, which nothing extends")
    return locality, extended


def _locality(data: bytes, position: int, started: bool) -> bytes:
    if len(data) != len(_LOCALITY) + 1:
        raise FormatError("event log", f"event {position} is a StartupLocality of {len(data)} bytes")
    if started:
        raise FormatError("event log", f"event {position} sets the locality after PCR 0 was extended")
    return data[-1:]


def replay_expected(events: Iterable[ExpectedEvent]) -> Registers:
    """The registers that the expected events extend, per bank; those without an event are not in the result.

    Nor is a register in a bank where one of its events has no digest of its own.
    """
    extended: dict[str, list[Mapping[str, bytes]]] = {}
    for event in events:
        extended.setdefault(event.register, []).append(event.digests)
    banks: Registers = {}
    for register, steps in extended.items():
        for bank in steps[0]:
            if all(bank in digests for digests in steps):
                values = [digests[bank] for digests in steps]
                banks.setdefault(bank, {})[register] = reduce(partial(extend, bank), values, bytes(len(values[0])))
    return banks


def ima_boot_aggregate(registers: Mapping[str, bytes], bank: str) -> bytes:
    """PCR 10 of `bank` after Linux' IMA measured its boot aggregate and nothing else.

    `registers` are pcr0 to pcr9 of the SHA-256 bank: IMA hashes those for every bank. Linux
    `security/integrity/ima/ima_crypto.c`, template "ima-sig": u32 size ‖ "sha256:\\0" ‖ digest, u32 size ‖ name ‖ NUL,
    u32 0 (no signature), all little-endian. Debian's kernel 6.12 with the firmware's Secure Boot off; Secure Boot
    switches IMA's own boot policy on, and then more is measured.
    """
    aggregate = hashlib.sha256(b"".join(registers[f"pcr{i}"] for i in range(10))).digest()
    fields = (b"sha256:\0" + aggregate, b"boot_aggregate\0", b"")
    template = b"".join(len(field).to_bytes(4, "little") + field for field in fields)
    return extend(bank, bytes(ALGORITHMS[bank][1]), _HASHES[bank](template).digest())


def registers_json(registers: Registers) -> dict[str, dict[str, str]]:
    """The same in hex."""
    return {bank: {name: value.hex() for name, value in values.items()} for bank, values in registers.items()}
