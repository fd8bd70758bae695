"""Weaknesses of an earlier notary that lie in its statements, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import pytest
import rfc8785

from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.statement.checks import checks
from pluto_notary.statement.eip712 import PREFIX
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import address, recover
from pluto_notary.statement.legacy import endorsement_digest, leaves, legacy_digest
from pluto_notary.statement.model import STRUCTS, Domain
from pluto_notary.statement.proof import KeyEvidence, Proof
from pluto_notary.statement.values import committed, digests, revealed
from simulators.notary import proofs
from simulators.notary.proofs import HONEST, KEY, OTHER_KEY, judged, made, made_by, refused, statement


def test_weakness_07_a_laptops_signature_is_told_from_a_trust_domains() -> None:
    """A signature alone proves nothing, and evidence of a trust domain's key does not help another key."""
    assert refused(judged(made_by(OTHER_KEY))) == ["key.evidence"]
    borrowed = replace(made_by(OTHER_KEY), key_evidence=proofs.evidence())
    assert (refused(judged(borrowed)), judged(borrowed).exit_code) == (["key.signer"], 4)
    # The claims rewritten for the laptop's key: the quote does not follow.
    claims = replace(proofs.evidence().claims, statement_key=OTHER_KEY.public)
    rewritten = KeyEvidence.of(replace(proofs.honest_envelope(), claims=claims), None)
    lie = judged(replace(made_by(OTHER_KEY), key_evidence=rewritten))
    assert (lie.exit_code, refused(lie)[0]) == (4, "evidence.binding.report_data")


def test_weakness_09_a_statement_is_one_users_at_one_time() -> None:
    """Whose it is and when it was is signed, and each answer that a verifier can ask for is compared."""
    mine = made()
    for change, asked in (
        ({"recipient": b"\1" * 20}, "statement.recipient"),
        ({"nonce": b"\1" * 32}, "statement.nonce"),
        ({"not_before": proofs.SECONDS - 7200, "not_after": proofs.SECONDS - 7195}, "time.age"),
    ):
        theirs = made(**change)
        assert theirs.statement.digest() != mine.statement.digest()
        assert asked in refused(judged(theirs))
    # Two sessions with all else equal are two statements, so a contract can count digests.
    assert made(session=b"\1" * 32).statement.digest() != mine.statement.digest()


def test_weakness_10_each_mode_and_format_has_its_own_digest() -> None:
    """A signature for one never holds for another: other types, other sizes of what is hashed, another key."""
    fetch, observe = statement(), statement(mode="observe")
    assert STRUCTS["fetch"].type_hash != STRUCTS["observe"].type_hash
    signature = KEY.sign(observe.digest())
    assert address(recover(fetch.digest(), signature)) != KEY.address
    assert refused(judged(made(mode="observe"))) == ["statement.mode"]
    # The old format hashes 64 bytes without a prefix, a typed structure 66 with one.
    assert len(b"".join(leaves(proofs.MANIFEST))) == 64 != len(PREFIX) + 64
    proof = made(legacy=True)
    assert proof.legacy is not None
    assert proof.legacy.signer != proof.signer
    ours = (
        fetch.digest(),
        observe.digest(),
        legacy_digest(proofs.MANIFEST),
        endorsement_digest(fetch.domain, KEY.address),
    )
    assert len(set(ours)) == 4
    with pytest.raises(FormatError, match="mode observe"):
        made(mode="observe", legacy=True)


def test_weakness_14_what_was_seen_can_be_checked_by_who_gets_the_proof() -> None:
    """Values are in the proof, each under a signed digest; a commitment can be opened later, and alone."""
    document = judged(made()).to_json()
    assert document["values"] == [{"id": name, "json": text.decode()} for name, text in proofs.VALUES]
    alone = made(hidden=True).showing(["price"])
    assert judged(alone).accepted
    shown = judged(alone).to_json()["values"]
    assert shown == [{"id": "price", "json": '"12.50"'}, {"id": "stock", "json": None}, {"id": "tags", "json": None}]
    opening = alone.openings[0]
    assert keccak256(opening.salt + opening.text.encode()) == alone.statement.values[0].digest


def test_weakness_20_digests_are_of_canonical_text() -> None:
    """Whoever holds a manifest or a value computes its digest again: the order of members does not enter."""
    value: dict[str, Any] = {"b": 1, "a": [1, 2], "c": {"y": 1, "x": 2}}
    orders = [dict(items) for items in itertools.permutations(value.items())]
    assert len({digests(revealed([("v", rfc8785.dumps(order))]))[0].digest for order in orders}) == 1
    # The proof's own file is canonical, too, so its own digest names it.
    data = made(legacy=True).to_bytes()
    again = Proof.parse(json.dumps(dict(reversed(json.loads(data).items())), indent=1).encode())
    assert hashlib.sha256(again.to_bytes()).digest() == hashlib.sha256(data).digest()
    # In the old format the manifest's digest alone decides, and it is the statement's.
    assert legacy_digest(proofs.MANIFEST) == keccak256(
        keccak256(f"0x{proofs.MANIFEST.hex()}".encode()) + proofs.MANIFEST
    )


def test_weakness_21_a_statement_is_for_one_chain_and_one_contract_and_has_a_time() -> None:
    places = [Domain(chain, contract) for chain in (1, 8453) for contract in (bytes(20), b"\1" * 20)]
    assert len({statement(domain=place).digest() for place in places}) == 4
    assert refused(judged(made(domain=Domain(1, proofs.CONTRACT)))) == ["statement.chain"]
    assert refused(judged(made(domain=Domain(8453, b"\1" * 20)))) == ["statement.contract"]
    assert refused(judged(made(), max_age=1)) == ["time.age"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([("ab", b'"c"')], [("a", b'"bc"')]),
        ([("a", b"1"), ("b", b"2")], [("a", b"12"), ("b", b"")]),
        ([("a", b"1")], [("a", b"1"), ("b", b"")]),
        ([("a", b'"1"')], [("a", b"1")]),
    ],
)
def test_weakness_21_nothing_moves_between_names_and_values(
    one: list[tuple[str, bytes]], two: list[tuple[str, bytes]]
) -> None:
    """Every member is hashed or has a fixed size before it is joined, so two lists never give one digest."""
    assert statement(values=digests(revealed(one))).digest() != statement(values=digests(revealed(two))).digest()
    salted = [digests(committed(values, proofs.salts())) for values in (one, two)]
    assert salted[0] != salted[1]


def test_weakness_21_the_set_of_notaries_is_what_the_verifier_accepts() -> None:
    """No list of keys: any key counts that accepted evidence is of, and a new one needs nobody's permission."""
    evidence = KeyEvidence.of(proofs.envelope(HONEST, OTHER_KEY.public), proofs.COLLATERAL)
    rotated = Proof.sign(statement(), proofs.openings(), key=OTHER_KEY, key_evidence=evidence)
    assert all(check.holds for check in checks(rotated))
    assert judged(rotated).accepted
