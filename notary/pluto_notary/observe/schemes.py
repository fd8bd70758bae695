"""Signatures of the handshake by their SignatureScheme. RFC 8446, section 4.2.3, whose end is about TLS 1.2. Pure.

TLS 1.3 binds an ECDSA scheme to its curve and leaves PKCS #1 v1.5 to certificates; TLS 1.2 has the same numbers with
any curve, and PKCS #1 v1.5 too. Nothing with SHA-1. RSA-PSS has salts as long as the digest; a certificate's key that
is for RSA-PSS alone (rsa_pss_pss_*) is refused: what its parameters demand is not known here, and chains with one do
not hold in the web's PKI.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import PublicKeyAlgorithmOID

from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.messages import TLS13

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

ED25519: Final = 0x0807
_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_PKCS1: Final[dict[int, hashes.HashAlgorithm]] = {0x0401: _SHA256, 0x0501: _SHA384, 0x0601: _SHA512}
_PSS: Final[dict[int, hashes.HashAlgorithm]] = {0x0804: _SHA256, 0x0805: _SHA384, 0x0806: _SHA512}
_ECDSA: Final[dict[int, tuple[hashes.HashAlgorithm, str]]] = {
    0x0403: (_SHA256, "secp256r1"),
    0x0503: (_SHA384, "secp384r1"),
    0x0603: (_SHA512, "secp521r1"),
}


def check(scheme: int, key: PublicKeyTypes, leaf: bytes, signature: bytes, message: bytes, *, version: int) -> None:
    """That `key`, which `leaf` (DER) certifies, signed `message` under `scheme`. Raises ObserveError (tls).

    Whether the client offered the scheme is for the caller to look at.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey):
            how, algorithm = _rsa(scheme, leaf, version)
            key.verify(signature, message, how, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_ecdsa(scheme, key, version)))
        elif isinstance(key, ed25519.Ed25519PublicKey) and scheme == ED25519:
            key.verify(signature, message)
        else:
            raise _unfit()
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise ObserveError("tls", "the signature of the handshake is not the site's") from error


def _rsa(scheme: int, leaf: bytes, version: int) -> tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]:
    kind = x509.load_der_x509_certificate(leaf).public_key_algorithm_oid
    if kind != PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5:
        raise _unfit()
    if version != TLS13 and scheme in _PKCS1:
        return padding.PKCS1v15(), _PKCS1[scheme]
    if scheme not in _PSS:
        raise _unfit()
    algorithm = _PSS[scheme]
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm


def _ecdsa(scheme: int, key: ec.EllipticCurvePublicKey, version: int) -> hashes.HashAlgorithm:
    algorithm, curve = _ECDSA.get(scheme, (None, ""))
    if algorithm is None or (version == TLS13 and key.curve.name != curve):
        raise _unfit()
    return algorithm


def _unfit() -> ObserveError:
    return ObserveError("tls", "the signature of the handshake has a scheme that does not fit the site's key")
