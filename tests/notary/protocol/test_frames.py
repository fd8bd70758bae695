"""Frames and messages: any cut gives the same, every length has a limit, what is refused has a code and a vector."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.formats.strict_json import canonical, loads
from pluto_notary.protocol.errors import CODES, ChannelError
from pluto_notary.protocol.frames import TYPES, FrameReader, encode
from pluto_notary.protocol.messages import (
    LIMITS,
    REVEALS,
    STEPS,
    Error,
    Evidence,
    Fetch,
    Hello,
    Message,
    Observe,
    Progress,
    Proof,
)
from pluto_notary.protocol.observe import SECRETS, Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.session import NotarySession
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, channel_envelope
from simulators.notary.prover import FETCH, HELLO

EVIDENCE = Evidence(bytes(32), 1, CHANNEL_PUBLIC, b"{}", bytes(64))
REFUSED = sorted((Path(__file__).parents[2] / "vectors/notary/protocol/refused").glob("*.json"))
ALL = frozenset(LIMITS)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bytes32 = st.binary(min_size=32, max_size=32)
nonces = bytes32.filter(any)
orders = st.builds(
    Fetch,
    manifest=st.dictionaries(text, text | st.integers() | st.floats(allow_nan=False, allow_infinity=False)).map(
        lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    ),
    variables=st.dictionaries(text, text).map(lambda value: tuple(value.items())),
    recipient=st.binary(min_size=20, max_size=20),
    chain_id=st.integers(0, 2**53 - 1),
    contract=st.binary(min_size=20, max_size=20),
    nonce=nonces,
    reveal=st.sampled_from(REVEALS),
    legacy=st.booleans(),
)
numbers = st.integers(0, 2**53 - 1)
messages = st.one_of(
    st.builds(Hello, nonces, bytes32, st.booleans()),
    st.builds(Evidence, bytes32, numbers, bytes32, st.just(channel_envelope()), st.just(bytes(64))),
    orders,
    st.builds(Progress, st.sampled_from(STEPS)),
    st.builds(Proof, st.binary(max_size=100)),
    st.builds(Error, st.sampled_from(CODES), text, st.none() | text),
    orders.filter(lambda order: not order.legacy).map(Observe),
    st.sampled_from([Connected(), Ended(), Close()]),
    st.builds(Data, st.binary(min_size=1, max_size=100)),
    st.builds(Closed, numbers, numbers),
    st.sampled_from(SECRETS).flatmap(
        lambda size: st.builds(Reveal, st.binary(min_size=size, max_size=size), numbers)
    ),
)  # fmt: skip


def read(pieces: list[bytes]) -> tuple[list[Message], str]:
    """The messages of these pieces, and the code of the error that ended them."""
    reader, found = FrameReader(), []
    for piece in pieces:
        try:
            reader.feed(piece, ALL)
            while message := reader.next_message(ALL):
                found.append(message)
        except ChannelError as error:
            return found, error.code
    return found, ""


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@settings(max_examples=200, deadline=None)
@given(messages)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    assert read([encode(message)]) == ([message], "")


@settings(max_examples=200, deadline=None)
@given(messages.filter(lambda message: not isinstance(message, Fetch | Observe | Proof | Data)))
def test_bodies_are_canonical(message: Message) -> None:
    body = message.to_body()
    assert canonical(loads(body, what="body")) == body


@settings(max_examples=100, deadline=None)
@given(st.lists(messages, max_size=4), st.binary(max_size=8), st.lists(st.integers(0, 60), max_size=40))
def test_any_cut_gives_the_same_messages(said: list[Message], tail: bytes, sizes: list[int]) -> None:
    data = b"".join(encode(message) for message in said) + tail
    assert read(cut(data, sizes)) == read([data]) == read([bytes([byte]) for byte in data])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_channel_error(data: bytes) -> None:
    read([data])
    for kind in LIMITS:
        read([bytes([kind]) + len(data).to_bytes(4, "big") + data])


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_what_a_client_may_not_say(path: Path) -> None:
    case = json.loads(path.read_text())
    for step in (1, 7, 1 << 20):
        session = at(case["state"])
        with pytest.raises(ChannelError) as caught:
            feed(session, bytes.fromhex(case["bytes"]), step)
        assert (caught.value.code, caught.value.path) == (case["code"], case["path"])
        frame = session.refuse(caught.value)
        ((error,), _) = read([frame])
        assert error == Error(case["code"], caught.value.problem, case["path"])


BEFORE: tuple[tuple[str, tuple[Message, ...]], ...] = (
    ("hello", ()),
    ("fetch", (HELLO, EVIDENCE)),
    ("connecting", (Observe(FETCH),)),
    ("relay", (Connected(), Data(b"asked"), Data(b"answered"))),
    ("relay-ended", (Ended(),)),
    ("closing", (Close(),)),
    ("reveal", (Closed(5, 8),)),
    ("proof", (Reveal(bytes(32), 0),)),
)


def at(state: str) -> NotarySession:
    """A session that was led there: `tests/vectors/notary/protocol/README.md`."""
    session = NotarySession(ekm=bytes(32))
    for name, messages in BEFORE:
        for message in messages:
            if TYPES[type(message)] in session._machine.expected and message != Data(b"answered"):
                session.feed(encode(message))
                assert session.next_message() == message
            elif isinstance(message, Evidence):
                session.send(session.evidence(session_id=bytes(32), epoch=1, channel_key=CHANNEL_PUBLIC, envelope=b"{}",
                                              sign=CHANNEL_KEY.sign))  # fmt: skip
            else:
                session.send(message)  # type: ignore[arg-type]
        if name == state:
            return session
    raise AssertionError(state)


def feed(session: NotarySession, data: bytes, step: int) -> None:
    for at in range(0, len(data), step):
        session.feed(data[at : at + step])
        while session.next_message() is not None:
            pass


@pytest.mark.parametrize("kind", sorted(LIMITS))
def test_a_frame_has_its_limit_and_not_a_byte_more(kind: int) -> None:
    reader = FrameReader()
    reader.feed(bytes([kind]) + LIMITS[kind].to_bytes(4, "big"), ALL)
    assert reader.next_message(ALL) is None
    reader = FrameReader()
    reader.feed(bytes([kind]) + (LIMITS[kind] + 1).to_bytes(4, "big"), ALL)
    with pytest.raises(ChannelError) as caught:
        reader.next_message(ALL)
    assert caught.value.code == "size"


def test_a_frame_that_may_not_come_now_is_refused_before_its_body() -> None:
    reader = FrameReader()
    reader.feed(bytes([5]) + (8 << 20).to_bytes(4, "big"), {1})
    with pytest.raises(ChannelError, match="order"):
        reader.next_message({1})


def test_what_nobody_takes_out_does_not_pile_up() -> None:
    reader = FrameReader()
    with pytest.raises(ChannelError, match="size"):
        for _ in range(1000):
            reader.feed(bytes(1024), {1})
    assert len(reader) <= (4 << 10) + 5 + (64 << 10)


@pytest.mark.parametrize("filling", [b"[],", b"1,", b'{"":0},', b'"\\"', b"[[", b'"\\\\', b"\\a"])
def test_a_body_of_many_values_costs_little(filling: bytes) -> None:
    body = b'{"manifest":[' + filling * ((2 << 20) // len(filling) - 32)
    tracemalloc.start()
    try:
        with pytest.raises(ChannelError, match="json"):
            Fetch.parse(body)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(body)
    finally:
        tracemalloc.stop()


def test_a_body_of_few_values_may_hold_long_texts() -> None:
    inner = json.dumps({"a": ['"\\', {}]} | {str(number): [[]] for number in range(20000)})
    body = json.loads(FETCH.to_body()) | {"variables": {"body": inner}}
    assert Fetch.parse(canonical(body)).variables == (("body", inner),)


def test_our_own_large_message_is_an_error_with_a_code() -> None:
    with pytest.raises(ChannelError, match="size"):
        encode(Proof(bytes((8 << 20) + 1)))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=3000), st.none() | st.text(max_size=3000))
def test_an_error_always_fits_its_frame(message: str, path: str | None) -> None:
    (((error,), code)) = read([encode(Error("violation", message, path))])
    assert code == ""
    assert isinstance(error, Error)
    assert error.code == "violation"


def test_the_text_of_a_fetch_has_nothing_of_the_client() -> None:
    fetch = Fetch(b'{"a":"hunter2"}', (("password", "hunter2"),), bytes(20), 1, bytes(20), b"\1" * 32, "values", False)
    assert "hunter2" not in f"{fetch} {fetch!r}"


def test_the_text_of_what_observe_carries_has_nothing_of_the_client() -> None:
    said = f"{Reveal(b'hunter2!' * 4, 3)} {Data(b'hunter2')} {Observe(FETCH)} {Data(b'x')!r}"
    assert "hunter2" not in said
    assert b"hunter2".hex() not in said


@pytest.mark.parametrize("secret", ["", "00", "00" * 31, "00" * 33, "00" * 49, "0g" * 32, "AA" * 32, "00" * 48 + "\n"])
def test_a_secret_has_the_size_of_one(secret: str) -> None:
    with pytest.raises(ChannelError) as caught:
        Reveal.parse(canonical({"exchange": 0, "secret": secret, "version": 2}))
    assert (caught.value.code, caught.value.path, caught.value.__cause__) == ("json", "secret", None)
    assert not secret or secret not in str(caught.value)


def test_errors_quote_nothing_and_keep_no_cause() -> None:
    for body in (
        b'{"hunter2":1,"hunter2":2}',
        b'{"version":2,"hunter2":1}',
        b'{"version":2,"nonce":"hunter2"}',
        b"hunter2",
    ):
        with pytest.raises(ChannelError) as caught:
            Hello.parse(body)
        assert "hunter2" not in str(caught.value) + str(caught.value.fields())
        assert caught.value.__cause__ is None
