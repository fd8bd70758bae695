"""The client's side of a channel's session. Pure. Each step is a type of its own, so that none can be left out:

    ProverSession --hello, evidence--> Offer --accept()--> AcceptedSession --fetch--> Proof | Error
    AcceptedSession --observe--> ObservedSession --close--> ClosedSession --reveal--> Proof | Error

An Offer is evidence that is about this very session: signature, keying material, nonce, session and manifest fit. What
it is worth the caller appraises. Nothing but `hello` can be sent before `accept()` was called, and no secret before the
notary has closed the connection to the web site.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pluto_measure.formats.strict_json import loads
from pluto_notary.protocol.errors import ChannelError, NotAuthenticError
from pluto_notary.protocol.messages import Error, Evidence, Fetch, Hello, Observe, Progress, Proof, signed_bytes
from pluto_notary.protocol.observe import DATA, LIMITS, Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.states import CLIENT_RECEIVES, CLIENT_SENDS, Machine, State

_PIECE: Final = LIMITS[DATA]


class ProverSession:
    """A session until its evidence. `ekm` is the inner TLS connection's own exported keying material, 32 bytes."""

    def __init__(self, *, ekm: bytes, hello: Hello) -> None:
        assert len(ekm) == 32
        self._ekm, self._hello = ekm, hello
        self._machine = Machine(State.SILENT, receives=CLIENT_RECEIVES, sends=CLIENT_SENDS)

    @property
    def state(self) -> State:
        return self._machine.state

    def start(self) -> bytes:
        """The commitment, as bytes for the inner TLS."""
        return self._machine.send(self._hello)

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError."""
        self._machine.feed(data)

    def next_message(self) -> Offer | Error | None:
        """What the notary said. ChannelError; NotAuthenticError for evidence that is about another session."""
        message = self._machine.next_message()
        if isinstance(message, Evidence):
            try:
                check_evidence(message, ekm=self._ekm, hello=self._hello)
            except NotAuthenticError as error:
                self._machine.fail(error)
                raise
            return Offer(message, self._machine)
        assert message is None or isinstance(message, Error)
        return message


class Offer:
    """Evidence that is about this session and this client's nonce, and not appraised yet."""

    def __init__(self, evidence: Evidence, machine: Machine) -> None:
        self.evidence = evidence
        self._machine = machine

    def accept(self) -> AcceptedSession:
        """The caller appraised the envelope and accepts it. ChannelError if the notary ended the session meanwhile."""
        _still_open(self._machine)
        if self._machine.state is not State.DECIDES:
            raise RuntimeError("an offer is accepted once")
        self._machine.state = State.ACCEPTED
        return AcceptedSession(self._machine)


class AcceptedSession:
    """A session whose evidence was accepted: one request can be sent."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def state(self) -> State:
        return self._machine.state

    def fetch(self, message: Fetch) -> bytes:
        """The request, as bytes for the inner TLS. ChannelError `size`, or if the notary ended the session."""
        _still_open(self._machine)
        return self._machine.send(message)

    def observe(self, message: Observe) -> bytes:
        """The request for a connection to the web site, as bytes for the inner TLS. ChannelError as `fetch`."""
        _still_open(self._machine)
        return self._machine.send(message)

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError."""
        self._machine.feed(data)

    def next_message(self) -> Progress | Proof | Error | ObservedSession | None:
        """What the notary said; after Proof, Error and ObservedSession comes nothing more here. ChannelError.

        ObservedSession: the web site is connected, and all else goes through that.
        """
        message = self._machine.next_message()
        if isinstance(message, Connected):
            return ObservedSession(self._machine)
        assert message is None or isinstance(message, Progress | Proof | Error)
        return message


class ObservedSession:
    """A session whose notary is connected to the web site, and records what both sides say.

    What `send` and `close` give leaves for the inner TLS in the order of the calls. After `close` more may come of the
    web site, and then the ClosedSession.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sent = self._received = 0

    @property
    def state(self) -> State:
        return self._machine.state

    def send(self, data: bytes) -> bytes:
        """Bytes for the web site, as bytes for the inner TLS. ChannelError if the notary ended the session."""
        _still_open(self._machine)
        self._sent += len(data)
        pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
        return b"".join(self._machine.send(Data(piece)) for piece in pieces)

    def close(self) -> bytes:
        """The end of the recording, as bytes for the inner TLS. ChannelError if the notary ended the session."""
        _still_open(self._machine)
        return self._machine.send(Close())

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError."""
        self._machine.feed(data)

    def next_message(self) -> Data | Ended | Error | ClosedSession | None:
        """What the web site said, that it says no more, or the notary's own word. ChannelError.

        `order` for a notary that recorded something else than was said, as far as the numbers of bytes show that.
        """
        message = self._machine.next_message()
        if isinstance(message, Data):
            self._received += len(message.data)
        if isinstance(message, Closed):
            if (message.client, message.site) != (self._sent, self._received):
                raise self._machine.fail(ChannelError("order", "the notary recorded more or less than was said"))
            return ClosedSession(self._machine)
        assert message is None or isinstance(message, Data | Ended | Error)
        return message


class ClosedSession:
    """A session whose recording has ended, and the connection with it: the secret can be revealed."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def state(self) -> State:
        return self._machine.state

    def reveal(self, message: Reveal) -> bytes:
        """The secret, as bytes for the inner TLS. ChannelError if the notary ended the session."""
        _still_open(self._machine)
        return self._machine.send(message)

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError."""
        self._machine.feed(data)

    def next_message(self) -> Progress | Proof | Error | None:
        """What the notary said; after Proof and Error comes nothing more. ChannelError."""
        message = self._machine.next_message()
        assert message is None or isinstance(message, Progress | Proof | Error)
        return message


def check_evidence(evidence: Evidence, *, ekm: bytes, hello: Hello) -> None:
    """Whether evidence is about this session. NotAuthenticError.

    1. The channel key signed this session's EKM, nonce, session id and manifest digest.
    2. The envelope's claims name this channel key, and this epoch or, for fresh evidence, this EKM and nonce.

    Left for the appraisal: that the envelope's evidence is genuine and bound to these claims, and whose it is.
    """
    signed = signed_bytes(
        ekm=ekm, nonce=hello.nonce, session_id=evidence.session_id, manifest_digest=hello.manifest_digest
    )
    try:
        Ed25519PublicKey.from_public_bytes(evidence.channel_key).verify(evidence.signature, signed)
    except (InvalidSignature, ValueError) as error:
        raise NotAuthenticError("evidence", "the channel key did not sign this session: somebody is between") from error
    wanted: dict[str, object] = {"channelKey": evidence.channel_key.hex()}
    if hello.fresh:
        wanted |= {"purpose": "session", "ekmDigest": hashlib.sha256(ekm).hexdigest(), "nonce": hello.nonce.hex()}
    else:
        wanted |= {"purpose": "channel", "epoch": evidence.epoch}
    claims = _claims(evidence.envelope)
    for name, value in wanted.items():
        if claims.get(name) != value or isinstance(claims.get(name), bool):
            raise NotAuthenticError("evidence", f"{name} of the envelope is not that of this session", path=name)


def _still_open(machine: Machine) -> None:
    machine.feed(b"")
    if machine.state is State.OVER:
        raise ChannelError("order", "the notary ended the session")


def _claims(envelope: bytes) -> Mapping[str, Any]:
    claims = loads(envelope, what="envelope").get("claims")
    return claims if isinstance(claims, dict) else {}
