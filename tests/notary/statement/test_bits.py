"""Every single bit of what is signed counts: a changed one is found, wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.statement.checks import checks
from pluto_notary.statement.keys import Signature
from pluto_notary.statement.model import Domain, Statement
from pluto_notary.statement.proof import Proof
from pluto_notary.statement.values import ValueDigest
from simulators.notary.proofs import KEY, made, made_by, statement
from simulators.verdicts import flipped

# Evidence is under its own signature; here it would only make each parse slower.
HONEST = made_by(KEY)
DATA = HONEST.to_bytes()


def is_found(data: bytes) -> bool:
    """Whether a proof's bytes are refused for their form, or by a check other than that there is no evidence."""
    try:
        proof = Proof.parse(data)
    except FormatError:
        return True
    return any(not check.holds for check in checks(proof) if check.id != "key.evidence")


def test_the_honest_one_is_not_found() -> None:
    assert not is_found(DATA)
    assert all(check.holds for check in checks(made(legacy=True)))


@given(st.integers(0, 8 * len(DATA) - 1))
def test_a_changed_bit_of_the_file_is_found(bit: int) -> None:
    assert is_found(flipped(DATA, bit))


@pytest.mark.slow
def test_every_changed_bit_of_the_file_is_found() -> None:
    assert [bit for bit in range(8 * len(DATA)) if not is_found(flipped(DATA, bit))] == []


FIELDS = ("certificate", "manifest", "session", "nonce", "recipient", "build")


def changed_statements() -> Iterator[Statement]:
    """The honest statement with one bit changed, for every bit of every member that has bits."""
    honest = statement()
    for name in FIELDS:
        value = getattr(honest, name)
        yield from (replace(honest, **{name: flipped(value, bit)}) for bit in range(8 * len(value)))
    for name in ("not_before", "not_after"):
        yield from (replace(honest, **{name: getattr(honest, name) ^ 1 << bit}) for bit in range(37))
    for bit in range(160):
        yield replace(honest, domain=Domain(honest.domain.chain_id, flipped(honest.domain.contract, bit)))
    for bit in range(53):
        yield replace(honest, domain=Domain(honest.domain.chain_id ^ 1 << bit, honest.domain.contract))
    for place, value in enumerate(honest.values):
        for bit in range(256):
            lie = ValueDigest(value.id, flipped(value.digest, bit))
            yield replace(honest, values=(*honest.values[:place], lie, *honest.values[place + 1 :]))


def test_every_bit_of_every_member_is_in_the_digest() -> None:
    digests = [changed.digest() for changed in changed_statements()]
    assert len(digests) == 8 * (5 * 32 + 20) + 2 * 37 + 160 + 53 + 3 * 256
    assert len({statement().digest(), *digests}) == len(digests) + 1


def test_members_that_have_no_bits_are_in_the_digest() -> None:
    honest = statement()
    one, two, three = honest.values
    others = [
        statement(mode="observe"), statement(host="shop.example:8443"), statement(host="shop.exampl"),
        statement(values=(one, two)), statement(values=(two, one, three)), statement(values=()),
        statement(values=(replace(one, id="Price"), two, three)),
        statement(values=(replace(one, id=two.id), replace(two, id=one.id), three)),
    ]  # fmt: skip
    assert len({honest.digest(), *(other.digest() for other in others)}) == len(others) + 1


def test_every_bit_of_the_signature_counts() -> None:
    honest, whole = HONEST.signature, HONEST.signature.r + HONEST.signature.s
    for bit in range(512):
        lie = flipped(whole, bit)
        document = json.loads(DATA)
        document["signature"].update(r=f"0x{lie[:32].hex()}", s=f"0x{lie[32:].hex()}")
        assert is_found(json.dumps(document).encode())
    assert is_found(replace(HONEST, signature=Signature(honest.r, honest.s, 55 - honest.v)).to_bytes())
