"""The HTTP/1.1 exchanges of one connection, out of all that was said in both directions. Pure.

    client = request*                     one for each answer
    site   = (interim* answer)*           in the order of the requests

Both streams are here whole, so nothing is read piece by piece, and each byte belongs to an exchange or all is refused.
A proof says which answer was given to which request. A client that wants another pairing would send what this reader
and the site take apart in two ways; so there is one form of everything (RFC 9112, sections 2.2, 3.2, 5, 6.3, 7.1,
9.6, 11), and requests are held stricter than answers:

- lines end in CR LF, none is folded, a name is a token with its colon, values have no control characters;
- a request has one Host, which is the site's; its target is a path, or the URL in full; its length is a number;
- no other message follows one after which the connection ends, nor a request whose body a site may pass over (RFC 9110,
  section 9.3: content of GET, HEAD, DELETE and OPTIONS has no meaning);
- an answer has one length at most: a number, chunked, or the end of the connection, which the site must have said.

Only the answer that is wanted is decoded (`decoded`): what else the client asked for costs no more than its bytes.
"""

from __future__ import annotations

import re

from pluto_measure.record import record, replace
from pluto_notary.fetch.decode import Body, codings
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.head import BODILESS
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import TOKEN
from pluto_notary.observe.errors import ObserveError
from pluto_notary.web import Headers, WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

MOST_EXCHANGES: Final = 64
# Of a connection that another reader might understand otherwise, or leave.
REFUSED_HEADERS: Final = frozenset(
    (
        *("expect", "http2-settings", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("content_length", "transfer_encoding"),  # which some servers take for the others
        # A site that takes them answers another method than was asked: HEAD's answer has a length and no body.
        *("x-http-method", "x-http-method-override", "x-method-override"),
    )
)
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,32}) ([!-\"$-~]+) HTTP/1\.1")
_STATUS_LINE: Final = re.compile(rb"(HTTP/1\.[01]) ([1-5][0-9]{2})(?: (.*))?", re.DOTALL)
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_METHODS_REFUSED: Final = ("CONNECT", "TRACE")
_METHODS_WITH_BODY: Final = ("PATCH", "POST", "PUT")
_CHUNK_LINE_BYTES: Final = 1024
_PIECE: Final = 64 * 1024  # of a body, that is decoded at once


@record
class Answer:
    """One answer, its transfer coding taken off. `coded`: its body; None where its request and status allow none."""

    version: str
    status: int
    reason: str
    headers: Headers
    coded: bytes | None

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.coded or b'')} bytes)"


def exchanges(
    client: bytes, site: bytes, *, host: str, port: int, closed: bool, limits: FetchLimits
) -> tuple[tuple[WebRequest, Answer], ...]:
    """All of them, in their order. `closed`: the site said that no more will come. Raises ObserveError (http, size).

    Requests are as they were sent, but for the form of their target and `host`, which is not among their headers.
    """
    requests, answers = _Stream(client, "request", limits), _Stream(site, "answer", limits)
    found: list[tuple[WebRequest, Answer]] = []
    last = False
    while not requests.over:
        if last:
            raise _wrong("a request follows one after which none can come")
        if len(found) == MOST_EXCHANGES:
            raise ObserveError("size", "there are too many requests on one connection")
        request = _request(requests, host, port)
        answer, ends = _answer(answers, request.method, closed)
        last = ends or "close" in _tokens(request.headers) or _ignorable(request)
        found.append((request, answer))
    if not answers.over:
        raise _wrong("the site sent what belongs to no request")
    return tuple(found)


def decoded(answer: Answer, limits: FetchLimits) -> WebResponse:
    """The answer with all its codings taken off. Raises ObserveError (http, size)."""
    content = answer.coded or b""
    try:
        body = Body(() if answer.coded is None else codings(answer.headers), limits)
        for at in range(0, len(content), _PIECE):
            body.feed(content[at : at + _PIECE])
        plain = body.end()
    except TargetError as error:
        raise ObserveError(error.code, error.problem) from error
    return WebResponse(answer.version, answer.status, answer.reason, answer.headers, plain)


