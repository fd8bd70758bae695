"""Any sequence of registrations, revocations, rotations, waiting and statements leaves what a model in Python says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pluto_notary.registry.claims import Claim, KeyFits, RevokeBuild, RevokeKey, Rotate
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import SigningKey
from simulators.notary.evm import Contract, Reverted, signature_values, words
from simulators.notary.registrars import BUILD, DAY, NOW, OTHER_BUILD, REGISTER, Deployed, fits_value

pytestmark = pytest.mark.interop
KEYS = [SigningKey(keccak256(b"key %d" % number)) for number in range(3)]
BUILDS = [BUILD, OTHER_BUILD]
# Five who may be registrars, three of whom are at the beginning; in the order of their addresses.
PEOPLE = sorted((SigningKey(keccak256(b"person %d" % number)) for number in range(5)), key=lambda key: key.address)
# None: as many registrars as are needed, in order.
SIGNERS = st.none() | st.none() | st.lists(st.sampled_from(range(5)), max_size=4)
LONGEST = 30 * DAY


class Model:
    """What the contracts promise, in as few words as can be."""

    def __init__(self) -> None:
        self.now, self.generation = NOW, 1
        self.registrars, self.threshold = {0, 1, 2}, 2
        self.keys: dict[int, tuple[int, int]] = {}  # build and until
        self.revoked_keys: set[int] = set()
        self.revoked_builds: set[int] = set()
        self.seen: set[bytes] = set()  # digests of statements that anybody showed
        self.shown: set[bytes] = set()  # and that were counted

    def people(self, drawn: list[int] | None, needed: int) -> list[int]:
        return sorted(self.registrars)[:needed] if drawn is None else drawn

    def signed(self, by: Sequence[int], needed: int) -> bool:
        return len(by) == needed and list(by) == sorted(set(by)) and set(by) <= self.registrars

    @property
    def revokers(self) -> int:
        return min(self.threshold, len(self.registrars) - self.threshold + 1)

    def fits(self, key: int, build: int) -> bool:
        known, until = self.keys.get(key, (None, 0))
        gone = key in self.revoked_keys or build in self.revoked_builds
        return known == build and self.now <= until and not gone

    def takes(self, key: int, build: int, until: int) -> bool:
        if key in self.revoked_keys or build in self.revoked_builds:
            return False
        return self.now < until <= self.now + LONGEST and self.keys.get(key, (build, 0))[0] == build


class Sequences(RuleBasedStateMachine):
    chain: ClassVar[Deployed]
    probe: ClassVar[Contract]
    start: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.chain.evm.goto(self.start)
        self.model = Model()

    def by(self, claim: Claim, people: Sequence[int]) -> list[tuple[bytes, bytes, int]]:
        return signature_values(self.chain.signatures(claim, [PEOPLE[one] for one in people]))

    def done(self, signature: str, *values: Any) -> bool:
        try:
            self.chain.verifier.send(signature, *values, at=self.model.now, by=2)
        except Reverted:
            return False
        return True

    @rule(
        items=st.lists(
            st.tuples(
                st.sampled_from(range(3)), st.sampled_from(range(2)),
                st.sampled_from([-1, 0, 1, DAY, 2 * DAY, LONGEST, LONGEST + 1]), SIGNERS,
            ),
            min_size=1, max_size=2,
        )
    )  # fmt: skip
    def register(self, items: list[tuple[int, int, int, list[int] | None]]) -> None:
        model, before = self.model, dict(self.model.keys)
        claims, taken = [], True
        for key, build, ahead, drawn in items:
            people = model.people(drawn, model.threshold)
            claim = KeyFits(KEYS[key].address, BUILDS[build], model.now + ahead)
            claims.append((fits_value(claim), self.by(claim, people)))
            taken = taken and model.takes(key, build, claim.until) and model.signed(people, model.threshold)
            if taken:
                model.keys[key] = build, max(claim.until, model.keys.get(key, (build, 0))[1])
        if not taken:
            model.keys = before
        assert self.done(REGISTER, [value for value, _ in claims], [by for _, by in claims]) == taken

    @rule(key=st.sampled_from(range(3)), drawn=SIGNERS)
    def revoke_key(self, key: int, drawn: list[int] | None) -> None:
        people = self.model.people(drawn, self.model.revokers)
        signatures = self.by(RevokeKey(KEYS[key].address), people)
        taken = self.model.signed(people, self.model.revokers)
        assert self.done("revokeKey(address,(bytes32,bytes32,uint8)[])", KEYS[key].address, signatures) == taken
        self.model.revoked_keys |= {key} if taken else set()

    @rule(build=st.sampled_from(range(2)), drawn=SIGNERS)
    def revoke_build(self, build: int, drawn: list[int] | None) -> None:
        people = self.model.people(drawn, self.model.revokers)
        signatures = self.by(RevokeBuild(BUILDS[build]), people)
        taken = self.model.signed(people, self.model.revokers)
        assert self.done("revokeBuild(bytes32,(bytes32,bytes32,uint8)[])", BUILDS[build], signatures) == taken
        self.model.revoked_builds |= {build} if taken else set()

    @rule(
        heirs=st.sets(st.sampled_from(range(5)), min_size=1),
        wanted=st.sampled_from([1, 2, 2, 3]),
        named=st.sampled_from([0, 1, 1, 1, 2]),
        drawn=SIGNERS,
    )
    def rotate(self, heirs: set[int], wanted: int, named: int, drawn: list[int] | None) -> None:
        model, threshold = self.model, min(wanted, len(heirs))
        people = model.people(drawn, model.threshold)
        accounts = tuple(PEOPLE[one].address for one in sorted(heirs))
        claim = Rotate(accounts, threshold, max(2, model.generation + named))
        taken = claim.generation == model.generation + 1 and model.signed(people, model.threshold)
        call = "rotate(address[],uint256,(bytes32,bytes32,uint8)[])"
        assert self.done(call, list(accounts), threshold, self.by(claim, people)) == taken
        if taken:
            model.registrars, model.threshold, model.generation = heirs, threshold, claim.generation

    @rule(seconds=st.sampled_from([1, 60, DAY, DAY + 1, 20 * DAY]))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    @rule(
        key=st.sampled_from(range(3)), build=st.sampled_from(range(2)), session=st.sampled_from(range(2)),
        age=st.sampled_from([0, 3600, 3601, -60, -61]), by=st.sampled_from([1, 1, 1, 2]),
        mode=st.sampled_from(["fetch", "fetch", "observe"]),
    )  # fmt: skip
    def show(self, key: int, build: int, session: int, age: int, by: int, mode: str) -> None:
        model, begin = self.model, self.model.now - age
        statement = self.chain.statement(
            build=BUILDS[build], session=bytes([session + 1]) * 32, mode=mode, not_before=begin, not_after=begin + 2
        )
        digest = statement.digest()
        model.seen.add(digest)
        taken = model.fits(key, build) and digest not in model.shown and -60 <= age <= 3600
        try:
            self.chain.claim(statement, key=KEYS[key], by=by, at=model.now)
            shown = True
        except Reverted:
            shown = False
        assert shown == (taken and by == 1 and mode == "fetch")
        model.shown |= {digest} if shown else set()

    @invariant()
    def the_chain_says_what_the_model_says(self) -> None:
        model, digests = self.model, sorted(self.model.seen)
        expected = [model.fits(key, build) for key in range(3) for build in range(2)]
        expected += [digest in model.shown for digest in digests]
        keys, verifier = [key.address for key in KEYS], self.chain.verifier.address
        found = self.probe.read(
            "look(address,address[],bytes32[],bytes32[])", verifier, keys, BUILDS, digests, at=model.now
        )
        bits = sum(1 << place for place, holds in enumerate(expected) if holds)
        assert words(found) == [bits, model.generation, len(model.registrars), model.threshold]


@pytest.fixture
def people(chain: Deployed, probe: Contract) -> Deployed:
    """The contracts with the first three of PEOPLE as registrars."""
    registrars = [key.address for key in PEOPLE[:3]]
    evm = chain.evm
    verifier = evm.deploy("StatementVerifier", "(address[],uint256)", registrars, 2)
    delivery = evm.deploy("Delivery", "(address,bytes32)", verifier.address, chain.statement().manifest)
    Sequences.chain = Deployed(evm, verifier, delivery)
    Sequences.probe, Sequences.start = probe, evm.state()
    return Sequences.chain


def test_any_sequence_leaves_what_the_model_says(people: Deployed) -> None:
    run_state_machine_as_test(
        Sequences,
        settings=settings(max_examples=15, stateful_step_count=18, deadline=None, suppress_health_check=[*HealthCheck]),
    )
