"""Progress that is kept, for tests to read."""

from __future__ import annotations


class Kept:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.said: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def doing(self, text: str) -> None:
        self.said.append(text)


class Killed(Kept):
    """The process is killed once more than `after` things were said to be done."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def doing(self, text: str) -> None:
        super().doing(text)
        if len(self.said) > self._after:
            raise KeyboardInterrupt
