"""A resolver that answers as told: each call gives the next answer of a name, the last one for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pluto_notary.fetch.errors import TargetError

Answers = Sequence[Sequence[str]]


class Names:
    """Call it as the fetch does. `asked` lists the names in the order of the calls."""

    def __init__(self, answers: dict[str, Answers], *, seconds: float = 0) -> None:
        self._answers = {name: list(each) for name, each in answers.items()}
        self._seconds = seconds
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        await asyncio.sleep(self._seconds)
        if host not in self._answers:
            raise TargetError("resolve", "the name could not be resolved")
        waiting = self._answers[host]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]
