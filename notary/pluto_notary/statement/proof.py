"""The proof file: a statement, its signature, the openings its owner shows, and the signing key's evidence. Pure.

Format: docs/formats/proof.md. Nothing here is verified: `pluto_notary.statement.judge` does that, and
`pluto_notary.statement.service` what needs neither policy nor collateral.
"""

from __future__ import annotations

from pluto_measure.claims import KeyClaims
from pluto_measure.errors import FormatError
from pluto_measure.evidence import ENVELOPE_LIMIT, Envelope
from pluto_measure.formats.strict_json import Fields, canonical, loads, unhex
from pluto_measure.record import record, replace
from pluto_notary.statement.keccak import SIZE
from pluto_notary.statement.keys import ADDRESS_BYTES, Signature, SigningKey, recover
from pluto_notary.statement.legacy import Legacy, parse_signature, signature_json
from pluto_notary.statement.model import Statement, hex_of, spelt
from pluto_notary.statement.values import Opening, check_ids, few, is_text

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Final, Self

VERSION: Final = 2
LIMIT: Final = 8 * 1024 * 1024  # bytes of JSON


@record
class KeyEvidence:
    """Evidence of purpose `key`, and which collateral it was judged by when it was new, if anybody said so.

    The envelope is kept as it is written and verified, so that a notary spells it once and signs many statements.
    """

    envelope: bytes  # canonical JSON
    type: str
    claims: KeyClaims
    collateral: bytes | None  # SHA-256 of the collateral's file

    @classmethod
    def of(cls, envelope: Envelope, collateral: bytes | None = None) -> Self:
        """FormatError where the evidence is for another purpose."""
        if not isinstance(envelope.claims, KeyClaims):
            raise FormatError("proof.keyEvidence", f"the envelope's purpose is {envelope.claims.purpose}, not key")
        return cls(canonical(envelope.to_json()), envelope.type, envelope.claims, collateral)

    def to_bytes(self) -> bytes:
        """The member `keyEvidence`, as canonical JSON."""
        collateral = canonical(None if self.collateral is None else self.collateral.hex())
        return b'{"collateral":' + collateral + b',"envelope":' + self.envelope + b"}"


@record
class Proof:
    """Parsed, not verified. `key_evidence` is None where the notary has none, as in development."""

    statement: Statement
    signature: Signature
    signer: bytes  # address, 20 bytes, as the file names it
    openings: tuple[Opening, ...]  # in the statement's order
    key_evidence: KeyEvidence | None
    legacy: Legacy | None = None

    def __post_init__(self) -> None:
        shown = [opening.id for opening in self.openings]
        check_ids(shown, what="proof.openings")
        if shown != [value.id for value in self.statement.values if value.id in set(shown)]:
            raise FormatError("proof.openings", "are not of the statement's values, in their order")
        if self.legacy is not None and self.statement.mode != "fetch":  # the old format cannot say another mode
            raise FormatError("proof.legacy", f"a statement of mode {self.statement.mode} has none")

    @classmethod
    def sign(
        cls,
        statement: Statement,
        openings: tuple[Opening, ...],
        *,
        key: SigningKey,
        key_evidence: KeyEvidence | None,
        legacy_key: SigningKey | None = None,
    ) -> Self:
        """Sign a statement. `legacy_key`: sign the manifest the old way, too. ValueError where openings do not fit."""
        if [(one.id, one.digest) for one in openings] != [(one.id, one.digest) for one in statement.values]:
            raise ValueError("the openings are not those of the statement's values")
        if key_evidence is not None and key_evidence.claims.statement_key != key.public:
            raise ValueError("the evidence is another key's")
        legacy = None
        if legacy_key is not None:
            legacy = Legacy.sign(statement.manifest, statement.domain, legacy_key=legacy_key, statement_key=key)
        return cls(statement, key.sign(statement.digest()), key.address, openings, key_evidence, legacy)

    def signed_by(self) -> bytes:
        """The public key (33 bytes) that signed the statement. VerificationError where none can have."""
        return recover(self.statement.digest(), self.signature)

    def showing(self, ids: Collection[str]) -> Proof:
        """The same proof with these openings alone, to hand on; what is revealed stays open to all who guess it."""
        if missing := set(ids) - {opening.id for opening in self.openings}:
            raise FormatError("proof.openings", f"has none of {', '.join(sorted(missing))}")
        return replace(self, openings=tuple(opening for opening in self.openings if opening.id in ids))

    def with_collateral(self, digest: bytes) -> Proof:
        """The same proof that names the collateral (SHA-256) by which whoever received it judged the evidence."""
        if self.key_evidence is None:
            raise ValueError("there is no evidence that collateral would belong to")
        return replace(self, key_evidence=replace(self.key_evidence, collateral=digest))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a proof's JSON. FormatError for anything unknown, missing, of the wrong kind or spelt otherwise."""
        fields = Fields(loads(data, what="proof", limit=LIMIT), what="proof")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("proof", f"version {version} is not known")
        signed, legacy = fields.sub("signature"), fields.optional("legacy")
        signer = hex_of(signed, "signer", ADDRESS_BYTES)
        proof = cls(
            statement=Statement.parse(fields.sub("statement")),
            signature=parse_signature(signed),
            signer=signer,
            openings=tuple(_opening(item) for item in few(fields.take("openings", list), what="proof.openings")),
            key_evidence=_key_evidence(fields.take("keyEvidence", dict, type(None))),
            legacy=None if legacy is None else Legacy.parse(legacy),
        )
        fields.end()
        return proof

    def to_bytes(self) -> bytes:
        """The file: canonical JSON (RFC 8785), whose first member is `keyEvidence`."""
        evidence = b"null" if self.key_evidence is None else self.key_evidence.to_bytes()
        document: dict[str, object] = {
            "version": VERSION,
            "statement": self.statement.to_json(),
            "signature": {**signature_json(self.signature), "signer": spelt(self.signer)},
            "openings": [{"id": one.id, "salt": spelt(one.salt), "json": one.text} for one in self.openings],
        }
        if self.legacy is not None:
            document["legacy"] = self.legacy.to_json()
        return b'{"keyEvidence":' + evidence + b"," + canonical(document)[1:]


def _opening(item: object) -> Opening:
    fields = Fields(item, what="proof.openings[]")
    opening = Opening(fields.take("id", str), hex_of(fields, "salt", SIZE), fields.take("json", str))
    fields.end()
    if not is_text(opening.text):
        raise FormatError(fields.what, "json is not UTF-8")
    loads(opening.text, what=f"{fields.what}.json", limit=LIMIT)
    return opening


def _key_evidence(value: dict[str, Any] | None) -> KeyEvidence | None:
    if value is None:
        return None
    fields = Fields(value, what="proof.keyEvidence")
    envelope = Envelope.parse(_again(fields.take("envelope", dict)))
    digest = fields.take("collateral", str, type(None))
    collateral = None if digest is None else unhex(digest, SIZE, what=f"{fields.what}.collateral")
    fields.end()
    return KeyEvidence.of(envelope, collateral)


def _again(value: dict[str, Any]) -> bytes:
    """The envelope's text, which its own parser reads with its own limits."""
    try:
        data = canonical(value)
    except (TypeError, ValueError) as error:
        raise FormatError("proof.keyEvidence.envelope", "holds what no envelope does") from error
    if len(data) > ENVELOPE_LIMIT:
        raise FormatError("proof.keyEvidence.envelope", f"is larger than {ENVELOPE_LIMIT} bytes")
    return data
