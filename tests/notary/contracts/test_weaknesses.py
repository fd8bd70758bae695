"""Weaknesses of an earlier notary that lie in its contracts, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

import pytest

from pluto_notary.registry.claims import RevokeKey
from pluto_notary.statement.legacy import legacy_digest
from pluto_notary.statement.model import Domain
from pluto_notary.statement.values import digests, revealed
from simulators.notary import proofs
from simulators.notary.evm import refused, signature_value, statement_value, words
from simulators.notary.registrars import (
    CLAIM,
    KEY,
    NOW,
    OTHER_KEY,
    REGISTER,
    REGISTRARS,
    STRANGER,
    UNTIL,
    Deployed,
    fits,
    fits_value,
)

pytestmark = pytest.mark.interop


def test_weakness_07_nobody_puts_a_laptops_key_on_the_list(chain: Deployed) -> None:
    """Not who deployed the contract, not one registrar, and not two strangers."""
    for people in ([], REGISTRARS[:1], sorted([STRANGER, OTHER_KEY], key=lambda key: key.address)):
        signatures = [signature_value(one) for one in chain.signatures(fits(), people)]
        for sender in (0, 1):
            with pytest.raises(Exception, match=r"WrongNumberOfSignatures|NotARegistrar"):
                chain.verifier.send(REGISTER, [fits_value(fits())], [signatures], at=NOW, by=sender)
    assert refused(lambda: chain.claim(chain.statement())) == "KeyDoesNotFit"
    chain.submit(fits())
    chain.claim(chain.statement())


def test_weakness_09_a_proof_is_shown_once_by_whose_it_is(chain: Deployed) -> None:
    """The old mark was by sender, so anybody else showed the same proof again, or first."""
    chain.submit(fits())
    statement = chain.statement()
    for thief in (2, 3):
        assert refused(lambda by=thief: chain.claim(statement, by=by)) == "OtherRecipient"  # type: ignore[misc]
    chain.claim(statement)
    for sender in range(1, 4):
        assert refused(lambda by=sender: chain.claim(statement, by=by)) in ("AlreadyConsumed", "OtherRecipient")  # type: ignore[misc]


def test_weakness_10_the_weakest_mode_does_not_win(chain: Deployed) -> None:
    chain.submit(fits())
    value, observed = statement_value(chain.statement()), chain.statement(mode="observe")
    for digest in (observed.digest(), legacy_digest(proofs.MANIFEST)):
        signature = signature_value(KEY.sign(digest))
        assert refused(lambda one=signature: chain.delivery.send(CLAIM, value, one, at=NOW, by=1)) == "KeyDoesNotFit"  # type: ignore[misc]


def test_weakness_14_a_contract_acts_on_the_value(chain: Deployed) -> None:
    chain.submit(fits())
    for number, text in enumerate((b'"lost"', b'"Delivered"', b'"delivered" ', b"true")):
        lie = chain.statement(values=digests(revealed([("state", text)])), session=bytes([number + 1]) * 32)
        assert refused(lambda one=lie: chain.claim(one)) == "NotThisValue"  # type: ignore[misc]
    chain.claim(chain.statement())


def test_weakness_21_it_counts_on_one_chain_for_one_contract_and_a_while(chain: Deployed) -> None:
    chain.submit(fits())
    for domain in (Domain(1, chain.delivery.address), Domain(chain.evm.chain, chain.verifier.address)):
        elsewhere = chain.statement(domain=domain)
        assert refused(lambda one=elsewhere: chain.claim(one)) == "KeyDoesNotFit"  # type: ignore[misc]
    assert refused(lambda: chain.claim(chain.statement(), at=NOW + 3600)) == "TooOld"
    late = chain.statement(not_before=UNTIL, not_after=UNTIL + 1)
    assert refused(lambda: chain.claim(late, at=UNTIL + 1)) == "KeyDoesNotFit"


def test_weakness_21_the_list_of_notaries_is_not_frozen(chain: Deployed) -> None:
    for key in (KEY, OTHER_KEY):
        chain.submit(fits(key))
    chain.submit(RevokeKey(KEY.address))
    found = {
        key: words(chain.verifier.read("fits(address,bytes32)", key.address, fits().build_id, at=NOW))
        for key in (KEY, OTHER_KEY)
    }
    assert (found[KEY], found[OTHER_KEY]) == ([0], [1])
