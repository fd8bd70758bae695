"""Any bytes behind an upgrade are bytes of the stream, in any cut the same, or a ChannelError; so is any inner TLS."""

from __future__ import annotations

from collections.abc import Callable

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.legacy import MAGIC, LegacyOpening, LegacyPeer
from pluto_notary.protocol.stream import WebSocketStream
from simulators.notary.channel import notary_context
from simulators.notary.channel_examples import examples


def seeds() -> list[bytes]:
    client = InnerTls(client_context(), server=False)
    hello = client.data_to_send()
    frames = WebSocketStream(server=False, takes=1 << 20)
    wire = frames.send(hello) + b"\x89\x80\0\0\0\0" + frames.send(b"x" * 200) + frames.close()
    token = bytes.fromhex(examples()["legacy"].split()[-1])
    return [hello, wire, token, b"TEETLS", b"\x01\x03\x00\x00\x00\x00ab\x80\x82\x00\x00\x00\x00cd"]


def target(data: bytes) -> None:
    assert stream([data]) == stream([data[at : at + 1] for at in range(len(data))])
    for inner in (InnerTls(notary_context(), server=True), InnerTls(client_context(), server=False)):
        assert code_of(lambda inner=inner: inner.feed(data)) in ("", "tls", "unsupported")  # type: ignore[misc]
        inner.data_to_send()
        assert not inner.established
        assert inner.read() == b""
    opening, peer = LegacyOpening(confidential_space=True), LegacyPeer()
    assert code_of(lambda: opening.feed(data)) in ("", "order", "unsupported")
    assert opening.wanted == (data == MAGIC)
    assert code_of(lambda: peer.feed(data)) in ("", "size")
    assert code_of(peer.next_message) in ("", "order", "size", "version", "json")


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except ChannelError as error:
        return error.code
    return ""


def stream(pieces: list[bytes]) -> bytes | str:
    """The bytes of the stream, or the code of the error."""
    one, got = WebSocketStream(server=True, takes=1 << 20), b""
    try:
        for piece in pieces:
            got += one.feed(piece)
            one.replies()
    except ChannelError as error:
        return error.code
    return got
