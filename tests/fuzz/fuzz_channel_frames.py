"""Any bytes from a client are messages that write themselves the same again, or one error with a code.

The bytes go in whole and byte by byte; both ways end the same.
"""

from __future__ import annotations

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import FrameReader, encode
from pluto_notary.protocol.messages import LIMITS, Error, Fetch, Hello, Message, Observe, Progress, Proof
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.states import State
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, channel_envelope
from simulators.notary.channel_examples import observed, transcript
from simulators.notary.prover import FETCH, HELLO


def seeds() -> list[bytes]:
    said = [frame for _, _, frame in (*transcript(), *observed())]
    whole = b"".join(frame for who, _, frame in observed() if who == "client")
    return [whole, encode(HELLO), encode(FETCH), encode(Error("busy", "later", "x")), *said]


def target(data: bytes) -> None:
    whole, cut = read([data]), read([data[at : at + 1] for at in range(len(data))])
    assert whole == cut
    for message in whole[0]:
        if not isinstance(message, Proof):
            again, code = read([encode(message)])
            assert code == ""
            assert again == [message]
    converse(data)


def read(pieces: list[bytes]) -> tuple[list[Message], str]:
    reader, found = FrameReader(), []
    try:
        for piece in pieces:
            reader.feed(piece, LIMITS)
            while message := reader.next_message(LIMITS):
                found.append(message)
    except ChannelError as error:
        return found, error.code
    return found, ""


def converse(data: bytes) -> None:
    """The notary's side, which answers whatever it may."""
    session = NotarySession(ekm=bytes(32))
    failure = None
    for at in range(0, len(data), 16):
        try:
            session.feed(data[at : at + 16])
            while message := session.next_message():
                answer(session, message)
        except ChannelError as error:
            failure = failure or error
            assert error is failure  # noqa: PT017  failed stays failed
    if failure is not None:
        session.refuse(failure)
        assert session.state is State.OVER
        assert session.refuse(failure) == b""


def answer(session: NotarySession, message: Message) -> None:
    if isinstance(message, Hello):
        evidence = session.evidence(
            session_id=bytes(32),
            epoch=1,
            channel_key=CHANNEL_PUBLIC,
            envelope=channel_envelope(),
            sign=CHANNEL_KEY.sign,
        )
        session.send(evidence)
    elif isinstance(message, Fetch | Reveal):
        session.send(Progress("checking"))
        session.send(Proof(b"{}"))
    elif isinstance(message, Observe):
        session.send(Connected())
    elif isinstance(message, Data):
        if session.state is State.RELAYS:
            session.send(Data(message.data[::-1]) if len(message.data) % 2 else Ended())
    else:
        assert isinstance(message, Close)
        session.send(Closed(0, 0))
