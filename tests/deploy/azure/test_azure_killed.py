"""Killed at every change: what serves goes on serving, and the same command comes to the end. Nothing is left over."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from simulators.azure_cloud.desk import Desk
from simulators.azure_cloud.server import Azure
from simulators.pretend_target import Killed

pytestmark = pytest.mark.slow

MOST = 80
EVERY = pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.more_kills, id="every"), 5])


class Kept:
    """The state of the cloud, to begin from again and again."""

    def __init__(self, azure: Azure) -> None:
        self._cloud = azure.cloud
        self._names = ("resources", "hidden", "operations", "keys")
        self._state = copy.deepcopy({name: getattr(self._cloud, name) for name in self._names[:2]})

    def restore(self) -> None:
        for name in self._names:
            setattr(self._cloud, name, copy.deepcopy(self._state.get(name, {})))


def killed(desk: Desk, act: Any, at: int, *, late: bool) -> bool:
    """Whether the process was killed at its change number `at`."""
    desk.revive()
    desk.deadline, desk.late = at, late
    try:
        act()
    except Killed:
        return True
    finally:
        desk.revive()
    return False


@EVERY
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("route", ["disk", "gallery"])
def test_while_the_first_machine_is_made(azure: Azure, tmp_path: Path, route: str, step: int, *, late: bool) -> None:
    azure.cloud.slowness = 1
    desk = Desk(azure, tmp_path).with_route(route)
    making, empty = desk.making(5), Kept(azure)
    for at in range(1, MOST, step):
        empty.restore()
        if not killed(desk, lambda: desk.apply(making), at, late=late):
            break
        desk.apply(making)
        assert desk.serves() == "5 honest", at
        desk.destroy()
        assert desk.inventory() == [], at
    assert 15 < at < MOST - 1


@EVERY
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("route", ["disk", "gallery"])
def test_while_a_machine_is_exchanged(azure: Azure, tmp_path: Path, route: str, step: int, *, late: bool) -> None:
    azure.cloud.slowness = 1
    desk = Desk(azure, tmp_path).with_route(route)
    desk.apply(desk.making(5))
    making, before = desk.making(7), Kept(azure)
    gaps = 0
    for at in range(1, MOST, step):
        before.restore()
        if not killed(desk, lambda: desk.apply(making), at, late=late):
            break
        serving = desk.serves()
        gaps += serving == "nothing"
        desk.apply(making)
        assert desk.serves() == "7 honest", at
        assert set(desk.states().values()) <= {"running", "stopped", "a", "b"}, at
        if step > 1 or at % 3 == 0:
            desk.destroy()
            assert desk.inventory() == [], at
    assert 15 < at < MOST - 1
    assert gaps <= 2, "only while the address moves does nobody serve"


@EVERY
@pytest.mark.parametrize("command", ["destroy", "rollback"])
def test_while_it_is_undone(azure: Azure, tmp_path: Path, command: str, step: int) -> None:
    azure.cloud.slowness = 1
    desk = Desk(azure, tmp_path)
    desk.apply(desk.making(5))
    desk.apply(desk.making(7))
    both = Kept(azure)
    for at in range(1, MOST, step):
        both.restore()
        if not killed(desk, getattr(desk, command), at, late=at // step % 2 == 0):
            break
        getattr(desk, command)()
        if command == "destroy":
            assert desk.inventory() == [], at
        else:
            assert desk.serves() == "5 honest", at
    assert 5 < at < MOST - 1
