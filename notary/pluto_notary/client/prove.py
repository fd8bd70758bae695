"""One proof from a notary. Nothing that is secret, and no more than a digest of the manifest, leaves before the
notary's evidence was accepted; nothing is ever tried in a weaker way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import RefusedError, SourceError, VerificationError
from pluto_notary.client.wire import Wire
from pluto_notary.protocol.messages import Error, Evidence, Fetch, Hello, Progress
from pluto_notary.protocol.messages import Proof as ProofMessage
from pluto_notary.protocol.peer import AcceptedSession, ClosedSession, ObservedSession, Offer, ProverSession
from pluto_notary.statement.keys import address
from pluto_notary.statement.proof import Proof

# Codes that say for good that there is nothing to prove, so that asking again is of no use.
_FOR_GOOD: Final = ("violation", "redirect", "egress")


class RefusedByNotaryError(SourceError):
    """The notary gave no proof, and said why: a code of docs/protocol.md."""

    def __init__(self, error: Error) -> None:
        self.code, self.path = error.code, error.path
        where = f" at {error.path}" if error.path else ""
        super().__init__(f"the notary refused ({error.code}{where}): {error.message}")


class NotProvenError(RefusedByNotaryError):
    """What the web site says is not what the manifest demands, or it may not be asked."""

    exit_code = RefusedError.exit_code


def refusal(error: Error) -> RefusedByNotaryError:
    """The error for the notary's last word."""
    return (NotProvenError if error.code in _FOR_GOOD else RefusedByNotaryError)(error)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a notary showed of itself in this session: to be appraised."""

    evidence: Evidence
    ekm: bytes
    nonce: bytes
    fresh: bool
    outer_key_digest: bytes | None  # of the outer TLS key; None where the client did not look


def prove(
    wire: Wire,
    outer_key_digest: bytes,
    order: Fetch,
    *,
    manifest_digest: bytes,
    nonce: bytes,
    fresh: bool,
    appraise: Callable[[Shown], None],
    told: Callable[[str], None],
) -> Proof:
    """Run one session. `appraise` raises for a notary that is not accepted; then nothing more is said to it.

    `nonce`: 32 bytes made for this session. The proof is of this session and this order, signature and values checked;
    what its key is worth `verify-proof` says. RefusedByNotaryError, ChannelError, SourceError, VerificationError.
    """
    hello = Hello(nonce, manifest_digest, fresh)
    session, evidence = accepted(wire, outer_key_digest, hello, appraise=appraise, told=told)
    wire.send(session.fetch(order))
    proof = Proof.parse(last_word(wire, session, told))
    check(proof, evidence, order, manifest_digest, mode="fetch")
    return proof


def accepted(
    wire: Wire,
    outer_key_digest: bytes,
    hello: Hello,
    *,
    appraise: Callable[[Shown], None],
    told: Callable[[str], None],
) -> tuple[AcceptedSession, Evidence]:
    """A session whose notary was appraised, and its evidence. Nothing but the hello was said. Raises as `prove`."""
    session = ProverSession(ekm=wire.ekm, hello=hello)
    told("waiting for evidence")
    wire.send(session.start())
    offer = _offer(wire, session)
    told("appraising")
    appraise(Shown(offer.evidence, wire.ekm, hello.nonce, hello.fresh, outer_key_digest))
    return offer.accept(), offer.evidence


def _offer(wire: Wire, session: ProverSession) -> Offer:
    while (message := session.next_message()) is None:
        session.feed(wire.receive())
    if isinstance(message, Error):
        raise refusal(message)
    return message


def last_word(wire: Wire, session: AcceptedSession | ClosedSession, told: Callable[[str], None]) -> bytes:
    """The proof's JSON, which the notary owes. Raises as `answer`."""
    message = answer(wire, session, told)
    assert isinstance(message, ProofMessage), "no session connects where a proof is owed"
    return message.document


def answer(
    wire: Wire, session: AcceptedSession | ClosedSession, told: Callable[[str], None]
) -> ProofMessage | ObservedSession:
    """What comes of the notary's work. RefusedByNotaryError for an error instead; ChannelError, SourceError."""
    while True:
        message = session.next_message()
        if message is None:
            session.feed(wire.receive())
        elif isinstance(message, Progress):
            told(message.step)
        elif isinstance(message, Error):
            raise refusal(message)
        else:
            return message


def check(proof: Proof, evidence: Evidence, order: Fetch, manifest_digest: bytes, *, mode: str) -> None:
    """VerificationError unless the proof is of this session and says what was asked for."""
    statement = proof.statement
    pairs = {
        "session": (statement.session, evidence.session_id),
        "manifest": (statement.manifest, manifest_digest),
        "nonce": (statement.nonce, order.nonce),
        "recipient": (statement.recipient, order.recipient),
        "chain": (statement.domain.chain_id, order.chain_id),
        "contract": (statement.domain.contract, order.contract),
        "mode": (statement.mode, mode),
    }
    for name, (said, wanted) in pairs.items():
        if said != wanted:
            raise VerificationError(f"the notary's statement has another {name} than this session")
    if [one.digest for one in proof.openings] != [one.digest for one in statement.values]:
        raise VerificationError("the notary's values are not those that it signed")
    if address(proof.signed_by()) != proof.signer:
        raise VerificationError("the notary's statement is not signed by the key that it names")
