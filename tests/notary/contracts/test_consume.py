"""Statements on a chain: who may show what, once, where and until when. In a real machine of Ethereum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pluto_notary.registry import abi
from pluto_notary.registry.claims import RevokeBuild, RevokeKey
from pluto_notary.statement.keys import Signature
from pluto_notary.statement.model import ANYBODY, Domain, Statement
from pluto_notary.statement.values import committed, digests, revealed
from simulators.notary import proofs
from simulators.notary.evm import Evm, refused, signature_value, statement_value, words
from simulators.notary.registrars import (
    BUILD,
    CHECK,
    CHECK_OBSERVE,
    CLAIM,
    CONSUME,
    CONSUME_OBSERVE,
    DAY,
    KEY,
    NOW,
    OTHER_BUILD,
    OTHER_KEY,
    REGISTER,
    UNTIL,
    Deployed,
    fits,
    fits_value,
)

pytestmark = pytest.mark.interop
HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@pytest.fixture
def ready(chain: Deployed) -> Deployed:
    """The honest notary's key is registered."""
    chain.submit(fits())
    return chain


def demand(chain: Deployed, **changes: Any) -> tuple[bytes, bytes, int]:
    wanted = {"manifest": proofs.MANIFEST, "recipient": chain.evm.accounts[1], "age": 3600, **changes}
    return wanted["manifest"], wanted["recipient"], wanted["age"]


def signed(statement: Statement) -> tuple[bytes, bytes, int]:
    return signature_value(KEY.sign(statement.digest()))


def test_its_owner_shows_a_statement_once(ready: Deployed) -> None:
    statement = ready.statement()
    sent = ready.claim(statement)
    assert sent.logs == ("StatementConsumed",)
    assert words(ready.delivery.read("delivered(address)", ready.evm.accounts[1])) == [1]
    assert words(ready.verifier.read("consumed(bytes32)", statement.digest())) == [1]
    assert refused(lambda: ready.claim(statement)) == "AlreadyConsumed"
    ready.claim(ready.statement(session=b"\1" * 32))  # another session's statement is another


def test_nobody_else_shows_it(ready: Deployed) -> None:
    """Neither through the contract that it is for, nor past it, before or after its owner did."""
    statement = ready.statement()
    past = (statement_value(statement), signed(statement), demand(ready))
    for _ in range(2):
        assert refused(lambda: ready.claim(statement, by=2)) == "OtherRecipient"
        assert refused(lambda: ready.verifier.send(CONSUME, *past, at=NOW, by=2)) == "KeyDoesNotFit"
        assert refused(lambda: ready.verifier.send(CONSUME, *past, at=NOW, by=1)) == "KeyDoesNotFit"
        if not words(ready.delivery.read("delivered(address)", ready.evm.accounts[1]))[0]:
            ready.claim(statement)


def test_it_counts_for_its_contract_and_chain_alone(ready: Deployed) -> None:
    other = Deployed.on(ready.evm)
    statement = ready.statement()
    value, signature = statement_value(statement), signed(statement)
    assert refused(lambda: other.delivery.send(CLAIM, value, signature, at=NOW, by=1)) == "KeyDoesNotFit"
    twin = ready.evm.deploy("Delivery", "(address,bytes32)", ready.verifier.address, proofs.MANIFEST)
    assert refused(lambda: twin.send(CLAIM, value, signature, at=NOW, by=1)) == "KeyDoesNotFit"
    for domain in (Domain(1, ready.delivery.address), Domain(0, ANYBODY), Domain(ready.evm.chain, ANYBODY)):
        elsewhere = ready.statement(domain=domain)
        assert refused(lambda at=elsewhere: ready.claim(at)) == "KeyDoesNotFit"  # type: ignore[misc]


