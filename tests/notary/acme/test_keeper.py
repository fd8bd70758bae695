"""When a keeper asks: once the time is known, before a certificate ends, and never in a hurry after a failure."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography import x509

from notary.acme.worlds import World, handshake
from pluto_notary.acme.errors import AcmeError
from pluto_notary.acme.order import Patience
from pluto_notary.trusted_time.errors import ClockError
from simulators.acme_ca import Reply, problem
from simulators.intel import NOW

HOUR, DAY = 3600.0, 86400.0


def asked_at(world: World) -> list[float]:
    return [at for at, state in world.told if state == "asked"]


def test_nobody_is_asked_before_the_time_is_known() -> None:
    world = World(error=ClockError("few", "as the test has it"))

    def known() -> None:
        if world.now >= 60:
            assert world.ca.kinds == []
            world.error = None

    world.on_sleep = known
    world.run(lambda: bool(world.shown))
    assert asked_at(world) == [60.0]


def test_nobody_is_asked_before_a_client_came_by_the_name() -> None:
    world = World()

    async def led_here() -> None:
        await world.sleep(3 * HOUR)
        assert world.ca.kinds == []

    world.named = led_here
    world.run(lambda: bool(world.shown))
    assert asked_at(world) == [3 * HOUR]


def test_a_certificate_is_renewed_when_a_third_of_its_time_is_left() -> None:
    world = World()
    world.ca.days = (0, 90)
    world.run(lambda: len(world.shown) == 2)
    first, second = asked_at(world)
    assert first == 0
    assert 60 * DAY <= second <= 60 * DAY + 10
    assert [state for _, state in world.told] == ["asked", "shown"] * 2
    assert len(world.ca.accounts) == 1, "one account as long as the process lives"


def test_a_lost_time_does_not_renew_and_does_not_end_the_keeper() -> None:
    world = World()
    world.ca.days = (0, 90)

    def lost() -> None:
        away = 30 * DAY < world.now < 70 * DAY
        world.error = ClockError("few", "as the test has it") if away else None
        if away:
            world.now += HOUR

    world.on_sleep = lost
    world.run(lambda: len(world.shown) == 2)
    assert 70 * DAY <= asked_at(world)[1] <= 70 * DAY + 2 * HOUR


def test_a_renewal_that_fails_keeps_what_is_shown_and_is_tried_again() -> None:
    world = World()
    world.ca.days = (0, 90)

    def fail() -> None:
        away = 59 * DAY < world.now < 61 * DAY
        world.ca.bend = {"newOrder": lambda _: problem("serverInternal", 500)} if away else {}

    world.on_sleep = fail
    world.run(lambda: len(world.shown) == 2)
    failed = [state for _, state in world.told if state.startswith("ca-")]
    assert len(failed) > 10
    assert set(failed) == {"ca-serverInternal"}


def test_pauses_grow_to_an_hour_and_stay_there() -> None:
    world = World()
    world.ca.bend["newOrder"] = lambda _: problem("serverInternal", 500)
    world.run(lambda: len(asked_at(world)) == 12)
    at = asked_at(world)
    pauses = [after - before for before, after in itertools.pairwise(at)]
    assert pauses[:7] == [60, 120, 240, 480, 960, 1920, 3600]
    assert set(pauses[7:]) == {3600}


def test_a_name_that_does_not_lead_here_yet_is_tried_as_often_as_lets_encrypt_allows() -> None:
    world = World()
    world.ca.look = lambda _: None
    world.run(lambda: len(asked_at(world)) == 40)
    at = asked_at(world)
    assert at[:6] == [0, 60, 180, 420, 900, 1620]
    assert {after - before for before, after in itertools.pairwise(at[4:])} == {720}
    level, last = 5.0, 0.0
    for moment in at:  # its bucket: five, and one more every twelve minutes
        level, last = min(5.0, level + (moment - last) / 720) - 1, moment
        assert level >= 0


def test_pauses_differ_by_chance_and_are_never_shorter() -> None:
    world = World()
    keeper = world.keeper(random=lambda size: b"\xff" * size)
    assert 71.9 < keeper._pause(0, AcmeError("late", "as the test has it")) <= 72
    assert 4319 < keeper._pause(50, AcmeError("late", "as the test has it")) <= 4320


def test_a_success_makes_pauses_short_again() -> None:
    world, failures = World(), [3]

    def bend(reply: Reply) -> Reply:
        failures[0] -= 1
        return problem("serverInternal", 500) if failures[0] >= 0 or world.now > 50 * DAY else reply

    world.ca.days = (0, 90)
    world.ca.bend["newOrder"] = bend
    world.run(lambda: len(asked_at(world)) == 6)
    at = asked_at(world)
    assert at[1] - at[0] == 60
    assert at[5] - at[4] == 60


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7200", 7200),
        (format_datetime(NOW.replace(microsecond=0), usegmt=True), 60),  # that is now
        ("604800", DAY),  # a week, which is too long to believe
        ("-1", 60),
        ("soon", 60),
        ("9" * 400, 60),
    ],
)
def test_a_rate_limit_is_kept_to(header: str, pause: float) -> None:
    world = World()
    world.ca.bend["newOrder"] = lambda _: problem("rateLimited", 429, **{"retry-after": header})
    world.run(lambda: len(asked_at(world)) == 2)
    assert world.told[1][1] == "ca-rateLimited"
    assert asked_at(world)[1] == pytest.approx(pause, abs=2)


def test_polling_is_as_slow_as_the_authority_wants_and_ends() -> None:
    world = World()

    def slow(reply: Reply) -> Reply:
        return Reply(reply.status, {**reply.headers, "retry-after": "7"}, reply.but(status="pending").body)

    world.ca.bend["authorization"] = slow
    assert world.fails() == "late"
    polls = world.slept[: Patience().polls]
    assert polls[0] == 7
    assert max(polls) <= 20
    assert sum(polls) < 900
    world = World()
    world.ca.bend["authorization"] = lambda reply: Reply(
        reply.status, {**reply.headers, "retry-after": "86400"}, reply.but(status="pending").body
    )
    assert world.fails() == "late"
    assert set(world.slept[:24]) <= {60.0}


def test_an_order_that_never_ends_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    async def short() -> None:
        keeper = world.keeper(fetch=never)
        monkeypatch.setattr(keeper, "_pace", type(keeper._pace)(attempt=0.05))
        task = asyncio.ensure_future(keeper.run())
        while len(world.told) < 2:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(short())
    assert world.told[1][1] == "late"


def test_a_bug_of_ours_is_told_and_tried_again() -> None:
    world, real = World(), World.fetch

    async def broken(self: World, *words: Any, **how: Any) -> Any:
        if self.now < 60:
            raise RuntimeError("c4n4ry")
        return await real(self, *words, **how)

    world.fetch = broken.__get__(world)  # type: ignore[method-assign]
    world.run(lambda: bool(world.shown))
    assert [state for _, state in world.told] == ["asked", "internal", "asked", "shown"]
    assert len(world.bugs) == 1


def test_a_chain_that_tls_does_not_take_is_not_shown() -> None:
    world, real = World(), World.show

    def show(self: World, chain: tuple[bytes, ...]) -> None:
        if self.now < 60:
            raise ssl.SSLError("c4n4ry")
        real(self, chain)

    world.show = show.__get__(world)  # type: ignore[method-assign]
    world.run(lambda: bool(world.shown))
    assert [state for _, state in world.told][:3] == ["asked", "chain", "asked"]
    assert world.bugs == []


def test_the_challenge_is_there_while_the_authority_looks_and_speaks_nothing_else() -> None:
    world, seen = World(), []

    def look(name: str) -> bytes | None:
        assert world.pending is not None
        seen.append(handshake(world.pending, name)[1])
        seen.append(handshake(world.pending, name, version=ssl.TLSVersion.TLSv1_2)[1])
        seen.append(handshake(world.pending, name, "http/1.1")[1])
        return world.look(name)

    world.ca.look = look
    world.run(lambda: bool(world.shown))
    assert seen == ["acme-tls/1", "acme-tls/1", None]
    assert world.pending is None
    shown = x509.load_der_x509_certificate(world.shown[0][0])
    assert shown.extensions.get_extension_for_class(x509.SubjectAlternativeName) is not None
