"""HTTP/2 answers without a socket: any cut gives the same value; floods, truncations and contradictions are errors."""

from __future__ import annotations

import contextlib
import gzip

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.fetch import frames
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http2 import Http2Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.web import WebRequest, WebResponse
from simulators.notary.sites import frame, headers_frame

LIMITS = FetchLimits(head_bytes=4096, headers=32, body_bytes=100_000, pieces=100)
GET = WebRequest("GET", "site.example", 443, "/", (), b"")
SETTINGS = frame(frames.SETTINGS)
OK = (":status", "200")
HEAD = headers_frame(OK)
END = 1


def data(payload: bytes, flags: int = 0) -> bytes:
    return frame(frames.DATA, flags, 1, payload)


def padded(payload: bytes, padding: int, flags: int = 0) -> bytes:
    return data(bytes([padding]) + payload + bytes(padding), 8 | flags)


BODY = HEAD + data(b"hello", END)
ANSWERS = {
    "one frame": SETTINGS + BODY,
    "two frames": SETTINGS + HEAD + data(b"he") + data(b"llo") + data(b"", END),
    "length": SETTINGS + headers_frame(OK, ("content-length", "5")) + data(b"hello", END),
    "padding": SETTINGS + HEAD + padded(b"hel", 200) + padded(b"lo", 0, END),
    "trailers": SETTINGS + HEAD + data(b"hello") + headers_frame(("x-sum", "1"), end=True),
    "continuation": SETTINGS + HEAD[:3] + b"\x01\x00" + HEAD[5:] + frame(9, 4, 1) + data(b"hello", END),
    "interim": SETTINGS + headers_frame((":status", "103"), ("link", "x")) + BODY,
    "ping and more": SETTINGS + frame(6, 0, 0, bytes(8)) + frame(99, 7, 0, b"?") + frame(2, 0, 1, bytes(5)) + BODY,
    "farewell": SETTINGS + frame(7, 0, 0, (1).to_bytes(4, "big") + bytes(4)) + BODY,
    "gzip": SETTINGS
    + headers_frame(OK, ("content-encoding", "gzip"))
    + data(gzip.compress(b"hello", mtime=0), END),
}  # fmt: skip


