"""The errors of all four packages: the class says who must act, the exit code is that of the commands.

Fields come first and the sentence is made from them; a hint is one more line and names a command.
Exit codes: 0 done or accepted, 1 our bug, 2 usage, 3 malformed input, 4 not authentic, 5 refused by policy,
6 somebody else failed (network, tool, cloud).
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import ClassVar


class PlutoError(Exception):
    """Base of every error that is raised on purpose."""

    exit_code: ClassVar[int] = 1
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    def fields(self) -> dict[str, object]:
        """The error's own fields, fit for JSON."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "hint"}


class UsageError(PlutoError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class FormatError(PlutoError):
    """Bytes do not follow their format. The only error that a parser raises."""

    exit_code = 3

    def __init__(self, what: str, problem: str, *, offset: int | None = None, hint: str | None = None) -> None:
        self.what, self.problem, self.offset = what, problem, offset
        where = "" if offset is None else f" at offset {offset:#x}"
        super().__init__(f"{what}{where}: {problem}", hint=hint)


class VerificationError(PlutoError):
    """Well-formed input that is not authentic: a signature, digest or chain does not hold."""

    exit_code = 4


class RefusedError(PlutoError):
    """Authentic input that the policy does not accept."""

    exit_code = 5


class SourceError(PlutoError):
    """Somebody else failed: network, mirror, device, foreign program, cloud."""

    exit_code = 6
