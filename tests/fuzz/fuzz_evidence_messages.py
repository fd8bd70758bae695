"""A message between notary and helper parses to a value that writes itself the same again, or is a FormatError."""

from __future__ import annotations

import contextlib

from pluto_measure.errors import FormatError
from pluto_measure.evidence import BANKS, REGISTERS, TpmQuote
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import (
    AzureParts,
    ChannelRequest,
    KeyRequest,
    LegacyRequest,
    NodeRequest,
    SessionRequest,
    TdxParts,
    TokenParts,
    TpmParts,
    error_body,
    parse_parts,
    parse_request,
)

_VALUES = {bank: dict.fromkeys(REGISTERS, bytes(32 if bank == "sha256" else 48)) for bank in BANKS}
_AZURE = TpmQuote(b"a", b"s", {"sha256": _VALUES["sha256"]})


def seeds() -> list[bytes]:
    requests = (
        NodeRequest(b"nonce", bytes(32)),
        ChannelRequest(bytes(32), 1, bytes(32)),
        SessionRequest(bytes(32), bytes(32), bytes(32)),
        KeyRequest(b"\2" + bytes(32)),
        LegacyRequest(bytes(32)),
    )
    parts = (
        TpmParts(TpmQuote(b"a", b"s", _VALUES), b"p", (b"c",), b"log", bytes(32)),
        TdxParts(b"quote", b"log", bytes(32)),
        AzureParts(b"hcl", b"quote", _AZURE, b"", b"log", bytes(32)),
        TokenParts("e30.e30.c2ln", bytes(32)),
    )
    return [*(item.to_body() for item in requests), *(item.to_body() for item in parts), error_body("busy")]


def target(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        request = parse_request(data)
        assert parse_request(request.to_body()) == request
    with contextlib.suppress(FormatError, EvidenceError):  # EvidenceError: the message is a well-formed refusal
        parts = parse_parts(data)
        assert parse_parts(parts.to_body()) == parts
