"""One HTTP/1.1 connection without a socket: bytes in, requests out; responses in, bytes out.

h11 keeps the protocol's states; this class adds what we refuse beyond it: bodies, upgrades, too much of anything.

    WAITING --complete head--> OWING --respond()--> WAITING | CLOSED         any PeerError --> refuse() --> CLOSED
"""

from __future__ import annotations

from typing import Final

import h11

from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits
from pluto_notary.server.routes import Request, Response

_VERSIONS: Final = (b"1.0", b"1.1")
_NO_BODY: Final = b"0"


class HttpSession:
    """The server's side of one connection. Raises PeerError for what a client may not do; then only `refuse` works."""

    def __init__(self, limits: Limits) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._left = limits.requests
        self._answered = False

    @property
    def open(self) -> bool:
        """Whether another request may come."""
        return self._h11.our_state is h11.IDLE and self._left > 0

    @property
    def idle(self) -> bool:
        """Whether the client has had an answer and has not begun another request."""
        return self._answered and not self._h11.trailing_data[0]

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; b"" says that no more will come."""
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error

    def next_request(self) -> Request | None:
        """The next request; None if more bytes must come first. EOFError when the client is done, PeerError."""
        try:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                return None
            if not isinstance(event, h11.Request):
                raise EOFError
            _check_head(event)
            if not isinstance(self._h11.next_event(), h11.EndOfMessage):
                raise PeerError(413, "http", "a request must not have a body")
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error
        self._left -= 1
        return Request(event.method.decode("ascii"), event.target.decode("ascii"))

    def respond(self, response: Response) -> bytes:
        """The bytes of the response to the last request. The connection stays open if both sides want that."""
        data = self._encode(response, close=self._left <= 0)
        self._answered = True
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return data

    def refuse(self, response: Response) -> bytes:
        """The last bytes of this connection, after a PeerError; b"" if nothing can be said any more."""
        self._left = 0
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self._encode(response, close=True)

    def _encode(self, response: Response, *, close: bool) -> bytes:
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(response.body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            *response.headers,
        ]
        if close:
            headers.append(("connection", "close"))
        events = (
            h11.Response(status_code=response.status, headers=headers, reason=response.reason),
            h11.Data(data=response.body),
            h11.EndOfMessage(),
        )
        return b"".join(self._h11.send(event) or b"" for event in events)


def _check_head(request: h11.Request) -> None:
    if request.http_version not in _VERSIONS:
        raise PeerError(400, "http", "only HTTP/1.1 is spoken here")
    for name, value in request.headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value != _NO_BODY):
            raise PeerError(413, "http", "a request must not have a body")
        if name == b"upgrade":
            raise PeerError(400, "http", "this server does not upgrade connections")


def _refusal(error: h11.RemoteProtocolError) -> PeerError:
    # The library's words may quote the client's bytes; ours do not.
    status = error.error_status_hint
    problem = "the request head is too large" if status == 431 else "the request is not HTTP/1.1 as we speak it"
    return PeerError(status, "http", problem)
