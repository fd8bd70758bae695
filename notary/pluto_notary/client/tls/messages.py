"""Handshake messages: joined from records, taken apart, made. Pure. RFC 8446, section 4; RFC 5246, section 7.4.

    message   = type:u8 length:u24 body
    extension = type:u16 data <0..2^16-1>             each type at most once: RFC 8446, 4.2; RFC 5246, 7.4.1.4

What is malformed is a TlsError; FormatError of the cursor is turned into one by the client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pluto_measure.formats.reader import Reader
from pluto_notary.client.tls.errors import (
    DECODE_ERROR,
    ILLEGAL_PARAMETER,
    UNEXPECTED_MESSAGE,
    UNSUPPORTED_EXTENSION,
    TlsError,
)

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
NEW_SESSION_TICKET: Final = 4
ENCRYPTED_EXTENSIONS: Final = 8
CERTIFICATE: Final = 11
SERVER_KEY_EXCHANGE: Final = 12
CERTIFICATE_REQUEST: Final = 13
SERVER_HELLO_DONE: Final = 14
CERTIFICATE_VERIFY: Final = 15
CLIENT_KEY_EXCHANGE: Final = 16
FINISHED: Final = 20
KEY_UPDATE: Final = 24
MESSAGE_HASH: Final = 254

# Extensions: RFC 8446, 4.2, and where else they are from.
SERVER_NAME: Final = 0  # RFC 6066
SUPPORTED_GROUPS: Final = 10
POINT_FORMATS: Final = 11  # RFC 8422
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16  # RFC 7301
EXTENDED_MASTER_SECRET: Final = 23  # RFC 7627
SUPPORTED_VERSIONS: Final = 43
COOKIE: Final = 44
KEY_SHARE: Final = 51
RENEGOTIATION_INFO: Final = 0xFF01  # RFC 5746

# RFC 8446, 4.1.3: the random of a ServerHello that asks for another ClientHello.
_RETRY_RANDOM: Final = hashlib.sha256(b"HelloRetryRequest").digest()
_LARGEST: Final = 64 * 1024  # of one message: a chain of certificates has some thousand bytes
_LONGEST_CHAIN: Final = 10
_HEAD: Final = 4


class Message(NamedTuple):
    """One handshake message. `raw`: with its head, as the transcript has it."""

    kind: int
    body: bytes
    raw: bytes


class Joiner:
    """Messages out of the contents of records."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, content: bytes) -> None:
        self._waiting += content

    @property
    def empty(self) -> bool:
        """Whether nothing waits: keys may change here, and other content may come."""
        return not self._waiting

    def take(self) -> Message | None:
        """The next message; None if it is not whole. TlsError for one that is too long."""
        if len(self._waiting) < _HEAD:
            return None
        size = int.from_bytes(self._waiting[1:_HEAD], "big")
        if size > _LARGEST:
            raise TlsError("a handshake message is too long", alert=DECODE_ERROR)
        if len(self._waiting) < _HEAD + size:
            return None
        raw = bytes(memoryview(self._waiting)[: _HEAD + size])
        del self._waiting[: _HEAD + size]
        return Message(raw[0], raw[_HEAD:], raw)


class Transcript:
    """The messages of a handshake so far, both sides'."""

    def __init__(self) -> None:
        self._raw = bytearray()

    def add(self, raw: bytes) -> None:
        self._raw += raw

    def digest(self, name: str) -> bytes:
        return hashlib.new(name, self._raw).digest()

    def retried(self, name: str) -> None:
        """The first ClientHello becomes its hash: RFC 8446, 4.4.1."""
        self._raw = bytearray(message(MESSAGE_HASH, self.digest(name)))


def message(kind: int, body: bytes) -> bytes:
    """A message with its head."""
    return bytes([kind]) + vector(3, body)


def vector(size: int, content: bytes) -> bytes:
    """Content behind its length in `size` bytes."""
    return len(content).to_bytes(size, "big") + content


def numbers(values: Iterable[int]) -> bytes:
    """A list of 16-bit numbers, without its length."""
    return b"".join(value.to_bytes(2, "big") for value in values)


def cursor(body: bytes, what: str) -> Reader:
    """Over a message's body."""
    return Reader(body, what=what, order="big")


def taken(reader: Reader, size: int, field: str) -> bytes:
    """A vector with its length in `size` bytes."""
    return reader.take(reader.uint(size, field), field)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """Also HelloRetryRequest, which is one with a certain random. RFC 8446, 4.1.3 and 4.1.4; RFC 5246, 7.4.1.3."""

    version: int
    random: bytes
    session_id: bytes
    suite: int
    extensions: Mapping[int, bytes]

    @classmethod
    def parse(cls, body: bytes, *, offered: Iterable[int]) -> ServerHello:
        """`offered`: the extensions of the ClientHello; a site may answer these, and bring no others."""
        reader = cursor(body, "ServerHello")
        version, random = reader.uint(2, "version"), reader.take(32, "random")
        session_id, suite = taken(reader, 1, "session id"), reader.uint(2, "cipher suite")
        if len(session_id) > 32 or reader.uint(1, "compression"):
            raise TlsError("the site's hello has a session id or a compression that there is not")
        extensions = read_extensions(reader, offered) if reader.left else {}
        reader.end()
        return cls(version, random, session_id, suite, extensions)

    @property
    def retry(self) -> bool:
        """Whether another ClientHello is wanted."""
        return self.random == _RETRY_RANDOM

    @property
    def chosen(self) -> int:
        """The version that the site chose: supported_versions has it in TLS 1.3, the old field else."""
        if SUPPORTED_VERSIONS not in self.extensions:
            return self.version
        reader = cursor(self.extensions[SUPPORTED_VERSIONS], "supported_versions")
        version = reader.uint(2, "version")
        reader.end()
        if version != 0x0304 or self.version != 0x0303:  # RFC 8446, 4.2.1
            raise TlsError("the site names a version in a way that there is not")
        return version


