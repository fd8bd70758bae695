"""Signatures of the handshake: which scheme goes with which key, in either version."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from notary.observe.keys import certificate_of, key_of, sign
from notary.observe.worlds import judge
from pluto_notary.observe import schemes
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.messages import TLS12, TLS13

BOTH = {
    *(("p256", 0x0403), ("p384", 0x0503), ("p521", 0x0603), ("ed25519", 0x0807)),
    *(("rsa", 0x0804), ("rsa", 0x0805), ("rsa", 0x0806)),
}
ONLY12 = {
    *(("rsa", 0x0401), ("rsa", 0x0501), ("rsa", 0x0601)),
    *((curve, scheme) for curve in ("p256", "p384", "p521") for scheme in (0x0403, 0x0503, 0x0603)),
} - BOTH
KEYS = ("p256", "p384", "p521", "ed25519", "rsa")
ALL = (0x0201, 0x0203, 0x0401, 0x0403, 0x0501, 0x0503, 0x0601, 0x0603, *range(0x0804, 0x080C), 0x0808, 0, 0xFFFF)


def fails(key: str, scheme: int, version: int, *, signed: bytes = b"content") -> str | None:
    """What is wrong with a signature that was made under this scheme over `content`; None: nothing."""
    chain = (certificate_of(key),)
    signature = sign(scheme, key_of(key), b"content")
    try:
        schemes.check(scheme, judge(chain), chain[0], signature, signed, version=version)
    except ObserveError as error:
        return f"{error.code}: {error.problem}"
    return None


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("scheme", ALL)
@pytest.mark.parametrize("key", KEYS)
def test_every_pair(key: str, scheme: int, version: int) -> None:
    right = (key, scheme) in BOTH or (version == TLS12 and (key, scheme) in ONLY12)
    problem = "tls: the signature of the handshake has a scheme that does not fit the site's key"
    assert fails(key, scheme, version) == (None if right else problem)
    if right:
        other = "tls: the signature of the handshake is not the site's"
        assert fails(key, scheme, version, signed=b"other content") == other


def test_salt_of_another_length() -> None:
    """RSA-PSS of TLS has a salt as long as its digest, and no other."""
    leaf = certificate_of("rsa")
    signature = key_of("rsa").sign(b"content", padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256())
    with pytest.raises(ObserveError, match="not the site's"):
        schemes.check(0x0804, judge((leaf,)), leaf, signature, b"content", version=TLS13)


def test_key_of_another_kind() -> None:
    key = Ed448PrivateKey.generate()
    with pytest.raises(ObserveError, match="does not fit"):
        schemes.check(0x0808, key.public_key(), b"", key.sign(b"content"), b"content", version=TLS13)
