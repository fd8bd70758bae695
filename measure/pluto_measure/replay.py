"""Replay: the registers that a log's digests extend to, and what Linux adds to them after the firmware's log. Pure.

Extend is `R = H(R ‖ digest)`; EV_NO_ACTION is never extended. PCRs begin with zeros, PCR 17 to 22 with ones, PCR 0 with
the start-up locality in its last byte. RTMRs begin with zeros. TCG PC Client Platform TPM Profile, section 4.6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventLog, EventType, Kind
from pluto_measure.predict.events import BANKS, ExpectedEvent

Registers = dict[str, dict[str, bytes]]  # bank: register: value

PCR_COUNT: Final = 24
_DYNAMIC: Final = range(17, 23)
_LOCALITY: Final = b"StartupLocality\0"


def initial(kind: Kind, algorithm: str) -> dict[str, bytes]:
    """Every register as it is before the first event."""
    size = ALGORITHMS[algorithm][1]
    if kind == "cc":
        return {f"rtmr{i}": bytes(size) for i in range(4)}
    return {f"pcr{i}": (b"\xff" if i in _DYNAMIC else b"\0") * size for i in range(PCR_COUNT)}


def extend(algorithm: str, value: bytes, digest: bytes) -> bytes:
    """The register after one more event."""
    return hashlib.new(algorithm, value + digest, usedforsecurity=algorithm != "sha1").digest()


def replay(log: EventLog) -> Registers:
    """All registers per bank after the log: {"sha256": {"pcr0": ..., "pcr23": ...}} or {"sha384": {"rtmr0": ...}}.

    FormatError where the log extends what nothing extends at run time (MRTD, no register).
    """
    banks = {name: initial(log.kind, name) for name in log.algorithms if name in ALGORITHMS}
    for position, event in enumerate(log.events):
        register = log.register(event)
        if event.type == EventType.EV_NO_ACTION:
            if register == "pcr0" and event.data.startswith(_LOCALITY):
                _start_at_locality(banks, event.data, position)
            continue
        for bank, registers in banks.items():
            if register not in registers:
                raise FormatError("event log", f"event {position} extends {register}, which nothing extends")
            registers[register] = extend(bank, registers[register], event.digests[bank])
    return banks


def replay_expected(events: Iterable[ExpectedEvent]) -> Registers:
    """The registers that the expected events extend, per bank; those without an event are not in the result."""
    banks: Registers = {}
    for event in events:
        for bank, digest in event.digests.items():
            registers = banks.setdefault(bank, {})
            before = registers.get(event.register, bytes(len(digest)))
            registers[event.register] = extend(bank, before, digest)
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
    digest = hashlib.new(bank, template, usedforsecurity=bank != "sha1").digest()
    return extend(bank, bytes(ALGORITHMS[bank][1]), digest)


def registers_json(registers: Registers) -> dict[str, dict[str, str]]:
    """The same in hex."""
    return {bank: {name: value.hex() for name, value in values.items()} for bank, values in registers.items()}


def covers_banks(log: EventLog) -> bool:
    """Whether the log holds digests for every bank that is predicted."""
    return set(BANKS) <= set(log.algorithms)


def _start_at_locality(banks: Registers, data: bytes, position: int) -> None:
    if len(data) != len(_LOCALITY) + 1:
        raise FormatError("event log", f"event {position} is a StartupLocality of {len(data)} bytes")
    for bank, registers in banks.items():
        if any(registers["pcr0"]):
            raise FormatError("event log", f"event {position} sets the locality after PCR 0 was extended")
        registers["pcr0"] = bytes(ALGORITHMS[bank][1] - 1) + data[-1:]
