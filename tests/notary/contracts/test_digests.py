"""The contracts and the notary's own code say the same of any statement, value and claim."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluto_notary.registry.claims import CLAIMS, KeyFits, RevokeBuild, RevokeKey, Rotate
from pluto_notary.statement.model import DOMAIN, STRUCTS, VALUE, Domain, Statement
from pluto_notary.statement.values import ValueDigest, committed, digests, value_digest
from simulators.notary import proofs
from simulators.notary.evm import CONTRACTS, STATEMENT, Contract, refused, statement_value, words
from simulators.notary.registrars import CHAIN, NOW, Deployed

pytestmark = pytest.mark.interop
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BYTES = st.binary(min_size=32, max_size=32)
ACCOUNTS = st.binary(min_size=20, max_size=20).filter(any)
HOSTS = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,3}(:[1-9][0-9]{3})?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.lists(
    st.builds(ValueDigest, TEXT.filter(bool), BYTES), max_size=8, unique_by=lambda one: one.id
)  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    begin = draw(st.integers(NOW - 3000, NOW))
    return Statement(
        mode=draw(st.sampled_from(["fetch", "observe"])),
        host=draw(HOSTS),
        certificate=draw(BYTES),
        manifest=draw(BYTES),
        values=tuple(draw(VALUES)),
        session=draw(BYTES),
        nonce=draw(BYTES),
        recipient=draw(ACCOUNTS),
        not_before=begin,
        not_after=begin + draw(st.integers(0, 900)),
        build=draw(BYTES),
        domain=Domain(CHAIN, draw(ACCOUNTS)),
    )


def digest_there(probe: Contract, statement: Statement) -> bytes:
    call = f"{statement.mode}Digest({STATEMENT},address)"
    return probe.read(call, statement_value(statement), statement.domain.contract, at=NOW)


@MANY
@given(statement=statements())
def test_digests_of_statements_are_the_same(probe: Contract, statement: Statement) -> None:
    assert digest_there(probe, statement) == statement.digest()


def test_a_statement_of_a_hundred_values_has_the_same(probe: Contract) -> None:
    values = digests(committed([(f"value {number}", b"1") for number in range(100)], proofs.salts()))
    statement = proofs.statement(values=values)
    assert digest_there(probe, statement) == statement.digest()
    assert digest_there(probe, proofs.statement(values=())) == proofs.statement(values=()).digest()


@MANY
@given(salt=BYTES, text=st.binary(max_size=200))
def test_digests_of_values_are_the_same(probe: Contract, salt: bytes, text: bytes) -> None:
    assert probe.read("valueDigest(bytes32,bytes)", salt, text) == value_digest(salt, text)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_value_is_opened_by_what_it_is(probe: Contract, hidden: bool) -> None:
    openings = proofs.openings(hidden=hidden)
    statement = statement_value(proofs.statement(values=digests(openings)))
    call = f"requireValue({STATEMENT},uint256,string,bytes32,bytes)"
    for place, one in enumerate(openings):
        text, good = one.text.encode(), (place, one.id, one.salt, one.text.encode())
        probe.read(call, statement, *good)
        moved = value_digest(one.salt, text) if hidden else b"\1" * 32
        for bad in (
            ((place + 1) % 3, one.id, one.salt, text), (3, one.id, one.salt, text),
            (2**256 - 1, one.id, one.salt, text),
            (place, one.id + " ", one.salt, text), (place, one.id, moved, text), (place, one.id, one.salt, text + b" "),
            (place, one.id, one.salt, b""),
        ):  # fmt: skip
            assert refused(lambda values=bad: probe.read(call, statement, *values)) == "NotThisValue"  # type: ignore[misc]


@settings(MANY, max_examples=25)
@given(key=ACCOUNTS, build=BYTES.filter(any), until=st.integers(NOW + 1, NOW + 30 * 86400))
def test_claims_of_registrars_are_the_same(chain: Deployed, key: bytes, build: bytes, until: int) -> None:
    """Each is submitted as `collect` writes it, and accepted: the signatures were of the contract's digest."""
    state = chain.evm.state()
    chain.submit(KeyFits(key, build, until))
    assert words(chain.verifier.read("fits(address,bytes32)", key, build, at=until)) == [1]
    chain.submit(RevokeBuild(build))
    chain.submit(RevokeKey(key))
    chain.submit(Rotate((key,), 1, 2))
    assert words(chain.verifier.read("keys(address)", key)) == [int.from_bytes(build, "big"), until, 1]
    assert words(chain.verifier.read("isRegistrar(address)", key)) == [1]
    chain.evm.goto(state)


def strings(name: str) -> str:
    """A contract's source with neighbouring literals joined."""
    return re.sub(r'"\s*\n?\s*"', "", (CONTRACTS / name).read_text())


def test_the_type_strings_in_the_sources_are_those_that_are_signed() -> None:
    for struct in (DOMAIN, *STRUCTS.values(), VALUE):
        assert f'keccak256("{struct.type_text}")' in re.sub(r"\(\s*\"", '("', strings("Statements.sol")).replace(
            '"\n    )', '")'
        )
    registry = re.sub(r"\(\s*\"", '("', strings("KeyRegistry.sol"))
    for claim in CLAIMS.values():
        assert f'keccak256("{claim.STRUCT.type_text}")' in registry
