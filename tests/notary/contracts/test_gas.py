"""What each call costs its sender: printed, and not above the bounds that gas.json and docs/contract.md name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_notary.registry.claims import KeyFits, RevokeBuild, RevokeKey, Rotate
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.values import digests, revealed
from simulators.notary.evm import compiled
from simulators.notary.registrars import BUILD, KEY, OTHER_BUILD, REGISTRARS, STRANGER, UNTIL, Deployed, fits

pytestmark = pytest.mark.interop
ROOT = Path(__file__).resolve().parents[3]
BOUNDS = json.loads((Path(__file__).parent / "gas.json").read_text())
TENTH = 0.1  # a bound that is so much above the cost says nothing


def keys(count: int) -> list[KeyFits]:
    return [fits(SigningKey(keccak256(b"key %d" % number))) for number in range(count)]


def measured(chain: Deployed) -> Iterator[tuple[str, int]]:
    """Each operation, on a chain where its predecessors are done."""
    yield "deploy, 3 registrars", chain.verifier.gas
    yield "deploy the example", chain.delivery.gas
    yield "register a key, 2 signatures", chain.submit(fits()).gas
    yield "register it for longer", chain.submit(fits(until=UNTIL + 1)).gas
    yield "register 10 keys, 2 signatures each", chain.submit(*keys(10)).gas
    for account, count in ((1, 1), (2, 10), (3, 100)):
        values = digests(revealed([("state", b'"delivered"'), *((f"value {n}", b"1") for n in range(count - 1))]))
        statement = chain.statement(values=values, recipient=chain.evm.accounts[account])
        yield f"consume, values: {count}", chain.claim(statement, by=account).gas
    yield "revoke a key, 2 signatures", chain.submit(RevokeKey(KEY.address)).gas
    yield "revoke a build, 2 signatures", chain.submit(RevokeBuild(BUILD)).gas
    three = Deployed.on(chain.evm, threshold=3)
    yield "register a key, 3 signatures", three.submit(fits(build=OTHER_BUILD), needed=3).gas
    heirs = sorted(key.address for key in (STRANGER, *REGISTRARS[:2]))
    yield "rotate to 3 registrars, 2 signatures", chain.submit(Rotate(tuple(heirs), 2, 2)).gas


def test_nothing_costs_more_than_its_bound(chain: Deployed) -> None:
    found = dict(measured(chain))
    size = len(compiled()["StatementVerifier"]["evm"]["deployedBytecode"]["object"]) // 2
    print(f"\nStatementVerifier: {size} bytes")
    for name, gas in found.items():
        print(f"{name:40} {gas:>9} gas, bound {BOUNDS.get(name)}")
    assert found.keys() == BOUNDS.keys()
    assert {name: gas for name, gas in found.items() if gas > BOUNDS[name]} == {}
    assert {name: gas for name, gas in found.items() if gas < BOUNDS[name] * (1 - TENTH)} == {}


def test_the_page_names_the_same_bounds() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([\d ]+) \|$", (ROOT / "docs/contract.md").read_text(), re.MULTILINE)
    assert {name: int(gas.replace(" ", "")) for name, gas in rows} == BOUNDS
