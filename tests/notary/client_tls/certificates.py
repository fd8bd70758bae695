"""Certificates with keys of each kind, signed by themselves: here nobody judges a chain."""

from __future__ import annotations

import datetime
import functools

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from pluto_notary.client.tls.signatures import PublicKey
from simulators.notary.certificates import Identity

HOST = "shop.example"
KINDS = ("p256", "p384", "p521", "rsa", "ed25519")
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
PEM = serialization.Encoding.PEM


def judged(chain: tuple[bytes, ...]) -> PublicKey:
    """The first key, whoever it is."""
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    assert isinstance(key, PublicKey)
    return key


@functools.cache
def identity(kind: str) -> Identity:
    """A certificate for HOST."""
    key = _key(kind)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),
        not_valid_after=now + datetime.timedelta(days=2),
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    text = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Identity(certificate.public_bytes(PEM).decode(), text, der)


def _key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(_CURVES[kind])
