"""A bounded cursor over untrusted bytes. Every binary parser of the project reads through it."""

from __future__ import annotations

from pluto_measure.errors import FormatError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Literal


class Reader:
    """Reads fields in order. Running out is a FormatError that names structure, offset and field."""

    def __init__(self, data: bytes, *, what: str, base: int = 0, order: Literal["little", "big"] = "little") -> None:
        self._data, self._what, self._base, self._at = data, what, base, 0
        self._order: Literal["little", "big"] = order

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._data) - self._at

    @property
    def offset(self) -> int:
        """Position in the outermost structure, in bytes."""
        return self._base + self._at

    def take(self, size: int, field: str) -> bytes:
        """The next `size` bytes."""
        if not 0 <= size <= self.left:
            raise self.error(f"{field} needs {size} bytes, {self.left} left")
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def uint(self, size: int, field: str) -> int:
        """An unsigned integer of `size` bytes in the reader's byte order."""
        return int.from_bytes(self.take(size, field), self._order)

    def sub(self, size: int, field: str) -> Reader:
        """The next `size` bytes as a reader of their own: a nested structure cannot read past them."""
        base = self._base + self._at
        return Reader(self.take(size, field), what=f"{self._what}.{field}", base=base, order=self._order)

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.left, "rest")

    def end(self) -> None:
        """Refuse trailing bytes, so that one value has one encoding."""
        if self.left:
            raise self.error(f"{self.left} bytes left over")

    def error(self, problem: str) -> FormatError:
        """A FormatError at the present offset."""
        return FormatError(self._what, problem, offset=self._base + self._at)
