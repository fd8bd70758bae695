"""What a machine says on its serial line: the log that Azure keeps, got by a URL that is a key. IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pluto_deploy.azure.answers import find
from pluto_deploy.azure.arm import Arm, Place
from pluto_deploy.cloud import place as places
from pluto_deploy.cloud.door import CloudError, Door, Waiting
from pluto_deploy.local import console
from pluto_measure.errors import SourceError
from pluto_measure.progress import Progress
from pluto_notary.events import Event

_LARGEST: Final = 64 << 20
_TAIL: Final = 1 << 20
_POLL: Final = 5.0
_MINUTES: Final = "5"  # for which the URL is good


class Serial:
    """The serial logs of a group's machines. `blobs`: a door without a token."""

    def __init__(self, arm: Arm, blobs: Door) -> None:
        self._arm, self._blobs = arm, blobs

    @property
    def waiting(self) -> Waiting:
        return self._blobs.waiting

    def read(self, where: Place) -> bytes:
        """The end of the log; nothing where there is none yet."""
        try:
            query = {"sasUriExpirationTimeInMinutes": _MINUTES}
            found = self._arm.post(where, "retrieveBootDiagnosticsData", query=query, result=True)
        except CloudError as error:
            if error.status in (400, 404, 409):  # a machine that never started has no log
                return b""
            raise
        url = find(found or {}, "serialConsoleLogBlobUri", str, f"the serial log of {where}")
        if not url:
            return b""
        answer = self._blobs.ask("GET", places.secure(url), "reading the serial log", expect=(200, 404), limit=_LARGEST)
        return answer.body[-_TAIL:] if answer.status == 200 else b""

    def wait_ready(
        self, where: Place, slot: str, before: bytes, limit: float, alive: Callable[[], bool], progress: Progress
    ) -> None:  # fmt: skip
        """Return when the machine says that it is ready. `before`: the log when it was started. SourceError."""
        told = 0
        while True:
            log = self.read(where)
            new = log[len(before) :] if before and log.startswith(before) else log
            heard = console.read(new)
            for one in heard[told:]:
                progress.step(f"machine {slot}: {one if isinstance(one, str) else _words(one)}")
            told = max(told, len(heard))
            if is_ready(heard):
                return
            if not alive():
                raise SourceError(f"machine {slot} ended before it was ready: {_last(log)}")
            if self.waiting.clock() > limit:
                raise SourceError(f"machine {slot} was not ready in time: {_last(log)}")
            self.waiting.sleep(_POLL)


def is_ready(heard: list[console.Said]) -> bool:
    """Whether the last start that is told of came to its end. Pure."""
    names = [one.name for one in heard if isinstance(one, Event) and one.name in ("started", "ready", "stopping")]
    return bool(names) and names[-1] == "ready"


def _last(log: bytes) -> str:
    return "; ".join(console.printable(log, 3)) or "it said nothing"


def _words(one: object) -> str:
    return one.to_line().removeprefix("pluto: ") if isinstance(one, Event) else "a line that only looks like an event"
