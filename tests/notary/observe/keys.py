"""Keys of sites by their kind, certificates that show them, and signatures of the handshake. For tests."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

SCHEMES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0809, 0x080A, 0x080B, 0x0401)
PSS: dict[int, Any] = {
    0x0804: hashes.SHA256(),
    0x0805: hashes.SHA384(),
    0x0806: hashes.SHA512(),
    0x0809: hashes.SHA256(),
    0x080A: hashes.SHA384(),
    0x080B: hashes.SHA512(),
}


@functools.cache
def key_of(name: str) -> Any:
    """A private key, the same in all tests of a run. Its kind is what stands before the first dot."""
    kind = name.partition(".")[0]
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1(), "k256": ec.SECP256K1()}
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "dsa":
        return dsa.generate_private_key(2048)
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa") or 2048))


@functools.cache
def certificate_of(kind: str) -> bytes:
    """A certificate in DER that shows this key, by itself."""
    key, name = key_of(kind), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2040, 1, 1))
    return builder.sign(key, None if kind == "ed25519" else hashes.SHA256()).public_bytes(Encoding.DER)


def sign(scheme: int, key: Any, content: bytes) -> bytes:
    """A signature under a scheme of RFC 8446, 4.2.3, with a key that fits its family and maybe nothing else."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    how = {0x04: hashes.SHA256(), 0x05: hashes.SHA384(), 0x06: hashes.SHA512()}.get(scheme >> 8, hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(content, ec.ECDSA(how))
    if scheme in PSS:
        how = PSS[scheme]
        return bytes(key.sign(content, padding.PSS(padding.MGF1(how), how.digest_size), how))
    return bytes(key.sign(content, padding.PKCS1v15(), how))
