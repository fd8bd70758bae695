"""TPM 2.0 structures that evidence carries: quote, signature, public area. Bytes to frozen values and back; no IO.

TPM 2.0 Library, Part 2 (Structures); all integers are big-endian. A parser takes exactly one structure and refuses
leftovers. Nothing here checks a signature or decides anything; commands to a device live with who owns the device.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import ALGORITHMS
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.tpm_quote import (
    ADMIN_WITH_POLICY,
    ALG_ECC,
    ALG_ECDSA,
    ALG_NULL,
    ALG_RSA,
    ALG_RSASSA,
    CURVE_BYTES,
    CURVE_P256,
    CURVE_P384,
    DECRYPT,
    ENCRYPTED_DUPLICATION,
    FIXED_PARENT,
    FIXED_TPM,
    GENERATED,
    NO_DA,
    PCR_COUNT,
    RESTRICTED,
    RH_ENDORSEMENT,
    RH_OWNER,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    ST_ATTEST_QUOTE,
    ST_CLEAR,
    USER_WITH_AUTH,
    Attest,
    PcrSelection,
    marshal_selections,
    read_hash,
    read_selections,
    read_tpm2b,
    tpm2b,
)

__all__ = [
    "ADMIN_WITH_POLICY",
    "ALG_ECC",
    "ALG_ECDSA",
    "ALG_NULL",
    "ALG_RSA",
    "ALG_RSASSA",
    "CURVE_BYTES",
    "CURVE_P256",
    "CURVE_P384",
    "DECRYPT",
    "ENCRYPTED_DUPLICATION",
    "FIXED_PARENT",
    "FIXED_TPM",
    "GENERATED",
    "NO_DA",
    "PCR_COUNT",
    "RESTRICTED",
    "RH_ENDORSEMENT",
    "RH_OWNER",
    "SENSITIVE_DATA_ORIGIN",
    "SIGN",
    "ST_ATTEST_QUOTE",
    "ST_CLEAR",
    "USER_WITH_AUTH",
    "Attest",
    "EccPublic",
    "EcdsaSignature",
    "PcrSelection",
    "Public",
    "RsaPublic",
    "RsassaSignature",
    "Scheme",
    "Signature",
    "marshal_selections",
    "object_name",
    "parse_public",
    "parse_signature",
    "qualified_name",
    "read_selections",
    "read_tpm2b",
    "tpm2b",
]

_SIGNING_SCHEMES: Final = (ALG_RSASSA, ALG_ECDSA)
_KNOWN_ATTRIBUTES: Final = 0x0007_0CF6  # all TPMA_OBJECT bits that have a name


@dataclass(frozen=True, slots=True)
class EcdsaSignature:
    """TPMT_SIGNATURE with TPM_ALG_ECDSA; r and s big-endian."""

    hash: str
    r: bytes
    s: bytes

    def marshal(self) -> bytes:
        return _marshal_scheme(Scheme(ALG_ECDSA, self.hash)) + tpm2b(self.r) + tpm2b(self.s)


@dataclass(frozen=True, slots=True)
class RsassaSignature:
    """TPMT_SIGNATURE with TPM_ALG_RSASSA (PKCS #1 v1.5)."""

    hash: str
    signature: bytes

    def marshal(self) -> bytes:
        return _marshal_scheme(Scheme(ALG_RSASSA, self.hash)) + tpm2b(self.signature)


Signature = EcdsaSignature | RsassaSignature


def parse_signature(data: bytes) -> Signature:
    """TPMT_SIGNATURE (Part 2, table 205); FormatError for every scheme but ECDSA and RSASSA."""
    reader = Reader(data, what="TPMT_SIGNATURE", order="big")
    scheme = _read_scheme(reader, "sigAlg")
    signature: Signature
    if scheme is None:
        raise reader.error("no signature (TPM_ALG_NULL)")
    if scheme.algorithm == ALG_ECDSA:
        signature = EcdsaSignature(
            scheme.hash, read_tpm2b(reader, "signatureR", 66), read_tpm2b(reader, "signatureS", 66)
        )
    else:
        signature = RsassaSignature(scheme.hash, read_tpm2b(reader, "sig", 512))
    reader.end()
    return signature


@dataclass(frozen=True, slots=True)
class Scheme:
    """A signing scheme (ALG_ECDSA or ALG_RSASSA) with its hash by name. Where a scheme may be absent: None."""

    algorithm: int
    hash: str


@dataclass(frozen=True, slots=True)
class EccPublic:
    """TPMT_PUBLIC of an ECC signing key. x and y are empty in a template."""

    name_algorithm: str
    attributes: int
    auth_policy: bytes
    scheme: Scheme | None
    curve: int
    x: bytes
    y: bytes

    def marshal(self) -> bytes:
        head = _marshal_public_head(ALG_ECC, self.name_algorithm, self.attributes, self.auth_policy)
        parameters = _marshal_scheme(self.scheme) + self.curve.to_bytes(2) + ALG_NULL.to_bytes(2)
        return head + parameters + tpm2b(self.x) + tpm2b(self.y)


@dataclass(frozen=True, slots=True)
class RsaPublic:
    """TPMT_PUBLIC of an RSA signing key. The modulus is empty in a template; exponent 0 means 65537."""

    name_algorithm: str
    attributes: int
    auth_policy: bytes
    scheme: Scheme | None
    key_bits: int
    exponent: int
    modulus: bytes

    def marshal(self) -> bytes:
        head = _marshal_public_head(ALG_RSA, self.name_algorithm, self.attributes, self.auth_policy)
        parameters = _marshal_scheme(self.scheme) + self.key_bits.to_bytes(2) + self.exponent.to_bytes(4)
        return head + parameters + tpm2b(self.modulus)


Public = EccPublic | RsaPublic


def parse_public(data: bytes) -> Public:
    """TPMT_PUBLIC (Part 2, table 225) of a signing key. FormatError for storage keys and unknown algorithms."""
    reader = Reader(data, what="TPMT_PUBLIC", order="big")
    kind, name_algorithm = reader.uint(2, "type"), read_hash(reader, "nameAlg")
    attributes = reader.uint(4, "objectAttributes")
    if attributes & ~_KNOWN_ATTRIBUTES:
        raise reader.error(f"objectAttributes {attributes:#010x} has reserved bits")
    policy = read_tpm2b(reader, "authPolicy", 64)
    if (symmetric := reader.uint(2, "symmetric")) != ALG_NULL:
        raise reader.error(f"symmetric is {symmetric:#06x}: not a signing key")
    scheme = _read_scheme(reader, "scheme")
    public: Public
    if kind == ALG_ECC:
        public = _read_ecc(reader, name_algorithm, attributes, policy, scheme)
    elif kind == ALG_RSA:
        bits, exponent = reader.uint(2, "keyBits"), reader.uint(4, "exponent")
        public = RsaPublic(
            name_algorithm, attributes, policy, scheme, bits, exponent, read_tpm2b(reader, "unique", 512)
        )
    else:
        raise reader.error(f"type {kind:#06x} is neither ECC nor RSA")
    reader.end()
    return public


def object_name(public: Public) -> bytes:
    """The name of an object: nameAlg and the digest of its public area (Part 1, 16)."""
    return _name(public.name_algorithm, public.marshal())


def qualified_name(hierarchy: int, public: Public) -> bytes:
    """The qualified name of a primary key directly below `hierarchy` (Part 1, 26.5): what `qualifiedSigner` holds."""
    return _name(public.name_algorithm, hierarchy.to_bytes(4) + object_name(public))


def _name(algorithm: str, data: bytes) -> bytes:
    return ALGORITHMS[algorithm][0].to_bytes(2) + hashlib.new(algorithm, data).digest()


def _read_ecc(reader: Reader, name_algorithm: str, attributes: int, policy: bytes, scheme: Scheme | None) -> EccPublic:
    if (curve := reader.uint(2, "curveID")) not in CURVE_BYTES:
        raise reader.error(f"curve {curve:#06x} is neither P-256 nor P-384")
    if (kdf := reader.uint(2, "kdf")) != ALG_NULL:
        raise reader.error(f"kdf {kdf:#06x}: not a signing key")
    x, y = read_tpm2b(reader, "x", 66), read_tpm2b(reader, "y", 66)
    return EccPublic(name_algorithm, attributes, policy, scheme, curve, x, y)


def _read_scheme(reader: Reader, field: str) -> Scheme | None:
    if (number := reader.uint(2, field)) == ALG_NULL:
        return None
    if number not in _SIGNING_SCHEMES:
        raise reader.error(f"{field} {number:#06x} is neither ECDSA nor RSASSA")
    return Scheme(number, read_hash(reader, f"{field} hash"))


def _marshal_scheme(scheme: Scheme | None) -> bytes:
    if scheme is None:
        return ALG_NULL.to_bytes(2)
    return scheme.algorithm.to_bytes(2) + ALGORITHMS[scheme.hash][0].to_bytes(2)


def _marshal_public_head(kind: int, name_algorithm: str, attributes: int, policy: bytes) -> bytes:
    head = kind.to_bytes(2) + ALGORITHMS[name_algorithm][0].to_bytes(2) + attributes.to_bytes(4)
    return head + tpm2b(policy) + ALG_NULL.to_bytes(2)
