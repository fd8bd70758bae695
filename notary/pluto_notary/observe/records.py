"""TLS records of one direction. RFC 8446, section 5.1 and appendix D.4; RFC 5246, section 6.2. Pure.

    record = type (1: 20 change_cipher_spec, 21 alert, 22 handshake, 23 application_data), version (2), length (2), body

The version is 3.3; the records of the first ClientHello may say 3.1. The body of a protected record is at most
2^14 + 256 bytes, in TLS 1.2 too: none of the suites that are read here adds more than 24. What a body without
protection may be is checked by `plain`.
"""

from __future__ import annotations

from pluto_notary.observe.errors import ObserveError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.limits import ObserveLimits

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
HEAD: Final = 5
LARGEST_PLAIN: Final = 1 << 14
LARGEST_PROTECTED: Final = LARGEST_PLAIN + 256
CLOSE_NOTIFY: Final = (b"\x01\x00", b"\x02\x00")  # level and description; TLS 1.3 has levels ignored
_VERSION, _FIRST_VERSION = b"\x03\x03", b"\x03\x01"


class Record:
    """One record: `kind`, `head` (its five bytes, which TLS 1.3 authenticates), and `body`, not copied."""

    __slots__ = ("body", "head", "kind")

    def __init__(self, kind: int, head: bytes, body: memoryview) -> None:
        self.kind, self.head, self.body = kind, head, body


def split(data: bytes, limits: ObserveLimits, *, client: bool, part: bool = False) -> list[Record]:
    """The records of one direction. Raises ObserveError (tls, size).

    Nothing may be left over, where these are not a `part` of it: bytes of a record that did not come to its end are
    nobody's word, and a changed length could hide all that follows.
    """
    found: list[Record] = []
    view, at, end, most = memoryview(data), 0, len(data), limits.records_for(len(data))
    first = client  # whether the first ClientHello may still be under way
    while end - at >= HEAD:
        head = data[at : at + HEAD]
        kind, size = head[0], (head[3] << 8) | head[4]
        if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA:
            raise ObserveError("tls", "a record has a type that does not exist")
        first = first and kind == HANDSHAKE and head[1:3] == _FIRST_VERSION
        if not first and head[1:3] != _VERSION:
            raise ObserveError("tls", "a record has another version")
        if size > LARGEST_PROTECTED:
            raise ObserveError("tls", "a record is longer than may be")
        if at + HEAD + size > end:
            break
        if len(found) == most:
            raise ObserveError("size", "there are too many records for what they carry")
        found.append(Record(kind, head, view[at + HEAD : at + HEAD + size]))
        at += HEAD + size
    if at < end and not part:
        raise ObserveError("tls", "a direction ends within a record")
    return found


def plain(one: Record) -> memoryview:
    """The body of a record without protection: never empty, at most 2^14 bytes, no data of an application."""
    if one.kind == APPLICATION_DATA:
        raise ObserveError("tls", "there is application data before the keys")
    if not 0 < len(one.body) <= LARGEST_PLAIN:
        raise ObserveError("tls", "a record without protection is empty or too long")
    if one.kind == CHANGE_CIPHER_SPEC and bytes(one.body) != b"\x01":
        raise ObserveError("tls", "a change_cipher_spec is not the one byte that it is")
    return one.body


def check_alert(body: bytes | memoryview) -> None:
    """That an alert says close_notify: any other ends in nothing that could be shown."""
    if bytes(body) not in CLOSE_NOTIFY:
        raise ObserveError("tls", "there is an alert other than close_notify")
