"""What a registrar is shown of a key: a proof that it signed, or what a notary answers at /v1/meta/keys. Pure.

Nothing is believed here but what follows from the bytes alone; `pluto_notary.registry.judge` judges the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pluto_measure.claims import KeyClaims
from pluto_measure.errors import FormatError, RefusedError, VerificationError
from pluto_measure.evidence import Envelope
from pluto_measure.formats.strict_json import Fields, canonical, loads, unhex
from pluto_notary.statement.checks import checks
from pluto_notary.statement.judge import FORGED
from pluto_notary.statement.keys import ADDRESS_BYTES, PUBLIC_BYTES, address
from pluto_notary.statement.model import hex_of
from pluto_notary.statement.proof import LIMIT, Proof

_WHAT: Final = "key evidence"
_NOTHING: Final = "the key's evidence proves nothing: the notary is run for development"


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key and the evidence of it. `public`: SEC1, compressed; `claims` are what the envelope says, unproved."""

    public: bytes
    envelope: bytes  # canonical JSON
    claims: KeyClaims

    @property
    def account(self) -> bytes:
        """What contracts call the key."""
        return address(self.public)


def shown_key(data: bytes) -> ShownKey:
    """FormatError; VerificationError for what is forged; RefusedError where there is no evidence."""
    document = loads(data, what=_WHAT, limit=LIMIT)
    if isinstance(document, dict) and "channel" in document:
        return _of_keys(Fields(document, what=_WHAT))
    return _of_proof(Proof.parse(data))


def _of_proof(proof: Proof) -> ShownKey:
    if proof.key_evidence is None:
        raise RefusedError(_NOTHING)
    forged = [check for check in checks(proof) if not check.holds and check.id in FORGED]
    if forged:
        raise VerificationError(f"the proof is not authentic: {forged[0].id}: {forged[0].text}")
    return ShownKey(proof.signed_by(), proof.key_evidence.envelope, proof.key_evidence.claims)


def _of_keys(fields: Fields) -> ShownKey:
    fields.take("channel", dict)  # for clients of the channel, who judge it in their own session
    statement = fields.sub("statement")
    public = unhex(statement.take("publicKey", str), PUBLIC_BYTES, what=f"{statement.what}.publicKey")
    account = hex_of(statement, "address", ADDRESS_BYTES)
    evidence = statement.take("evidence", dict, type(None))
    for part in (statement, fields):
        part.end()
    if account != address(public):
        raise FormatError(statement.what, "address is not that of publicKey")
    if evidence is None or evidence.get("type") == "insecure":
        raise RefusedError(_NOTHING)
    envelope = Envelope.parse(_again(evidence))
    if not isinstance(envelope.claims, KeyClaims):
        raise FormatError(statement.what, f"the evidence is for the purpose {envelope.claims.purpose}, not key")
    return ShownKey(public, canonical(envelope.to_json()), envelope.claims)


def _again(value: dict[str, Any]) -> bytes:
    """The envelope's text, which its own parser reads with its own limits."""
    try:
        return canonical(value)
    except (TypeError, ValueError) as error:
        raise FormatError(_WHAT, "holds what no envelope does") from error
