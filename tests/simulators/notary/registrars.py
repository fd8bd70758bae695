"""Registrars, keys and statements for contracts on a pretend chain. For tests alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_notary.registry.claims import Claim, KeyFits, Registry, digest
from pluto_notary.registry.signed import Signed, collect
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature, SigningKey
from pluto_notary.statement.model import Domain, Statement
from pluto_notary.statement.values import digests, revealed
from simulators.notary import proofs
from simulators.notary.evm import DEMAND, SIGNATURE, STATEMENT, Contract, Evm, Sent, signature_value, statement_value

CHAIN: Final = 8453
NOW: Final = proofs.SECONDS
DAY: Final = 24 * 3600
UNTIL: Final = NOW + 7 * DAY
BUILD: Final = proofs.HONEST.build_id
OTHER_BUILD: Final = b"\x0b" * 32
KEY, OTHER_KEY = proofs.KEY, proofs.OTHER_KEY
# In the order of their addresses.
REGISTRARS: Final = sorted((SigningKey(keccak256(b"registrar %d" % i)) for i in range(3)), key=lambda key: key.address)
STRANGER: Final = SigningKey(keccak256(b"no registrar"))
DELIVERED: Final = revealed([("state", b'"delivered"')])
REGISTER: Final = "register((address,bytes32,uint64)[],(bytes32,bytes32,uint8)[][])"
CONSUME: Final = f"consumeFetch({STATEMENT},{SIGNATURE},{DEMAND})"
CONSUME_OBSERVE: Final = f"consumeObserve({STATEMENT},{SIGNATURE},{DEMAND})"
CHECK: Final = f"checkFetch(address,{STATEMENT},{SIGNATURE},{DEMAND})"
CHECK_OBSERVE: Final = f"checkObserve(address,{STATEMENT},{SIGNATURE},{DEMAND})"
CLAIM: Final = f"claim({STATEMENT},{SIGNATURE})"


@dataclass(frozen=True)
class Deployed:
    """The verifier with its registry, and the example that consumes statements."""

    evm: Evm
    verifier: Contract
    delivery: Contract

    @classmethod
    def on(cls, evm: Evm, threshold: int = 2) -> Self:
        registrars = [key.address for key in REGISTRARS]
        verifier = evm.deploy("StatementVerifier", "(address[],uint256)", registrars, threshold)
        delivery = evm.deploy("Delivery", "(address,bytes32)", verifier.address, proofs.MANIFEST)
        return cls(evm, verifier, delivery)

    @property
    def registry(self) -> Registry:
        return Registry(self.evm.chain, self.verifier.address)

    def signatures(self, claim: Claim, by: Sequence[SigningKey] = tuple(REGISTRARS[:2])) -> list[Signature]:
        """In the order of `by`, which need not be the right one."""
        return [key.sign(digest(claim, self.registry)) for key in by]

    def submit(self, *claims: Claim, at: int = NOW, needed: int = 2, by: Sequence[SigningKey] = REGISTRARS) -> Sent:
        """Claims that all registrars sign, as `pluto-notary register collect` makes a call of them."""
        signed = [Signed.sign(claim, self.registry, key) for claim in claims for key in by]
        return self.verifier.sent(collect(signed, needed=needed).data, at=at, by=5)

    def statement(self, **changes: Any) -> Statement:
        """A statement for the example, of account 1."""
        return proofs.statement(
            **{
                "values": digests(DELIVERED),
                "recipient": self.evm.accounts[1],
                "domain": Domain(self.evm.chain, self.delivery.address),
                **changes,
            }
        )

    def claim(self, statement: Statement, *, key: SigningKey = KEY, by: int = 1, at: int = NOW) -> Sent:
        """Show the example a statement that `key` signed."""
        signature = signature_value(key.sign(statement.digest()))
        return self.delivery.send(CLAIM, statement_value(statement), signature, at=at, by=by)


def fits(key: SigningKey = KEY, build: bytes = BUILD, until: int = UNTIL) -> KeyFits:
    return KeyFits(key.address, build, until)


def fits_value(claim: KeyFits) -> tuple[bytes, bytes, int]:
    return claim.key, claim.build_id, claim.until
