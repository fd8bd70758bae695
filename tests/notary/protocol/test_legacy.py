"""The opening of version 1: on Confidential Space a token and then a session as any other; elsewhere an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.legacy import LARGEST_TOKEN, LegacyOpening, LegacyPeer, token_nonce
from pluto_notary.protocol.messages import Error

MAGIC = bytes.fromhex("54454554 4c53")
TOKEN = b"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
HEAD = bytes.fromhex("0001") + len(TOKEN).to_bytes(4, "big")


def opening(*, confidential_space: bool = True) -> LegacyOpening:
    return LegacyOpening(confidential_space=confidential_space)


@given(st.sets(st.integers(1, 5)))
def test_the_magic_is_found_however_it_is_cut(cuts: set[int]) -> None:
    gate, at = opening(), 0
    for end in [*sorted(cuts), 6]:
        assert not gate.wanted
        gate.feed(b"")
        gate.feed(MAGIC[at:end])
        at = end
    assert gate.wanted
    assert gate.send_token(TOKEN) == HEAD + TOKEN
    assert gate.open
    assert not gate.wanted
    with pytest.raises(RuntimeError):
        gate.send_token(TOKEN)


def test_the_nonce_is_the_keying_material() -> None:
    assert token_nonce(b"\xab" * 32) == "ab" * 32


def test_elsewhere_it_is_refused_with_an_error_frame() -> None:
    gate = opening(confidential_space=False)
    gate.feed(MAGIC[:5])
    with pytest.raises(ChannelError) as caught:
        gate.feed(MAGIC[5:])
    assert caught.value.code == "unsupported"
    assert not gate.wanted
    assert gate.refuse(caught.value) == encode(Error.of(caught.value))
    assert gate.refuse(caught.value) == b""
    with pytest.raises(ChannelError):
        gate.feed(b"")
    with pytest.raises(RuntimeError):
        gate.send_token(TOKEN)


@pytest.mark.parametrize("data", [b"\x01\x00\x00", b"teetls", b"TEETLx", b"T\x00", b"\x00"])
@pytest.mark.parametrize("confidential_space", [True, False])
def test_anything_but_the_magic_is_refused_at_its_first_wrong_byte(data: bytes, confidential_space: bool) -> None:
    gate = opening(confidential_space=confidential_space)
    with pytest.raises(ChannelError) as caught:
        gate.feed(data)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("pieces", [[MAGIC + b"\x01"], [MAGIC, b"\x01"]])
def test_a_client_must_wait_for_the_token(pieces: list[bytes]) -> None:
    gate = opening()
    with pytest.raises(ChannelError) as caught:
        for piece in pieces:
            gate.feed(piece)
    assert caught.value.code == "order"


def test_a_provider_that_fails_is_told_to_the_client() -> None:
    gate = opening()
    gate.feed(MAGIC)
    assert gate.refuse(ChannelError("evidence", "there is no token now")) == encode(
        Error("evidence", "there is no token now")
    )
    with pytest.raises(RuntimeError):
        gate.send_token(TOKEN)


@pytest.mark.parametrize("token", [b"", bytes(LARGEST_TOKEN + 1)])
def test_what_is_no_token_is_not_sent(token: bytes) -> None:
    gate = opening()
    gate.feed(MAGIC)
    with pytest.raises(RuntimeError):
        gate.send_token(token)


def test_behind_the_opening_the_session_speaks() -> None:
    gate = opening()
    gate.feed(MAGIC)
    gate.send_token(TOKEN)
    with pytest.raises(RuntimeError):
        gate.feed(b"\x01")
    with pytest.raises(RuntimeError):
        gate.refuse(ChannelError("busy", ""))


def told(data: bytes, step: int) -> bytes | Error | None:
    peer, found = LegacyPeer(), None
    assert peer.start() == MAGIC
    for at in range(0, len(data), step):
        peer.feed(data[at : at + step])
        found = peer.next_message() or found
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
def test_a_client_takes_a_token_or_an_error(step: int) -> None:
    assert told(HEAD + TOKEN, step) == TOKEN
    assert told((HEAD + TOKEN)[:-1], step) is None
    assert told(bytes.fromhex("0001") + LARGEST_TOKEN.to_bytes(4, "big") + bytes(LARGEST_TOKEN), max(step, 4096))
    assert told(encode(Error("unsupported", "not here")), step) == Error("unsupported", "not here")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\x02", "version"),
        (b"\x01\x00", "version"),
        (b"HTTP/1.1 400", "version"),
        (b"\x00\x01\xff\xff\xff\xff", "size"),
        (b"\x00\x01" + (LARGEST_TOKEN + 1).to_bytes(4, "big"), "size"),
        (b"\x00\x01\x00\x00\x00\x00", "size"),
        (b"\x06\x00\x00\x04\x01", "size"),
        (b"\x06\x00\x00\x00\x02{}", "json"),
        (HEAD + TOKEN + b"\x02", "order"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_what_a_client_refuses(data: bytes, code: str, step: int) -> None:
    peer = LegacyPeer()
    with pytest.raises(ChannelError) as caught:
        for at in range(0, len(data), step):
            peer.feed(data[at : at + step])
            peer.next_message()
    assert caught.value.code == code
    if code != "json":
        with pytest.raises(ChannelError):
            peer.next_message()


def test_a_token_without_end_does_not_pile_up() -> None:
    peer = LegacyPeer()
    with pytest.raises(ChannelError, match="size"):
        for _ in range(1000):
            peer.feed(bytes(1024))
