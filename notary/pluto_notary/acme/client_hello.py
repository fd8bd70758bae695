"""Whether the first bytes of a connection are those of an authority that validates a challenge. Pure and bounded.

    record    = type 22, version (2), length (2), fragment                                    RFC 8446, 5.1
    message   = type 1, length (3), version (2), random (32), session_id <0..32>, cipher_suites <2..2^16-2>,
                compression_methods <1..2^8-1>, extensions <8..2^16-1>                        RFC 8446, 4.1.2
    extension = type (2), data <0..2^16-1>            ALPN: type 16, names <2..2^16-1>, each <1..2^8-1>;  RFC 7301, 3.1

A server that has not answered yet sees no more than this, and it is not secret.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

PROTOCOL: Final = b"acme-tls/1"
LARGEST: Final = 16 * 1024  # bytes of the first flight that are looked at; an authority's message has some hundred
_HANDSHAKE, _CLIENT_HELLO, _ALPN = 22, 1, 16
_RECORD_HEAD, _MESSAGE_HEAD, _LARGEST_RECORD = 5, 4, 1 << 14


def offers(data: bytes) -> bool | None:
    """Whether ALPN names acme-tls/1 and nothing else, as RFC 8737 (3) has an authority do; None: more bytes are needed.

    What is not TLS, or too large, is False at once. More bytes behind never change an answer that was given.
    """
    data, message = data[:LARGEST], bytearray()
    at, needed = 0, _MESSAGE_HEAD
    while len(message) < needed:
        head = data[at : at + _RECORD_HEAD]
        if head and (head[0] != _HANDSHAKE or (len(head) > 1 and head[1] != 3)):
            return False
        if len(head) < _RECORD_HEAD:
            return _more(at + _RECORD_HEAD)
        size = int.from_bytes(head[3:], "big")
        if not 0 < size <= _LARGEST_RECORD:
            return False
        at += _RECORD_HEAD
        message += data[at : at + size]
        if message and message[0] != _CLIENT_HELLO:
            return False
        if len(message) >= _MESSAGE_HEAD:
            needed = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD], "big")
        if needed > LARGEST:
            return False
        if len(message) < needed and len(data) < at + size:
            return _more(at + size)
        at += size
    return _protocols(bytes(message[_MESSAGE_HEAD:needed])) == (PROTOCOL,)


def _more(wanted: int) -> bool | None:
    return None if wanted <= LARGEST else False


def _protocols(hello: bytes) -> tuple[bytes, ...]:
    """The names of ALPN; none where the message is not one."""
    try:
        reader = Reader(hello, what="ClientHello", order="big")
        reader.take(2 + 32, "version and random")
        for size, name in ((1, "session_id"), (2, "cipher_suites"), (1, "compression_methods")):
            _vector(reader, size, name)
        extensions = Reader(_vector(reader, 2, "extensions"), what="extensions", order="big")
        reader.end()
        found = []
        while extensions.left:
            kind = extensions.uint(2, "type")
            content = _vector(extensions, 2, "data")
            if kind == _ALPN:
                found.append(content)
        return _names(found[0]) if len(found) == 1 else ()
    except FormatError:
        return ()


def _names(content: bytes) -> tuple[bytes, ...]:
    reader = Reader(content, what="ALPN", order="big")
    names = Reader(_vector(reader, 2, "names"), what="names", order="big")
    reader.end()
    found = []
    while names.left:
        found.append(_vector(names, 1, "name"))
    return tuple(found)


def _vector(reader: Reader, size: int, name: str) -> bytes:
    return reader.take(reader.uint(size, name), name)
