"""The request that makes an HTTP/1.1 connection a channel, both sides. Pure; HTTP itself is h11's.

    GET /v1/tee[?session_id=UUID][&target_host=NAME][&target_port=PORT]        Upgrade: websocket | tcp

`session_id` means nothing: the notary issues the session's id. A target that is named must be the manifest's. RFC 9110,
section 7.8; RFC 6455, section 4.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import h11

from pluto_measure.record import record
from pluto_notary.errors import PeerError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.stream import CLIENT_TAKES, NOTARY_TAKES, Stream, TcpStream, WebSocketStream

PATH: Final = "/v1/tee"
PROTOCOLS: Final = ("websocket", "tcp")
WEBSOCKET_VERSION: Final = b"13"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_HEAD_BYTES: Final = 8 * 1024
_KEY: Final = re.compile(rb"[0-9A-Za-z+/]{22}==")  # 16 bytes in base64
_QUERY: Final = {
    "session_id": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "target_host": re.compile(r"[0-9A-Za-z._-]{1,253}"),
    "target_port": re.compile(r"[1-9][0-9]{0,4}"),
}

Headers = Sequence[tuple[bytes, bytes]]


@record
class Upgrade:
    """A request for a channel that will be granted."""

    protocol: str  # of PROTOCOLS
    target_host: str | None  # in lower case
    target_port: int | None
    key: bytes  # of the WebSocket, as it came; b"" for tcp

    def __repr__(self) -> str:
        return f"Upgrade({self.protocol})"  # the target is the client's own affair

    @classmethod
    def parse(cls, target: str, headers: Headers) -> Upgrade:
        """From a GET's request target and headers with names in lower case (as h11 has them). PeerError."""
        path, _, query = target.partition("?")
        if path != PATH:
            raise PeerError(404, "path", f"only {PATH} can be upgraded")
        named = _query(query)
        port = int(named.get("target_port", "1"))
        if port > 65535:
            raise PeerError(400, "query", "target_port is no port")
        protocol = _protocol(headers)
        host = named.get("target_host")
        return cls(
            protocol=protocol,
            target_host=None if host is None else host.lower(),
            target_port=port if "target_port" in named else None,
            key=_websocket_key(headers) if protocol == "websocket" else b"",
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the 101."""
        headers = [(b"connection", b"Upgrade"), (b"upgrade", self.protocol.encode())]
        if self.protocol == "websocket":
            headers.append((b"sec-websocket-accept", accept_of(self.key)))
        return headers

    def head(self) -> bytes:
        """The whole 101."""
        lines = [b"HTTP/1.1 101 Switching Protocols", *(name + b": " + value for name, value in self.headers())]
        return b"\r\n".join([*lines, b"", b""])

    def stream(self, *, takes: int = NOTARY_TAKES) -> Stream:
        """What both sides speak after the 101, seen from the notary."""
        return _stream(self.protocol, server=True, takes=takes)

    def must_name(self, host: str, port: int) -> None:
        """ChannelError `target` if the request named another target than the manifest does."""
        if self.target_host not in (None, host) or self.target_port not in (None, port):
            raise ChannelError("target", "the target of the request is not that of the manifest")


class Upgrading:
    """The client's side: a request out, the stream in. ChannelError `http` if the notary does not upgrade."""

    def __init__(
        self, *, protocol: str, authority: str, random: bytes, query: str = "", takes: int = CLIENT_TAKES
    ) -> None:
        assert protocol in PROTOCOLS
        assert len(random) == 16
        self._protocol, self._takes = protocol, takes
        self._key = base64.b64encode(random)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        headers = [(b"host", authority.encode()), (b"connection", b"Upgrade"), (b"upgrade", protocol.encode())]
        if protocol == "websocket":
            headers += [(b"sec-websocket-key", self._key), (b"sec-websocket-version", WEBSOCKET_VERSION)]
        target = f"{PATH}?{query}" if query else PATH
        self._request = h11.Request(method=b"GET", target=target.encode(), headers=headers)
        self.status: int | None = None  # of an answer that is no upgrade

    def start(self) -> bytes:
        """The request."""
        return (self._h11.send(self._request) or b"") + (self._h11.send(h11.EndOfMessage()) or b"")

    def feed(self, data: bytes) -> tuple[Stream, bytes] | None:
        """Take bytes, b"" at the end of the connection. The stream, and bytes of its wire that came already."""
        try:
            self._h11.receive_data(data)
            event = self._h11.next_event()
        except (h11.RemoteProtocolError, ValueError):  # older ones read a length of many digits
            raise ChannelError("http", "the answer is not HTTP/1.1") from None
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
            self.status = getattr(event, "status_code", None)
            raise ChannelError("http", "the notary did not upgrade the connection")
        self._check(list(event.headers))
        return _stream(self._protocol, server=False, takes=self._takes), self._h11.trailing_data[0]

    def _check(self, headers: Headers) -> None:
        if [value.lower() for value in _values(headers, b"upgrade")] != [self._protocol.encode()]:
            raise ChannelError("http", "the connection was upgraded to another protocol")
        if self._protocol == "websocket" and _values(headers, b"sec-websocket-accept") != [accept_of(self._key)]:
            raise ChannelError("http", "the WebSocket was not accepted as RFC 6455 has it")
        if _values(headers, b"sec-websocket-extensions") or _values(headers, b"sec-websocket-protocol"):
            raise ChannelError("http", "the notary chose an extension that nobody offered")


def accept_of(key: bytes) -> bytes:
    """Sec-WebSocket-Accept. RFC 6455, 4.2.2."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _stream(protocol: str, *, server: bool, takes: int) -> Stream:
    return WebSocketStream(server=server, takes=takes) if protocol == "websocket" else TcpStream(takes=takes)


def _query(query: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in _QUERY or name in named or not _QUERY[name].fullmatch(value):
            raise PeerError(400, "query", f"the query has {', '.join(_QUERY)}, each once and without escapes")
        named[name] = value
    return named


def _protocol(headers: Headers) -> str:
    wanted = [value.lower() for value in _values(headers, b"upgrade")]
    tokens = {token.strip().lower() for value in _values(headers, b"connection") for token in value.split(b",")}
    if len(wanted) != 1 or wanted[0] not in (b"websocket", b"tcp") or b"upgrade" not in tokens:
        raise PeerError(400, "http", f"{PATH} needs Connection: Upgrade and Upgrade: websocket or tcp")
    return wanted[0].decode()


def _websocket_key(headers: Headers) -> bytes:
    if _values(headers, b"sec-websocket-version") != [WEBSOCKET_VERSION]:
        raise PeerError(426, "http", "Sec-WebSocket-Version must be 13")
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise PeerError(400, "http", "Sec-WebSocket-Key must be 16 bytes in base64")
    return keys[0]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value.strip() for key, value in headers if key == name]
