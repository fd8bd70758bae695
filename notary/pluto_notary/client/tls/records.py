"""Records: cut from the wire, opened, sealed. Pure.

    record = type:u8 version:u16 length:u16 fragment                                  RFC 8446, 5.1; RFC 5246, 6.2.1
    TLS 1.3: fragment = AEAD(content ‖ type ‖ zeros), outer type 23                   RFC 8446, 5.2
    TLS 1.2: fragment = explicit nonce ‖ AEAD(content)                                RFC 5246, 6.2.3.3

A length is looked at before its bytes are awaited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag

from pluto_notary.client.tls.errors import BAD_RECORD_MAC, DECODE_ERROR, RECORD_OVERFLOW, UNEXPECTED_MESSAGE, TlsError
from pluto_notary.client.tls.suites import Suite

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

LARGEST: Final = 2**14  # bytes of content
_TYPES: Final = (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA)
_HEAD, _TAG = 5, 16
_LARGEST_SEALED: Final = LARGEST + 256  # RFC 8446, 5.2; no AEAD of TLS 1.2 adds as much either
_TLS_12: Final = b"\3\3"
_TLS_10: Final = b"\3\1"  # of the first ClientHello: RFC 8446, 5.1
_MOST: Final = 2**24  # records under one key: RFC 8446, 5.5, and TLS 1.2 alike


class Record(NamedTuple):
    """What one record says."""

    kind: int
    content: bytes


class Protection(Protocol):
    """One direction's keys."""

    def seal(self, record: Record) -> bytes:
        """The record's bytes for the wire."""

    def open(self, kind: int, fragment: bytes) -> Record:
        """What a record says. TlsError."""


class Plain:
    """No keys yet."""

    def __init__(self, *, first: bool = False) -> None:
        self._first = first

    def seal(self, record: Record) -> bytes:
        version, self._first = _TLS_10 if self._first else _TLS_12, False
        return _head(record.kind, len(record.content), version) + record.content

    def open(self, kind: int, fragment: bytes) -> Record:
        if kind == APPLICATION_DATA:
            raise TlsError("data came before there were keys", alert=UNEXPECTED_MESSAGE)
        return _bounded(Record(kind, fragment))


class Sealed13:
    """Records of TLS 1.3. A change_cipher_spec stands outside of it, and is the caller's to judge."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._aead, self._nonces = suite.aead(key), _nonces(iv)

    def seal(self, record: Record) -> bytes:
        inner = record.content + bytes([record.kind])
        head = _head(APPLICATION_DATA, len(inner) + _TAG)
        return head + self._aead.encrypt(next(self._nonces), inner, head)

    def open(self, kind: int, fragment: bytes) -> Record:
        if kind == CHANGE_CIPHER_SPEC:
            return Record(kind, fragment)
        if kind != APPLICATION_DATA:
            raise TlsError("a record is not protected", alert=UNEXPECTED_MESSAGE)
        try:
            inner = self._aead.decrypt(next(self._nonces), fragment, _head(kind, len(fragment)))
        except (InvalidTag, ValueError) as error:
            raise TlsError("a record is not genuine", alert=BAD_RECORD_MAC) from error
        if len(inner) > LARGEST + 1:
            raise TlsError("a record is too long", alert=RECORD_OVERFLOW)
        content = inner.rstrip(b"\0")
        if not content or content[-1] not in _TYPES[1:]:
            raise TlsError("a record has no type that it may have", alert=UNEXPECTED_MESSAGE)
        return _bounded(Record(content[-1], content[:-1]))


class Sealed12:
    """Records of TLS 1.2 with an AEAD. `iv`: 4 bytes with an explicit nonce, else 12."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._aead, self._iv, self._explicit = suite.aead(key), iv, suite.explicit_nonce
        self._number = 0
        assert len(iv) + self._explicit == 12

    def seal(self, record: Record) -> bytes:
        explicit = self._number.to_bytes(8, "big")[8 - self._explicit :]
        extra = self._extra(record.kind, len(record.content))
        sealed = self._aead.encrypt(self._nonce(explicit), record.content, extra)
        self._number = _counted(self._number)
        return _head(record.kind, len(explicit) + len(sealed)) + explicit + sealed

    def open(self, kind: int, fragment: bytes) -> Record:
        explicit, sealed = fragment[: self._explicit], fragment[self._explicit :]
        if len(sealed) < _TAG:
            raise TlsError("a record is too short", alert=DECODE_ERROR)
        extra = self._extra(kind, len(sealed) - _TAG)
        try:
            content = self._aead.decrypt(self._nonce(explicit), sealed, extra)
        except InvalidTag as error:
            raise TlsError("a record is not genuine", alert=BAD_RECORD_MAC) from error
        self._number = _counted(self._number)
        return _bounded(Record(kind, content))

    def _nonce(self, explicit: bytes) -> bytes:
        return self._iv + explicit if explicit else _xor(self._iv, self._number)

    def _extra(self, kind: int, size: int) -> bytes:
        return self._number.to_bytes(8, "big") + _head(kind, size)


class RecordLayer:
    """Both directions of a wire. `reads` and `writes` are their keys, which the handshake changes.

    `silent`: we said goodbye, and nothing may follow it; not even an answer that the other side asks for.
    """

    def __init__(self) -> None:
        self.reads: Protection = Plain()
        self.writes: Protection = Plain(first=True)
        self.silent = False
        self._incoming, self._outgoing = bytearray(), bytearray()

    def feed(self, data: bytes) -> None:
        """Bytes of the wire, cut anywhere."""
        self._incoming += data

    def take(self) -> Record | None:
        """The next record; None if it is not whole yet. TlsError."""
        if len(self._incoming) < _HEAD:
            return None
        kind, size = self._incoming[0], int.from_bytes(self._incoming[3:_HEAD], "big")
        if kind not in _TYPES or self._incoming[1] != _TLS_12[0]:
            raise TlsError("these are not records of TLS", alert=UNEXPECTED_MESSAGE)
        if size > _LARGEST_SEALED:
            raise TlsError("a record is too long", alert=RECORD_OVERFLOW)
        if len(self._incoming) < _HEAD + size:
            return None
        fragment = bytes(memoryview(self._incoming)[_HEAD : _HEAD + size])
        del self._incoming[: _HEAD + size]
        return self.reads.open(kind, fragment)

    @property
    def waiting(self) -> bool:
        """Whether there are bytes that no record took yet."""
        return bool(self._incoming)

    def send(self, kind: int, content: bytes) -> None:
        """Queue content, in as many records as it takes; nothing once `silent`."""
        if self.silent:
            return
        for start in range(0, len(content), LARGEST):
            self._outgoing += self.writes.seal(Record(kind, content[start : start + LARGEST]))

    def data_to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data


def _head(kind: int, size: int, version: bytes = _TLS_12) -> bytes:
    return bytes([kind]) + version + size.to_bytes(2, "big")


def _bounded(record: Record) -> Record:
    if len(record.content) > LARGEST:
        raise TlsError("a record is too long", alert=RECORD_OVERFLOW)
    if not record.content and record.kind != APPLICATION_DATA:
        raise TlsError("a record is empty", alert=UNEXPECTED_MESSAGE)
    return record


def _nonces(iv: bytes) -> Iterator[bytes]:
    """RFC 8446, 5.3."""
    number = 0
    while True:
        yield _xor(iv, number)
        number = _counted(number)


def _xor(iv: bytes, number: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ number).to_bytes(len(iv), "big")


def _counted(number: int) -> int:
    if number + 1 >= _MOST:
        raise TlsError("there were too many records")
    return number + 1
