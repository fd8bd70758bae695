"""Weaknesses of an earlier notary that lie in its channel, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

import struct

import pytest
from OpenSSL import SSL

from pluto_measure.formats.strict_json import loads
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.inner import ALPN, InnerTls, client_context
from pluto_notary.protocol.legacy import LegacyOpening, LegacyPeer
from pluto_notary.protocol.messages import Error, Evidence, Fetch, Progress, Proof
from pluto_notary.protocol.peer import Offer, ProverSession
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.states import State
from simulators.notary.channel import PROOF, PretendNotary, channel_envelope, notary_context
from simulators.notary.prover import FETCH, HELLO, PretendProver, joined

DUMMY = bytes.fromhex("a164626f64796564756d6d79")  # the token of a provider that attests nothing


def test_weakness_05_attestation_is_never_left_out() -> None:
    # The magic was optional, and without it the session went on without attestation.
    for confidential_space in (True, False):
        opening = LegacyOpening(confidential_space=confidential_space)
        with pytest.raises(ChannelError):
            opening.feed(encode(HELLO))
        assert not opening.open
    # No state of a session leads to its end past evidence, and a signature alone is not taken for it.
    session = NotarySession(ekm=bytes(32))
    for early in (Progress("resolving"), Proof(b"{}")):
        with pytest.raises(RuntimeError):
            session.send(early)
    client = ProverSession(ekm=bytes(32), hello=HELLO)
    client.start()
    with pytest.raises(ChannelError):
        client.feed(encode(Evidence(bytes(32), 1, bytes(32), channel_envelope(), bytes(64))))
        client.next_message()
    # The dummy token ignored the keying material. Here a token is bytes that the caller must judge: no session follows
    # from it, and evidence is asked for again.
    peer = LegacyPeer()
    peer.feed(struct.pack(">HI", 1, len(DUMMY)) + DUMMY)
    assert peer.next_message() == DUMMY
    assert not hasattr(peer, "fetch")


def test_weakness_22_tls_1_2_is_refused() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = SSL.Connection(context)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    notary = InnerTls(notary_context(), server=True)
    with pytest.raises(ChannelError, match="handshake"):
        notary.feed(client.bio_read(65536))
    assert not notary.established


def test_weakness_22_a_client_refuses_tls_1_2() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    server = SSL.Connection(context)
    server.set_accept_state()
    client = InnerTls(client_context(), server=False)
    server.bio_write(client.data_to_send())
    with pytest.raises(SSL.Error):
        server.do_handshake()
    with pytest.raises(ChannelError, match="handshake"):
        client.feed(server.bio_read(65536))


def test_weakness_23_a_length_of_4_gib_is_refused_by_itself() -> None:
    peer = LegacyPeer()
    with pytest.raises(ChannelError, match="size"):
        peer.feed(struct.pack(">HI", 1, 2**32 - 1))
        peer.next_message()
    for kind in range(1, 7):
        for side in (ProverSession(ekm=bytes(32), hello=HELLO), NotarySession(ekm=bytes(32))):
            with pytest.raises(ChannelError):
                side.feed(struct.pack(">BI", kind, 2**32 - 1))
                side.next_message()


@pytest.mark.parametrize("byte", [b"\xff", b"\xaa"])
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_weakness_24_no_byte_is_a_signal(byte: bytes, step: int) -> None:
    # One byte FF alone in a read ended the connection, and AA meant "ready".
    proof = byte * 50
    notary, client = PretendNotary(prove=lambda _: proof), PretendProver(protocol="tcp")
    joined(client.receive, notary.receive, sizes=[step] * (10000 // step))
    assert client.result == Proof(proof)
    client, notary = PretendProver(protocol="tcp"), PretendNotary()
    fetch = Fetch(FETCH.manifest, (("v", byte.decode("latin-1")),), *[getattr(FETCH, name) for name in (
        "recipient", "chain_id", "contract", "nonce", "reveal", "legacy")])  # fmt: skip
    client = PretendProver(protocol="tcp", fetch=fetch)
    joined(client.receive, notary.receive, sizes=[step] * (10000 // step))
    assert client.result == Proof(PROOF)
    assert notary.fetched == fetch


@pytest.mark.parametrize("state", [state for state in State if state.name in (
    "AWAITS_HELLO", "OWES_EVIDENCE", "AWAITS_FETCH", "OWES_PROOF", "FAILED")])  # fmt: skip
def test_weakness_25_every_state_has_an_error_with_a_code(state: State) -> None:
    session = NotarySession(ekm=bytes(32))
    session._machine.state = state
    frame = session.refuse(ChannelError("violation", "the status is another", path="response.status"))
    client = ProverSession(ekm=bytes(32), hello=HELLO)
    client.feed(frame)
    assert client.next_message() == Error("violation", "the status is another", "response.status")
    assert loads(frame[5:], what="error")["code"] == "violation"


def test_weakness_25_what_a_client_does_wrong_comes_back_to_him_through_all_layers() -> None:
    class Hasty(PretendProver):
        """Asks without waiting for evidence."""

        def _talk(self, data: bytes) -> None:
            if self._session is None and self._inner.established:
                self._session = ProverSession(ekm=self._inner.ekm, hello=HELLO)
                self._session.start()
                self._inner.write(encode(FETCH))
                self.offer = None
            elif self._session is not None:
                self._session.feed(data)
                message = self._session.next_message()
                assert not isinstance(message, Offer)
                self.result = message if isinstance(message, Error) else self.result

    client, notary = Hasty(), PretendNotary()
    joined(client.receive, notary.receive)
    assert isinstance(client.result, Error)
    assert client.result.code == "order"
    assert client.ended
    assert notary.fetched is None
    assert ALPN == b"pluto-notary/2"
