"""Answers of a cloud as values: whatever is missing, or of another kind than it has to be, is named. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pluto_measure.errors import SourceError
from pluto_measure.wording import printable

_LONGEST: Final = 60


class Reply:
    """One JSON object that a cloud answered with. `what` says of what it is, for errors."""

    __slots__ = ("_value", "what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, Mapping):
            raise SourceError(f"{what}: the answer is no object")
        self._value: Mapping[str, Any] = value
        self.what = what

    def __contains__(self, name: str) -> bool:
        return name in self._value

    def text(self, name: str) -> str:
        """A required text."""
        found: str = self._required(name, str, "text")
        return found

    def maybe(self, name: str) -> str:
        """A text, or "" where there is none."""
        return self.text(name) if name in self._value else ""

    def number(self, name: str) -> int:
        """A required integer, also one that is spelled as text, as 64-bit ones are."""
        value = self._value.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
            return int(value)
        found: int = self._required(name, int, "number")
        return found

    def sub(self, name: str) -> Reply:
        """An object; an empty one where there is none."""
        return Reply(self._value.get(name, {}), f"{self.what}.{name}")

    def each(self, name: str) -> list[Reply]:
        """A list of objects; an empty one where there is none."""
        found = self._value.get(name, [])
        if not isinstance(found, list):
            raise SourceError(f"{self.what}: {name} is no list")
        return [Reply(one, f"{self.what}.{name}[{index}]") for index, one in enumerate(found)]

    def texts(self, name: str) -> dict[str, str]:
        """An object whose members are texts, such as labels; an empty one where there is none."""
        inner = self.sub(name)
        return {key: inner.text(key) for key in inner.names()}

    def listed(self, name: str) -> list[str]:
        """A list of texts; an empty one where there is none."""
        found = self._value.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise SourceError(f"{self.what}: {name} is no list of texts")
        return found

    def plain(self, name: str) -> object:
        """Whatever is there, to be compared; None where nothing is."""
        return self._value.get(name)

    def names(self) -> tuple[str, ...]:
        """Its members."""
        return tuple(self._value)

    def _required(self, name: str, kind: type, word: str) -> Any:
        if name not in self._value:
            raise SourceError(f"{self.what}: the answer has no {printable(name)[:_LONGEST]}")
        value = self._value[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SourceError(f"{self.what}: {printable(name)[:_LONGEST]} is no {word}")
        return value
