"""Pluto's first format: its published digests, and that it can never pass for a statement."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_notary.statement.checks import checks
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature, address, parse_address, recover
from pluto_notary.statement.legacy import Legacy, endorsement_digest, joined, leaves, legacy_digest
from pluto_notary.statement.model import Domain
from pluto_notary.statement.proof import Proof
from simulators.notary.proofs import KEY, LEGACY_KEY, MANIFEST, OTHER_KEY, edited, made, statement

VECTORS = Path(__file__).parents[2] / "vectors/notary/statement"


def test_published_digests(vectors: Path) -> None:
    """Leaves, digest and signer of the contract's own test."""
    folder = vectors / "quotes/onchain"
    case = json.loads((folder / "eth_signature_vectors.json").read_text())["pluto_raw_digest"][0]
    value, manifest, digest, r, s = (
        bytes.fromhex(case[name][2:]) for name in ("leaf_value", "leaf_manifest", "digest", "r", "s")
    )
    assert leaves(manifest) == (value, manifest)
    assert legacy_digest(manifest) == joined(value, manifest) == digest
    assert address(recover(digest, Signature(r, s, case["v"]))) == parse_address(case["signer"])


def test_the_published_encoding(vectors: Path) -> None:
    case = json.loads((vectors / "quotes/onchain/pluto_test_vectors.json").read_text())
    r, s = (int(case[f"signature_{name}"], 16) for name in "rs")
    assert "0x" + encode_dss_signature(r, s).hex() == case["signature"]


def test_our_vector() -> None:
    case = json.loads((VECTORS / "legacy.json").read_text())
    legacy = Legacy.parse(Fields({name: case[name] for name in ("proof", "endorsement")}, what="legacy"))
    assert legacy.manifest == MANIFEST == keccak256(case["manifest"].encode())
    made_now = Legacy.sign(MANIFEST, statement().domain, legacy_key=LEGACY_KEY, statement_key=KEY)
    assert legacy == made_now
    assert made_now.to_json() == {name: case[name] for name in ("proof", "endorsement")}


def test_the_statement_key_never_signs_it() -> None:
    with pytest.raises(ValueError, match="old format"):
        Legacy.sign(MANIFEST, statement().domain, legacy_key=KEY, statement_key=KEY)


def failed(proof: Proof) -> list[str]:
    return [check.id for check in checks(proof) if not check.holds]


def put(legacy: Legacy, document: dict[str, object]) -> None:
    document["legacy"] = legacy.to_json()


def test_an_honest_one_holds() -> None:
    assert failed(made(legacy=True)) == []


def test_a_forged_one_is_found() -> None:
    honest = made(legacy=True)
    for key, lie in (
        (
            "legacy.endorsement",
            Legacy.sign(MANIFEST, statement().domain, legacy_key=LEGACY_KEY, statement_key=OTHER_KEY),
        ),
        ("legacy.endorsement", Legacy.sign(MANIFEST, Domain(1, bytes(20)), legacy_key=LEGACY_KEY, statement_key=KEY)),
        ("legacy.manifest", Legacy.sign(b"\1" * 32, statement().domain, legacy_key=LEGACY_KEY, statement_key=KEY)),
    ):
        forged = edited(honest, functools.partial(put, lie))
        assert failed(Proof.parse(forged)) == [key]


def test_another_signature_under_the_same_name_is_found() -> None:
    honest = made(legacy=True)
    assert honest.legacy is not None
    by_other = OTHER_KEY.sign(legacy_digest(MANIFEST))
    lie = Legacy(MANIFEST, by_other, honest.legacy.signer, honest.legacy.endorsement)
    forged = edited(honest, functools.partial(put, lie))
    assert failed(Proof.parse(forged)) == ["legacy.signer"]


def test_the_statement_key_under_the_old_format_is_found() -> None:
    """Whoever has such a signature has one that the notary does not make."""
    honest = made(legacy=True)
    domain = honest.statement.domain
    lie = Legacy(
        MANIFEST, KEY.sign(legacy_digest(MANIFEST)), KEY.address, KEY.sign(endorsement_digest(domain, KEY.address))
    )
    forged = edited(honest, functools.partial(put, lie))
    assert failed(Proof.parse(forged)) == ["legacy.endorsement"]


@pytest.mark.parametrize("numbers", [[], [0] * 31, [0] * 33, [-1] * 32, [256] * 32, [True] * 32, ["0"] * 32])
def test_manifest_hashes_are_32_numbers(numbers: list[object]) -> None:
    def apply(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
        document["legacy"]["proof"]["data"]["manifest_hash"] = numbers

    with pytest.raises(FormatError):
        Proof.parse(edited(made(legacy=True), apply))
