"""The proof file: one spelling, strictly read, and nothing that could be read two ways."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import jsonschema
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.statement.keys import recover
from pluto_notary.statement.proof import KeyEvidence, Proof
from pluto_notary.statement.values import Opening, digests, revealed
from simulators.notary import proofs
from simulators.notary.evidence import every_purpose, tdx_envelope
from simulators.notary.proofs import KEY, OTHER_KEY, edited, evidence, made, statement

SCHEMA = json.loads(resources.files("pluto_notary").joinpath("schemas/proof.v2.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
HONEST = made(legacy=True)
PLAIN = made()
NO_EVIDENCE = Proof.sign(statement(), proofs.openings(), key=KEY, key_evidence=None)
EVERY = [HONEST, PLAIN, NO_EVIDENCE, made(hidden=True), made(values=()), made(hidden=True).showing(["stock"])]


@pytest.mark.parametrize("proof", EVERY, ids=range(len(EVERY)))
def test_what_is_written_is_read_again(proof: Proof) -> None:
    data = proof.to_bytes()
    assert Proof.parse(data) == proof
    assert Proof.parse(data).to_bytes() == data == rfc8785.dumps(json.loads(data))
    VALIDATOR.validate(json.loads(data))
    assert proof.signed_by() == KEY.public


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def members(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every member of every object, by its object's path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield path, name
            yield from members(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value[:1]):
            yield from members(item, (*path, index))


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


DOCUMENT = json.loads(HONEST.to_bytes())
# The evidence has its own tests, and its own strict parser.
PLACES = [place for place in members(DOCUMENT) if place[0][:2] != ("keyEvidence", "envelope")]


def refuse(document: object, *, schema: bool = True) -> None:
    with pytest.raises(FormatError):
        Proof.parse(json.dumps(document).encode())
    if schema:
        assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(("path", "name"), PLACES, ids=str)
def test_each_member_is_required_and_of_one_kind(path: tuple[str | int, ...], name: str) -> None:
    kinds: tuple[Any, ...] = ([], {}, True, -1, 1.5, "x")
    for value in kinds:
        document = copy.deepcopy(DOCUMENT)
        if type(at(document, path)[name]) is type(value) and value in ([], "x"):
            continue  # fewer openings, another id: these are proofs, which do not verify
        at(document, path)[name] = value
        refuse(document)
    document = copy.deepcopy(DOCUMENT)
    del at(document, path)[name]
    if (path, name) != ((), "legacy"):
        refuse(document)


@pytest.mark.parametrize("path", sorted({path for path, _ in PLACES}, key=str), ids=str)
def test_unknown_members_are_refused(path: tuple[str | int, ...]) -> None:
    document = copy.deepcopy(DOCUMENT)
    at(document, path)["more"] = None
    refuse(document)


HEX = [(path, name) for path, name in PLACES if isinstance(v := at(DOCUMENT, path)[name], str) and v.startswith("0x")]


@pytest.mark.parametrize(("path", "name"), HEX, ids=str)
def test_hex_has_one_spelling(path: tuple[str | int, ...], name: str) -> None:
    value = at(DOCUMENT, path)[name]
    for other in (value[2:], "0X" + value[2:], f"{value}00", value[:-2], value[:-1], f"{value} ", "0xg" + value[3:]):
        document = copy.deepcopy(DOCUMENT)
        at(document, path)[name] = other
        refuse(document, schema=name != "signature")  # DER has many sizes
    if (upper := "0x" + value[2:].upper()) != value:
        document = copy.deepcopy(DOCUMENT)
        at(document, path)[name] = upper
        refuse(document)


def change(name: str, value: object) -> Callable[[Any], object]:
    """A change of one member, by its path with dots."""

    def apply(document: Any) -> None:
        *steps, last = [int(step) if step.isdecimal() else step for step in name.split(".")]
        at(document, tuple(steps))[last] = value

    return apply


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 1), ("version", 3),
        ("statement.primaryType", "ObserveStatement"), ("statement.message.mode", "observe"),
        ("statement.message.mode", "guess"), ("statement.domain.name", "Pluto"), ("statement.domain.version", "1"),
        ("statement.domain.chainId", 2**53), ("statement.message.notBefore", 1 << 63),
        ("statement.types.Value.0.type", "bytes"), ("statement.types.FetchStatement", []),
        ("statement.message.host", "SHOP.example"), ("signature.v", 29), ("signature.v", 0),
        ("signature.r", "0x" + "00" * 32), ("signature.s", "0x" + "00" * 32), ("signature.s", "0x" + "ff" * 32),
        ("openings.0.json", "{"), ("openings.0.json", "1 2"), ("openings.0.json", '{"a":1,"a":2}'),
        ("openings.0.json", '"\ud800"'), ("openings.0.id", "unknown"), ("openings.0.id", "stock"),
        ("statement.message.values.0.id", "stock"), ("legacy.proof.signature.digest", "0x" + "00" * 32),
        ("legacy.proof.signature.merkle_leaves", []), ("legacy.proof.data.manifest_hash.0", 256),
        ("keyEvidence.collateral", "c0"), ("keyEvidence.envelope", {}), ("keyEvidence.envelope", {"a": 1.5}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_proof(name: str, value: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(name, value)(document)
    refuse(document, schema=False)


def test_openings_are_in_the_order_of_the_values() -> None:
    with pytest.raises(FormatError, match="in their order"):
        Proof.parse(edited(PLAIN, lambda document: document["openings"].reverse()))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"version":2,"version":2}', b"\xff", b"[" * 100000])
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(FormatError):
        Proof.parse(data)


@pytest.mark.parametrize("name", ["statement.message.values", "openings"])
def test_lists_are_counted_before_they_are_read(name: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(name, [None] * 100_000)(document)
    with pytest.raises(FormatError, match="more than 100 values"):
        Proof.parse(json.dumps(document).encode())


def test_a_proof_has_a_limit() -> None:
    with pytest.raises(FormatError, match="more than"):
        Proof.parse(b" " * (8 * 1024 * 1024 + 1))


@given(st.data())
def test_every_cut_is_refused(data: st.DataObject) -> None:
    whole = PLAIN.to_bytes()
    with pytest.raises(FormatError):
        Proof.parse(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_openings_are_handed_on_one_by_one() -> None:
    whole = made(hidden=True)
    one = whole.showing(["stock"])
    assert [opening.id for opening in one.openings] == ["stock"]
    assert recover(one.statement.digest(), one.signature) == KEY.public
    hidden = next(opening for opening in whole.openings if opening.id == "price")
    for secret in (hidden.text, hidden.salt.hex(), "12.50"):
        assert secret not in one.to_bytes().decode()
    assert whole.showing([]).openings == ()
    with pytest.raises(FormatError, match="none of price"):
        one.showing(["price"])


def test_collateral_can_be_named_by_who_judged_the_evidence() -> None:
    named = made(key_evidence=evidence(None)).with_collateral(b"\xcc" * 32)
    assert named.key_evidence == KeyEvidence.of(proofs.honest_envelope(), b"\xcc" * 32)
    with pytest.raises(ValueError):
        NO_EVIDENCE.with_collateral(b"\xcc" * 32)


def test_nothing_is_signed_that_does_not_fit() -> None:
    other = revealed([("price", b"1")])
    for openings in ((), other, tuple(reversed(proofs.openings()))):
        with pytest.raises(ValueError, match="openings"):
            Proof.sign(statement(), openings, key=KEY, key_evidence=evidence())
    with pytest.raises(ValueError, match="another key"):
        Proof.sign(statement(), proofs.openings(), key=OTHER_KEY, key_evidence=evidence())
    with pytest.raises(ValueError, match="old format"):
        Proof.sign(statement(), proofs.openings(), key=KEY, key_evidence=evidence(), legacy_key=KEY)
    with pytest.raises(FormatError, match="mode observe"):
        made(mode="observe", legacy=True)


@pytest.mark.parametrize("purpose", ["node", "channel", "session"])
def test_evidence_for_another_purpose_is_no_key_evidence(purpose: str) -> None:
    envelope = tdx_envelope(proofs.HONEST, every_purpose(proofs.HONEST.build_id)[purpose])
    with pytest.raises(FormatError, match="not key"):
        KeyEvidence.of(envelope, None)


def test_values_of_any_text_travel() -> None:
    texts = {"Preis in € – 'x'": '"\u2028 \U0001f600"', "n": "1e+21", "o": '{"é":[null]}'}
    values = revealed((name, text.encode()) for name, text in texts.items())
    proof = Proof.sign(statement(values=digests(values)), values, key=KEY, key_evidence=evidence())
    assert Proof.parse(proof.to_bytes()).openings == values
    assert Opening("n", bytes(32), "1e+21") in values