def read_extensions(reader: Reader, offered: Iterable[int]) -> dict[int, bytes]:
    """The extensions that stand next, each once and each offered. TlsError."""
    inner, allowed, found = reader.sub(reader.uint(2, "extensions"), "extensions"), set(offered), {}
    while inner.left:
        kind = inner.uint(2, "type")
        if kind in found:
            raise TlsError("an extension comes twice")
        if kind not in allowed:
            raise TlsError("the site has an extension that was not offered", alert=UNSUPPORTED_EXTENSION)
        found[kind] = taken(inner, 2, "extension")
    return found


def no_content(extensions: Mapping[int, bytes], kind: int) -> bool:
    """Whether an extension is there that has nothing to say but that it is there. TlsError if it does."""
    if extensions.get(kind):
        raise TlsError("an extension says something where it has nothing to say", alert=DECODE_ERROR)
    return kind in extensions


def chosen_protocol(extensions: Mapping[int, bytes], offered: bytes) -> None:
    """ALPN: nothing, or the one name that was offered. RFC 7301, 3.1. TlsError."""
    if ALPN not in extensions:
        return
    if extensions[ALPN] != vector(2, vector(1, offered)):
        raise TlsError("the site chose a protocol that was not offered")


def read_share(data: bytes) -> tuple[int, bytes]:
    """key_share of a ServerHello: group and share. RFC 8446, 4.2.8."""
    reader = cursor(data, "key_share")
    found = reader.uint(2, "group"), taken(reader, 2, "share")
    reader.end()
    return found


def read_encrypted_extensions(body: bytes, *, offered: Iterable[int]) -> dict[int, bytes]:
    """RFC 8446, 4.3.1. Those of other messages are refused there."""
    reader = cursor(body, "EncryptedExtensions")
    found = read_extensions(reader, offered)
    reader.end()
    return found


def read_chain(body: bytes, *, entries_have_extensions: bool) -> tuple[bytes, ...]:
    """Certificates in DER, the site's own first. RFC 8446, 4.4.2 with extensions, of which none was offered;
    RFC 5246, 7.4.2 without. TlsError.
    """
    reader, chain = cursor(body, "Certificate"), []
    if entries_have_extensions and taken(reader, 1, "context"):
        raise TlsError("the site's certificate answers a request that nobody made")
    inner = reader.sub(reader.uint(3, "certificates"), "certificates")
    reader.end()
    while inner.left:
        chain.append(taken(inner, 3, "certificate"))
        if entries_have_extensions:
            read_extensions(inner, ())
        if not chain[-1] or len(chain) > _LONGEST_CHAIN:
            raise TlsError("the site's chain has an empty certificate, or too many")
    if not chain:
        raise TlsError("the site showed no certificate", alert=DECODE_ERROR)
    return tuple(chain)


def read_signature(reader: Reader) -> tuple[int, bytes]:
    """Scheme and signature, which end a message."""
    found = reader.uint(2, "scheme"), taken(reader, 2, "signature")
    reader.end()
    return found


def read_certificate_request(body: bytes) -> None:
    """RFC 8446, 4.3.2. Nothing in it matters, since no certificate will be shown."""
    reader = cursor(body, "CertificateRequest")
    if taken(reader, 1, "context"):
        raise TlsError("the site's request for a certificate has a context in the handshake")
    inner, kinds = reader.sub(reader.uint(2, "extensions"), "extensions"), set()
    reader.end()
    while inner.left:
        kind = inner.uint(2, "type")
        taken(inner, 2, "extension")
        if kind in kinds:
            raise TlsError("an extension comes twice")
        kinds.add(kind)
    if SIGNATURE_ALGORITHMS not in kinds:
        raise TlsError("the site's request for a certificate names no signatures", alert=ILLEGAL_PARAMETER)


def read_certificate_request_12(body: bytes) -> None:
    """RFC 5246, 7.4.4."""
    reader = cursor(body, "CertificateRequest")
    for size, field in ((1, "certificate types"), (2, "signature algorithms"), (2, "authorities")):
        taken(reader, size, field)
    reader.end()


def unexpected(kind: int) -> TlsError:
    """The error for a message that may not come now."""
    return TlsError(f"a handshake message of type {kind} comes where it may not", alert=UNEXPECTED_MESSAGE)
