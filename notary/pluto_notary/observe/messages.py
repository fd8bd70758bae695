"""Handshake messages, and the hellos that both versions begin with. RFC 8446, section 4; RFC 5246, section 7.4. Pure.

    message     = type (1), length (3), body
    ClientHello = version (2: 3.3), random (32), session_id <0..32>, cipher_suites <2..2^16-2>, compression <1..2^8-1>,
                  extensions <8..2^16-1>
    ServerHello = version (2: 3.3), random (32), session_id <0..32>, cipher_suite (2), compression (1: 0),
                  extensions <6..2^16-1>, none at all in some of TLS 1.2
    extensions  = (type (2), data <0..2^16-1>)*, no type twice

A HelloRetryRequest is a ServerHello with a certain random. Nothing may be left over at any end.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_measure.record import record
from pluto_notary.observe.errors import ObserveError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from pluto_notary.observe.limits import ObserveLimits

CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS = 1, 2, 4, 8
CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 11, 12, 13, 14
CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED, KEY_UPDATE, MESSAGE_HASH = 15, 16, 20, 24, 254
SERVER_NAME, SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS, ALPN, RECORD_SIZE_LIMIT = 0, 10, 13, 16, 28
PADDING, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS, COOKIE, KEY_SHARE = 21, 41, 42, 43, 44, 51
RENEGOTIATION, RENEGOTIATION_SUITE = 0xFF01, 0x00FF  # a suite may stand for the client's extension, RFC 5746, 3.3
TLS12, TLS13 = 0x0303, 0x0304
RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADES: Final = (b"DOWNGRD\x01", b"DOWNGRD\x00")  # how a server says that it could have done better
HTTP11: Final = b"http/1.1"
_HEAD: Final = 4


class Message:
    """One handshake message: its `kind` and, whole with its head, `raw`."""

    __slots__ = ("kind", "raw")

    def __init__(self, kind: int, raw: bytes) -> None:
        self.kind, self.raw = kind, raw

    @property
    def body(self) -> bytes:
        """What follows the head."""
        return self.raw[_HEAD:]


class Messages:
    """Puts the messages of one direction together from the records that carry them. Raises ObserveError (tls, size)."""

    def __init__(self, limits: ObserveLimits) -> None:
        self._limits, self._buffer, self._count, self._bytes = limits, b"", 0, 0

    @property
    def pending(self) -> bool:
        """Whether a message is under way: no other record may come now, and no key may change."""
        return bool(self._buffer)

    def feed(self, fragment: bytes | memoryview) -> list[Message]:
        """The messages that end in this record."""
        if not fragment:
            raise ObserveError("tls", "a record of the handshake is empty")
        self._bytes += len(fragment)
        if self._bytes > self._limits.handshake_bytes:
            raise ObserveError("size", "the handshake is too large")
        data, at, found = self._buffer + fragment, 0, []
        while len(data) - at >= _HEAD:
            size = _HEAD + int.from_bytes(data[at + 1 : at + _HEAD], "big")
            if size > self._limits.message_bytes:
                raise ObserveError("size", "a message of the handshake is too large")
            if len(data) - at < size:
                break
            found.append(Message(data[at], data[at : at + size]))
            at += size
        self._buffer = data[at:]
        self._count += len(found)
        if self._count > self._limits.messages:
            raise ObserveError("size", "there are too many messages of the handshake")
        return found


@record
class ClientHello:
    """What the client offers. Extensions in their order, by type."""

    random: bytes
    session_id: bytes
    suites: tuple[int, ...]
    extensions: Mapping[int, bytes]

    def versions(self) -> tuple[int, ...]:
        """The versions that are offered; TLS 1.2 where no extension says so."""
        content = self.extensions.get(SUPPORTED_VERSIONS)
        return (TLS12,) if content is None else numbers(content, 1, "supported_versions")

    def schemes(self) -> tuple[int, ...]:
        """The signature schemes that are offered for the handshake."""
        return numbers(self.extensions.get(SIGNATURE_ALGORITHMS, b""), 2, "signature_algorithms")

    def groups(self) -> tuple[int, ...]:
        """The groups that are offered for the key exchange."""
        return numbers(self.extensions.get(SUPPORTED_GROUPS, b""), 2, "supported_groups")

    def protocols(self) -> tuple[bytes, ...]:
        """The application protocols that are offered; none where the extension is not there."""
        content = self.extensions.get(ALPN)
        return () if content is None else names(content)

    def check(self, host: str) -> None:
        """What must hold in either version: the one name is the host's, and no data was sent early."""
        name = host.encode("ascii")
        one = b"\0" + len(name).to_bytes(2, "big") + name
        if self.extensions.get(SERVER_NAME) != len(one).to_bytes(2, "big") + one:
            raise ObserveError("tls", "the client does not name the host, as its one server name")
        if EARLY_DATA in self.extensions:
            raise ObserveError("tls", "the client offers early data")


