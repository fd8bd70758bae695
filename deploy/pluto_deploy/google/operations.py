"""Waits for what Compute Engine does after it answered. Thin IO.

An operation belongs to a zone, a region or the whole project, and is asked for there. It is done when its status says
so; that it failed is in its `error`, in an answer whose status is 200. It is asked for again and again, and not by
`wait`, which holds a connection for two minutes: longer than any answer of ours may take.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pluto_deploy.cloud.door import CloudError, Door
from pluto_deploy.google.errors import SERVICE, failed
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import SourceError
from pluto_measure.wording import printable

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
_NAME: Final = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9_]{0,126})")
_KINDS: Final = ("zones", "regions")


def json_of(door: Door, url: str, act: str) -> Reply:
    """One object that is asked for. SourceError."""
    return parsed(door.ask("GET", url, act).json, act)


def parsed(body: Callable[[], object], act: str) -> Reply:
    """An answer's body as an object. SourceError for what is none."""
    try:
        return Reply(body(), act)
    except (ValueError, RecursionError):
        raise SourceError(f"{SERVICE}: {act}: the answer is not JSON") from None


def finished(door: Door, base: str, answer: Reply, act: str, *, seconds: float) -> list[str]:
    """Wait until an operation is done; its warnings, in words. `base`: …/projects/PROJECT.

    CloudError for one that failed, and for one that is not done in time, which goes on without us.
    """
    url, deadline, pause = where(base, answer), door.waiting.clock() + seconds, FIRST_PAUSE
    while answer.text("status") != "DONE":
        if door.waiting.clock() + pause > deadline:
            raise CloudError(SERVICE, act, f"not done after {seconds:.0f} s; it goes on by itself")
        door.waiting.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)
        answer = json_of(door, url, act)
    if (error := failed(answer, act)) is not None:
        raise error
    return [printable(f"{one.maybe('code')}: {one.maybe('message')}")[:300] for one in answer.each("warnings")]


def where(base: str, answer: Reply) -> str:
    """The URL of an operation. It is made of its name and place: a link that an answer names is not followed."""
    name = answer.text("name")
    if not _NAME.fullmatch(name):
        raise SourceError(f"{answer.what}: an operation cannot be called {printable(name)[:60]!r}")
    for kind in _KINDS:
        if place := answer.maybe(kind.removesuffix("s")).rpartition("/")[2]:
            if not _NAME.fullmatch(place):
                raise SourceError(f"{answer.what}: {printable(place)[:60]!r} is no place")
            return f"{base}/{kind}/{place}/operations/{name}"
    return f"{base}/global/operations/{name}"
