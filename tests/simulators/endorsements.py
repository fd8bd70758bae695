"""Protocol Buffers' binary form, and a pretend Google that signs launch endorsements, well or badly. For tests alone.

It shares no code with the parser: bytes are written by hand, with `cryptography` for keys, X.509 and signatures. Begin
with `launch_endorsement()` and change one thing.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

Field = tuple[bytes, bytes]  # key, value


def varint(value: int) -> bytes:
    """Seven bits in each byte, the lowest first."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def number(field: int, value: int) -> Field:
    return varint(field << 3), varint(value)


def bytes_field(field: int, value: bytes) -> Field:
    return varint(field << 3 | 2), varint(len(value)) + value


def fixed32(field: int, value: int) -> Field:
    return varint(field << 3 | 5), value.to_bytes(4, "little")


def fixed64(field: int, value: int) -> Field:
    return varint(field << 3 | 1), value.to_bytes(8, "little")


def message(*fields: Field) -> bytes:
    """The fields in the order given."""
    return b"".join(key + value for key, value in fields)


NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
MADE = datetime(2026, 3, 12, 9, 30, 0, tzinfo=UTC)
MRTD, FIRMWARE_DIGEST = b"\x4d" * 48, b"\xf1" * 48
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
Hash = hashes.SHA224 | hashes.SHA256 | hashes.SHA512
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def key_of(name: str, bits: int = 4096) -> rsa.RSAPrivateKey:
    """The RSA key of this name, the same for the whole run."""
    return rsa.generate_private_key(65537, bits)


def _name(common: str) -> x509.Name:
    """As Google names its keys, with a country of three letters, which no country's code has."""
    parts = {
        NameOID.ORGANIZATION_NAME: "Google",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Engineering",
        NameOID.LOCALITY_NAME: "Kirkland",
        NameOID.STATE_OR_PROVINCE_NAME: "WA",
        NameOID.SERIAL_NUMBER: "1",
        NameOID.COMMON_NAME: common,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        country = x509.NameAttribute(NameOID.COUNTRY_NAME, "USA", _validate=False)
    return x509.Name([country, *(x509.NameAttribute(oid, text) for oid, text in parts.items())])


@dataclass(frozen=True)
class Form:
    """How a certificate of the signing key looks; the defaults are Google's."""

    subject: str = "GCE-cc-tcb-signer"
    begin: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    end: datetime = datetime(2033, 1, 1, tzinfo=UTC)
    is_ca: bool = False
    digital_signature: bool | None = True  # None: no KeyUsage at all
    cert_sign: bool = False
    critical: str = ""  # OID of an extension that nobody understands
    hash: Hash = field(default_factory=hashes.SHA256)


@cache
def root(name: str = "GCE-cc-tcb-root") -> x509.Certificate:
    """A root of its own key (RSA-2048, to be made fast), valid 2023 to 2048."""
    key, subject = key_of(name, 2048), _name(name)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2023, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2048, 1, 1, tzinfo=UTC)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, hashes.SHA256(), rsa_padding=_PSS)


ROOT = hashlib.sha256(root().public_bytes(Encoding.DER)).digest()
ROOTS = frozenset({ROOT})


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def signing_certificate(form: Form, key: Key, issuer: str = "GCE-cc-tcb-root") -> bytes:
    """DER of a certificate for `key` that the root of this name signs."""
    builder = x509.CertificateBuilder(_name(issuer), _name(form.subject), key.public_key(), 2)
    builder = builder.not_valid_before(form.begin).not_valid_after(form.end)
    builder = builder.add_extension(x509.BasicConstraints(ca=form.is_ca, path_length=None), critical=True)
    if form.digital_signature is not None:
        others = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        usage = x509.KeyUsage(digital_signature=form.digital_signature, key_cert_sign=form.cert_sign, **others)
        builder = builder.add_extension(usage, critical=True)
    if form.critical:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(form.critical), b"\5\0")
        builder = builder.add_extension(odd, critical=True)
    how = padding.PSS(padding.MGF1(form.hash), 20)
    signed = builder.sign(key_of(issuer, 2048), form.hash, rsa_padding=how)
    return signed.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Plan:
    """What goes into an endorsement. `mrtds`: GiB of memory (0: any), early accept, MRTD."""

    mrtds: Sequence[tuple[int, bool, bytes]] = ((0, False, MRTD), (0, True, MRTD))
    svn: int = 2
    made: datetime | None = MADE
    firmware: bytes = FIRMWARE_DIGEST
    form: Form = Form()
    key: Key | None = None  # that the certificate is for
    sign_with: rsa.RSAPrivateKey | None = None  # where another one signs
    issuer: str = "GCE-cc-tcb-root"
    certificate: bytes | None = None
    ca_bundle: bytes | None = None
    pss: padding.AsymmetricPadding = field(default_factory=lambda: _PSS)
    hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)

    def golden(self) -> bytes:
        """The bytes to sign."""
        measured = [
            bytes_field(
                2,
                message(*([number(1, gib)] if gib else []), *([number(2, 1)] if early else []), bytes_field(3, value)),
            )
            for gib, early, value in self.mrtds
        ]
        key = self.key or key_of("signer")
        certificate = signing_certificate(self.form, key, self.issuer) if self.certificate is None else self.certificate
        bundle = pem(root()) if self.ca_bundle is None else self.ca_bundle
        made = (
            [] if self.made is None else [bytes_field(1, message(number(1, int(self.made.timestamp())), number(2, 5)))]
        )
        return message(
            *made,
            number(2, 741_000_000),
            bytes_field(4, certificate),
            bytes_field(5, self.firmware),
            *([bytes_field(6, bundle)] if bundle else []),
            bytes_field(7, message(number(1, 3))),
            bytes_field(8, message(number(1, self.svn), *measured)),
        )


def launch_endorsement(plan: Plan | None = None, **changes: Any) -> bytes:
    """A genuine endorsement under the pretend Google's root, with the changes to its `Plan`."""
    chosen = replace(plan or Plan(), **changes)
    golden = chosen.golden()
    signature = (chosen.sign_with or key_of("signer")).sign(golden, chosen.pss, chosen.hash)
    return message(bytes_field(1, golden), bytes_field(2, signature))


def later(days: float) -> datetime:
    """This many days after `MADE`."""
    return MADE + timedelta(days=days)
