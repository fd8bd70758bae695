"""Several requests at once: how many, with how much in memory, and what happens when one of them fails."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest

from pluto_deploy.cloud import parallel
from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from simulators.cloud.wire import Loss, Reply, Wire, serving


def nothing(answer: Answer) -> tuple[str, str]:
    del answer
    return "", ""


@pytest.fixture
def wire() -> Iterator[Wire]:
    with serving(lambda _: lambda request: Reply(200)) as made:
        yield made


@pytest.fixture
def door() -> Door:
    return Door("Cloud", nothing, patience=Patience(connect=2, read=2, total=30, attempts=4, pause=0.01))


class Item:
    alive: ClassVar[weakref.WeakSet[Item]] = weakref.WeakSet()

    def __init__(self, number: int) -> None:
        self.number = number
        Item.alive.add(self)


def test_so_many_are_in_flight(wire: Wire, door: Door) -> None:
    wire.delay = 0.05
    got: list[int] = []

    def act(mine: Door, number: int) -> int:
        mine.ask("PUT", f"{wire.url}/{number}", "doing", body=b"x")
        return number

    parallel.each(range(40), act, door, workers=5, done=got.append)
    assert sorted(got) == list(range(40))
    assert wire.most_in_flight == 5


def test_each_thread_has_a_door_of_its_own_and_done_is_called_here(door: Door) -> None:
    seen: dict[int, Door] = {}
    here: set[int] = set()

    def act(mine: Door, _: int) -> None:
        time.sleep(0.01)
        assert seen.setdefault(threading.get_ident(), mine) is mine

    parallel.each(range(20), act, door, workers=4, done=lambda _: here.add(threading.get_ident()))
    assert len({id(one) for one in seen.values()}) == len(seen) == 4
    assert door not in seen.values()
    assert here == {threading.get_ident()}


def test_few_items_are_alive(door: Door) -> None:
    most = 0

    def act(_: Door, item: Item) -> None:
        nonlocal most
        time.sleep(0.002)
        most = max(most, len(Item.alive))

    parallel.each((Item(number) for number in range(60)), act, door, workers=4)
    assert most <= 6
    assert len(Item.alive) == 0


def test_nothing_to_do(door: Door) -> None:
    parallel.each([], lambda mine, item: None, door)


class TestFailure:
    def test_it_is_raised_and_nothing_begins_behind_it(self, wire: Wire, door: Door) -> None:
        taken: list[int] = []

        def items() -> Iterator[int]:
            for number in range(1000):
                taken.append(number)
                yield number

        def act(mine: Door, number: int) -> None:
            if number == 5:
                raise CloudError("Cloud", "doing", "it is over")
            mine.ask("PUT", wire.url, "doing", body=b"x")

        wire.delay = 0.02
        with pytest.raises(CloudError, match="it is over"):
            parallel.each(items(), act, door, workers=4)
        assert len(taken) < 20
        asked = len(wire.asked)
        time.sleep(0.1)
        assert len(wire.asked) == asked
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("pluto-cloud")]

    def test_pauses_of_the_others_end(self, wire: Wire, door: Door) -> None:
        patient = Door("Cloud", nothing, patience=replace(door.patience, pause=25, longest_pause=25))
        wire.fail(Reply(500), times=100)
        waits = threading.Event()

        def act(mine: Door, number: int) -> None:
            if number == 3:
                waits.wait(5)
                raise CloudError("Cloud", "doing", "it is over")
            waits.set()
            mine.ask("PUT", wire.url, "doing", body=b"x")

        begun = time.monotonic()
        with pytest.raises(CloudError, match="it is over"):
            parallel.each(range(4), act, patient, workers=4)
        assert time.monotonic() - begun < 10
        assert len(wire.asked) <= 3
        wire.faults.clear()

    def test_of_the_source(self, door: Door) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            parallel.each(items(), lambda mine, item: None, door)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ValueError])
    def test_of_whom_is_told(self, door: Door, kind: type[BaseException]) -> None:
        def done(_: object) -> None:
            raise kind

        with pytest.raises(kind):
            parallel.each(range(100), lambda mine, item: None, door, done=done)


def test_attempts_are_those_of_the_door(wire: Wire, door: Door) -> None:
    wire.fail(Loss.AFTER, times=3)
    parallel.each(range(3), lambda mine, item: mine.ask("PUT", wire.url, "doing", body=b"x"), door, workers=1)
    assert len(wire.asked) == 6


def test_the_clock_is_that_of_the_door(wire: Wire, door: Door) -> None:
    late = Door("Cloud", nothing, patience=replace(door.patience, total=-1), waiting=Waiting())
    with pytest.raises(CloudError, match="not done in time"):
        parallel.each([1], lambda mine, item: mine.ask("GET", wire.url, "doing"), late)
