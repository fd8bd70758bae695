"""Several requests at once, with few items in memory; the first failure ends all. Threads, each with its own door."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final, TypeVar

from pluto_deploy.cloud.door import Door

T = TypeVar("T")
R = TypeVar("R")
WORKERS: Final = 8


def each(
    items: Iterable[T],
    act: Callable[[Door, T], R],
    door: Door,
    *,
    workers: int = WORKERS,
    done: Callable[[R], None] = lambda _: None,
) -> None:
    """`act` on every item, `workers` of them at a time; no more than that many items and one more are alive.

    Items are taken, and `done` is called with each result, in the calling thread; results come in any order. When an
    item, an act or `done` fails, no act begins any more, pauses between attempts end, and that failure is raised when
    the requests under way have ended.
    """
    stopped = threading.Event()
    doors = _Doors(door, stopped)
    running: set[Future[R]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="pluto-cloud") as pool:
        try:
            for item in items:
                running.add(pool.submit(_one, doors, act, item))
                del item
                if len(running) == workers:
                    running = _settle(running, done)
            while running:
                running = _settle(running, done)
        except BaseException:
            stopped.set()
            for future in running:
                future.cancel()
            raise
        finally:
            pool.shutdown(wait=True)
            doors.close()


def _one(doors: _Doors, act: Callable[[Door, T], R], item: T) -> R:
    return act(doors.mine(), item)


def _settle(running: set[Future[R]], done: Callable[[R], None]) -> set[Future[R]]:
    finished, left = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        done(future.result())
    return left


class _Doors:
    """A door per thread. Once stopped, their time is over."""

    def __init__(self, door: Door, stopped: threading.Event) -> None:
        waiting = door.waiting

        def clock() -> float:
            return math.inf if stopped.is_set() else waiting.clock()

        self._door, self._waiting = door, replace(waiting, clock=clock, sleep=stopped.wait)
        self._mine, self._all, self._lock = threading.local(), list[Door](), threading.Lock()

    def mine(self) -> Door:
        found: Door | None = getattr(self._mine, "door", None)
        if found is None:
            found = self._mine.door = self._door.another(self._waiting)
            with self._lock:
                self._all.append(found)
        return found

    def close(self) -> None:
        for door in self._all:
            door.close()