class _Stream:
    """A cursor over one direction. Raises ObserveError (http, size)."""

    def __init__(self, data: bytes, what: str, limits: FetchLimits) -> None:
        self._data, self._at, self.what, self.limits = data, 0, what, limits
        self.pieces = self.carried = 0  # chunks so far, and the bytes that came in them

    @property
    def over(self) -> bool:
        return self._at == len(self._data)

    def head(self, room: int) -> tuple[bytes, Headers, int]:
        """First line and fields of a message, and its size."""
        end = self._data.find(b"\r\n\r\n", self._at, self._at + room)
        if end < 0:
            raise self.short(len(self._data) - self._at >= room)
        start, head = self._at, self._data[self._at : end]
        self._at = end + 4
        first, *lines = head.split(b"\r\n")
        return first, self.fields(first, lines), self._at - start

    def fields(self, first: bytes, lines: list[bytes]) -> Headers:
        """Names in lower case, values as Latin-1."""
        if len(lines) > self.limits.headers:
            raise ObserveError("size", f"the {self.what} has too many headers")
        if _CONTROL.search(b"".join((first, *lines))):
            raise _wrong(f"the {self.what} has control characters in its head")
        found = []
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            if not (name and colon and TOKEN.issuperset(name.lower())):
                raise _wrong(f"the {self.what} has a line that is no header")
            found.append((name.lower(), value.strip(" \t")))
        return tuple(found)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > len(self._data) - self._at:
            raise self.short(too_large=False)
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def line(self) -> bytes:
        """The next line of a chunked body, without its end."""
        end = self._data.find(b"\r\n", self._at, self._at + _CHUNK_LINE_BYTES)
        if end < 0:
            raise self.short(len(self._data) - self._at >= _CHUNK_LINE_BYTES)
        return self.take(end + 2 - self._at)[:-2]

    def short(self, too_large: bool) -> ObserveError:
        """What is said of a line or a body whose end is not there."""
        if too_large:
            return ObserveError("size", f"the {self.what}'s head is too large")
        return _wrong(f"the {self.what} ends before it is whole")


def _request(stream: _Stream, host: str, port: int) -> WebRequest:
    first, headers, _ = stream.head(stream.limits.head_bytes)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or line[1].decode() in _METHODS_REFUSED:
        raise _wrong("a request does not begin as one of HTTP/1.1 that is read here")
    asked = WebRequest(line[1].decode(), host, port, line[2].decode(), headers, b"")
    if [value.lower() for name, value in headers if name == "host"] != [asked.authority]:
        raise _wrong("a request is not for the host, once")
    if any(name in REFUSED_HEADERS for name, _ in headers) or not _tokens(headers) <= {"close", "keep-alive"}:
        raise _wrong("a request has a header that changes the connection")
    size = _length(headers, "request") or 0
    if size > stream.limits.request_bytes:
        raise ObserveError("size", "a request's body is too large")
    kept = tuple(header for header in headers if header[0] != "host")
    return replace(asked, target=_target(asked, stream.limits), headers=kept, body=stream.take(size))


def _target(request: WebRequest, limits: FetchLimits) -> str:
    """Path and query, of which the request may have told the whole URL."""
    target = request.target
    if not target.startswith("/"):
        origin = f"https://{request.authority}"
        target, matches = target.removeprefix(origin), target.startswith(origin)
        if not matches or not target.startswith(("/", "?")):
            raise _wrong("a request's target does not belong to the host")
        target = target if target.startswith("/") else f"/{target}"
    if len(target) > limits.target_bytes:
        raise ObserveError("size", "a request's target is too long")
    return target


