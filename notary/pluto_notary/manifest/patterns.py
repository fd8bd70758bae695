"""Regular expressions that take linear time: a manifest's patterns, compiled by RE2. Pure.

RE2 has no input that makes it slow: its time is at most the size of the program times the length of the text, and both
are bounded here. A pattern that needs more is refused when the manifest is read. docs/decisions/0012-patterns.md.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.manifest.ecmascript import PatternError, translated

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

    from pluto_notary.manifest.violation import Work

LONGEST: Final = 1024  # characters
FLAGS: Final = "ims"
MEMORY: Final = 1024 * 1024  # bytes for a program and what its run remembers
LARGEST: Final = 16 * 1024  # instructions of a program
MOST: Final = 32  # patterns of one manifest
LARGEST_TOGETHER: Final = 32 * 1024  # instructions of all its programs
# Instructions times bytes that RE2 gets through in a unit of work, in the worst case that was found.
_PER_UNIT: Final = 8


class Pattern:
    """A compiled pattern. Two are equal if they were written alike."""

    __slots__ = ("_program", "flags", "source")

    def __init__(self, source: str, flags: str = "") -> None:
        """PatternError."""
        if not 0 < len(source) <= LONGEST:
            raise PatternError(f"must have 1 to {LONGEST} characters")
        if not set(flags) <= set(FLAGS) or len(set(flags)) != len(flags):
            raise PatternError(f"flags are some of {', '.join(FLAGS)}, each once")
        self.source, self.flags = source, flags
        self._program = _compiled(translated(source, flags))

    def is_in(self, text: str, work: Work) -> bool:
        """Whether the text has a match anywhere. `text` is UTF-8's to spell. OverworkError."""
        data = text.encode()
        work.spend(1 + self._program.programsize * len(data) // _PER_UNIT)
        return self._program.search(data) is not None

    @property
    def size(self) -> int:
        """Instructions of its program."""
        return int(self._program.programsize)

    @property
    def is_anchored(self) -> bool:
        """Whether it looks as if the whole text must match, and not only a part."""
        return self.source.startswith("^") and self.source.endswith("$") and "|" not in self.source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and (self.source, self.flags) == (other.source, other.flags)

    def __hash__(self) -> int:
        return hash((self.source, self.flags))

    def __repr__(self) -> str:
        return f"Pattern({self.source!r}, {self.flags!r})"


class Patterns:
    """Reads the patterns of one manifest, which are bounded together, too."""

    def __init__(self) -> None:
        self._count, self._size = 0, 0

    def read(self, source: object, flags: str, path: str) -> Pattern | None:
        """An optional pattern. FormatError."""
        if source is None:
            return None
        if not isinstance(source, str):
            raise FormatError(path, "must be text")
        if self._count == MOST:
            raise FormatError(path, f"is one pattern too many: a manifest has at most {MOST}")
        try:
            pattern = Pattern(source, flags)
        except PatternError as error:
            raise FormatError(path, str(error)) from None
        self._count, self._size = self._count + 1, self._size + pattern.size
        if self._size > LARGEST_TOGETHER:
            raise FormatError(path, "is too large, together with the patterns before it")
        return pattern


def _compiled(text: str) -> Any:
    # Imported here: most manifests have no pattern, and the library takes longer to load than they to read.
    import re2  # type: ignore[import-untyped, import-not-found, unused-ignore]

    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = MEMORY, False, True
    try:
        program = re2.compile(text, options)
    except re2.error:
        raise PatternError("is too large once its repetitions are written out") from None
    finally:
        re2.purge()  # the library keeps the last programs, which may be large and are a client's
    if program.programsize > LARGEST:
        raise PatternError("is too large once its repetitions are written out")
    return program