def test_after_a_fork_the_chain_of_the_other_number_takes_nothing_of_the_old(ready: Deployed) -> None:
    """The same contracts at the same addresses, under another chain id."""
    statement, claim = ready.statement(), fits(OTHER_KEY)
    old = ready.signatures(claim)
    machine = Evm(chain=1)
    fork = Deployed.on(machine)
    assert (fork.verifier.address, fork.delivery.address) == (ready.verifier.address, ready.delivery.address)
    values = [fits_value(claim)], [[signature_value(one) for one in old]]
    assert refused(lambda: fork.verifier.send(REGISTER, *values, at=NOW)) in ("NotARegistrar", "SignersOutOfOrder")
    fork.submit(fits())
    assert refused(lambda: fork.claim(statement)) == "KeyDoesNotFit"
    fork.claim(fork.statement())
    machine.close()


def test_what_was_observed_is_taken_by_its_own_function_alone(ready: Deployed) -> None:
    observed = ready.statement(mode="observe", domain=Domain(ready.evm.chain, ready.evm.accounts[1]))
    values = (statement_value(observed), signed(observed), demand(ready))
    assert refused(lambda: ready.claim(ready.statement(mode="observe"))) == "KeyDoesNotFit"
    assert refused(lambda: ready.verifier.send(CONSUME, *values, at=NOW, by=1)) == "KeyDoesNotFit"
    sent = ready.verifier.send(CONSUME_OBSERVE, *values, at=NOW, by=1)
    assert sent.output == observed.digest()
    assert refused(lambda: ready.verifier.send(CONSUME_OBSERVE, *values, at=NOW, by=1)) == "AlreadyConsumed"
    fetched = ready.statement(domain=observed.domain)
    values = (statement_value(fetched), signed(fetched), demand(ready))
    assert refused(lambda: ready.verifier.send(CONSUME_OBSERVE, *values, at=NOW, by=1)) == "KeyDoesNotFit"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"manifest": b"\1" * 32}, "OtherManifest"),
        ({"recipient": bytes(20)}, "OtherRecipient"),
        ({"recipient": b"\1" * 20}, "OtherRecipient"),
        ({"build": OTHER_BUILD}, "KeyDoesNotFit"),
        ({"not_before": NOW - 8, "not_after": NOW - 9}, "BadWindow"),
        ({"not_before": NOW - 901, "not_after": NOW}, "BadWindow"),
        ({"not_before": NOW + 61, "not_after": NOW + 62}, "FromTheFuture"),
        ({"not_before": NOW - 3601, "not_after": NOW - 3600}, "TooOld"),
        ({"values": ()}, "NotThisValue"),
        ({"values": digests(revealed([("state", b'"lost"')]))}, "NotThisValue"),
        ({"values": digests(revealed([("other", b'"delivered"')]))}, "NotThisValue"),
        ({"values": digests(committed([("state", b'"delivered"')], proofs.salts()))}, "NotThisValue"),
    ],
    ids=str,
)
def test_what_a_contract_does_not_take(ready: Deployed, changes: dict[str, Any], error: str) -> None:
    statement = ready.statement(**changes)
    assert refused(lambda: ready.claim(statement)) == error
    assert words(ready.verifier.read("consumed(bytes32)", statement.digest())) == [0]


@pytest.mark.parametrize(
    "changes",
    [
        {"not_before": NOW - 900, "not_after": NOW}, {"not_before": NOW + 60, "not_after": NOW + 62},
        {"not_before": NOW - 3600, "not_after": NOW - 3600},
    ],
    ids=["widest", "ahead", "oldest"],
)  # fmt: skip
def test_the_last_second_of_each_limit_is_taken(ready: Deployed, changes: dict[str, Any]) -> None:
    ready.claim(ready.statement(**changes))


@pytest.mark.parametrize("recipient", [bytes(20), b"\1" * 20], ids=["anybody", "another"])
def test_a_statement_that_is_anybodys_is_taken_from_nobody(ready: Deployed, recipient: bytes) -> None:
    """Even where the contract asks for the very recipient zero."""
    statement = ready.statement(recipient=bytes(20), domain=Domain(ready.evm.chain, ready.evm.accounts[1]))
    values = (statement_value(statement), signed(statement), demand(ready, recipient=recipient))
    assert refused(lambda: ready.verifier.send(CONSUME, *values, at=NOW, by=1)) == "OtherRecipient"


