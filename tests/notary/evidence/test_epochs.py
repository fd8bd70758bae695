"""Epochs over a provider and clocks that the test holds: one flight, no evidence for sessions, an end that is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pluto_measure.binding import binding
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.epochs import Epoch, EpochKeeper, EpochLimits, Keeping
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import ChannelRequest, EvidenceRequest, KeyRequest, NodeRequest, SessionRequest
from pluto_notary.insecure import InsecureProvider
from simulators.notary.evidence import STATEMENT_KEY

KEEPING = Keeping(b"\xb1" * 32, b"\5" * 32, STATEMENT_KEY)
FIELDS = {"ekm": b"\1" * 32, "nonce": b"\2" * 32, "session_id": b"\3" * 32, "manifest_digest": b"\4" * 32}


class Desk(InsecureProvider):
    """A provider that counts, can be held, can fail and can say that it is of another kind."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.asked: list[EvidenceRequest] = []
        self.broken: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.kind = "insecure"

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        self.asked.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if request.purpose in self.broken:
            raise EvidenceError("device", "the device is gone")
        return {**await super().evidence(request, issue), "type": self.kind}

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        return await self.evidence(request, issue)

    def purposes(self) -> list[str]:
        return [request.purpose for request in self.asked]


class World:
    """A keeper with its clock, in which sleeping is what moves time."""

    def __init__(self, desk: Desk | None = None, keeping: Keeping = KEEPING, **limits: Any) -> None:
        self.now, self.desk, self.slept = 1000.0, desk or Desk(), list[float]()
        self.told, self.refused = list[str](), list[str]()
        self._bytes = _counting()
        self.keeper = EpochKeeper(
            self.desk,
            keeping,
            limits=EpochLimits(**limits),
            clock=lambda: self.now,
            wall=lambda: 1_795_000_000.0 + self.now,
            random=lambda size: next(self._bytes) * size,
            sleep=self.sleep,
            told=self.told.append,
            refused=self.refused.append,
        )
        self.until = float("inf")

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.now > self.until:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def running(self, seconds: float) -> None:
        """Let the keeper's own loop run until that much time has gone by."""
        self.until = self.now + seconds
        task = asyncio.get_running_loop().create_task(self.keeper.run())
        while self.now <= self.until:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _counting() -> Iterator[bytes]:
    yield from (bytes([number]) for number in range(1, 256))


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def code_of(error: pytest.ExceptionInfo[EvidenceError]) -> str:
    return error.value.code


def test_a_thousand_sessions_cost_two_pieces_of_evidence() -> None:
    async def main() -> None:
        world = World()
        epochs = {id(await world.keeper.current()) for _ in range(1000)}
        assert len(epochs) == 1
        assert world.desk.purposes() == ["channel", "key"] == world.told

    run(main)


def test_an_epoch_is_bound_to_its_key_its_number_and_the_outer_certificate() -> None:
    async def main() -> None:
        world = World()
        epoch = await world.keeper.current()
        assert world.desk.asked == [ChannelRequest(epoch.channel_key, 0, b"\5" * 32), KeyRequest(STATEMENT_KEY)]
        claims = epoch.envelope["claims"]
        assert isinstance(claims, dict)
        assert (claims["channelKey"], claims["epoch"]) == (epoch.channel_key.hex(), 0)
        assert json.loads(epoch.envelope_text) == epoch.envelope
        assert epoch.key_envelope is not None
        assert (epoch.begin, epoch.end) == (1000.0, 1600.0)

    run(main)


def test_weakness_07_a_session_is_signed_by_the_key_that_the_evidence_names() -> None:
    async def main() -> None:
        epoch = await World().keeper.current()
        signature = epoch.sign(**FIELDS)
        public = Ed25519PublicKey.from_public_bytes(epoch.channel_key)
        public.verify(signature, binding("session-signature", list(FIELDS.values())))
        for name in FIELDS:
            with pytest.raises(InvalidSignature):
                changed = {**FIELDS, name: b"\xff" * 32}
                public.verify(signature, binding("session-signature", list(changed.values())))

    run(main)


