"""Any text is an evidence envelope that means the same when written again, or a FormatError."""

from __future__ import annotations

from datetime import UTC, datetime

from pluto_measure.errors import FormatError
from pluto_measure.evidence import BANKS, REGISTERS, Claims, Envelope, TdxEvidence, TpmEvidence, TpmQuote

_REGISTERS = {bank: {name: bytes(32 if bank == "sha256" else 48) for name in REGISTERS} for bank in BANKS}
_CLAIMS = Claims("node", b"nonce", b"\1" * 32, b"\2" * 32, b"\3" * 32)
_QUOTE = TpmQuote(b"attest", b"signature", _REGISTERS)
_TIME = datetime(2026, 11, 20, tzinfo=UTC)
_SEEDS = (
    Envelope("qemu-vtpm", 0, _TIME, TpmEvidence(_QUOTE, b"public", (b"certificate",), b"log"), _CLAIMS),
    Envelope("qemu-tdx", 0, _TIME, TdxEvidence(b"quote", b"log"), _CLAIMS),
)


def target(data: bytes) -> None:
    try:
        envelope = Envelope.parse(data)
    except FormatError:
        return
    assert Envelope.parse(envelope.to_text()) == envelope


def seeds() -> list[bytes]:
    return [seed.to_text().encode() for seed in _SEEDS]