def forged(ready: Deployed, change: Callable[[Signature], tuple[bytes, bytes, int]]) -> str:
    statement = ready.statement()
    signature = change(KEY.sign(statement.digest()))
    return refused(lambda: ready.delivery.send(CLAIM, statement_value(statement), signature, at=NOW, by=1))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (proofs.other_spelling, "BadSignature"),
        (lambda one: (one.r, one.s, one.v - 27), "BadSignature"),
        (lambda one: (one.r, one.s, 29), "BadSignature"),
        (lambda one: (one.r, one.s, 55 - one.v), "KeyDoesNotFit"),
        (lambda one: (bytes(32), one.s, one.v), "BadSignature"),
        (lambda one: (one.r, bytes(32), one.v), "BadSignature"),
        (lambda one: (b"\xff" * 32, one.s, one.v), "BadSignature"),
        (lambda one: (one.r, (HALF + 1).to_bytes(32, "big"), one.v), "BadSignature"),
        (lambda one: (one.r, HALF.to_bytes(32, "big"), one.v), "KeyDoesNotFit"),
    ],
    ids=["high s", "v 0 or 1", "v 29", "other v", "no r", "no s", "r above the order", "s too high", "highest s"],
)
def test_a_signature_has_one_spelling(ready: Deployed, change: Any, error: str) -> None:
    assert forged(ready, change) == error


def test_a_number_that_is_no_uint8_is_not_cut_down_to_one(ready: Deployed) -> None:
    """v = 256 + 27 in the calldata."""
    statement = ready.statement()
    one = KEY.sign(statement.digest())
    data = abi.call(CLAIM, statement_value(statement), signature_value(one))
    wide = data.replace(one.s + one.v.to_bytes(32, "big"), one.s + (256 + one.v).to_bytes(32, "big"))
    assert wide != data
    assert refused(lambda: ready.delivery.sent(wide, at=NOW, by=1)) == "without a word"
    ready.delivery.sent(data, at=NOW, by=1)


def test_a_key_that_nobody_registered_signs_in_vain(ready: Deployed) -> None:
    assert refused(lambda: ready.claim(ready.statement(), key=OTHER_KEY)) == "KeyDoesNotFit"


def test_a_key_fits_until_its_time_and_no_second_longer(ready: Deployed) -> None:
    for at, taken in ((UNTIL + 1, False), (UNTIL, True)):
        statement = ready.statement(not_before=at - 12, not_after=at - 8)
        if taken:
            ready.claim(statement, at=at)
        else:
            assert refused(lambda s=statement, t=at: ready.claim(s, at=t)) == "KeyDoesNotFit"  # type: ignore[misc]


@pytest.mark.parametrize("claim", [RevokeKey(KEY.address), RevokeBuild(BUILD)], ids=["key", "build"])
def test_what_is_revoked_counts_no_more(ready: Deployed, claim: RevokeKey | RevokeBuild) -> None:
    ready.submit(claim)
    assert refused(lambda: ready.claim(ready.statement())) == "KeyDoesNotFit"


def test_whether_it_would_be_taken_can_be_asked_before(ready: Deployed) -> None:
    statement = ready.statement()
    values = (ready.delivery.address, statement_value(statement), signed(statement), demand(ready))
    assert ready.verifier.read(CHECK, *values, at=NOW, by=3) == statement.digest()
    ready.claim(statement)
    assert refused(lambda: ready.verifier.read(CHECK, *values, at=NOW)) == "AlreadyConsumed"
    assert refused(lambda: ready.verifier.read(CHECK, *values, at=NOW + DAY)) == "TooOld"
    assert refused(lambda: ready.verifier.read(CHECK_OBSERVE, *values, at=NOW)) == "KeyDoesNotFit"