@record
class ServerHello:
    """What the site chose, or, where `retry`, what it asks the client to offer in a second hello."""

    random: bytes
    session_id: bytes
    suite: int
    extensions: Mapping[int, bytes]

    @property
    def retry(self) -> bool:
        """Whether this is a HelloRetryRequest."""
        return self.random == RETRY_RANDOM

    @property
    def version(self) -> int:
        """The version that was chosen. RFC 8446, 4.2.1: an extension of exactly that number, or TLS 1.2."""
        content = self.extensions.get(SUPPORTED_VERSIONS)
        if content is None:
            return TLS12
        if content != TLS13.to_bytes(2, "big"):
            raise ObserveError("unsupported", "the site chose a version of TLS that does not exist")
        return TLS13

    def check(self, hello: ClientHello) -> None:
        """What must hold in either version: suite and extensions were offered, and nothing was talked down."""
        if self.suite not in hello.suites:
            raise ObserveError("tls", "the site chose a suite that was not offered")
        if self.version not in hello.versions():
            raise ObserveError("tls", "the site chose a version that was not offered")
        unasked = {COOKIE} if self.retry else {RENEGOTIATION} if RENEGOTIATION_SUITE in hello.suites else set()
        if not self.extensions.keys() <= hello.extensions.keys() | unasked:
            raise ObserveError("tls", "the site answers an extension that was not offered")
        if self.version == TLS12 and TLS13 in hello.versions() and self.random[-8:] in DOWNGRADES:
            raise ObserveError("tls", "the site says that the version was talked down")


def client_hello(message: Message) -> ClientHello:
    """Reads a ClientHello. Raises ObserveError (tls)."""
    if message.kind != CLIENT_HELLO:
        raise ObserveError("tls", "the client does not begin with a hello")
    try:
        reader = Reader(message.body, what="ClientHello", order="big")
        random, session = _beginning(reader)
        suites = numbers_of(vector(reader, 2, "cipher_suites"), "cipher_suites")
        if vector(reader, 1, "compression") != b"\0":
            raise reader.error("there is compression")
        extensions = read_extensions(reader)
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "the client's hello is malformed") from error
    if PRE_SHARED_KEY in extensions and list(extensions)[-1] != PRE_SHARED_KEY:
        raise ObserveError("tls", "the client's pre_shared_key is not its last extension")
    return ClientHello(random, session, suites, extensions)


def server_hello(message: Message) -> ServerHello:
    """Reads a ServerHello or HelloRetryRequest. Raises ObserveError (tls)."""
    if message.kind != SERVER_HELLO:
        raise ObserveError("tls", "the site does not begin with a hello")
    try:
        reader = Reader(message.body, what="ServerHello", order="big")
        random, session = _beginning(reader)
        suite = reader.uint(2, "cipher_suite")
        if reader.uint(1, "compression"):
            raise reader.error("there is compression")
        extensions = read_extensions(reader) if reader.left else {}
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "the site's hello is malformed") from error
    return ServerHello(random, session, suite, extensions)


def _beginning(reader: Reader) -> tuple[bytes, bytes]:
    if reader.uint(2, "version") != TLS12:
        raise reader.error("the version is another")
    random = reader.take(32, "random")
    session = vector(reader, 1, "session_id")
    if len(session) > 32:
        raise reader.error("the session_id is too long")
    return random, session


def read_extensions(reader: Reader) -> dict[int, bytes]:
    """A block of extensions with its length, in its order, by type. Raises FormatError."""
    found: dict[int, bytes] = {}
    block = reader.sub(reader.uint(2, "length of extensions"), "extensions")
    while block.left:
        kind = block.uint(2, "type")
        if kind in found:
            raise block.error("an extension is there twice")
        found[kind] = vector(block, 2, "data")
    return found


def vector(reader: Reader, size: int, name: str) -> bytes:
    """Bytes with their length, a number of `size` bytes, before them. Raises FormatError."""
    return reader.take(reader.uint(size, name), name)


def numbers(content: bytes, size: int, name: str) -> tuple[int, ...]:
    """The list of 16-bit numbers that an extension consists of. Raises ObserveError (tls)."""
    try:
        reader = Reader(content, what=name, order="big")
        found = numbers_of(vector(reader, size, name), name)
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "a list of numbers is absent or malformed") from error
    return found


def numbers_of(content: bytes, name: str) -> tuple[int, ...]:
    """16-bit numbers, one at least. Raises FormatError."""
    if not content or len(content) % 2:
        raise FormatError(name, "a list of numbers is empty or odd")
    return tuple((content[at] << 8) | content[at + 1] for at in range(0, len(content), 2))


def names(content: bytes) -> tuple[bytes, ...]:
    """The protocol names of an ALPN extension, RFC 7301, 3.1: one at least, none empty. Raises ObserveError (tls)."""
    try:
        reader = Reader(content, what="ALPN", order="big")
        block = reader.sub(reader.uint(2, "length"), "names")
        reader.end()
        found = []
        while block.left:
            found.append(vector(block, 1, "name"))
        if not found or not all(found):
            raise reader.error("a name is empty")
    except FormatError as error:
        raise ObserveError("tls", "an ALPN extension is malformed") from error
    return tuple(found)


def check_protocol(hello: ClientHello, content: bytes | None) -> None:
    """That the site chose HTTP/1.1 of what was offered, or said nothing, which means the same."""
    if content is None:
        return
    chosen = names(content)
    if len(chosen) != 1 or chosen[0] not in hello.protocols():
        raise ObserveError("tls", "the site chose a protocol that was not offered")
    if chosen[0] != HTTP11:
        raise ObserveError("unsupported", "the site chose a protocol other than HTTP/1.1")
