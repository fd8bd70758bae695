"""One request and its answer in HTTP/1.1, without a socket: bytes out, bytes in, one value. Pure.

h11 keeps the protocol's states and takes the framing of the body off; each head is read here first, as a whole, because
h11 forgives what two readers may understand differently (RFC 9112, sections 5.2, 6.1, 6.3, 11).

    READY --start--> HEAD --final head--> BODY --its end--> DONE          HEAD --1xx--> HEAD     any error --> FAILED

Bytes after the answer's end are not looked at: the connection carries one answer and is closed.
"""

from __future__ import annotations

import h11

from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.head import checked_headers, new_body
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.web import WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.fetch.decode import Body
    from pluto_notary.web import Headers

_PIECE: Final = 64 * 1024  # of a body, that h11 holds at once


class Http1Session:
    """The client's side of one connection. `request` as outgoing.prepared made it. Raises TargetError (http, size)."""

    def __init__(self, request: WebRequest, limits: FetchLimits) -> None:
        self._request, self._limits = request, limits
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head_bytes)
        self._state = "READY"
        self._head = bytearray()
        self._heads_bytes = self._interim = 0
        self._start: h11.Response | None = None
        self._headers: Headers = ()
        self._body: Body | None = None
        self.response: WebResponse | None = None

    def start(self) -> bytes:
        """The bytes of the request."""
        self._expect("READY")
        self._state = "HEAD"
        headers = [("host", self._request.authority), ("connection", "close"), *self._request.headers]
        events = (
            h11.Request(method=self._request.method, target=self._request.target, headers=headers),
            h11.Data(data=self._request.body),
            h11.EndOfMessage(),
        )
        return b"".join(self._h11.send(event) or b"" for event in events)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the site. Gives bytes to send, of which this version has none."""
        if self._state != "DONE":
            self._guarded(data)
        return b""

    def end(self) -> None:
        """The site ended its side in order. That may be how an answer ends; else it is cut short."""
        if self._state == "BODY":
            self._guarded(None)
        if self._state != "DONE":
            self._state = "FAILED"
            raise TargetError("http", "the answer ends before it is whole")

    def _expect(self, *states: str) -> None:
        if self._state not in states:
            raise TargetError("http", "this exchange has failed before")

    def _guarded(self, data: bytes | None) -> None:
        self._expect("HEAD", "BODY")
        try:
            if data is None:
                self._receive(b"")
            elif self._state == "HEAD":
                self._read_heads(data)
            else:
                self._read_body(data)
        # Its words may quote the site's bytes; ours do not. ValueError: older ones read a length of many digits.
        except (h11.RemoteProtocolError, ValueError) as error:
            self._state = "FAILED"
            raise TargetError("http", "the answer is not HTTP/1.1") from error
        except TargetError:
            self._state = "FAILED"
            raise

    def _read_heads(self, data: bytes) -> None:
        while data and self._state == "HEAD":
            seen = max(len(self._head) - 3, 0)
            self._head += data
            end = self._head.find(b"\r\n\r\n", seen) + 4
            size = end if end > 3 else len(self._head)
            if self._heads_bytes + size > self._limits.head_bytes:
                raise TargetError("size", "the answer's head is too large")
            if end <= 3:
                return
            head, data = bytes(self._head[:end]), bytes(self._head[end:])
            self._head.clear()
            self._heads_bytes += end
            _check_head(head)
            self._receive(head)
        if data:
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            if self._state != "DONE":
                self._receive(data[at : at + _PIECE])

    def _receive(self, data: bytes) -> None:
        self._h11.receive_data(data)
        while self._state != "DONE":
            event = self._h11.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if event.status_code == 101 or self._interim > self._limits.interim:
                raise TargetError("http", "the site sends interim answers that nobody asked for")
        elif isinstance(event, h11.Response):
            self._headers = checked_headers(event.headers, self._limits)
            self._start, self._state = event, "BODY"
            self._body = new_body(self._request.method, event.status_code, self._headers, self._limits)
        elif isinstance(event, h11.Data) and self._body is not None:
            self._body.feed(bytes(event.data))
            if event.chunk_end:  # chunk_start is not told where a chunk comes apart from its head
                self._body.count_piece()
        elif isinstance(event, h11.EndOfMessage) and self._body is not None and self._start is not None:
            self.response = WebResponse(
                version=f"HTTP/{self._start.http_version.decode('ascii')}",
                status=self._start.status_code,
                reason=self._start.reason.decode("latin-1"),
                headers=self._headers,
                body=self._body.end(),
            )
            self._body, self._state = None, "DONE"
        else:
            raise TargetError("http", "the answer is not HTTP/1.1")


def _check_head(head: bytes) -> None:
    """Refuse what h11 would forgive, in one head with its empty line."""
    status, *lines = head[:-4].split(b"\r\n")
    if not status.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise TargetError("http", "the answer is not HTTP/1.1")
    if any(byte in line for line in (status, *lines) for byte in (b"\r", b"\n", b"\0")):
        raise TargetError("http", "the answer's head has a line that does not end in CR LF")
    if any(line.startswith((b" ", b"\t")) for line in lines):
        raise TargetError("http", "the answer's head has a folded line")
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
    lengths = [value for name, value in fields if name == b"content-length"]
    transfers = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(transfers) > 1 or not all(value.isdigit() for value in lengths):
        raise TargetError("http", "the answer does not say one length")
    if transfers and status.startswith(b"HTTP/1.0"):
        raise TargetError("http", "the answer has a coding that its version does not have")
