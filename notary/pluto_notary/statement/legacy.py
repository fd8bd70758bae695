"""Pluto's first proof format, as an optional output beside a statement: for contracts that read nothing else. Pure.

    leaf 0 = keccak256("0x" ‖ hex(manifest digest), as text)      leaf 1 = manifest digest
    digest = keccak256(leaf 0 ‖ leaf 1)

It says that a session satisfied a manifest: not whose, not when, no value, no contract. So it is signed by a key of its
own, never by the statement key, which endorses the legacy key by a typed structure. Nothing here replaces a statement.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.record import record
from pluto_notary.statement.eip712 import Struct, typed_digest
from pluto_notary.statement.keccak import SIZE, keccak256
from pluto_notary.statement.keys import ADDRESS_BYTES, Signature, SigningKey
from pluto_notary.statement.model import Domain, hex_of, spelt

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final, Self

LEGACY_SIGNER: Final = Struct("LegacySigner", (("address", "signer"),))


def leaves(manifest: bytes) -> tuple[bytes, bytes]:
    """Both leaves over a manifest's digest (32 bytes)."""
    return keccak256(f"0x{manifest.hex()}".encode()), manifest


def legacy_digest(manifest: bytes) -> bytes:
    """What is signed, 32 bytes. Its preimage has 64 bytes, a typed structure's 66: no digest is of both kinds."""
    return joined(*leaves(manifest))


def joined(value: bytes, manifest: bytes) -> bytes:
    """The digest over two leaves."""
    assert len(value) == len(manifest) == SIZE
    return keccak256(value + manifest)


def endorsement_digest(domain: Domain, signer: bytes) -> bytes:
    """What the statement key signs of the legacy key's address."""
    return typed_digest(domain.separator(), LEGACY_SIGNER.hash({"signer": signer}))


@record
class Legacy:
    """A proof in the old format, and the statement key's word for the key that signed it. Parsed, not verified."""

    manifest: bytes  # 32 bytes
    signature: Signature
    signer: bytes  # address, 20 bytes
    endorsement: Signature

    @classmethod
    def sign(cls, manifest: bytes, domain: Domain, *, legacy_key: SigningKey, statement_key: SigningKey) -> Self:
        """Sign a manifest's digest the old way. ValueError where one key would do both."""
        if legacy_key.address == statement_key.address:
            raise ValueError("the statement key does not sign in the old format")
        return cls(
            manifest=manifest,
            signature=legacy_key.sign(legacy_digest(manifest)),
            signer=legacy_key.address,
            endorsement=statement_key.sign(endorsement_digest(domain, legacy_key.address)),
        )

    def to_json(self) -> dict[str, object]:
        """`proof` is what Pluto's first version writes, whole."""
        r, s = self.signature.r, self.signature.s
        signature = {
            "merkle_leaves": list(leaves(self.manifest)),
            "digest": legacy_digest(self.manifest),
            "signature": encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")),
            "signature_r": r,
            "signature_s": s,
            "signature_v": self.signature.v,
            "signer": self.signer,
        }
        proof = {"data": {"manifest_hash": list(self.manifest)}, "signature": spelt(signature)}
        return {"proof": proof, "endorsement": signature_json(self.endorsement)}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From a proof's member `legacy`. What follows from the rest must be what follows. FormatError."""
        whole = fields.take("proof", dict)
        data = Fields(whole, what=f"{fields.what}.proof").sub("data")
        signature = Fields(whole, what=f"{fields.what}.proof").sub("signature")
        legacy = cls(
            manifest=_bytes(data.take("manifest_hash", list), data.what),
            signature=Signature(
                hex_of(signature, "signature_r", SIZE),
                hex_of(signature, "signature_s", SIZE),
                signature.take("signature_v", int),
            ),
            signer=hex_of(signature, "signer", ADDRESS_BYTES),
            endorsement=parse_signature(fields.sub("endorsement")),
        )
        if whole != legacy.to_json()["proof"]:
            raise FormatError(
                f"{fields.what}.proof", "digest, leaves or encoding do not follow from manifest and r, s, v"
            )
        fields.end()
        return legacy


def signature_json(signature: Signature) -> dict[str, object]:
    return {"r": spelt(signature.r), "s": spelt(signature.s), "v": signature.v}


def parse_signature(fields: Fields) -> Signature:
    """An object of r, s and v alone. FormatError."""
    signature = Signature(hex_of(fields, "r", SIZE), hex_of(fields, "s", SIZE), fields.take("v", int))
    fields.end()
    return signature


def _bytes(numbers: list[object], what: str) -> bytes:
    if len(numbers) != SIZE or not all(type(one) is int and 0 <= one <= 255 for one in numbers):
        raise FormatError(what, f"manifest_hash must be {SIZE} numbers from 0 to 255")
    return bytes(one for one in numbers if isinstance(one, int))
