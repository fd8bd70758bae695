"""Plain keys: three kinds and no other, their names, and signatures that others made."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, UsageError
from pluto_measure.publish.keys import PublicKey, key_id, pem_of, private_key, public_key, sign, verifies
from simulators.releases import ED25519, KEYS, P256, SECP256K1, private_pem

RSA = rsa.generate_private_key(65537, 2048)
OTHERS: dict[str, Any] = {
    "RSA": RSA,
    "P-384": ec.derive_private_key(7, ec.SECP384R1()),
    "P-521": ec.derive_private_key(7, ec.SECP521R1()),
    "brainpool": ec.derive_private_key(7, ec.BrainpoolP256R1()),
    "ed448": ed448.Ed448PrivateKey.from_private_bytes(b"\1" * 57),
    "x25519": x25519.X25519PrivateKey.from_private_bytes(b"\1" * 32),
    "DSA": dsa.generate_private_key(1024),
}
PKCS8 = PrivateFormat.PKCS8
# RFC 8032 section 7.1, tests 1 to 3: public key, message, signature.
RFC8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
)
# RFC 6979 appendix A.2.5: P-256 with SHA-256; public key, then message, r and s.
RFC6979_KEY = (
    0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
    0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
)
RFC6979 = (
    (
        b"sample",
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
)


@pytest.mark.parametrize(("public", "message", "signature"), RFC8032)
def test_ed25519_as_its_rfc_has_it(public: str, message: str, signature: str) -> None:
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    assert verifies(key, bytes.fromhex(signature), bytes.fromhex(message))
    assert not verifies(key, bytes.fromhex(signature), bytes.fromhex(message) + b"\0")


@pytest.mark.parametrize(("message", "r", "s"), RFC6979)
def test_ecdsa_as_its_rfc_has_it(message: bytes, r: int, s: int) -> None:
    key = ec.EllipticCurvePublicNumbers(*RFC6979_KEY, ec.SECP256R1()).public_key()
    assert verifies(key, encode_dss_signature(r, s), message)
    assert not verifies(key, encode_dss_signature(r, s), message + b"\0")
    assert not verifies(key, r.to_bytes(32, "big") + s.to_bytes(32, "big"), message), "r and s as DER, not side by side"


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_signs_what_it_verifies(kind: str) -> None:
    key = KEYS[kind]
    signature = sign(key, b"message")
    assert verifies(key.public_key(), signature, b"message")
    assert not verifies(key.public_key(), signature, b"messagf")
    for other in set(KEYS) - {kind}:
        assert not verifies(KEYS[other].public_key(), signature, b"message")


@pytest.mark.parametrize("kind", KEYS)
def test_every_byte_of_a_signature_counts(kind: str) -> None:
    public, signature = KEYS[kind].public_key(), sign(KEYS[kind], b"message")
    for place in range(len(signature)):
        for bit in range(8):
            changed = bytearray(signature)
            changed[place] ^= 1 << bit
            assert not verifies(public, bytes(changed), b"message"), (place, bit)
    for other in (signature[:-1], signature + b"\0", b"\0" + signature, b"", signature * 2):
        assert not verifies(public, other, b"message")


@given(st.sampled_from(sorted(KEYS)), st.binary(max_size=80))
def test_any_bytes_are_a_signature_or_not_and_never_an_error(kind: str, signature: bytes) -> None:
    assert not verifies(KEYS[kind].public_key(), signature, b"message")


@pytest.mark.parametrize("kind", KEYS)
def test_pem_in_and_out(kind: str) -> None:
    public = KEYS[kind].public_key()
    assert pem_of(public_key(pem_of(public), what="key")) == pem_of(public)
    assert pem_of(public_key(pem_of(public).encode(), what="key")) == pem_of(public)
    for form in (PKCS8, PrivateFormat.TraditionalOpenSSL) if kind != "ed25519" else (PKCS8,):
        text = KEYS[kind].private_bytes(Encoding.PEM, form, NoEncryption())
        assert pem_of(private_key(text, None, what="key").public_key()) == pem_of(public)


def test_a_point_in_its_short_form_is_the_same_key() -> None:
    """Another spelling is no other signer."""
    public = P256.public_key()
    numbers, head = public.public_numbers(), bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    der = head + bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big")
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n"
    assert pem != pem_of(public)
    assert key_id(public_key(pem, what="key")) == key_id(public)


def test_a_key_is_named_by_the_hash_of_its_der() -> None:
    names = {key_id(key.public_key()) for key in KEYS.values()}
    assert len(names) == 3
    der = ED25519.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key_id(ED25519.public_key()) == hashlib.sha256(der).hexdigest()
    # RFC 8410 section 4: twelve fixed bytes before the key's own.
    assert der.hex() == f"302a300506032b6570032100{ED25519.public_key().public_bytes_raw().hex()}"


@pytest.mark.parametrize("kind", OTHERS)
def test_keys_of_other_kinds_are_refused(kind: str) -> None:
    key = OTHERS[kind]
    with pytest.raises(FormatError, match="key: is neither ed25519 nor ECDSA on P-256 or secp256k1"):
        private_key(key.private_bytes(Encoding.PEM, PKCS8, NoEncryption()), None, what="key")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(FormatError, match="key: is neither ed25519 nor ECDSA on P-256 or secp256k1"):
        public_key(public, what="key")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        private_pem(ED25519),
        ED25519.public_key().public_bytes_raw(),
        ED25519.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ED25519.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        b"\xff" * 100,
    ],
    ids=range(8),
)
def test_what_is_no_public_key(text: bytes) -> None:
    with pytest.raises(FormatError, match="key: is no public key in PEM"):
        public_key(text, what="key")
    with pytest.raises(FormatError, match="key: is no public key in PEM"):
        public_key(text.decode("latin-1") + "\ud800", what="key")


def test_two_keys_in_one_text_are_refused() -> None:
    """Whoever writes them means both; only the first would be read."""
    both = pem_of(ED25519.public_key()) + pem_of(P256.public_key())
    with pytest.raises(FormatError, match="holds 2 PEM blocks, and only the first would count"):
        public_key(both, what="key")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem_of(ED25519.public_key()).encode(),
        ED25519.private_bytes_raw(),
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        private_pem(ED25519)[:-40],
    ],
    ids=range(6),
)
def test_what_is_no_private_key(text: bytes) -> None:
    with pytest.raises(FormatError, match=r"key: is (no private key in PEM|a public key)"):
        private_key(text, None, what="key")


class TestPasswords:
    @pytest.mark.parametrize("kind", KEYS)
    def test_the_right_one_opens(self, kind: str) -> None:
        opened = private_key(private_pem(KEYS[kind], b"secret"), b"secret", what="key")
        assert key_id(opened.public_key()) == key_id(KEYS[kind].public_key())

    def test_the_old_form_of_encryption_opens_too(self) -> None:
        old = SECP256K1.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
        )
        assert key_id(private_key(old, b"secret", what="key").public_key()) == key_id(SECP256K1.public_key())
        for wrong in (b"a", b"b", b"c", b"secret\n", b"d" * 60):
            with pytest.raises(UsageError, match="the password does not open key"):
                private_key(old, wrong, what="key")

    @pytest.mark.parametrize(
        ("encrypted", "password", "problem"),
        [
            (True, None, "key is encrypted, and no password was given"),
            (True, b"", "key is encrypted, and no password was given"),
            (True, b"Secret", "the password does not open key"),
            (True, b"secret ", "the password does not open key"),
            (False, b"secret", "key is not encrypted"),
        ],
    )
    def test_wrong_ones_are_mistakes_of_the_caller(self, encrypted: bool, password: bytes | None, problem: str) -> None:
        with pytest.raises(UsageError, match=problem):
            private_key(private_pem(ED25519, b"secret" if encrypted else None), password, what="key")


def test_no_password_is_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        private_key(private_pem(ED25519, b"secret"), b"hunter2", what=str(tmp_path))
    assert "hunter2" not in str(caught.value) + str(caught.value.hint)


def test_the_kinds_of_keys_are_those_of_the_types() -> None:
    keys: list[PublicKey] = [key.public_key() for key in KEYS.values()]
    assert len({type(key).__name__ for key in keys}) == 2
