"""X.509 as Intel shapes it: keys by name, certificates with Intel's subjects and extensions, or with a defect.

For tests alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from .der import SGX_EXTENSION

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
HOST = "https://intel.example"  # reserved name: nothing that follows a distribution point reaches anybody
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Key = ec.EllipticCurvePrivateKey


def key_of(*name: object) -> Key:
    """The P-256 key that belongs to a name; always the same one."""
    number = int.from_bytes(hashlib.sha512(repr(name).encode()).digest(), "big")
    return ec.derive_private_key(number % (P256_ORDER - 1) + 1, ec.SECP256R1())


def raw_signature(key: Key, message: bytes) -> bytes:
    """r and s, 32 bytes each, big-endian: ECDSA with SHA-256, the same for the same message."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public(key: Key) -> bytes:
    """x and y, 32 bytes each, big-endian."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def name_of(common_name: str) -> x509.Name:
    """As Intel writes it: CN, O, L, ST, C."""
    parts = (
        (NameOID.COMMON_NAME, common_name),
        (NameOID.ORGANIZATION_NAME, "Intel Corporation"),
        (NameOID.LOCALITY_NAME, "Santa Clara"),
        (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
        (NameOID.COUNTRY_NAME, "US"),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the certificate above it (none above a root)."""

    key: Key
    certificate: x509.Certificate
    issuer: Issued | None = None

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def chain(self) -> tuple[Issued, ...]:
        """This certificate, the one above it, ... the root."""
        return (self, *(self.issuer.chain if self.issuer else ()))

    @property
    def chain_pem(self) -> str:
        return "".join(issued.pem for issued in self.chain)


@dataclass(frozen=True)
class Form:
    """What stands in a certificate besides names and keys. Any field may be set wrong on purpose."""

    not_before: datetime
    not_after: datetime
    ca: bool = False
    path_length: int | None = None
    signs_certificates: bool = False
    common_name: str | None = None  # None: the one of its role
    serial: int | None = None  # None: from the key, as Intel does
    crl: str | None = f"{HOST}/IntelSGXRootCA.der"  # None: no distribution point
    basic_constraints: bool = True
    key_usage: bool = True
    sgx: bytes | None = None  # the DER of the SGX extension
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()  # further extensions: value, critical
    algorithm: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)


def key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=not signs_certificates,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def issue(common_name: str, key: Key, form: Form, issuer: Issued | None, sign_with: Key | None = None) -> Issued:
    """A certificate for `key`; self-signed without an issuer; `sign_with` makes its signature another's."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = x509.SubjectKeyIdentifier.from_public_key((issuer.key if issuer else key).public_key())
    subject = name_of(form.common_name or common_name)
    # One bit less than Intel's serials: the builder takes 159 bits.
    serial = int.from_bytes(identifier.digest, "big") & (1 << 159) - 1 if form.serial is None else form.serial
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(form.not_before)
        .not_valid_after(form.not_after)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
    )
    if form.crl is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(form.crl)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    builder = builder.add_extension(identifier, critical=False)
    if form.key_usage:
        builder = builder.add_extension(key_usage(form.signs_certificates), critical=True)
    if form.basic_constraints:
        builder = builder.add_extension(x509.BasicConstraints(form.ca, form.path_length), critical=True)
    if form.sgx is not None:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION), form.sgx)
        builder = builder.add_extension(extension, critical=False)
    for value, critical in form.more:
        builder = builder.add_extension(value, critical=critical)
    signer = sign_with or (issuer.key if issuer else key)
    certificate = builder.sign(signer, form.algorithm, ecdsa_deterministic=True)
    return Issued(key, certificate, issuer)