def test_all_who_wait_wait_for_one_attempt_and_leaving_does_not_end_it() -> None:
    async def main() -> None:
        world = World()
        world.desk.gate = asyncio.Event()
        waiting = [asyncio.ensure_future(world.keeper.current()) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        world.desk.gate.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert len({id(epoch) for epoch in found[1:]}) == 1
        assert world.desk.purposes() == ["channel", "key"]

    run(main)


def test_the_next_epoch_is_made_ahead_of_the_end_with_a_key_of_its_own() -> None:
    async def main() -> None:
        world = World()
        seen: list[Epoch] = []
        for _ in range(4):
            await world.running(480)
            seen.append(await world.keeper.current())
        assert [epoch.number for epoch in seen] == sorted({epoch.number for epoch in seen})
        assert len({epoch.channel_key for epoch in seen}) == 4
        assert all(epoch.end - epoch.begin == 600 for epoch in seen)
        assert world.keeper.number == seen[-1].number

    run(main)


def test_while_the_next_is_made_sessions_get_the_one_in_force() -> None:
    async def main() -> None:
        world = World()
        first = await world.keeper.current()
        world.desk.gate = asyncio.Event()
        world.now += 500
        world.until = world.now + 1000
        task = asyncio.ensure_future(world.keeper.run())
        for _ in range(5):
            await asyncio.sleep(0)
        assert await world.keeper.current() is first
        assert world.desk.purposes() == ["channel", "key", "channel"]
        task.cancel()
        world.desk.gate.set()
        await asyncio.gather(task, return_exceptions=True)

    run(main)


@pytest.mark.parametrize("purpose", ["channel", "key"])
def test_if_evidence_fails_the_old_epoch_serves_until_its_end_and_not_longer(purpose: str) -> None:
    async def main() -> None:
        world = World(attempt_rate=100.0, attempt_burst=1000)
        first = await world.keeper.current()
        world.desk.broken = {purpose}
        await world.running(599)
        world.now = first.end - 0.001
        assert await world.keeper.current() is first
        world.now = first.end
        with pytest.raises(EvidenceError) as caught:
            await world.keeper.current()
        assert code_of(caught) == "device"
        assert set(world.refused) == {"device"}
        world.desk.broken = set()
        world.now += 60
        again = await world.keeper.current()
        assert again.number > first.number, "a number is never used for two keys"
        assert again.channel_key != first.channel_key

    run(main)


def test_pauses_grow_after_failures_up_to_a_minute() -> None:
    async def main() -> None:
        desk = Desk()
        desk.broken = {"channel"}
        world = World(desk)
        await world.running(400)
        assert world.slept[:6] == [5, 10, 20, 40, 60, 60]

    run(main)


def test_clients_cannot_make_the_device_work_by_asking_again_and_again() -> None:
    async def main() -> None:
        desk = Desk()
        desk.broken = {"channel"}
        world = World(desk, attempt_rate=0.2, attempt_burst=3)
        codes = []
        for _ in range(100):
            with pytest.raises(EvidenceError) as caught:
                await world.keeper.current()
            codes.append(code_of(caught))
        assert codes == ["device"] * 3 + ["busy"] * 97
        assert len(desk.asked) == 3
        world.now += 5
        with pytest.raises(EvidenceError) as caught:
            await world.keeper.current()
        assert code_of(caught) == "device"

    run(main)


def test_fresh_evidence_is_for_one_session_and_limited_in_rate() -> None:
    async def main() -> None:
        world = World(fresh_rate=1.0, fresh_burst=2)
        epoch, envelope = await world.keeper.fresh(b"\1" * 32, b"\2" * 32)
        assert world.desk.asked[-1] == SessionRequest(b"\1" * 32, b"\2" * 32, epoch.channel_key)
        claims = envelope["claims"]
        assert isinstance(claims, dict)
        assert (claims["purpose"], claims["nonce"]) == ("session", "02" * 32)
        await world.keeper.fresh(b"\1" * 32, b"\2" * 32)
        with pytest.raises(EvidenceError) as caught:
            await world.keeper.fresh(b"\1" * 32, b"\2" * 32)
        assert code_of(caught) == "busy"
        world.now += 1
        await world.keeper.fresh(b"\1" * 32, b"\2" * 32)

    run(main)


@pytest.mark.parametrize("kind", ["azure", "confidential-space"])
def test_slow_kinds_of_evidence_give_none_for_one_session(kind: str) -> None:
    async def main() -> None:
        desk = Desk()
        desk.kind = kind
        world = World(desk)
        with pytest.raises(EvidenceError) as caught:
            await world.keeper.fresh(b"\1" * 32, b"\2" * 32)
        assert code_of(caught) == "unavailable"
        assert desk.purposes() == ["channel", "key"]

    run(main)


def test_evidence_that_takes_longer_than_an_epoch_is_none() -> None:
    async def main() -> None:
        desk = Desk()
        desk.gate = asyncio.Event()
        world = World(desk)
        waiting = asyncio.ensure_future(world.keeper.current())
        while not desk.asked:
            await asyncio.sleep(0)
        world.now += 600
        desk.gate.set()
        with pytest.raises(EvidenceError):
            await waiting

    run(main)


def test_without_a_statement_key_there_is_no_evidence_of_one() -> None:
    async def main() -> None:
        world = World(keeping=Keeping(b"\xb1" * 32, b"\5" * 32, None))
        assert (await world.keeper.current()).key_envelope is None
        assert world.desk.purposes() == ["channel"]

    run(main)


@pytest.mark.parametrize("limits", [{"epoch_seconds": 600.1}, {"epoch_seconds": 0.0}, {"ahead_seconds": 600.0}])
def test_no_limit_makes_an_epoch_longer_than_ten_minutes(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="epoch"):
        EpochLimits(**limits)  # type: ignore[arg-type]
