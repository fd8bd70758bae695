"""The refusal of an exchange, and the work that judging one may take. Pure."""

from __future__ import annotations

from pluto_measure.errors import RefusedError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final


class Violation(RefusedError):
    """An exchange, or a client's variables, are not what the manifest states.

    `path` names the member of the manifest, or the variable. `problem` is in our own words: it quotes neither the web
    site nor a variable, since it goes to a client and perhaps further.
    """

    code: Final = "violation"

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class OverworkError(Violation):
    """Judging takes more work than is allowed: said before the work is done, and the same on every machine."""


class Work:
    """What is left to spend. A unit is about 100 ns: one value that is looked at, or 16 characters of text."""

    def __init__(self, units: int) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """OverworkError, once more was spent than there was."""
        self._left -= units
        if self._left < 0:
            raise OverworkError("manifest.response.body", "to judge this answer takes more work than is allowed")

    def text(self, length: int) -> None:
        """Spend what looking through `length` characters takes."""
        self.spend(1 + length // 16)
