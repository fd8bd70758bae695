"""One HTTP/1.1 connection without a socket: bytes in, requests out; responses in, bytes out.

h11 keeps the protocol's states; this class adds what we refuse beyond it: bodies where there is none, too much of
anything, upgrades to what we do not speak.

    WAITING --complete request--> OWING --respond()--> WAITING | CLOSED      any PeerError --> refuse() --> CLOSED
                                  OWING --upgrade()--> UPGRADED: what comes now is no HTTP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import h11

from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits
from pluto_notary.server.routes import TEE_PATH, Request, Response, check, largest_body

_VERSIONS: Final = (b"1.0", b"1.1")
_PIECES: Final = 1024  # of a body, and one more for each _PIECE_BYTES: tiny chunks cost more than they carry
_PIECE_BYTES: Final = 128


class HttpSession:
    """The server's side of one connection. Raises PeerError for what a client may not do; then only `refuse` works."""

    def __init__(self, limits: Limits) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._limits = limits
        self._left = limits.requests
        self._answered = self._upgraded = self._bodiless = False
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._largest = self._pieces = 0

    @property
    def open(self) -> bool:
        """Whether another request may come."""
        return self._h11.our_state is h11.IDLE and self._left > 0 and not self._upgraded

    @property
    def idle(self) -> bool:
        """Whether the client has had an answer and has not begun another request."""
        return self._answered and self._head is None and not self._h11.trailing_data[0]

    @property
    def target(self) -> str:
        """Of the request that is being read; "" between requests."""
        return "" if self._head is None else self._head.target.decode("ascii")

    @property
    def held(self) -> int:
        """Bytes of a body that is not complete."""
        return len(self._body)

    @property
    def asks_to_go_on(self) -> bool:
        """Whether the client waits for a 100 before it sends its body. `go_on` has the bytes."""
        return self._head is not None and self._h11.they_are_waiting_for_100_continue

    def go_on(self) -> bytes:
        """The 100. RFC 9110, 15.2.1."""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; b"" says that no more will come."""
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error

    def next_request(self) -> Request | None:
        """The next request; None if more bytes must come first. EOFError when the client is done, PeerError."""
        try:
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._take(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                    return self._whole(self._head)
                else:
                    raise EOFError
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error
        except ValueError as error:  # of a length with thousands of digits, in older releases of the library
            raise PeerError(400, "http", "the request is not HTTP/1.1 as we speak it") from error

    def upgrade(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """The bytes of a 101 with these headers, and what the client sent behind its request. HTTP ends with it."""
        answer = h11.InformationalResponse(status_code=101, headers=list(headers), reason=b"Switching Protocols")
        data = self._h11.send(answer) or b""
        self._upgraded = True
        return data, bytes(self._h11.trailing_data[0])

    def respond(self, response: Response, *, last: bool = False) -> bytes:
        """The bytes of the response to the last request. The connection stays open if both sides want that."""
        if last:
            self._left = 0
        data = self._encode(response, close=self._left <= 0)
        self._answered = True
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._bodiless = False
        return data

    def refuse(self, response: Response) -> bytes:
        """The last bytes of this connection, after a PeerError; b"" if nothing can be said any more."""
        self._left = 0
        self._body.clear()
        if self._upgraded or self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self._encode(response, close=True)

    def _begin(self, request: h11.Request) -> None:
        self._bodiless = request.method == b"HEAD"
        if request.http_version not in _VERSIONS:
            raise PeerError(400, "http", "only HTTP/1.1 is spoken here")
        self._head, self._pieces = request, 0
        self._largest = largest_body(request.method.decode("ascii"), self.target, self._limits)
        upgradable = request.http_version == b"1.1" and request.target.partition(b"?")[0] == TEE_PATH.encode()
        for name, value in request.headers:
            if name == b"upgrade" and not upgradable:
                raise PeerError(400, "http", "this is no connection that can be upgraded")
            # h11 has made sure that a length is one number. What is announced is not awaited if it is too much.
            if name == b"content-length" and int(value) > self._largest:
                raise self._too_large()
            if name == b"transfer-encoding" and not self._largest:
                raise self._too_large()

    def _take(self, data: bytes) -> None:
        if len(self._body) + len(data) > self._largest:
            raise self._too_large()
        self._pieces += 1
        if self._pieces > _PIECES + len(self._body) // _PIECE_BYTES:
            raise PeerError(400, "http", "the body comes in too many pieces")
        self._body += data

    def _whole(self, head: h11.Request) -> Request:
        body = bytes(self._body)
        self._head = None
        self._body.clear()
        self._left -= 1
        return Request(head.method.decode("ascii"), head.target.decode("ascii"), body, tuple(head.headers))

    def _too_large(self) -> PeerError:
        if not self._largest:
            assert self._head is not None
            check(self._head.method.decode("ascii"), self.target)  # says more
            return PeerError(413, "http", "a request must not have a body")
        return PeerError(413, "http", f"the body is larger than {self._largest} bytes")

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
            h11.Data(data=b"" if self._bodiless else response.body),  # RFC 9110, 9.3.2
            h11.EndOfMessage(),
        )
        return b"".join(self._h11.send(event) or b"" for event in events)


def _refusal(error: h11.RemoteProtocolError) -> PeerError:
    # The library's words may quote the client's bytes; ours do not.
    status = error.error_status_hint
    problem = "the request head is too large" if status == 431 else "the request is not HTTP/1.1 as we speak it"
    return PeerError(status, "http", problem)
