"""One machine for all tests of the contracts; each test begins on the state after their deployment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulators.notary.evm import Contract, Evm
from simulators.notary.registrars import CHAIN, Deployed


@pytest.fixture(scope="session")
def machine() -> Iterator[Evm]:
    found = Evm(chain=CHAIN)
    yield found
    found.close()


@pytest.fixture(scope="session")
def fresh(machine: Evm) -> tuple[Deployed, Contract, str]:
    """The contracts of three registrars, two of whom have to sign, the library alone, and the name of that state."""
    return Deployed.on(machine), machine.deploy("Probe", "()"), machine.state()


@pytest.fixture
def chain(machine: Evm, fresh: tuple[Deployed, Contract, str]) -> Deployed:
    deployed, _, state = fresh
    machine.goto(state)
    return deployed


@pytest.fixture
def probe(machine: Evm, fresh: tuple[Deployed, Contract, str]) -> Contract:
    _, contract, state = fresh
    machine.goto(state)
    return contract
