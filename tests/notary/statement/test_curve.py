"""secp256k1 by two libraries: both sign, recover and refuse alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.statement import curve, curve_openssl
from pluto_notary.statement.curve_openssl import ORDER, NoKeyError

coincurve = pytest.importorskip("coincurve", reason="no peer: coincurve has no wheel for this Python")

scalars = (st.integers(1, ORDER - 1) | st.sampled_from([1, 2, 3, ORDER - 1, ORDER - 2])).map(
    lambda number: number.to_bytes(32, "big")
)
words = st.binary(min_size=32, max_size=32)


@settings(max_examples=60, deadline=None)
@given(scalars, words | st.sampled_from([bytes(32), b"\xff" * 32, ORDER.to_bytes(32, "big")]))
def test_both_sign_alike_and_recover_alike(secret: bytes, digest: bytes) -> None:
    public = curve.public_of(secret)
    assert curve_openssl.public_of(secret) == public
    r, s, parity = curve.sign(secret, digest)
    assert curve_openssl.sign(secret, digest) == (r, s, parity)
    assert curve_openssl.recover(r, s, parity, digest) == curve.recover(r, s, parity, digest) == public
    assert curve_openssl.uncompressed(public) == curve.uncompressed(public)


def outcome(recover: Callable[..., bytes], *arguments: Any) -> bytes | None:
    try:
        return recover(*arguments)
    except NoKeyError:
        return None


@settings(max_examples=100, deadline=None)
@given(scalars, scalars, st.integers(0, 1), words)
def test_both_find_the_same_key_or_none_in_any_signature(r: bytes, s: bytes, parity: int, digest: bytes) -> None:
    ours, theirs = (outcome(one.recover, r, s, parity, digest) for one in (curve_openssl, curve))
    assert ours == theirs


@given(st.binary(min_size=33, max_size=33) | words.map(lambda x: b"\2" + x))
def test_both_refuse_the_same_points(public: bytes) -> None:
    assert outcome(curve_openssl.uncompressed, public) == outcome(curve.uncompressed, public)


def test_without_coincurve_the_other_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, digest = b"\1" * 32, b"\2" * 32
    public, signed = curve.public_of(secret), curve.sign(secret, digest)
    monkeypatch.setattr(curve, "coincurve", None)
    assert (curve.public_of(secret), curve.sign(secret, digest)) == (public, signed)
    assert curve.recover(*signed, digest) == public
    assert len(curve.uncompressed(public)) == 65
