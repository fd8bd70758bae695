"""Both sides of a session: evidence is about this session or refused, a relay is found, nothing is asked too early."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pluto_measure.record import replace
from pluto_notary.protocol.errors import ChannelError, NotAuthenticError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Error, Evidence, Hello, Observe, Progress, Proof, signed_bytes
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.peer import AcceptedSession, ClosedSession, ObservedSession, Offer, ProverSession
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.states import State
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, EPOCH, SESSION_ID, channel_envelope, session_envelope
from simulators.notary.prover import DIGEST, FETCH, HELLO, NONCE

EKM, OTHER_EKM = b"\xe1" * 32, b"\xe2" * 32
FRESH = Hello(NONCE, DIGEST, True)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)


def evidence(
    *, ekm: bytes = EKM, hello: Hello = HELLO, envelope: bytes | None = None, key: Ed25519PrivateKey = CHANNEL_KEY
) -> Evidence:
    """What an honest notary answers, but for what is named."""
    signed = signed_bytes(ekm=ekm, nonce=hello.nonce, session_id=SESSION_ID, manifest_digest=hello.manifest_digest)
    return Evidence(
        SESSION_ID,
        EPOCH,
        key.public_key().public_bytes_raw(),
        channel_envelope() if envelope is None else envelope,
        key.sign(signed),
    )


def asked(hello: Hello = HELLO) -> ProverSession:
    session = ProverSession(ekm=EKM, hello=hello)
    session.start()
    return session


def offered(answer: Evidence, hello: Hello = HELLO) -> Offer:
    session = asked(hello)
    session.feed(encode(answer))
    offer = session.next_message()
    assert isinstance(offer, Offer)
    return offer


def test_a_session_from_the_first_word_to_the_last() -> None:
    notary, client = NotarySession(ekm=EKM), ProverSession(ekm=EKM, hello=HELLO)
    notary.feed(client.start())
    assert notary.next_message() == HELLO
    assert notary.paused
    answer = notary.evidence(
        session_id=SESSION_ID,
        epoch=EPOCH,
        channel_key=CHANNEL_PUBLIC,
        envelope=channel_envelope(),
        sign=CHANNEL_KEY.sign,
    )
    client.feed(notary.send(answer))
    offer = client.next_message()
    assert isinstance(offer, Offer)
    assert offer.evidence == answer == evidence()
    accepted = offer.accept()
    notary.feed(accepted.fetch(FETCH))
    assert notary.next_message() == FETCH
    for message in (Progress("resolving"), Progress("signing"), Proof(b"{}")):
        accepted.feed(notary.send(message))
        assert accepted.next_message() == message
    assert notary.state is accepted.state is client.state is State.OVER


def test_fresh_evidence_names_the_session_itself() -> None:
    offered(evidence(hello=FRESH, envelope=session_envelope(ekm=EKM, nonce=NONCE)), FRESH)


STRANGE: dict[str, tuple[Callable[[], Evidence], Hello, str | None]] = {
    "another session's keying material": (lambda: evidence(ekm=OTHER_EKM), HELLO, None),
    "another nonce": (lambda: evidence(hello=Hello(b"\x12" * 32, DIGEST, False)), HELLO, None),
    "another manifest": (lambda: evidence(hello=Hello(NONCE, b"\x23" * 32, False)), HELLO, None),
    "another session id": (lambda: replace(evidence(), session_id=bytes(32)), HELLO, None),
    "another's signature": (lambda: replace(evidence(key=OTHER_KEY), channel_key=CHANNEL_PUBLIC), HELLO, None),
    "another's key and signature": (lambda: evidence(key=OTHER_KEY), HELLO, "channelKey"),
    "a key that is no point": (lambda: replace(evidence(), channel_key=b"\xff" * 32), HELLO, None),
    "another epoch": (lambda: evidence(envelope=channel_envelope(epoch=EPOCH + 1)), HELLO, "epoch"),
    "no claims": (lambda: evidence(envelope=b"{}"), HELLO, "channelKey"),
    "claims that are no object": (lambda: evidence(envelope=b'{"claims":[]}'), HELLO, "channelKey"),
    "an epoch that is true": (
        lambda: replace(
            evidence(envelope=channel_envelope(epoch=1).replace(b'"epoch":1', b'"epoch":true')),
            epoch=1,
        ),
        HELLO,
        "epoch",
    ),
    "the epoch's where fresh was asked for": (lambda: evidence(hello=FRESH), FRESH, "purpose"),
    "fresh where the epoch's was asked for": (
        lambda: evidence(envelope=session_envelope(ekm=EKM, nonce=NONCE)),
        HELLO,
        "purpose",
    ),
    "fresh of another session": (
        lambda: evidence(hello=FRESH, envelope=session_envelope(ekm=OTHER_EKM, nonce=NONCE)),
        FRESH,
        "ekmDigest",
    ),
    "fresh for another nonce": (
        lambda: evidence(hello=FRESH, envelope=session_envelope(ekm=EKM, nonce=DIGEST)),
        FRESH,
        "nonce",
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_evidence_that_is_about_something_else(name: str) -> None:
    make, hello, path = STRANGE[name]
    session = asked(hello)
    session.feed(encode(make()))
    for _ in range(2):  # failed stays failed
        with pytest.raises(NotAuthenticError) as caught:
            session.next_message()
        assert (caught.value.code, caught.value.path, caught.value.exit_code) == ("evidence", path, 4)
    with pytest.raises(RuntimeError):
        session.start()


def test_every_flipped_bit_of_the_signed_values_is_found() -> None:
    good = evidence()
    for field in ("session_id", "channel_key", "signature"):
        value: bytes = getattr(good, field)
        for bit in range(0, 8 * len(value), 5):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(NotAuthenticError):
                offered(replace(good, **{field: bytes(flipped)}))


def test_a_client_asks_nothing_before_it_accepted() -> None:
    assert not hasattr(ProverSession, "fetch")
    assert not hasattr(Offer, "fetch")
    offer = offered(evidence())
    accepted = offer.accept()
    with pytest.raises(RuntimeError, match="once"):
        offer.accept()
    accepted.fetch(FETCH)
    with pytest.raises(RuntimeError):
        accepted.fetch(FETCH)


@pytest.mark.parametrize("early", [Progress("resolving"), Proof(b"{}"), HELLO, FETCH], ids=repr)
def test_nothing_but_evidence_is_taken_before_evidence(early: Progress | Proof | Hello) -> None:
    session = asked()
    with pytest.raises(ChannelError) as caught:
        session.feed(encode(early))
        session.next_message()
    assert caught.value.code == "order"


def test_a_notary_may_end_a_session_at_any_time() -> None:
    error = Error("time", "too late")
    session = ProverSession(ekm=EKM, hello=HELLO)
    session.feed(encode(error))
    assert session.next_message() == error
    session = asked()
    session.feed(encode(evidence()))
    offer = session.next_message()
    assert isinstance(offer, Offer)
    session.feed(encode(error))
    assert session.next_message() == error
    with pytest.raises(ChannelError, match="ended"):
        offer.accept()
    session = asked()
    session.feed(encode(evidence()))
    offer = session.next_message()
    assert isinstance(offer, Offer)
    accepted = offer.accept()
    accepted.feed(encode(error))
    assert accepted.next_message() == error
    with pytest.raises(ChannelError, match="ended"):
        accepted.fetch(FETCH)


def test_a_notary_that_talks_on_while_the_client_appraises() -> None:
    session = asked()
    with pytest.raises(ChannelError, match="order"):
        session.feed(encode(evidence()) + encode(Proof(b"{}")))
        session.next_message()
        session.next_message()


def test_after_an_error_one_error_frame_goes_out_and_nothing_else() -> None:
    notary = NotarySession(ekm=EKM)
    with pytest.raises(ChannelError) as caught:
        notary.feed(encode(FETCH))
        notary.next_message()
    with pytest.raises(RuntimeError):
        notary.send(evidence())
    assert notary.refuse(caught.value) == encode(Error.of(caught.value))
    assert notary.refuse(caught.value) == b""
    for message in (evidence(), Progress("signing"), Proof(b"{}"), Error("busy", "")):
        with pytest.raises(RuntimeError):
            notary.send(message)
    with pytest.raises(ChannelError):
        notary.feed(b"")


def test_there_is_no_second_word_after_the_last() -> None:
    notary = NotarySession(ekm=EKM)
    notary.send(Error("busy", "too many sessions"))
    with pytest.raises(ChannelError, match="order"):
        notary.feed(encode(HELLO))
    assert notary.refuse(ChannelError("order", "")) == b""
    with pytest.raises(RuntimeError):
        notary.send(Error("order", ""))


def test_a_deadline_is_an_error_like_others() -> None:
    notary = NotarySession(ekm=EKM)
    late = ChannelError("time", "the session took too long")
    notary.fail(late)
    assert notary.refuse(late) == encode(Error("time", "the session took too long"))
    with pytest.raises(ChannelError, match="time"):
        notary.feed(encode(HELLO))


def test_a_client_that_floods_is_refused_before_it_is_read() -> None:
    notary = NotarySession(ekm=EKM)
    with pytest.raises(ChannelError, match="size"):
        notary.feed(bytes(100_000))
    assert notary.state is State.FAILED
    assert notary.hello is None


def test_evidence_needs_a_commitment() -> None:
    with pytest.raises(RuntimeError, match="committed"):
        NotarySession(ekm=EKM).evidence(
            session_id=SESSION_ID, epoch=1, channel_key=CHANNEL_PUBLIC, envelope=b"{}", sign=CHANNEL_KEY.sign
        )


def observing() -> tuple[NotarySession, ObservedSession]:
    """Both sides of a session whose notary has connected the web site."""
    notary, client = NotarySession(ekm=EKM), asked()
    notary.feed(encode(HELLO))
    notary.next_message()
    client.feed(notary.send(evidence()))
    offer = client.next_message()
    assert isinstance(offer, Offer)
    accepted = offer.accept()
    notary.feed(accepted.observe(Observe(FETCH)))
    assert notary.next_message() == Observe(FETCH)
    accepted.feed(notary.send(Progress("connecting")) + notary.send(Connected()))
    assert accepted.next_message() == Progress("connecting")
    observed = accepted.next_message()
    assert isinstance(observed, ObservedSession)
    return notary, observed


@pytest.mark.parametrize("ends", ["before", "behind", "never"])
def test_an_observed_session_from_the_connection_to_the_proof(ends: str) -> None:
    notary, client = observing()
    said, heard = bytes(range(256)) * 600, b""
    client.feed(notary.send(Data(b"a word")) + notary.send(Data(b"and another")))
    for piece in (said[:100_000], said[100_000:]):
        notary.feed(client.send(piece))
        while (message := notary.next_message()) is not None:
            assert isinstance(message, Data)
            heard += message.data
    assert heard == said
    if ends == "before":
        client.feed(notary.send(Ended()))
        assert [client.next_message() for _ in range(3)] == [Data(b"a word"), Data(b"and another"), Ended()]
        notary.feed(client.send(b"!"))
        assert notary.next_message() == Data(b"!")
    closing = client.close()
    if ends == "behind":  # what the notary says before it hears of the end
        client.feed(notary.send(Data(b", late")) + notary.send(Ended()))
    notary.feed(closing)
    assert notary.next_message() == Close()
    assert notary.paused
    counts = Closed(len(said) + (ends == "before"), 17 + 6 * (ends == "behind"))
    client.feed(notary.send(counts))
    while not isinstance(step := client.next_message(), ClosedSession):
        assert step is not None
    notary.feed(step.reveal(Reveal(bytes(48), 2)))
    assert notary.next_message() == Reveal(bytes(48), 2)
    for last in (Progress("checking"), Proof(b"{}")):
        step.feed(notary.send(last))
        assert step.next_message() == last
    assert notary.state is step.state is State.OVER


def test_nothing_can_be_revealed_before_the_connection_is_closed() -> None:
    assert not hasattr(AcceptedSession, "reveal")
    assert not hasattr(ObservedSession, "reveal")
    assert not hasattr(ObservedSession, "fetch")
    _, client = observing()
    client.close()
    with pytest.raises(RuntimeError):
        client.send(b"more")
    with pytest.raises(RuntimeError):
        client.close()


@pytest.mark.parametrize("counts", [Closed(4, 5), Closed(6, 5), Closed(5, 4), Closed(5, 6), Closed(0, 0)])
def test_a_notary_that_recorded_something_else_gets_no_secret(counts: Closed) -> None:
    notary, client = observing()
    notary.feed(client.send(b"hello") + client.close())
    notary.next_message()
    client.feed(notary.send(Data(b"world")))
    assert client.next_message() == Data(b"world")
    notary.next_message()
    client.feed(notary.send(counts))
    for _ in range(2):  # failed stays failed
        with pytest.raises(ChannelError, match="recorded more or less") as caught:
            client.next_message()
        assert caught.value.code == "order"


@pytest.mark.parametrize("early", [Closed(0, 0), Connected(), Proof(b"{}"), Progress("checking"), Close()], ids=repr)
def test_a_notary_that_says_something_else_while_it_relays(
    early: Closed | Connected | Proof | Progress | Close,
) -> None:
    _, client = observing()
    with pytest.raises(ChannelError, match="order"):
        client.feed(encode(early))
        client.next_message()


def test_a_notary_may_end_an_observed_session_at_any_time() -> None:
    error = Error("time", "too late")
    _, client = observing()
    client.feed(encode(error))
    assert client.next_message() == error
    with pytest.raises(ChannelError, match="ended"):
        client.send(b"x")
    with pytest.raises(ChannelError, match="ended"):
        client.close()
    _, client = observing()
    client.close()
    client.feed(encode(Closed(0, 0)))
    closed = client.next_message()
    assert isinstance(closed, ClosedSession)
    closed.feed(encode(error))
    assert closed.next_message() == error
    with pytest.raises(ChannelError, match="ended"):
        closed.reveal(Reveal(bytes(32), 0))
