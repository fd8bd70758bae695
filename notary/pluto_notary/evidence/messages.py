"""What notary and evidence helper say to each other over their socket: frames, and where bodies are described. Pure.

    message  = u32 length (big-endian, bytes of body) ‖ body        one request and one response in a connection

Requests: `pluto_notary.evidence.requests`. Responses: `pluto_notary.evidence.parts`. Both sides read strictly: the
helper serves a process that the network may have taken over.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.evidence.parts import (
    LARGEST_RESPONSE,
    AzureParts,
    Parts,
    TdxParts,
    TokenParts,
    TpmParts,
    error_body,
    parse_parts,
)
from pluto_notary.evidence.requests import (
    LARGEST_REQUEST,
    VERSION,
    ChannelRequest,
    EvidenceRequest,
    KeyRequest,
    LegacyRequest,
    NodeRequest,
    SessionRequest,
    parse_request,
)

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

__all__ = [
    "LARGEST_REQUEST",
    "LARGEST_RESPONSE",
    "LENGTH_BYTES",
    "VERSION",
    "AzureParts",
    "ChannelRequest",
    "EvidenceRequest",
    "KeyRequest",
    "LegacyRequest",
    "NodeRequest",
    "Parts",
    "SessionRequest",
    "TdxParts",
    "TokenParts",
    "TpmParts",
    "body_length",
    "error_body",
    "frame",
    "parse_parts",
    "parse_request",
]

LENGTH_BYTES: Final = 4


def frame(body: bytes) -> bytes:
    """The message that carries `body`."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes, limit: int) -> int:
    """The length that the first LENGTH_BYTES of a message announce. FormatError beyond `limit`."""
    if (length := int.from_bytes(head, "big")) > limit:
        raise FormatError("message", f"{length} bytes are more than {limit}")
    return length
