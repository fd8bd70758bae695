"""secp256k1 as Ethereum uses it: keys, addresses, recoverable signatures with one spelling each. Pure.

The curve is `pluto_notary.statement.curve`. Rules: Ethereum Yellow Paper, appendix F; EIP-2 for low s.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.formats.strict_json import unhex
from pluto_measure.record import record
from pluto_notary.statement import curve
from pluto_notary.statement.curve import ORDER
from pluto_notary.statement.keccak import SIZE, keccak256

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Self

PUBLIC_BYTES: Final = 33  # SEC1, compressed
ADDRESS_BYTES: Final = 20
_V: Final = 27  # added to the parity of R's y


@record
class Signature:
    """A signature from which the key is recovered. FormatError for every second spelling of one.

    r is 1 to n-1, s is 1 to n/2, v is 27 or 28: of (r, s, v) and (r, n-s, 55-v), which both hold, this is the one.
    """

    r: bytes  # 32 bytes, big-endian
    s: bytes
    v: int

    def __post_init__(self) -> None:
        if len(self.r) != SIZE or len(self.s) != SIZE:
            raise FormatError("signature", f"r and s must be {SIZE} bytes")
        if not 0 < int.from_bytes(self.r, "big") < ORDER:
            raise FormatError("signature", "r is not between 1 and the order of the curve")
        if not 0 < int.from_bytes(self.s, "big") <= ORDER // 2:
            raise FormatError("signature", "s is not between 1 and half the order of the curve")
        if self.v not in (_V, _V + 1):
            raise FormatError("signature", f"v is {self.v}, neither {_V} nor {_V + 1}")


class SigningKey:
    """A private key. It is in no text, no error and no copy of this object."""

    __slots__ = ("_secret", "address", "public")

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 bytes, 1 to n-1 as a number. ValueError."""
        if len(secret) != SIZE or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise ValueError("not a private key of secp256k1")
        self._secret = secret
        self.public: bytes = curve.public_of(secret)
        self.address: bytes = address(self.public)

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """A new key from `random`, which gives so many secret bytes."""
        while True:
            secret = random(SIZE)
            if 0 < int.from_bytes(secret, "big") < ORDER:  # all but one in 2^127
                return cls(secret)

    def sign(self, digest: bytes) -> Signature:
        """Sign a digest of 32 bytes (RFC 6979). The signature is low in s."""
        if len(digest) != SIZE:
            raise ValueError(f"a digest has {SIZE} bytes")
        r, s, parity = curve.sign(self._secret, digest)
        return Signature(r, s, _V + parity)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not copied")


def recover(digest: bytes, signature: Signature) -> bytes:
    """The public key (33 bytes) whose signature this is. VerificationError where there is none."""
    try:
        return curve.recover(signature.r, signature.s, signature.v - _V, digest)
    except curve.NoKeyError as error:
        raise VerificationError("the signature is nobody's: no key of secp256k1 could have made it") from error


def address(public: bytes) -> bytes:
    """The account of a public key (SEC1, compressed): 20 bytes. FormatError where it is no point of the curve."""
    try:
        point = curve.uncompressed(public)
    except curve.NoKeyError as error:
        raise FormatError("public key", "is no point of secp256k1") from error
    return keccak256(point[1:])[-ADDRESS_BYTES:]


def parse_address(text: str) -> bytes:
    """An account: 0x and 40 hex digits. In mixed case it is the checksum of EIP-55, which must hold. FormatError."""
    digits, problem = text.removeprefix("0x"), "must be 0x and 40 hex digits, in lower case or as EIP-55 has them"
    try:
        value = unhex(digits.lower(), ADDRESS_BYTES, what="address")
    except FormatError as error:
        raise FormatError("address", problem) from error
    if not text.startswith("0x") or digits not in (digits.lower(), digits.upper(), checksummed(value)[2:]):
        raise FormatError("address", problem)
    return value


def checksummed(value: bytes) -> str:
    """An account as EIP-55 spells it: a letter is upper case where the digit of its Keccak is 8 or more."""
    marks = keccak256(value.hex().encode()).hex()
    return "0x" + "".join(c.upper() if int(mark, 16) >= 8 else c for c, mark in zip(value.hex(), marks, strict=False))
