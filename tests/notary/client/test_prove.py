"""What the reference client takes for a proof: that of its own session and order, and nothing before it accepted."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from pluto_measure.errors import FormatError, RefusedError, VerificationError
from pluto_measure.record import replace
from pluto_notary.client.prove import NotProvenError, RefusedByNotaryError, Shown, prove, refusal
from pluto_notary.client.wire import Wire
from pluto_notary.protocol.errors import CODES, ChannelError, NotAuthenticError
from pluto_notary.protocol.messages import Error, Hello
from pluto_notary.protocol.messages import Proof as ProofMessage
from pluto_notary.protocol.session import NotarySession
from pluto_notary.statement.model import Domain
from pluto_notary.statement.proof import Proof
from simulators.notary.channel import CHANNEL_KEY, CHANNEL_PUBLIC, EPOCH, SESSION_ID, channel_envelope
from simulators.notary.proofs import CONTRACT, MANIFEST, NONCE, OTHER_KEY, RECIPIENT, made
from simulators.notary.prover import FETCH

EKM, OUTER = b"\x0e" * 32, b"\x0f" * 32
ORDER = replace(FETCH, recipient=RECIPIENT, chain_id=8453, contract=CONTRACT, nonce=NONCE)
HONEST = made(session=SESSION_ID)


class FalseWire:
    """A notary behind a wire that answers with any proof."""

    def __init__(self, document: bytes = HONEST.to_bytes(), *, signed_for: bytes = EKM) -> None:
        self.ekm, self._session, self._document = EKM, NotarySession(ekm=signed_for), document
        self._answers = b""
        self.heard: list[object] = []

    def send(self, data: bytes) -> None:
        self._session.feed(data)
        while message := self._session.next_message():
            self.heard.append(message)
            if isinstance(message, Hello):
                evidence = self._session.evidence(
                    session_id=SESSION_ID,
                    epoch=EPOCH,
                    channel_key=CHANNEL_PUBLIC,
                    envelope=channel_envelope(),
                    sign=CHANNEL_KEY.sign,
                )
                self._answers += self._session.send(evidence)
            else:
                self._answers += self._session.send(ProofMessage(self._document))

    def receive(self) -> bytes:
        assert self._answers, "the client waits for what nobody says"
        data, self._answers = self._answers, b""
        return data


def proved(wire: FalseWire, appraise: Any = lambda _: None) -> Proof:
    return prove(
        cast(Wire, wire),
        OUTER,
        ORDER,
        manifest_digest=MANIFEST,
        nonce=os.urandom(32),
        fresh=False,
        appraise=appraise,
        told=lambda _: None,
    )


def test_an_honest_proof_is_taken() -> None:
    seen: list[Shown] = []
    assert proved(FalseWire(), seen.append).to_bytes() == HONEST.to_bytes()
    assert (seen[0].ekm, seen[0].outer_key_digest, seen[0].evidence.session_id) == (EKM, OUTER, SESSION_ID)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"session": b"\x11" * 32}, "session"),
        ({"manifest": b"\x11" * 32}, "manifest"),
        ({"nonce": b"\x11" * 32}, "nonce"),
        ({"recipient": b"\x11" * 20}, "recipient"),
        ({"domain": Domain(1, CONTRACT)}, "chain"),
        ({"domain": Domain(8453, bytes(20))}, "contract"),
        ({"mode": "observe"}, "mode"),
    ],
)
def test_a_proof_of_something_else_is_not_taken(change: dict[str, Any], named: str) -> None:
    with pytest.raises(VerificationError, match=f"another {named} than this session"):
        proved(FalseWire(made(**{"session": SESSION_ID, **change}).to_bytes()))


def test_values_that_were_kept_back_are_missed() -> None:
    with pytest.raises(VerificationError, match="values"):
        proved(FalseWire(HONEST.showing(["price"]).to_bytes()))


def test_a_signature_that_nobody_can_have_made_is_no_proof() -> None:
    forged = replace(HONEST, signature=replace(HONEST.signature, r=(5).to_bytes(32, "big")))
    with pytest.raises(VerificationError):
        proved(FalseWire(forged.to_bytes()))


def test_a_signature_of_another_statement_is_no_proof() -> None:
    forged = replace(HONEST, signature=made(session=b"\x11" * 32).signature)
    with pytest.raises(VerificationError, match="not signed by the key that it names"):
        proved(FalseWire(forged.to_bytes()))


@pytest.mark.parametrize("document", [b"", b"{}", b'{"version":2}', b"\xff" * 9])
def test_what_is_no_proof_is_malformed(document: bytes) -> None:
    with pytest.raises((FormatError, ChannelError)):
        proved(FalseWire(document))


def test_a_proof_by_another_key_is_for_the_appraisal_of_the_key() -> None:
    """The client's own check knows no keys; `prove` judges the key's evidence, and this proof has none."""
    proof = Proof.sign(HONEST.statement, HONEST.openings, key=OTHER_KEY, key_evidence=None)
    assert proof.key_evidence is None
    assert proved(FalseWire(proof.to_bytes())) is not None


def test_a_notary_that_is_refused_hears_nothing_but_the_commitment() -> None:
    def refuse(_: Shown) -> None:
        raise RefusedError("not this one")

    wire = FalseWire()
    with pytest.raises(RefusedError):
        proved(wire, refuse)
    assert [type(one) for one in wire.heard] == [Hello]


def test_a_notary_that_signed_for_another_connection_is_not_even_appraised() -> None:
    wire = FalseWire(signed_for=b"\x01" * 32)
    with pytest.raises(NotAuthenticError):
        proved(wire, lambda _: pytest.fail("this is not to be appraised"))
    assert [type(one) for one in wire.heard] == [Hello]


@pytest.mark.parametrize("code", CODES)
def test_what_a_notary_says_last_has_its_exit_code(code: str) -> None:
    error = refusal(Error(code, "because", "response.status"))
    assert isinstance(error, RefusedByNotaryError)
    assert error.exit_code == (5 if code in ("violation", "redirect", "egress") else 6)
    assert isinstance(error, NotProvenError) is (error.exit_code == 5)
    assert str(error) == f"the notary refused ({code} at response.status): because"
    assert (error.fields()["code"], error.fields()["path"]) == (code, "response.status")
