"""`prove --mode observe` with a notary that lies: who hears what, in which order, and who gets no secret.

The pretended notary has the real session (`NotarySession`), and behind it is a web site in memory that really speaks
TLS.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notary.client_tls.certificates import judged
from pluto_measure.errors import PlutoError, RefusedError, VerificationError
from pluto_measure.record import replace
from pluto_notary.client.observe import observe
from pluto_notary.client.prove import NotProvenError, RefusedByNotaryError
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.records import ALERT
from pluto_notary.client.wire import Wire
from pluto_notary.fetch.errors import TargetError
from pluto_notary.protocol.errors import ChannelError, NotAuthenticError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Error, Hello, Observe, Progress
from pluto_notary.protocol.messages import Proof as ProofMessage
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.session import NotarySession
from pluto_notary.statement.proof import Proof
from pluto_notary.web import WebRequest
from simulators.notary import sites
from simulators.notary.certificates import Authority
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, EPOCH, SESSION_ID, channel_envelope
from simulators.notary.proofs import CONTRACT, MANIFEST, NONCE, RECIPIENT, made
from simulators.notary.prover import FETCH
from simulators.notary.tls_server import Server

HOST = "shop.example"
IDENTITY = Authority().issue(HOST)
EKM, OUTER = b"\x0e" * 32, b"\x0f" * 32
ORDER = replace(FETCH, recipient=RECIPIENT, chain_id=8453, contract=CONTRACT, nonce=NONCE)
REQUEST = WebRequest("GET", HOST, 443, "/item/7", (("authorization", "Bearer abcd1234"),), b"")
ANSWER = sites.whole(b'{"price":"12.50"}', ("content-type", "application/json"))
SEEN: dict[str, Any] = {
    "session": SESSION_ID,
    "mode": "observe",
    "host": HOST,
    "certificate": hashlib.sha256(IDENTITY.der).digest(),
}
HONEST = made(**SEEN)


class FalseWire:
    """A notary behind a wire, and a web site behind the notary; a subclass lies in one place."""

    ekm = EKM

    def __init__(self, *, site: Server | None = None, answer: bytes = ANSWER, proof: Proof = HONEST) -> None:
        self.site, self.answer, self.proof = site or Server(IDENTITY), answer, proof
        self.session = NotarySession(ekm=EKM)
        self.heard: list[Any] = []
        self.counts, self.wire = [0, 0], b""
        self._waiting = b""

    def send(self, data: bytes) -> None:
        self.wire += data
        self.session.feed(data)
        while (message := self.session.next_message()) is not None:
            self.heard.append(message)
            self.take(message)

    def receive(self) -> bytes:
        assert self._waiting, "the client waits for what nobody says"
        data, self._waiting = self._waiting[:60000], self._waiting[60000:]
        return data

    def say(self, message: Any) -> None:
        if isinstance(message, Data):
            self.counts[1] += len(message.data)
        self._waiting += self.session.send(message)

    def take(self, message: Any) -> None:
        if isinstance(message, Hello):
            key: dict[str, Any] = {
                "channel_key": CHANNEL_PUBLIC,
                "envelope": channel_envelope(),
                "sign": CHANNEL_KEY.sign,
            }
            self.say(self.session.evidence(session_id=SESSION_ID, epoch=EPOCH, **key))
        elif isinstance(message, Observe):
            self.say(Progress("connecting"))
            self.connect()
        elif isinstance(message, Data):
            self.counts[0] += len(message.data)
            self.relay(message.data)
        elif isinstance(message, Close):
            self.close()
        else:
            assert isinstance(message, Reveal)
            self.say(Progress("signing"))
            self.say(ProofMessage(self.proof.to_bytes()))

    def connect(self) -> None:
        self.say(Connected())

    def relay(self, data: bytes) -> None:
        asked = bool(self.site.read)
        if back := self.site.receive(data):
            self.say(Data(back))
        if self.site.read.endswith(b"\r\n\r\n") and not asked:
            self.answered()

    def answered(self) -> None:
        said = self.site.write(self.answer)
        for at in range(0, len(said), 1 << 16):
            self.say(Data(said[at : at + (1 << 16)]))

    def close(self) -> None:
        self.say(Closed(*self.counts))

    @property
    def kinds(self) -> list[type]:
        """What was heard, repeated kinds once."""
        kinds = [type(one) for one in self.heard]
        return [kind for place, kind in enumerate(kinds) if not place or kinds[place - 1] is not kind]

    @property
    def secret(self) -> bytes:
        return self.site.secret


def proved(wire: FalseWire, **changes: Any) -> Proof:
    how: dict[str, Any] = {
        "order": ORDER,
        "request": REQUEST,
        "manifest_digest": MANIFEST,
        "nonce": os.urandom(32),
        "fresh": False,
        "appraise": lambda _: None,
        "judge": judged,
        "random": os.urandom,
        "told": lambda _: None,
    }
    return observe(cast(Wire, wire), OUTER, **{**how, **changes})


def fails(
    wire: FalseWire, kind: type[PlutoError], match: str | None = None, *, reveals: bool = False, **changes: Any
) -> None:
    """The session fails, and without a secret being told: neither as it is, nor in hex."""
    with pytest.raises(kind, match=match):
        proved(wire, **changes)
    assert (Reveal in wire.kinds) is reveals
    if not reveals and wire.secret:
        assert wire.secret not in wire.wire
        assert wire.secret.hex().encode() not in wire.wire


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
def test_an_observed_session_says_one_thing_after_the_other(version: int) -> None:
    wire, told = FalseWire(site=Server(IDENTITY, version=version)), list[str]()
    assert proved(wire, told=told.append).to_bytes() == HONEST.to_bytes()
    assert wire.kinds == [Hello, Observe, Data, Close, Reveal]
    assert wire.heard[-1] == Reveal(wire.site.secret, 0)
    assert wire.heard[1] == Observe(ORDER)
    head = wire.site.read.split(b"\r\n")
    assert head[:3] == [b"GET /item/7 HTTP/1.1", b"host: shop.example", b"connection: close"]
    assert b"authorization: Bearer abcd1234" in head
    assert wire.site.alerts == [b"\1\0"], "it says goodbye"
    of_tls = b"".join(one.data for one in wire.heard if isinstance(one, Data))
    assert b"abcd1234" not in of_tls
    assert wire.site.secret.hex().encode() not in wire.wire.partition(wire.heard[-1].to_body())[0]
    assert told == ["waiting for evidence", "appraising", "connecting", "asking the web site", told[4], "signing"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        sites.whole(b"x" * 200000),
    ],
)
def test_answers_of_all_kinds(answer: bytes) -> None:
    assert proved(FalseWire(answer=answer)) is not None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 900), max_size=60), st.lists(st.integers(1, 900), max_size=60))
@example([1] * 2000, [1] * 2000)
def test_any_cuts_of_frames_and_of_what_they_carry_give_the_same(frames: list[int], pieces: list[int]) -> None:
    class Cutting(FalseWire):
        def say(self, message: Any) -> None:
            if not isinstance(message, Data):
                super().say(message)
                return
            rest = message.data
            while rest:
                size = frames.pop() if frames else len(rest)
                super().say(Data(rest[:size]))
                rest = rest[size:]

        def receive(self) -> bytes:
            size = pieces.pop() if pieces else 60000
            assert self._waiting
            data, self._waiting = self._waiting[:size], self._waiting[size:]
            return data

    wire = Cutting()
    assert proved(wire).to_bytes() == HONEST.to_bytes()
    assert wire.heard[-1] == Reveal(wire.site.secret, 0)


def test_an_answer_that_ends_with_the_connection() -> None:
    class Ending(FalseWire):
        def answered(self) -> None:
            self.say(Data(self.site.write(self.answer) + self.site.record(ALERT, b"\1\0")))
            self.say(Ended())

    proved(Ending(answer=b"HTTP/1.1 200 OK\r\n\r\nabc"))
    proved(Ending())


def test_what_the_site_says_after_the_answer_is_not_waited_for_and_counts() -> None:
    class Late(FalseWire):
        def close(self) -> None:
            goodbye = self.site.record(ALERT, b"\1\0")
            self.counts[1] += len(goodbye)
            self._waiting += encode(Data(goodbye)) + encode(Ended())  # on its way before the notary heard of the close
            super().close()

    proved(Late())


def test_a_notary_that_is_refused_hears_nothing_but_the_commitment() -> None:
    def refuse(_: object) -> None:
        raise RefusedError("not this one")

    wire = FalseWire()
    fails(wire, RefusedError, "not this one", appraise=refuse)
    assert wire.kinds == [Hello]


def test_a_notary_that_signed_for_another_connection_is_not_even_appraised() -> None:
    wire = FalseWire()
    wire.session = NotarySession(ekm=b"\1" * 32)
    fails(wire, NotAuthenticError, appraise=lambda _: pytest.fail("this is not to be appraised"))
    assert wire.kinds == [Hello]


def test_what_cannot_be_sent_is_not_begun() -> None:
    wire = FalseWire()
    fails(wire, TargetError, request=replace(REQUEST, headers=(("te", "trailers"),)))
    assert wire.kinds == []


@pytest.mark.parametrize(("client", "site"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_notary_that_recorded_something_else_gets_no_secret(client: int, site: int) -> None:
    class Miscounting(FalseWire):
        def close(self) -> None:
            self.say(Closed(self.counts[0] + client, self.counts[1] + site))

    fails(Miscounting(), ChannelError, "recorded more or less than was said")


@pytest.mark.parametrize("word", [Closed(0, 0), ProofMessage(HONEST.to_bytes()), Connected()])
@pytest.mark.parametrize("when", ["connect", "answered"])
def test_a_notary_that_says_it_before_it_is_time_gets_no_secret(word: Any, when: str) -> None:
    class Hasty(FalseWire):
        def hurry(self) -> None:
            self._waiting += encode(word)

    wire = Hasty()
    if when == "answered" or isinstance(word, Connected):
        wire.answered = wire.hurry  # type: ignore[method-assign]
    else:
        wire.connect = wire.hurry  # type: ignore[method-assign]
    fails(wire, ChannelError, "order")


@pytest.mark.parametrize("code", ["egress", "connect", "busy", "violation"])
@pytest.mark.parametrize("when", ["connect", "answered", "close"])
def test_a_notary_that_refuses_says_why(code: str, when: str) -> None:
    wire = FalseWire()
    setattr(wire, when, lambda: wire.say(Error(code, "because", None)))
    fails(wire, NotProvenError if code in ("egress", "violation") else RefusedByNotaryError, f"{code}.*because")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mode": "fetch"}, "mode"),
        ({"host": "other.example"}, "host"),
        ({"host": f"{HOST}:8443"}, "host"),
        ({"certificate": b"\xce" * 32}, "certificate"),
        ({"session": b"\x11" * 32}, "session"),
        ({"manifest": b"\x11" * 32}, "manifest"),
        ({"nonce": b"\x11" * 32}, "nonce"),
    ],
)
def test_a_proof_of_something_else_is_not_taken(changes: dict[str, Any], match: str) -> None:
    fails(FalseWire(proof=made(**{**SEEN, **changes})), VerificationError, f"another {match}", reveals=True)


def test_a_site_that_the_judge_refuses_hears_nothing() -> None:
    def refuse(_: object) -> Any:
        raise TlsError("the certificate is for another name", alert=42)

    wire = FalseWire()
    fails(wire, TlsError, "another name", judge=refuse)
    assert wire.site.read == b""
    assert wire.site.alerts == [b"\2\x2a"]


def flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize("message", ["verify", "finished"])
def test_somebody_who_is_not_the_site_hears_nothing(message: str) -> None:
    wire = FalseWire(site=Server(IDENTITY, edit={message: flipped}))
    fails(wire, TlsError)
    assert wire.site.read == b""


@pytest.mark.parametrize(
    ("answer", "match"),
    [(b"nonsense\r\n\r\n", "not HTTP"), (ANSWER[:-1], "not HTTP"), (b"", "before it is whole")],
)
def test_an_answer_that_is_none(answer: bytes, match: str) -> None:
    class Ending(FalseWire):
        def answered(self) -> None:
            said = self.site.write(self.answer) if self.answer else b""
            self.say(Data(said + self.site.record(ALERT, b"\1\0")))

    fails(Ending(answer=answer), TargetError, match)


def test_a_connection_that_somebody_cut() -> None:
    """Even where the answer would end with it."""

    class Cut(FalseWire):
        def answered(self) -> None:
            super().answered()
            self.say(Ended())

    fails(Cut(answer=b"HTTP/1.1 200 OK\r\n\r\nabc"), TlsError, "without the site's goodbye")
    fails(Cut(answer=ANSWER[:-3]), TlsError, "without the site's goodbye")


def test_a_notary_that_changes_what_the_site_says() -> None:
    class Changing(FalseWire):
        def answered(self) -> None:
            self.say(Data(flipped(self.site.write(self.answer))))

    fails(Changing(), TlsError, "not genuine")
