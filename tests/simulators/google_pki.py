"""A certification authority like Google's for tokens, and what can be wrong with its certificates. For tests.

`Google()` is as Google is; a changed field makes a chain that must not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW: Final = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)

Days = tuple[int, int]  # from NOW
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "other", bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key for each name, as making them takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True, kw_only=True)
class Google:
    """A certification authority like Google's: root, intermediate, leaf."""

    leaf_key: Key = field(default_factory=lambda: rsa_key("leaf"))
    intermediate_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa_key("intermediate"))
    root_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa_key("root"))
    leaf_days: Days = (-30, 30)
    intermediate_days: Days = (-300, 300)
    root_days: Days = (-600, 600)
    leaf_ca: bool | None = False  # None: it does not say
    leaf_usage: bool | None = None  # may sign; None: it does not say, as Google's do not
    leaf_critical: bool = False  # it has an extension that nobody knows
    intermediate_critical: bool = False
    intermediate_ca: bool = True
    intermediate_signs: bool = True  # keyCertSign
    intermediate_name: str = "Pretend Intermediate CA"
    leaf_issuer: str = "Pretend Intermediate CA"
    root_path_length: int | None = None
    hash: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)

    @property
    def root(self) -> bytes:
        """DER."""
        name, days = "Pretend Root CA", self.root_days
        made = _certificate(name, name, self.root_key, days, ca=True, path_length=self.root_path_length, signs=True)
        return _signed(made, self.root_key, hashes.SHA256())

    @property
    def intermediate(self) -> bytes:
        made = _certificate(
            self.intermediate_name,
            "Pretend Root CA",
            self.intermediate_key,
            self.intermediate_days,
            ca=self.intermediate_ca,
            signs=self.intermediate_signs,
            critical=self.intermediate_critical,
        )
        return _signed(made, self.root_key, self.hash)

    @property
    def leaf(self) -> bytes:
        made = _certificate(
            "Pretend Leaf Certificate",
            self.leaf_issuer,
            self.leaf_key,
            self.leaf_days,
            ca=self.leaf_ca,
            usage=self.leaf_usage,
            critical=self.leaf_critical,
        )
        return _signed(made, self.intermediate_key, self.hash)

    def chain(self) -> list[bytes]:
        """DER, as `x5c` has them."""
        return [self.leaf, self.intermediate, self.root]


def _certificate(
    subject: str,
    issuer: str,
    key: Key,
    days: Days,
    *,
    ca: bool | None,
    path_length: int | None = None,
    signs: bool = False,
    usage: bool | None = None,
    critical: bool = False,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW + timedelta(days[0])).not_valid_after(NOW + timedelta(days[1]))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if signs or usage is not None:
        builder = builder.add_extension(_usage(digital_signature=bool(usage), key_cert_sign=signs), critical=True)
    if critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
        builder = builder.add_extension(unknown, critical=True)
    return builder


def _usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    allowed = dict.fromkeys((*rest, "decipher_only", "crl_sign"), False)
    return x509.KeyUsage(digital_signature=digital_signature, key_cert_sign=key_cert_sign, **allowed)


def _signed(
    builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey, algorithm: hashes.SHA256 | hashes.SHA384
) -> bytes:
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