def answered(
    stream: bytes, cuts: tuple[int, ...] | list[int] = (), method: str = "GET", limits: FetchLimits = LIMITS
) -> WebResponse:
    session = Http2Session(prepared(replace(GET, method=method), limits), limits)
    session.start()
    places = sorted({min(cut, len(stream)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        session.feed(stream[start:end])
    session.end()
    assert session.response is not None
    return session.response


def test_an_answer_is_read() -> None:
    stream = SETTINGS + headers_frame(OK, ("x", "a"), ("x", "b")) + data(b"hello", END)
    assert answered(stream) == WebResponse("HTTP/2", 200, "", (("x", "a"), ("x", "b")), b"hello")
    assert {answered(each).body for each in ANSWERS.values()} == {b"hello"}
    assert answered(SETTINGS + headers_frame((":status", "204"), end=True)).body == b""
    told = headers_frame(OK, ("content-length", "5"), end=True)
    assert answered(SETTINGS + told, method="HEAD").body == b""


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_answer(kind: str, cuts: list[int]) -> None:
    assert answered(ANSWERS[kind], cuts) == answered(ANSWERS[kind])


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_every_truncation_is_an_error(kind: str) -> None:
    stream = ANSWERS[kind]
    for size in range(len(stream)):
        with pytest.raises(TargetError, match="http"):
            answered(stream[:size])


@given(st.sampled_from(sorted(ANSWERS)), st.binary(max_size=20), st.booleans())
def test_bytes_after_the_answer_change_nothing(kind: str, more: bytes, apart: bool) -> None:
    stream = ANSWERS[kind]
    assert answered(stream + more, [len(stream)] if apart else []) == answered(stream)


PING = frame(6, 0, 0, bytes(8))
LIES = {
    "a ping flood": PING * 17 + BODY,
    "a settings flood": frame(4, 0, 0, b"\0\3\0\0\0\1") * 17 + BODY,
    "a window flood": frame(8, 0, 0, b"\0\0\0\1") * 4097 + BODY,
    "a priority flood": frame(2, 0, 1, bytes(5)) * 17 + BODY,
    "a flood of unknown frames": frame(77) * 65 + BODY,
    "a continuation flood": frame(1, 0, 1, b"") + frame(9, 0, 1, b"") * 9 + BODY,
    "an empty data flood": HEAD + data(b"") * 101 + data(b"hello", END),
    "a padding flood": HEAD + padded(b"", 255) * 101 + data(b"hello", END),
    "a flood of interim answers": headers_frame((":status", "100")) * 9 + BODY,
    "a long frame": (16385).to_bytes(3, "big") + bytes([0, 0, 0, 0, 0, 1]) + bytes(16385),
    "a push": frame(5, 4, 1, b"\0\0\0\2" + b"\x88") + BODY,
    "a reset": HEAD + frame(3, 0, 1, (8).to_bytes(4, "big")),
    "a reset without an error": HEAD + data(b"hel") + frame(3, 0, 1, bytes(4)),
    "a farewell that leaves us out": frame(7, 0, 0, bytes(8)) + BODY,
    "a farewell with an error": frame(7, 0, 0, (1).to_bytes(4, "big") + (2).to_bytes(4, "big")) + BODY,
    "a farewell on a stream": frame(7, 0, 1, (1).to_bytes(4, "big") + bytes(4)) + BODY,
    "a short farewell": frame(7, 0, 0, bytes(3)) + BODY,
    "data before the head": data(b"hello", END),
    "data on another stream": HEAD + frame(0, 1, 3, b"hello"),
    "data on no stream": HEAD + frame(0, 1, 0, b"hello"),
    "a second answer": headers_frame(OK) + headers_frame(OK, end=True),
    "more than its length": headers_frame(OK, ("content-length", "4")) + data(b"hello", END),
    "less than its length": headers_frame(OK, ("content-length", "6")) + data(b"hello", END),
    "two lengths": headers_frame(OK, ("content-length", "5"), ("content-length", "6")) + data(b"hello", END),
    "one length twice": headers_frame(OK, ("content-length", "5"), ("content-length", "5")) + data(b"hello", END),
    "a length that is none": headers_frame(OK, ("content-length", "five")) + data(b"hello", END),
    "no status": headers_frame(("x", "y")) + data(b"hello", END),
    "two statuses": headers_frame(OK, (":status", "201")) + data(b"hello", END),
    "a status of letters": headers_frame((":status", "2o0")) + data(b"hello", END),
    "a long status": headers_frame((":status", "2000")) + data(b"hello", END),
    "switched protocols": headers_frame((":status", "101")) + BODY,
    "a status after a header": headers_frame(("x", "y"), OK) + data(b"hello", END),
    "a pseudo-header of requests": headers_frame(OK, (":path", "/")) + data(b"hello", END),
    "a header of the connection": headers_frame(OK, ("connection", "close")) + data(b"hello", END),
    "a transfer coding": headers_frame(OK, ("transfer-encoding", "chunked")) + data(b"hello", END),
    "a name in capitals": headers_frame(OK, ("X-Up", "1")) + data(b"hello", END),
    "a line within a value": headers_frame(OK, ("x", "a\r\nb: c")) + data(b"hello", END),
    "a zero byte within a value": headers_frame(OK, ("x", "a\0")) + data(b"hello", END),
    "an empty name": headers_frame(OK, ("", "1")) + data(b"hello", END),
    "headers that do not decompress": frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"),
    "an index that is not there": frame(1, 5, 1, b"\xfe"),
    "padding longer than the frame": HEAD + data(b"\xffhello", 8 | END),
    "a window of nothing": HEAD + frame(8, 0, 1, bytes(4)) + data(b"hello", END),
    "a window that overflows": HEAD + frame(8, 0, 1, b"\x7f\xff\xff\xff") * 2 + data(b"hello", END),
    "settings that are none": frame(4, 0, 0, b"\0\5\0\0\0\1") + BODY,
    "settings of a wrong length": frame(4, 0, 0, b"\0\5") + BODY,
    "headers cut by another frame": frame(1, 0, 1, b"") + PING + BODY,
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a coding that is not there": headers_frame(OK, ("content-encoding", "br")) + data(b"hello", END),
}  # fmt: skip


@pytest.mark.parametrize("lie", sorted(LIES))
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_lie_is_an_error_and_final(lie: str, bytewise: bool) -> None:
    session = Http2Session(prepared(GET, LIMITS), LIMITS)
    session.start()
    stream = SETTINGS + LIES[lie]
    with pytest.raises(TargetError, match=r"\(http\)"):
        for at in range(0, len(stream), 1 if bytewise else len(stream)):
            session.feed(stream[at : at + 1] if bytewise else stream)
        session.end()
    for again in (lambda: session.feed(SETTINGS + BODY), session.end, session.start):
        with pytest.raises(TargetError, match="http"):
            again()
    assert session.response is None


SIZES = {
    "too many headers": headers_frame(OK, *[("x", "y")] * 33),
    "headers that are too large": headers_frame(OK, *[(f"x{n}", "y" * 150) for n in range(30)]),
    "a body that says it is too large": headers_frame(OK, ("content-length", "100001")),
    "a body that is too large": HEAD + data(bytes(16384)) * 7,
}


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_weakness_16_too_much_of_anything_is_an_error(kind: str) -> None:
    with pytest.raises(TargetError, match=r"\((size|http)\)"):
        answered(SETTINGS + SIZES[kind])


def test_weakness_16_a_header_bomb_is_met_by_the_tables_bound() -> None:
    # One long header put into the table, then named by an index as often as a frame takes: 16 KiB make 60 MB.
    bomb = b"\x88\x40\x01x\x7f\xe1\x1e" + b"a" * 4000 + b"\xbe" * 12000
    with pytest.raises(TargetError, match=r"\(http\)"):
        answered(SETTINGS + frame(1, 5, 1, bomb))


def served(body: bytes, window: int, *, reply: bytes = b"hello") -> tuple[bytes, WebResponse]:
    """What a server by h2 reads of a request with this body, and what we read of its answer."""
    session = Http2Session(prepared(replace(GET, method="POST", body=body), FetchLimits()), FetchLimits())
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.local_settings.initial_window_size = window
    server.initiate_connection()
    ours, seen, heads = session.start(), b"", []
    for _ in range(2000):
        session.feed(server.data_to_send())
        for event in server.receive_data(ours):
            if isinstance(event, RequestReceived):
                heads = list(event.headers or ())
            if isinstance(event, DataReceived):
                seen += event.data or b""
                server.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            if isinstance(event, StreamEnded):
                server.send_headers(1, [(":status", "200")])
                server.send_data(1, reply, end_stream=True)
        ours = session.feed(server.data_to_send())
        if session.response is not None:
            break
    assert dict(heads)[b":authority"] == b"site.example"
    assert b"host" not in dict(heads)
    assert session.response is not None
    return seen, session.response


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 300_000])
@pytest.mark.parametrize("window", [65535, 1000])
def test_a_body_goes_out_within_the_sites_windows(size: int, window: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    seen, response = served(body[:size], window)
    assert seen == body[:size]
    assert response.body == b"hello"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_an_answer_or_refused(stream: bytes, cut: int) -> None:
    with contextlib.suppress(TargetError):
        answered(SETTINGS + stream, [cut])
