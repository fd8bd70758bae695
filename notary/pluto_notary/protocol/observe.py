"""The messages of `observe`: a web site seen through the client's own TLS. Pure. Format: docs/protocol.md, section 13.

    observe → progress… → connected → data… both ways, ended → close → closed → reveal → progress… → proof

`data` carries the client's TLS with the web site, as bytes of it come. What was recorded is what these frames carried,
in their order. The client's secret comes after the notary has said `closed`: nothing that it is used for can then be
sent to the web site any more, nor come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import canonical, unhex
from pluto_measure.record import record
from pluto_notary.protocol.body import VERSION, Members
from pluto_notary.protocol.errors import ChannelError

OBSERVE, CONNECTED, DATA, ENDED, CLOSE, CLOSED, REVEAL = range(16, 23)
KEPT: Final = range(23, 32)  # for later versions
LIMITS: Final[Mapping[int, int]] = {
    OBSERVE: 2 << 20,  # as of `fetch`
    CONNECTED: 64,
    DATA: 64 << 10,
    ENDED: 64,
    CLOSE: 64,
    CLOSED: 256,
    REVEAL: 256,
}
SECRETS: Final = (32, 48)  # bytes: a handshake secret of SHA-256 or SHA-384 (TLS 1.3), a master secret (TLS 1.2)

_NOTHING: Final = canonical({"version": VERSION})


@record
class Connected:
    """The notary has a connection to the web site, and hands on what both say."""

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        Members(body, "connected").end()
        return cls()

    def to_body(self) -> bytes:
        return _NOTHING


@record
class Data:
    """Bytes of the connection to the web site, at least one: from the client for it, or from it for the client."""

    data: bytes

    def __repr__(self) -> str:
        return f"Data({len(self.data)} bytes)"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `size`."""
        if not body:
            raise ChannelError("size", "data has at least one byte")
        return cls(body)

    def to_body(self) -> bytes:
        return self.data


@record
class Ended:
    """The web site says no more. What the client still has to say is handed on, where the web site still takes it."""

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        Members(body, "ended").end()
        return cls()

    def to_body(self) -> bytes:
        return _NOTHING


@record
class Close:
    """The recording is to end. The client says nothing more to the web site."""

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        Members(body, "close").end()
        return cls()

    def to_body(self) -> bytes:
        return _NOTHING


@record
class Closed:
    """The connection to the web site is gone. How many bytes of each side were recorded."""

    client: int
    site: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        members = Members(body, "closed")
        closed = cls(members.number("client"), members.number("site"))
        members.end()
        return closed

    def to_body(self) -> bytes:
        return canonical({"client": self.client, "site": self.site, "version": VERSION})


@record
class Reveal:
    """What opens the recording, and which of its exchanges (from 0) is to be proved."""

    secret: bytes  # of one of SECRETS
    exchange: int

    def __repr__(self) -> str:
        return f"Reveal({len(self.secret)} bytes)"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """ChannelError `json`, `version`."""
        members = Members(body, "reveal")
        reveal = cls(_secret(members.take("secret", str)), members.number("exchange"))
        members.end()
        return reveal

    def to_body(self) -> bytes:
        return canonical({"exchange": self.exchange, "secret": self.secret.hex(), "version": VERSION})


def _secret(text: str) -> bytes:
    for size in SECRETS:
        if len(text) == 2 * size:
            try:
                return unhex(text, size, what="secret")
            except FormatError:  # which quotes the text
                break
    raise ChannelError("json", "a secret is 32 or 48 bytes in lower-case hex", path="secret") from None
