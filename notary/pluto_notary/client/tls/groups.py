"""Key exchange: x25519, P-256 and P-384. A secret number is made from bytes that are given. RFC 8446, 4.2.8 and 7.4.

P-384 is there for sites of TLS 1.2 whose own key is on it: the list of groups says for which curves a client takes
certificates, too (RFC 8422, 5.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_notary.client.tls.errors import TlsError

X25519: Final = 0x001D
SECP256R1: Final = 0x0017
SECP384R1: Final = 0x0018
GROUPS: Final = (X25519, SECP256R1, SECP384R1)  # most wanted first; a share is sent for the first alone

# Curves and their orders: SP 800-186, 3.2.1.
_CURVES: Final = {
    SECP256R1: (ec.SECP256R1(), 2**256 - 2**224 + 2**192 - 0x4319055258E8617B0C46353D039CDAAF),
    SECP384R1: (ec.SECP384R1(), 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D),
}
_SPARE: Final = 16  # bytes more than the order has, so that no number is likelier than another: FIPS 186-5, A.2.1
_UNCOMPRESSED: Final = 4


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """Our side of one key exchange."""

    group: int
    key: X25519PrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, group: int, random: Callable[[int], bytes]) -> Share:
        if group == X25519:
            return cls(group, X25519PrivateKey.from_private_bytes(random(32)))
        curve, order = _CURVES[group]
        number = int.from_bytes(random(curve.key_size // 8 + _SPARE), "big") % (order - 1) + 1
        return cls(group, ec.derive_private_key(number, curve))

    @property
    def public(self) -> bytes:
        """As it is sent."""
        if isinstance(self.key, X25519PrivateKey):
            return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def agree(self, theirs: bytes) -> bytes:
        """The shared secret. TlsError for a share that is not one of this group."""
        try:
            if isinstance(self.key, X25519PrivateKey):
                return self.key.exchange(X25519PublicKey.from_public_bytes(theirs))
            if theirs[:1] != bytes([_UNCOMPRESSED]):
                raise ValueError
            point = ec.EllipticCurvePublicKey.from_encoded_point(self.key.curve, theirs)
            return self.key.exchange(ec.ECDH(), point)
        except ValueError as error:  # not of this length, not on the curve, or of small order
            raise TlsError("the site's key share is not valid") from error
