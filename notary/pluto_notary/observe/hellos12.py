"""Whether the hellos of TLS 1.2 agree on a full handshake as it is read here. Pure.

extended_master_secret (RFC 7627), session_ticket of the site (RFC 5077), server_name and status_request of the site
                           = empty
renegotiation_info         = length (1), what an earlier handshake ended with: nothing            RFC 5746, 3.2
ec_point_formats           = formats <1..2^8-1>, uncompressed (0) among them                      RFC 8422, 5.1.2
record_size_limit          = bytes of plaintext (2), 64 at least                                  RFC 8449, 4
"""

from __future__ import annotations

from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.keys12 import SUITES
from pluto_notary.observe.messages import (
    ALPN,
    RECORD_SIZE_LIMIT,
    RENEGOTIATION,
    RENEGOTIATION_SUITE,
    SERVER_NAME,
    check_protocol,
)

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.messages import ClientHello, ServerHello

STATUS_REQUEST, POINT_FORMATS, TIMESTAMPS, EXTENDED_MASTER_SECRET, SESSION_TICKET = 5, 11, 18, 23, 35
_EMPTY: Final = {SERVER_NAME, STATUS_REQUEST, EXTENDED_MASTER_SECRET, SESSION_TICKET}
_KNOWN: Final = _EMPTY | {POINT_FORMATS, ALPN, TIMESTAMPS, RECORD_SIZE_LIMIT, RENEGOTIATION}
_NO_HANDSHAKE: Final = b"\0"
_SMALLEST_LIMIT: Final = 64


def check_answer(hello: ClientHello, chosen: ServerHello) -> None:
    """That the site chose of what was offered, and resumes nothing. Raises ObserveError (tls, unsupported)."""
    if chosen.retry:
        raise ObserveError("tls", "the site retries a handshake of a version that does not know it")
    if chosen.suite not in SUITES:
        raise ObserveError("unsupported", "the site chose a suite that is not read here")
    chosen.check(hello)
    if hello.session_id and chosen.session_id == hello.session_id:
        raise ObserveError("tls", "the connection resumes an earlier one")
    found = chosen.extensions
    if not found.keys() <= _KNOWN:
        raise ObserveError("unsupported", "the site agrees to an extension that is not read here")
    if EXTENDED_MASTER_SECRET not in found:
        raise ObserveError("unsupported", "there is no extended master secret")
    if any(found.get(kind) for kind in _EMPTY) or hello.extensions[EXTENDED_MASTER_SECRET]:
        raise ObserveError("tls", "an extension that is empty is not")
    # The suite stands for an empty extension; together with one that is not empty it would be a second handshake.
    offered = hello.extensions.get(RENEGOTIATION, _NO_HANDSHAKE if RENEGOTIATION_SUITE in hello.suites else None)
    if (offered, found.get(RENEGOTIATION)) != (_NO_HANDSHAKE, _NO_HANDSHAKE):
        raise ObserveError("tls", "renegotiation is not secured, or this is one")
    formats = found.get(POINT_FORMATS, b"\x01\0")
    if formats[:1] != bytes([len(formats) - 1 & 0xFF]) or b"\0" not in formats[1:]:
        raise ObserveError("tls", "the site takes no points as they are written here")
    check_protocol(hello, found.get(ALPN))


def record_limits(hello: ClientHello, chosen: ServerHello) -> tuple[int, int] | None:
    """How much plaintext a record of the site, and one of the client, may hold; None where that was not agreed on."""
    if RECORD_SIZE_LIMIT not in chosen.extensions:
        return None
    return _limit(hello.extensions[RECORD_SIZE_LIMIT]), _limit(chosen.extensions[RECORD_SIZE_LIMIT])


def _limit(content: bytes) -> int:
    value = int.from_bytes(content, "big")
    if len(content) != 2 or value < _SMALLEST_LIMIT:
        raise ObserveError("tls", "a record_size_limit is not one")
    return value