def _answer(stream: _Stream, method: str, closed: bool) -> tuple[Answer, bool]:
    """The next answer, and whether it is the connection's last."""
    limits = stream.limits
    room, interim = limits.head_bytes, 0
    while True:
        first, headers, size = stream.head(room)
        room -= size
        line = _STATUS_LINE.fullmatch(first)
        if line is None:
            raise _wrong("the answer is not HTTP/1.1")
        status, framed = int(line[2]), _transfers(headers) or _length(headers, "answer") is not None
        if status >= 200:
            break
        interim += 1
        if status == 101 or interim > limits.interim or framed:
            raise _wrong("the site sends interim answers that nobody asked for")
    version, reason = line[1].decode(), (line[3] or b"").decode("latin-1")
    coded, ends = _content(stream, method, status, headers, closed)
    if _transfers(headers) and version == "HTTP/1.0":
        raise _wrong("the answer has a coding that its version does not have")
    ends = ends or version == "HTTP/1.0" or "close" in _tokens(headers)
    return Answer(version, status, reason, headers, coded), ends


def _content(stream: _Stream, method: str, status: int, headers: Headers, closed: bool) -> tuple[bytes | None, bool]:
    """An answer's body, None where there can be none, and whether it ends with the connection. RFC 9112, 6.3."""
    transfers, length = _transfers(headers), _length(headers, "answer")
    if length is not None and length > stream.limits.body_bytes:
        raise ObserveError("size", "the answer's body is too large")
    if status == 204 and (transfers or length):
        raise _wrong("the answer has a length that its status does not have")
    if method == "HEAD" or status in (204, 304):
        return None, False
    if transfers:
        coded, ends = _chunks(stream), False
    elif length is not None:
        coded, ends = stream.take(length), False
    elif closed:
        coded, ends = stream.rest(), True
    else:
        raise _wrong("the answer ends with a connection whose end the site did not say")
    if status in BODILESS and coded:
        raise _wrong("the answer has a body that its status does not have")
    return (None if status in BODILESS else coded), ends


def _chunks(stream: _Stream) -> bytes:
    """A chunked body; what stands after it is read, and left out as `fetch` leaves it out."""
    found, size, limits = [], 0, stream.limits
    while True:
        line = stream.line()
        head = _CHUNK_LINE.fullmatch(line)
        if head is None or _CONTROL.search(line):
            raise _wrong("the answer's body is not chunked as it says")
        if not (length := int(head[1], 16)):
            break
        size += length
        if size > limits.body_bytes:
            raise ObserveError("size", "the answer's body is too large")
        found.append(stream.take(length))
        if stream.take(2) != b"\r\n":
            raise _wrong("the answer's body is not chunked as it says")
        stream.pieces, stream.carried = stream.pieces + 1, stream.carried + length
        if stream.pieces > limits.pieces_for(stream.carried):
            raise _wrong("the answers' bodies come in too many pieces")
    trailers: list[bytes] = []
    while len(trailers) <= limits.headers and (line := stream.line()):
        trailers.append(line)
    stream.fields(b"", trailers)
    return b"".join(found)


def _transfers(headers: Headers) -> bool:
    """Whether the answer is chunked, which is the one coding for the transfer that there is."""
    transfers = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if transfers not in ([], ["chunked"]) or (transfers and any(name == "content-length" for name, _ in headers)):
        raise _wrong("the answer does not say one length")
    return bool(transfers)


def _length(headers: Headers, what: str) -> int | None:
    lengths = [value for name, value in headers if name == "content-length"]
    if len(lengths) > 1 or not all(value.isascii() and value.isdigit() and len(value) < 20 for value in lengths):
        raise _wrong(f"the {what} does not say one length")
    return int(lengths[0]) if lengths else None


def _tokens(headers: Headers) -> set[str]:
    """What is said of the connection."""
    values = ",".join(value for name, value in headers if name == "connection").lower()
    return {token for item in values.split(",") if (token := item.strip(" \t"))}


def _ignorable(request: WebRequest) -> bool:
    """Whether a site may take the body for the next request."""
    return bool(request.body) and request.method not in _METHODS_WITH_BODY


def _wrong(problem: str) -> ObserveError:
    return ObserveError("http", problem)
