"""One request and its answer in HTTP/2, without a socket: bytes out, bytes in, one value. Pure.

h2 keeps the protocol's states; FrameReader bounds what it gets to see. RFC 9113.

    READY --start--> OPEN --HEADERS--> BODY --END_STREAM--> DONE          OPEN --1xx--> OPEN     any error --> FAILED

Bytes after the answer's end are not looked at: the connection carries one answer and is closed.
"""

from __future__ import annotations

from h2 import config, connection, events, exceptions, settings

from pluto_notary.fetch import frames
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.head import checked_headers, new_body
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.web import WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.fetch.decode import Body
    from pluto_notary.web import Headers

_WINDOW: Final = 1024 * 1024  # what a site may send ahead of us
_STREAM: Final = 1


class Http2Session:
    """The client's side of one connection. `request` as outgoing.prepared made it. Raises TargetError (http, size)."""

    def __init__(self, request: WebRequest, limits: FetchLimits) -> None:
        self._request, self._limits = request, limits
        self._frames = frames.FrameReader()
        self._h2 = connection.H2Connection(config.H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = settings.Settings(client=True, initial_values=_settings(limits))
        self._h2.decoder.max_header_list_size = limits.head_bytes
        self._state = "READY"
        self._unsent = memoryview(request.body)
        self._interim = 0
        self._status = 0
        self._headers: Headers = ()
        self._body: Body | None = None
        self.response: WebResponse | None = None

    def start(self) -> bytes:
        """The preface, our settings, the request, and as much of its body as the site's window takes."""
        self._expect("READY")
        self._state = "OPEN"
        request = self._request
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        head = ((":method", request.method), (":authority", request.authority), (":scheme", "https"))
        fields = [*head, (":path", request.target), *request.headers]
        self._h2.send_headers(_STREAM, fields, end_stream=not request.body)
        self._send_body()
        return bytes(self._h2.data_to_send())

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the site. Gives the bytes to send in return."""
        if self._state == "DONE":
            return b""
        self._expect("OPEN", "BODY")
        try:
            self._frames.feed(data)
            while self._state != "DONE" and (frame := self._frames.next_frame()) is not None:
                self._frame(frame)
            self._send_body()
        except (exceptions.H2Error, ValueError) as error:  # its words may quote the site's bytes; ours do not
            self._state = "FAILED"
            raise TargetError("http", "the answer is not HTTP/2") from error
        except TargetError:
            self._state = "FAILED"
            raise
        return bytes(self._h2.data_to_send())

    def end(self) -> None:
        """The site ended its side in order. An answer that is not whole then is an error."""
        if self._state != "DONE":
            self._state = "FAILED"
            raise TargetError("http", "the answer ends before it is whole")

    def _expect(self, *states: str) -> None:
        if self._state not in states:
            raise TargetError("http", "this exchange has failed before")

    def _send_body(self) -> None:
        while self._unsent and self._state in ("OPEN", "BODY"):
            room = min(self._h2.local_flow_control_window(_STREAM), self._h2.max_outbound_frame_size, len(self._unsent))
            if room <= 0:
                return
            piece, self._unsent = bytes(self._unsent[:room]), self._unsent[room:]
            self._h2.send_data(_STREAM, piece, end_stream=not self._unsent)

    def _frame(self, frame: frames.Frame) -> None:
        if frame.kind == frames.GOAWAY:
            # With no error and our stream among those that will be served, it is a farewell; h2 would end all streams.
            last, code = int.from_bytes(frame.payload[:4], "big") & 0x7FFF_FFFF, frame.payload[4:8]
            if len(frame.payload) < 8 or frame.stream != 0 or last < _STREAM or any(code):
                raise TargetError("http", "the site ended the connection")
            return
        if frame.kind == frames.DATA and self._body is not None:
            self._body.count_piece()
        for event in self._h2.receive_data(frame.raw):
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, events.InformationalResponseReceived):
            self._interim += 1
            if _status(event.headers or ()) == 101 or self._interim > self._limits.interim:
                raise TargetError("http", "the site sends interim answers that nobody asked for")
        elif isinstance(event, events.ResponseReceived):
            raw = tuple(event.headers or ())
            self._status = _status(raw)
            fields = (header for header in raw if not bytes(header[0]).startswith(b":"))
            self._headers = checked_headers(fields, self._limits)
            self._body = new_body(self._request.method, self._status, self._headers, self._limits)
            self._state = "BODY"
        elif isinstance(event, events.DataReceived) and self._body is not None:
            self._body.feed(event.data or b"")
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, _STREAM)
        elif isinstance(event, events.StreamEnded):
            if self._body is None:
                raise TargetError("http", "the answer has no head")
            self.response = WebResponse("HTTP/2", self._status, "", self._headers, self._body.end())
            self._body, self._state = None, "DONE"
        elif isinstance(event, events.StreamReset | events.ConnectionTerminated):
            raise TargetError("http", "the site broke the answer off")


def _settings(limits: FetchLimits) -> dict[settings.SettingCodes, int]:
    codes = settings.SettingCodes
    return {
        codes.HEADER_TABLE_SIZE: 4096,
        codes.ENABLE_PUSH: 0,
        codes.INITIAL_WINDOW_SIZE: _WINDOW,
        codes.MAX_FRAME_SIZE: frames.LONGEST,
        codes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
    }


def _status(headers: object) -> int:
    values = [bytes(value) for name, value in headers if bytes(name) == b":status"]  # type: ignore[attr-defined]
    if len(values) != 1 or len(values[0]) != 3 or not values[0].isdigit():
        raise TargetError("http", "the answer has no status")
    return int(values[0])
