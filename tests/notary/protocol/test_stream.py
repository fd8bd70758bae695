"""The upgrade and what carries the inner TLS after it: WebSocket messages or the raw connection, cut anywhere."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from pluto_notary.errors import PeerError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.stream import TcpStream, WebSocketStream
from pluto_notary.protocol.upgrade import Upgrade, Upgrading, accept_of

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
TCP = [(b"connection", b"Upgrade"), (b"upgrade", b"TCP")]
WEBSOCKET = [
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"WebSocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
    (b"origin", b"https://app.example"),
]
UUID = "123E4567-e89b-12d3-a456-426614174000"


class Client:
    """Frames as a client makes them."""

    def __init__(self) -> None:
        self._frames = FrameProtocol(client=True, extensions=[])

    def binary(self, data: bytes, *, fin: bool = True) -> bytes:
        return bytes(self._frames.send_data(data, fin=fin))

    def text(self, data: str) -> bytes:
        return bytes(self._frames.send_data(data))

    def ping(self, data: bytes) -> bytes:
        return bytes(self._frames.ping(data))

    def close(self) -> bytes:
        return bytes(self._frames.close(CloseReason.NORMAL_CLOSURE))


def server(takes: int = 1 << 20) -> WebSocketStream:
    return WebSocketStream(server=True, takes=takes)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 50), max_size=60),
)
def test_fragments_pings_and_cuts_change_nothing(parts: list[bytes], fragmented: bool, sizes: list[int]) -> None:
    client, wire = Client(), b""
    for number, part in enumerate(parts):
        wire += client.binary(part, fin=not fragmented or number == len(parts) - 1) + client.ping(bytes([number]))
    wire += client.close() + b"discarded"
    stream, got, replies = server(), b"", b""
    for size in [*sizes, 1 << 20]:
        got += stream.feed(wire[:size])
        replies += stream.replies()
        wire = wire[size:]
    assert got == b"".join(parts)
    assert stream.ended
    pongs = b"".join(bytes([0x8A, 1, number]) for number in range(len(parts)))
    assert replies == pongs + bytes([0x88, 2]) + (1000).to_bytes(2, "big")
    assert stream.close() == b""


def test_both_sides_understand_each_other() -> None:
    one, two = WebSocketStream(server=False, takes=1 << 20), server()
    assert two.feed(one.send(b"question")) == b"question"
    assert one.feed(two.send(b"answer")) == b"answer"
    assert one.send(b"") == b""
    closing = one.close()
    assert two.feed(closing) == b""
    assert one.feed(two.replies()) == b""
    assert one.ended
    assert two.ended
    assert one.send(b"late") == two.send(b"late") == b""


def masked(head: int, payload: bytes) -> bytes:
    return bytes([head, 0x80 | len(payload)]) + bytes(4) + payload


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(Client().text("words"), 1003, id="text"),  # masked at random
        (bytes([0x82, 4]) + b"bare", 1002),  # not masked
        (masked(0xC2, b"data"), 1002),  # compressed, which nobody agreed on
        (masked(0x83, b"data"), 1002),  # a reserved opcode
        (masked(0x80, b"data"), 1002),  # the rest of nothing
        (masked(0x09, b"ping"), 1002),  # a fragment of a control frame
        (masked(0x88, b"\x00"), 1002),  # a close with half a code
        (bytes([0x82, 0xFF]) + b"\xff" * 8 + bytes(4), 1002),  # 2**64 - 1 bytes
        (bytes([0x82, 0xFE, 0, 4]) + bytes(4) + b"data", 1002),  # a length longer than it need be
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_frames_that_are_refused(wire: bytes, code: int, step: int) -> None:
    stream = server()
    with pytest.raises(ChannelError, match="frame"):
        for at in range(0, len(wire), step):
            assert stream.feed(wire[at : at + step]) == b""
    assert stream.replies() == bytes([0x88, 2]) + code.to_bytes(2, "big")
    with pytest.raises(ChannelError):
        stream.feed(Client().binary(b"more"))
    assert stream.send(b"more") == stream.close() == stream.replies() == b""


def test_a_frame_may_announce_much_and_holds_nothing() -> None:
    stream = server(takes=1000)
    assert stream.feed(bytes([0x82, 0xFF]) + (1 << 62).to_bytes(8, "big") + bytes(4) + b"abc") == b"abc"
    with pytest.raises(ChannelError, match="size"):
        for _ in range(100):
            assert len(stream.feed(b"x" * 100)) == 100
    assert stream.replies()[2:] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize(
    "frame", [masked(0x89, b""), masked(0x8A, b"pong"), masked(0x82, b""), masked(0x89, b"x" * 125)]
)
def test_frames_that_carry_nothing_have_an_end(frame: bytes) -> None:
    stream = server(takes=1 << 30)
    with pytest.raises(ChannelError, match="carry nothing"):
        for _ in range(20000):
            stream.feed(frame)
            stream.replies()


def test_tcp_is_the_wire_itself() -> None:
    stream = TcpStream(takes=10)
    assert stream.feed(b"12345") == b"12345"
    assert stream.send(b"out") == b"out"
    assert stream.replies() == stream.close() == b""
    with pytest.raises(ChannelError, match="size"):
        stream.feed(b"678901")


def test_requests_that_are_granted() -> None:
    plain = Upgrade.parse("/v1/tee", TCP)
    assert (plain.protocol, plain.target_host, plain.target_port) == ("tcp", None, None)
    assert plain.head() == b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: tcp\r\n\r\n"
    full = Upgrade.parse(f"/v1/tee?session_id={UUID}&target_host=API.example&target_port=443", WEBSOCKET)
    assert (full.protocol, full.target_host, full.target_port) == ("websocket", "api.example", 443)
    assert accept_of(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
    assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in full.head()
    assert b"extensions" not in full.head()
    plain.must_name("anything.example", 443)
    full.must_name("api.example", 443)
    for host, port in (("other.example", 443), ("api.example", 8443)):
        with pytest.raises(ChannelError) as caught:
            full.must_name(host, port)
        assert caught.value.code == "target"


@pytest.mark.parametrize(
    "query",
    [
        "session_id=1", "session_id=", f"session_id={UUID}&session_id={UUID}", "target_host=a%2eb", "x=1",
        "target_host=", "target_port=0", "target_port=65536",
        "target_port=0443", "target_port=-1", "target_host=a&", "target_port=٤",
    ],
)  # fmt: skip
def test_queries_that_are_refused(query: str) -> None:
    with pytest.raises(PeerError) as caught:
        Upgrade.parse(f"/v1/tee?{query}", TCP)
    assert (caught.value.status, caught.value.code) == (400, "query")


def without(name: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [header for header in WEBSOCKET if header[0] != name] + list(more)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        (without(b"upgrade"), 400),
        (without(b"connection"), 400),
        (without(b"upgrade", (b"upgrade", b"h2c")), 400),
        (without(b"upgrade", (b"upgrade", b"websocket, tcp")), 400),
        ([*WEBSOCKET, (b"upgrade", b"tcp")], 400),
        (without(b"connection", (b"connection", b"close")), 400),
        (without(b"sec-websocket-key"), 400),
        (without(b"sec-websocket-key", (b"sec-websocket-key", b"c2hvcnQ=")), 400),
        ([*WEBSOCKET, (b"sec-websocket-key", KEY)], 400),
        (without(b"sec-websocket-version"), 426),
        (without(b"sec-websocket-version", (b"sec-websocket-version", b"8")), 426),
    ],
)
def test_headers_that_are_refused(headers: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(PeerError) as caught:
        Upgrade.parse("/v1/tee", headers)
    assert (caught.value.status, caught.value.code) == (status, "http")


def test_another_path_is_not_upgraded() -> None:
    with pytest.raises(PeerError) as caught:
        Upgrade.parse("/v1/teee", TCP)
    assert caught.value.status == 404


def granted(protocol: str) -> tuple[Upgrading, bytes]:
    """A client that asked, and what the notary answers."""
    client, notary = Upgrading(protocol=protocol, authority="n.example", random=bytes(16)), h11.Connection(h11.SERVER)
    notary.receive_data(client.start())
    request = notary.next_event()
    assert isinstance(request, h11.Request)
    return client, Upgrade.parse(request.target.decode(), list(request.headers)).head()


@pytest.mark.parametrize("protocol", ["websocket", "tcp"])
@pytest.mark.parametrize("step", [1, 1000])
def test_a_client_takes_the_stream_wherever_the_answer_is_cut(protocol: str, step: int) -> None:
    client, answer = granted(protocol)
    wire = answer + (b"\x82\x02ab" if protocol == "websocket" else b"ab")
    got, stream = b"", None
    for at in range(0, len(wire), step):
        piece = wire[at : at + step]
        if stream is None and (taken := client.feed(piece)) is not None:
            stream, piece = taken
        if stream is not None:
            got += stream.feed(piece)
    assert got == b"ab"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"101 Switching", b"200 Switching"),
        (b"upgrade: websocket", b"upgrade: tcp"),
        (b"accept: ", b"accept: x"),
        (b"\r\n\r\n", b"\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nsec-websocket-protocol: chat\r\n\r\n"),
        (b"HTTP/1.1 101", b"SMTP"),
    ],
)
def test_answers_that_a_client_refuses(old: bytes, new: bytes) -> None:
    client, answer = granted("websocket")
    with pytest.raises(ChannelError) as caught:
        client.feed(answer.replace(old, new))
    assert caught.value.code == "http"
    assert client.status == (200 if b"200" in new else None)


def test_a_client_whose_connection_ends_early() -> None:
    client, _ = granted("tcp")
    with pytest.raises(ChannelError, match="http"):
        client.feed(b"")


def test_opcodes_here_are_those_of_the_library() -> None:
    assert (Opcode.BINARY, Opcode.PING, Opcode.CLOSE) == (2, 9, 8)
