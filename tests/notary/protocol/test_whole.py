"""A whole connection in memory, from the HTTP request to the proof; and somebody between the two sides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.protocol.errors import NotAuthenticError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.legacy import LegacyPeer
from pluto_notary.protocol.messages import Error, Hello, Proof
from pluto_notary.protocol.peer import Offer, ProverSession
from simulators.notary.channel import PROOF, PretendNotary, notary_context
from simulators.notary.prover import DIGEST, FETCH, HELLO, NONCE, PretendProver, joined


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["websocket", "tcp"]), st.booleans(), st.lists(st.integers(1, 700), max_size=60))
def test_two_sides_joined_by_any_cuts_finish(protocol: str, fresh: bool, sizes: list[int]) -> None:
    notary = PretendNotary()
    client = PretendProver(protocol=protocol, hello=Hello(NONCE, DIGEST, fresh))
    joined(client.receive, notary.receive, sizes=sizes)
    assert client.result == Proof(PROOF)
    assert client.ended
    assert notary.error is None
    assert notary.fetched == FETCH


def test_byte_by_byte() -> None:
    notary, client = PretendNotary(), PretendProver()
    joined(client.receive, notary.receive, sizes=[1] * 20000)
    assert client.result == Proof(PROOF)


def test_a_large_proof_comes_through() -> None:
    proof = b'"' + bytes(range(32, 34)) * (4 << 19) + b'"'
    notary, client = PretendNotary(prove=lambda _: proof), PretendProver()
    joined(client.receive, notary.receive, sizes=[60000] * 400)
    assert client.result == Proof(proof)


class Opener:
    """A client of version 1 in memory, behind the upgrade: magic, token, and then a session."""

    def __init__(self) -> None:
        self.inner = InnerTls(client_context(version=1), server=False)
        self.peer = LegacyPeer()
        self.token: bytes | Error | None = None
        self.session: ProverSession | None = None
        self.offer: Offer | Error | None = None
        self._begun = self._spoken = False

    def receive(self, data: bytes) -> bytes:
        if not self._begun:
            self._begun = True
            return b"GET /v1/tee HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: TCP\r\n\r\n"
        self.inner.feed(data.partition(b"upgrade: tcp\r\n\r\n")[2] if data.startswith(b"HTTP/1.1 101") else data)
        if self.inner.established:
            self._talk(self.inner.read())
        out = b""
        while piece := self.inner.data_to_send():
            out += piece
        return out

    def _talk(self, data: bytes) -> None:
        if not self._spoken:
            self._spoken = True
            self.inner.write(self.peer.start())
        elif self.session is not None:
            self.session.feed(data)
            self.offer = self.session.next_message() or self.offer
        else:
            self.peer.feed(data)
            self.token = self.peer.next_message()
            if isinstance(self.token, bytes):
                self.session = ProverSession(ekm=self.inner.ekm, hello=HELLO)
                self.inner.write(self.session.start())


def test_version_1_opens_a_channel_and_then_speaks_as_version_2() -> None:
    notary, client = PretendNotary(confidential_space=True), Opener()
    joined(client.receive, notary.receive)
    assert client.token == notary.token == b'{"eat_nonce":"' + client.inner.ekm.hex().encode() + b'"}'
    assert isinstance(client.offer, Offer)


def test_version_1_elsewhere_is_an_error_that_the_client_can_read() -> None:
    notary, client = PretendNotary(), Opener()
    joined(client.receive, notary.receive)
    assert isinstance(client.token, Error)
    assert client.token.code == "unsupported"
    assert client.inner.ended


class Relay:
    """Ends the inner TLS on both sides and hands on what they say."""

    def __init__(self) -> None:
        self.to_client = InnerTls(notary_context(), server=True)
        self.to_notary = InnerTls(client_context(), server=False)
        self.heard = b""

    def turn(self, client: InnerTls, notary: InnerTls) -> bool:
        moved = False
        for source, target in ((client, self.to_client), (self.to_notary, notary)):
            for one, two in ((source, target), (target, source)):
                while data := one.data_to_send():
                    two.feed(data)
                    moved = True
        if self.to_client.established and self.to_notary.established:
            asked, answered = self.to_client.read(), self.to_notary.read()
            self.heard += asked
            self.to_notary.write(asked)
            self.to_client.write(answered)
            moved = moved or bool(asked or answered)
        return moved


@pytest.mark.parametrize("fresh", [False, True])
def test_a_relay_in_the_inner_tls_is_found_before_anything_is_asked(fresh: bool) -> None:
    hello = Hello(NONCE, DIGEST, fresh)
    client, notary = InnerTls(client_context(), server=False), InnerTls(notary_context(), server=True)
    relay, honest = Relay(), PretendNotary()
    honest._inner = notary
    while relay.turn(client, notary):
        pass
    session = ProverSession(ekm=client.ekm, hello=hello)
    client.write(session.start())
    while relay.turn(client, notary):
        honest._talk(notary.read())  # an honest notary, which cannot know
    with pytest.raises(NotAuthenticError) as caught:
        session.feed(client.read())
        session.next_message()
    assert caught.value.code == "evidence"
    assert relay.heard == encode(hello)
    assert honest.fetched is None
