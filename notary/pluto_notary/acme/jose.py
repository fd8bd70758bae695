"""Signed requests (JWS, RFC 7515) as ACME wants them, and the account key's thumbprint (RFC 7638). Pure, but for ECDSA.

    body = {"payload": b64(payload), "protected": b64(header), "signature": b64(r ‖ s over protected.payload)}
    header = {"alg": "ES256", "jwk" or "kid", "nonce", "url"}           RFC 8555, 6.2

b64 is base64url without padding.
"""

from __future__ import annotations

import binascii
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pluto_measure.formats.strict_json import canonical

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

_SIZE: Final = 32  # bytes of a coordinate and of half a signature; RFC 7518, 3.4 and 6.2.1.2


def b64(data: bytes) -> str:
    """base64url without padding: RFC 7515, 2."""
    return binascii.b2a_base64(data, newline=False).decode("ascii").rstrip("=").replace("+", "-").replace("/", "_")


class AccountKey:
    """A fresh P-256 key, known to one authority as long as this process lives. It never leaves the process."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (b64(value.to_bytes(_SIZE, "big")) for value in (numbers.x, numbers.y))
        self.jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        # RFC 7638, 3: the required members alone, in lexical order, without spaces.
        self.thumbprint = b64(hashlib.sha256(canonical(self.jwk)).digest())

    def signed(self, payload: bytes, *, url: str, nonce: str, kid: str | None) -> bytes:
        """The body of one request. `kid`: the account's URL; None where the account is not known yet."""
        who: dict[str, object] = {"jwk": self.jwk} if kid is None else {"kid": kid}
        protected = b64(canonical({"alg": "ES256", "nonce": nonce, "url": url, **who}))
        content = b64(payload)
        der = self._key.sign(f"{protected}.{content}".encode("ascii"), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(value.to_bytes(_SIZE, "big") for value in decode_dss_signature(der))
        return canonical({"payload": content, "protected": protected, "signature": b64(signature)})

    def authorization(self, token: str) -> bytes:
        """SHA-256 of the key authorization: RFC 8555, 8.1."""
        return hashlib.sha256(f"{token}.{self.thumbprint}".encode("ascii")).digest()
