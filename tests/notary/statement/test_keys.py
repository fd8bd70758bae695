"""secp256k1: published signatures, one spelling for each, keys that stay where they are."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, VerificationError
from pluto_notary.statement.curve import ORDER
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature, SigningKey, address, checksummed, parse_address, recover
from simulators.notary.proofs import KEY, other_spelling, salts

DIGESTS = st.binary(min_size=32, max_size=32)
SECRETS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def published(vectors: Path) -> list[dict[str, Any]]:
    folder = vectors / "quotes/onchain"
    many = json.loads((folder / "eth_signature_vectors.json").read_text())
    text = (folder / "pluto_test_vectors.json").read_text()
    one = json.loads(text)
    return [
        *many["pluto_raw_digest"],
        {name: one[f"signature_{name}"] for name in "rsv"} | {"digest": one["digest"], "signer": one["signer"]},
        {
            "digest": many["eip191"]["message_hash"],
            "r": many["eip191"]["signature"][:66],
            "s": "0x" + many["eip191"]["signature"][66:130],
            "v": int(many["eip191"]["signature"][130:], 16),
            "signer": many["eip191"]["address"],
        },
    ]


def test_published_signatures_recover_their_signers(vectors: Path) -> None:
    cases = published(vectors)
    assert len(cases) == 4
    for case in cases:
        digest, r, s = (bytes.fromhex(case[name][2:]) for name in ("digest", "r", "s"))
        assert address(recover(digest, Signature(r, s, case["v"]))) == parse_address(case["signer"].lower())


def test_a_published_key_gives_the_published_signature(vectors: Path) -> None:
    case = json.loads((vectors / "quotes/onchain/eth_signature_vectors.json").read_text())["eip191"]
    key = SigningKey(bytes.fromhex(case["private_key"][2:]))
    text = case["message_utf8"].encode()
    digest = keccak256(b"\x19Ethereum Signed Message:\n%d" % len(text) + text)
    signature = key.sign(digest)
    assert (signature.r + signature.s + bytes([signature.v])).hex() == case["signature"][2:]


@given(SECRETS, DIGESTS)
def test_what_is_signed_recovers_and_is_low_in_s(secret: bytes, digest: bytes) -> None:
    key = SigningKey(secret)
    signature = key.sign(digest)
    assert recover(digest, signature) == key.public
    assert int.from_bytes(signature.s, "big") <= ORDER // 2
    assert signature.v in (27, 28)


@given(SECRETS, DIGESTS)
def test_another_library_verifies_it(secret: bytes, digest: bytes) -> None:
    signature = SigningKey(secret).sign(digest)
    private = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())
    der = utils.encode_dss_signature(int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big"))
    private.public_key().verify(der, digest, ec.ECDSA(utils.Prehashed(SHA256())))


@given(DIGESTS)
def test_malleated_signatures_are_refused(digest: bytes) -> None:
    """(r, n-s, 55-v) holds as well: it is the same signature in another spelling, so it is no `Signature`."""
    with pytest.raises(FormatError, match="half the order"):
        Signature(*other_spelling(KEY.sign(digest)))


@pytest.mark.parametrize(
    ("r", "s", "v"),
    [
        (0, 1, 27), (1, 0, 27), (ORDER, 1, 27), (ORDER + 1, 1, 27), (2**256 - 1, 1, 27), (1, ORDER // 2 + 1, 27),
        (1, ORDER - 1, 28), (1, ORDER, 28), (1, 1, 0), (1, 1, 1), (1, 1, 26), (1, 1, 29), (1, 1, 30), (1, 1, -27),
        (1, 1, 37), (0, 0, 27),
    ],
)  # fmt: skip
def test_signatures_that_are_none(r: int, s: int, v: int) -> None:
    with pytest.raises(FormatError):
        Signature(number(r), number(s), v)


def test_the_edges_are_signatures() -> None:
    for r, s in ((1, 1), (ORDER - 1, ORDER // 2)):
        assert Signature(number(r), number(s), 27).v == 27


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_sizes_are_exact(size: int) -> None:
    with pytest.raises(FormatError):
        Signature(b"\1" * size, number(1), 27)
    with pytest.raises(FormatError):
        Signature(number(1), b"\1" * size, 27)
    with pytest.raises(ValueError):
        KEY.sign(b"\1" * size)


def test_a_signature_of_no_key_is_not_authentic() -> None:
    r = next(r for r in range(2, 100) if pow((r**3 + 7), (P - 1) // 2, P) != 1)  # no point has this x
    with pytest.raises(VerificationError):
        recover(bytes(32), Signature(number(r), number(1), 27))


P = 2**256 - 2**32 - 977


@pytest.mark.parametrize("secret", [bytes(32), number(ORDER), number(2**256 - 1), b"", bytes(31), bytes(33)])
def test_secrets_that_are_none(secret: bytes) -> None:
    with pytest.raises(ValueError):
        SigningKey(secret)


def test_a_key_is_made_of_the_randomness_that_is_given() -> None:
    given_out = iter([bytes(32), number(ORDER), number(7)])
    assert SigningKey.generate(lambda size: next(given_out)).public == SigningKey(number(7)).public
    assert SigningKey.generate(salts()).public != SigningKey.generate(salts(b"other")).public


def test_a_key_is_not_copied_and_not_shown() -> None:
    secret = keccak256(b"secret")
    key = SigningKey(secret)
    assert secret.hex() not in repr(key)
    assert str(int.from_bytes(secret, "big")) not in repr(key)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(key)
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("public", [b"", bytes(33), b"\2" + b"\xff" * 32, b"\2" + bytes(32) + b"\0", b"\5" + bytes(32)])
def test_what_is_no_point_has_no_address(public: bytes) -> None:
    with pytest.raises(FormatError):
        address(public)


# EIP-55, "Test Cases".
@pytest.mark.parametrize(
    "text",
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_accounts_as_eip_55_spells_them(text: str) -> None:
    value = parse_address(text)
    assert checksummed(value) == text
    assert parse_address(text.lower()) == parse_address("0x" + text[2:].upper()) == value
    with pytest.raises(FormatError):
        parse_address(text[:-6] + text[-6:].swapcase())


@pytest.mark.parametrize(
    "text", ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x" + "g" * 40, "0x" + "0" * 39]
)
def test_what_is_no_account(text: str) -> None:
    with pytest.raises(FormatError):
        parse_address(text)
