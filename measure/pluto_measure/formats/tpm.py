"""TPM 2.0 structures that evidence carries: quote, signature, public area. Bytes to frozen values and back; no IO.

TPM 2.0 Library, Part 2 (Structures); all integers are big-endian. A parser takes exactly one structure and refuses
leftovers. Nothing here checks a signature or decides anything; commands to a device live with who owns the device.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import ALGORITHMS, NAME_OF
from pluto_measure.formats.reader import Reader

# Part 2, table 9 (TPM_ALG_ID).
ALG_RSA: Final = 0x0001
ALG_NULL: Final = 0x0010
ALG_RSASSA: Final = 0x0014
ALG_ECDSA: Final = 0x0018
ALG_ECC: Final = 0x0023
_SIGNING_SCHEMES: Final = (ALG_RSASSA, ALG_ECDSA)

# Part 2, table 10 (TPM_ECC_CURVE): identifier to the size of a coordinate in bytes.
CURVE_P256: Final = 0x0003
CURVE_P384: Final = 0x0004
CURVE_BYTES: Final[dict[int, int]] = {CURVE_P256: 32, CURVE_P384: 48}

# Part 2, table 31 (TPMA_OBJECT).
FIXED_TPM: Final = 1 << 1
ST_CLEAR: Final = 1 << 2
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
USER_WITH_AUTH: Final = 1 << 6
ADMIN_WITH_POLICY: Final = 1 << 7
NO_DA: Final = 1 << 10
ENCRYPTED_DUPLICATION: Final = 1 << 11
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18
_KNOWN_ATTRIBUTES: Final = 0x0007_0CF6  # all of the above

# Part 2, table 28 (TPM_RH): the hierarchies that can hold a primary key.
RH_OWNER: Final = 0x4000_0001
RH_ENDORSEMENT: Final = 0x4000_000B

GENERATED: Final = 0xFF54_4347  # TPM_GENERATED_VALUE: no other bytes that begin so are signed by a restricted key
ST_ATTEST_QUOTE: Final = 0x8018
PCR_COUNT: Final = 24  # PC Client Platform TPM Profile: 24 registers, 3 bytes of bitmap
_LARGEST_2B: Final = 1024


def tpm2b(data: bytes) -> bytes:
    """TPM2B_*: a u16 length and the bytes. ValueError beyond 65535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes do not fit a TPM2B")
    return len(data).to_bytes(2) + data


def read_tpm2b(reader: Reader, field: str, limit: int = _LARGEST_2B) -> bytes:
    """The content of a TPM2B_* of at most `limit` bytes. FormatError beyond."""
    size = reader.uint(2, f"{field} size")
    if size > limit:
        raise reader.error(f"{field} of {size} bytes is longer than {limit}")
    return reader.take(size, field)


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """TPMS_PCR_SELECTION: a bank by its algorithm's name and the registers chosen, ascending."""

    algorithm: str
    registers: tuple[int, ...]

    def marshal(self) -> bytes:
        bits = sum(1 << register for register in self.registers)
        return ALGORITHMS[self.algorithm][0].to_bytes(2) + b"\3" + bits.to_bytes(3, "little")


def marshal_selections(selections: tuple[PcrSelection, ...]) -> bytes:
    """TPML_PCR_SELECTION."""
    return len(selections).to_bytes(4) + b"".join(selection.marshal() for selection in selections)


def read_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    """TPML_PCR_SELECTION of at most 16 banks, 24 registers each (sizeofSelect must be 3)."""
    if (count := reader.uint(4, "PCR selection count")) > 16:
        raise reader.error(f"{count} PCR selections are more than 16")
    return tuple(_read_selection(reader) for _ in range(count))


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST of type quote (Part 2, table 140): what the TPM signs. `clock` is in milliseconds."""

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """FormatError unless `data` is exactly one quote with TPM_GENERATED_VALUE."""
        reader = Reader(data, what="TPMS_ATTEST", order="big")
        if (magic := reader.uint(4, "magic")) != GENERATED:
            raise reader.error(f"magic is {magic:#010x}, not {GENERATED:#010x}: no TPM made this structure")
        if (kind := reader.uint(2, "type")) != ST_ATTEST_QUOTE:
            raise reader.error(f"type is {kind:#06x}, not a quote ({ST_ATTEST_QUOTE:#06x})")
        attest = cls(
            qualified_signer=read_tpm2b(reader, "qualifiedSigner", 66),
            extra_data=read_tpm2b(reader, "extraData", 66),
            clock=reader.uint(8, "clock"),
            reset_count=reader.uint(4, "resetCount"),
            restart_count=reader.uint(4, "restartCount"),
            safe=_read_bool(reader, "safe"),
            firmware_version=reader.uint(8, "firmwareVersion"),
            selections=read_selections(reader),
            pcr_digest=read_tpm2b(reader, "pcrDigest", 64),
        )
        reader.end()
        return attest

    def marshal(self) -> bytes:
        head = GENERATED.to_bytes(4) + ST_ATTEST_QUOTE.to_bytes(2)
        names = tpm2b(self.qualified_signer) + tpm2b(self.extra_data)
        counts = self.clock.to_bytes(8) + self.reset_count.to_bytes(4) + self.restart_count.to_bytes(4)
        firmware = bytes([self.safe]) + self.firmware_version.to_bytes(8)
        return head + names + counts + firmware + marshal_selections(self.selections) + tpm2b(self.pcr_digest)


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
    kind, name_algorithm = reader.uint(2, "type"), _read_hash(reader, "nameAlg")
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


def _read_selection(reader: Reader) -> PcrSelection:
    algorithm = _read_hash(reader, "bank")
    if (size := reader.uint(1, "sizeofSelect")) != PCR_COUNT // 8:
        raise reader.error(f"sizeofSelect is {size}, not {PCR_COUNT // 8}")
    bits = int.from_bytes(reader.take(size, "pcrSelect"), "little")
    return PcrSelection(algorithm, tuple(register for register in range(PCR_COUNT) if bits >> register & 1))


def _read_hash(reader: Reader, field: str) -> str:
    if (number := reader.uint(2, field)) not in NAME_OF:
        raise reader.error(f"{field} {number:#06x} is not a known hash algorithm")
    return NAME_OF[number]


def _read_scheme(reader: Reader, field: str) -> Scheme | None:
    if (number := reader.uint(2, field)) == ALG_NULL:
        return None
    if number not in _SIGNING_SCHEMES:
        raise reader.error(f"{field} {number:#06x} is neither ECDSA nor RSASSA")
    return Scheme(number, _read_hash(reader, f"{field} hash"))


def _read_bool(reader: Reader, field: str) -> bool:
    if (value := reader.uint(1, field)) > 1:
        raise reader.error(f"{field} is {value}, neither 0 nor 1")
    return value == 1


def _marshal_scheme(scheme: Scheme | None) -> bytes:
    if scheme is None:
        return ALG_NULL.to_bytes(2)
    return scheme.algorithm.to_bytes(2) + ALGORITHMS[scheme.hash][0].to_bytes(2)


def _marshal_public_head(kind: int, name_algorithm: str, attributes: int, policy: bytes) -> bytes:
    head = kind.to_bytes(2) + ALGORITHMS[name_algorithm][0].to_bytes(2) + attributes.to_bytes(4)
    return head + tpm2b(policy) + ALG_NULL.to_bytes(2)
