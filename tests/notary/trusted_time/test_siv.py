"""AES-SIV as NTS uses it: published vectors, and the empty plaintext beside the library's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import VerificationError
from pluto_notary.trusted_time.siv import seal, unseal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/notary/time/siv.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vectors(vector: dict[str, str]) -> None:
    key, nonce, plaintext, output = (bytes.fromhex(vector[n]) for n in ("key", "nonce", "plaintext", "output"))
    associated = [bytes.fromhex(text) for text in vector["associated"]]
    if len(associated) == 1:
        assert seal(key, nonce, plaintext, associated[0]) == output
        assert unseal(key, nonce, output, associated[0]) == plaintext
    else:  # two strings beside the nonce, which NTS never has: the library is the same
        assert AESSIV(key).encrypt(plaintext, [*associated, nonce]) == output


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.binary(max_size=80), st.data())
def test_what_is_sealed_is_opened_and_every_changed_bit_is_seen(
    key: bytes, nonce: bytes, plaintext: bytes, data: st.DataObject
) -> None:
    sealed = seal(key, nonce, plaintext, b"header")
    assert len(sealed) == 16 + len(plaintext)
    assert unseal(key, nonce, sealed, b"header") == plaintext
    position = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = (int.from_bytes(sealed, "big") ^ 1 << position).to_bytes(len(sealed), "big")
    for other in ((key, nonce, changed, b"header"), (key, nonce, sealed, b"headers"), (key, key[:16], sealed, b"h")):
        with pytest.raises(VerificationError):
            unseal(*other)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.binary(min_size=1, max_size=99))
def test_an_empty_plaintext_is_sealed_as_the_library_seals_it(key: bytes, nonce: bytes, associated: bytes) -> None:
    try:
        theirs = AESSIV(key).encrypt(b"", [associated, nonce])
    except ValueError:
        pytest.skip("no peer: this OpenSSL seals no empty plaintext")
    assert seal(key, nonce, b"", associated) == theirs


@pytest.mark.parametrize("size", range(16))
def test_what_is_shorter_than_the_synthetic_iv_is_not_authentic(size: int) -> None:
    with pytest.raises(VerificationError):
        unseal(bytes(32), bytes(16), bytes(size), b"header")
