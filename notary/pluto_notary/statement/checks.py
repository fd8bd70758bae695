"""What can be said of a proof from its bytes alone: no policy, no collateral, no clock. Pure.

The notary's own verify service and the verifier's judgement both start from these.
"""

from __future__ import annotations

from pluto_measure.errors import VerificationError
from pluto_measure.record import record
from pluto_notary.statement.keys import address, recover
from pluto_notary.statement.legacy import Legacy, endorsement_digest, legacy_digest
from pluto_notary.statement.model import spelt

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pluto_notary.statement.keys import Signature
    from pluto_notary.statement.proof import Proof


@record
class Check:
    """One check: whether it holds, and why that matters."""

    id: str
    holds: bool
    text: str
    expected: str | None = None
    actual: str | None = None


def checks(proof: Proof) -> tuple[Check, ...]:
    """Every check that runs on the bytes alone, in the order in which they are worth something."""
    return (
        *_signature(proof),
        *_key(proof),
        *_openings(proof),
        *(_legacy(proof, proof.legacy) if proof.legacy else ()),
    )


def signer_of(digest: bytes, signature: Signature) -> bytes | None:
    """The public key that signed; None where it is nobody's signature."""
    try:
        return recover(digest, signature)
    except VerificationError:
        return None


def _signature(proof: Proof) -> Iterator[Check]:
    public = signer_of(proof.statement.digest(), proof.signature)
    actual = None if public is None else address(public)
    yield _judged(
        "signature.signer",
        actual == proof.signer,
        "the statement is signed by the key whose address the proof names",
        "the signature is not of this statement by the key whose address the proof names",
        spelt(proof.signer),
        spelt(actual),
    )


def _key(proof: Proof) -> Iterator[Check]:
    check, evidence = "key.evidence", proof.key_evidence
    if evidence is None:
        text = "the proof has no evidence of the signing key, so anybody's laptop may have signed it"
        yield Check(check, False, text)
        return
    yield Check(check, True, "the proof has evidence of the signing key", None, evidence.type)
    claimed, public = evidence.claims, signer_of(proof.statement.digest(), proof.signature)
    yield _judged(
        "key.signer",
        public == claimed.statement_key,
        "the evidence is of the key that signed the statement",
        "the evidence is of another key than the one that signed the statement",
        claimed.statement_key.hex(),
        None if public is None else public.hex(),
    )
    yield _judged(
        "statement.build",
        proof.statement.build == claimed.build_id,
        "the statement and the evidence name the same build",
        "the statement names another build than the evidence",
        claimed.build_id.hex(),
        proof.statement.build.hex(),
    )


def _openings(proof: Proof) -> Iterator[Check]:
    signed = {value.id: value.digest for value in proof.statement.values}
    for opening in proof.openings:
        yield _judged(
            "values.opening",
            opening.digest == signed[opening.id],
            f"the value {opening.id!r} is the one that was signed",
            f"the value {opening.id!r} is not the one that was signed",
            spelt(signed[opening.id]),
            spelt(opening.digest),
        )


def _legacy(proof: Proof, legacy: Legacy) -> Iterator[Check]:
    yield _judged(
        "legacy.manifest",
        legacy.manifest == proof.statement.manifest,
        "the proof in the old format is of the same manifest",
        "the proof in the old format is of another manifest",
        spelt(proof.statement.manifest),
        spelt(legacy.manifest),
    )
    yield _judged(
        "legacy.signer",
        _is_by(legacy.signer, legacy_digest(legacy.manifest), legacy.signature),
        "the proof in the old format is signed by the key that it names",
        "the proof in the old format is not signed by the key that it names",
        spelt(legacy.signer),
    )
    yield _judged(
        "legacy.endorsement",
        legacy.signer != proof.signer
        and _is_by(proof.signer, endorsement_digest(proof.statement.domain, legacy.signer), legacy.endorsement),
        "the statement key vouches for the key of the old format",
        "the statement key does not vouch for the key of the old format",
        spelt(proof.signer),
    )


def _is_by(signer: bytes, digest: bytes, signature: Signature) -> bool:
    public = signer_of(digest, signature)
    return public is not None and address(public) == signer


def _judged(
    check: str, holds: bool, text: str, otherwise: str, expected: str | None = None, actual: str | None = None
) -> Check:
    return Check(check, holds, text if holds else otherwise, expected, actual)
