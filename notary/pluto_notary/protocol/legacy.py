"""The opening of Pluto's public protocol, version 1, both sides: a token about the keying material. Pure.

    client: "TEETLS"                                  notary: version:u16 = 1, length:u32, token       big-endian

It is spoken where the inner TLS has no ALPN, on Confidential Space alone, and it only opens a channel: after the token
the session goes on as any other, with `hello`. Elsewhere the notary answers with an error frame, whose first byte (6)
is not that of a version (0). Source: Pluto's caratls and web-prover, `notary-v0.7.0`.
"""

from __future__ import annotations

from typing import Final, NoReturn

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import HEAD_BYTES, encode
from pluto_notary.protocol.messages import ERROR, LIMITS, Error

MAGIC: Final = b"TEETLS"
VERSION: Final = 1
LARGEST_TOKEN: Final = 64 * 1024  # a genuine one is below 8 KiB

_HEAD_BYTES: Final = 6


def token_nonce(ekm: bytes) -> str:
    """The nonce that the token carries, `eat_nonce`: the keying material as 64 lower-case hex digits."""
    assert len(ekm) == 32
    return ekm.hex()


class LegacyOpening:
    """The notary's side: AWAITS magic --> OWES token --> OPEN; anything else --> FAILED --error--> OVER."""

    def __init__(self, *, confidential_space: bool) -> None:
        self._confidential_space = confidential_space
        self._buffer = b""
        self._failure: ChannelError | None = None
        self._open = self._over = False

    @property
    def wanted(self) -> bool:
        """Whether the client asked for a token and has not got it."""
        return self._buffer == MAGIC and not self._open and self._failure is None

    @property
    def open(self) -> bool:
        """Whether a session may begin: what comes now is for a NotarySession."""
        return self._open

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError; then only `refuse` works."""
        if self._failure is not None:
            raise self._failure
        if self._open:
            raise RuntimeError("bytes behind the opening belong to the session")
        if not data:
            return
        if self._buffer == MAGIC:
            self.fail(ChannelError("order", "nothing may be said before the token"))
        got = (self._buffer + data)[: len(MAGIC) + 1]
        if got[: len(MAGIC)] != MAGIC[: len(got)]:
            self.fail(ChannelError("unsupported", "an inner TLS without ALPN begins with the magic of version 1"))
        if len(got) > len(MAGIC):
            self.fail(ChannelError("order", "nothing may be said before the token"))
        self._buffer = got
        if got == MAGIC and not self._confidential_space:
            self.fail(ChannelError("unsupported", "version 1 is spoken on Confidential Space only"))

    def send_token(self, token: bytes) -> bytes:
        """The bytes for the inner TLS. RuntimeError if no client waits for a token or it is none."""
        if not self.wanted or not 0 < len(token) <= LARGEST_TOKEN:
            raise RuntimeError("no token can be sent")
        self._open = True
        return VERSION.to_bytes(2, "big") + len(token).to_bytes(4, "big") + token

    def refuse(self, error: ChannelError) -> bytes:
        """The one error frame that ends the connection, also when it is us who fail; b"" the second time."""
        if self._over:
            return b""
        if self._open:
            raise RuntimeError("behind the opening the session refuses")
        self._over, self._failure = True, self._failure or error
        return encode(Error.of(error))

    def fail(self, error: ChannelError) -> NoReturn:
        """Raises the error, now and from now on."""
        self._failure = self._failure or error
        raise self._failure


class LegacyPeer:
    """The client's side. What the token is worth the caller appraises, before any other byte is sent."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._failure: ChannelError | None = None
        self._done = False

    def start(self) -> bytes:
        """The magic, for the inner TLS."""
        return MAGIC

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError."""
        if self._failure is not None:
            raise self._failure
        if self._done and data:
            self._fail(ChannelError("order", "the notary spoke before the client did"))
        self._buffer += data
        if len(self._buffer) > _HEAD_BYTES + LARGEST_TOKEN + 4096:
            self._fail(ChannelError("size", "more came than a token has"))

    def next_message(self) -> bytes | Error | None:
        """The token, not appraised; or why there is none; None if more bytes must come. ChannelError."""
        if self._failure is not None:
            raise self._failure
        head = bytes(self._buffer[:_HEAD_BYTES])
        if self._done or not head:
            return None
        if head[0] == ERROR:
            return self._error()
        version, size = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
        if len(head) >= 2 and version != VERSION:
            self._fail(ChannelError("version", "the token has another version than 1"))
        if len(head) < _HEAD_BYTES:
            return None
        if not 0 < size <= LARGEST_TOKEN:
            self._fail(ChannelError("size", f"a token has 1 to {LARGEST_TOKEN} bytes"))
        return self._taken(_HEAD_BYTES, size)

    def _error(self) -> Error | None:
        if len(self._buffer) < HEAD_BYTES:
            return None
        size = int.from_bytes(self._buffer[1:HEAD_BYTES], "big")
        if size > LIMITS[ERROR]:
            self._fail(ChannelError("size", f"an error has at most {LIMITS[ERROR]} bytes"))
        body = self._taken(HEAD_BYTES, size)
        return None if body is None else Error.parse(body)

    def _taken(self, head: int, size: int) -> bytes | None:
        if len(self._buffer) > head + size:
            self._fail(ChannelError("order", "the notary spoke before the client did"))
        if len(self._buffer) < head + size:
            return None
        self._done = True
        return bytes(self._buffer[head:])

    def _fail(self, error: ChannelError) -> NoReturn:
        self._failure = error
        raise error
