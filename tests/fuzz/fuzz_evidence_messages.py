"""A message between notary and helper parses to a value that writes itself the same again, or is a FormatError."""

from __future__ import annotations

import contextlib

from pluto_measure.errors import FormatError
from pluto_measure.evidence import BANKS, REGISTERS, TpmQuote
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import NodeRequest, TpmParts, error_body

_VALUES = {bank: dict.fromkeys(REGISTERS, bytes(32 if bank == "sha256" else 48)) for bank in BANKS}


def seeds() -> list[bytes]:
    parts = TpmParts(TpmQuote(b"a", b"s", _VALUES), b"p", (b"c",), b"log", bytes(32))
    return [NodeRequest(b"nonce", bytes(32)).to_body(), parts.to_body(), error_body("busy")]


def target(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        request = NodeRequest.parse(data)
        assert NodeRequest.parse(request.to_body()) == request
    with contextlib.suppress(FormatError, EvidenceError):  # EvidenceError: the message is a well-formed refusal
        parts = TpmParts.parse(data)
        assert TpmParts.parse(parts.to_body()) == parts
