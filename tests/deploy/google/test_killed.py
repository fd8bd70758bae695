"""Commands on Google Cloud that are killed after any of their changes: the next one goes on from what it finds.

A command is killed when the change was made and before it hears so. What was begun then ends by itself, or is still
going on as the next command comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND
from pluto_measure.errors import RefusedError
from simulators.google.worlds import World, refusing, world

pytestmark = pytest.mark.slow
EVERY = pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.more_kills, id="every"), 4])
KINDS = pytest.mark.parametrize(
    ("kind", "settled"), [(SPACE_KIND, False), (TDX_KIND, True)], ids=["space-at-once", "tdx"]
)
_MOST = 60


def kills(one: World, act: Callable[[], object], *, settled: bool, step: int) -> Iterator[int]:
    """Once for every `step`th change that a command makes, from the same beginning, after it was killed there."""
    restore = one.snapshot()
    one.cloud.state.polls = 1 if settled else 3
    for change in range(1, _MOST, step):
        restore()
        one.served.clear()
        with one.killed_at(change, "after"):
            act()
        if not one.revived(settled=settled):
            assert change > 5, "a command that changes so little is none"
            return
        yield change
    raise AssertionError("it never ends")


def assert_serves(one: World, name: str) -> None:
    """It does, it alone runs, and the next command finds nothing to be done."""
    assert one.serving() == name
    scene = one.look()
    assert scene.led
    assert [machine.slot for machine in scene.machines if machine.state == "running"] == [scene.serving]
    assert all(machine.generation is not None for machine in scene.machines)


@EVERY
@KINDS
def test_a_first_machine(tmp_path: Path, kind: str, step: int, *, settled: bool) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        for _ in kills(one, one.apply, settled=settled, step=step):
            one.apply()
            assert_serves(one, "one")


@EVERY
@KINDS
def test_a_first_machine_that_nobody_wants_any_more(tmp_path: Path, kind: str, step: int, *, settled: bool) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        for change in kills(one, one.apply, settled=settled, step=step):
            one.destroy()
            assert one.left() == [], f"after a kill at change {change}"


@EVERY
@KINDS
@pytest.mark.parametrize("strategy", ["blue-green", "replace"])
def test_an_upgrade(tmp_path: Path, kind: str, strategy: str, step: int, *, settled: bool) -> None:
    with world(tmp_path, kind, strategy=strategy) as one:
        one.release("one")
        one.apply()
        one.release("two")
        for change in kills(one, one.apply, settled=settled, step=step):
            one.apply()
            assert_serves(one, "two")
            if strategy == "blue-green":
                # Killed while the address moves, nobody serves until the next command has moved it on.
                assert one.served.count(False) <= 5, f"only while the address moves, at change {change}"


@EVERY
def test_an_upgrade_to_what_is_then_refused_leads_clients_back(tmp_path: Path, step: int) -> None:
    with world(tmp_path, TDX_KIND) as one:
        one.release("one")
        one.apply()
        one.release("two")
        for change in kills(one, one.apply, settled=True, step=step):
            moved = one.look().serving == "b"
            one.judge = refusing("two")
            # A machine that was led to before it was refused has the address until it is stopped.
            one.insist = False
            with pytest.raises(RefusedError):
                one.apply()
            if not moved:
                assert one.serving() == "one", f"after a kill at change {change}"
                assert one.look().led
            one.judge, one.insist = refusing(), True


@EVERY
@KINDS
def test_a_way_back(tmp_path: Path, kind: str, step: int, *, settled: bool) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        one.apply()
        one.release("two")
        one.apply()
        for _ in kills(one, one.rollback, settled=settled, step=step):
            one.rollback()
            assert_serves(one, "one")


@EVERY
@KINDS
def test_destroy(tmp_path: Path, kind: str, step: int, *, settled: bool) -> None:
    with world(tmp_path, kind) as one:
        for name in ("one", "two"):
            one.release(name)
            one.apply()
        for change in kills(one, one.destroy, settled=settled, step=step):
            one.destroy()
            assert one.left() == [], f"after a kill at change {change}"
