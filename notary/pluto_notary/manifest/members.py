"""Takes the members of a manifest's objects one by one; whatever is wrong has the path of its member. Pure."""

from __future__ import annotations

from decimal import Decimal

from pluto_measure.errors import FormatError
from pluto_notary.manifest.document import kind_of

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Final

ROOT: Final = "manifest"
LONGEST_TEXT: Final = 4096  # of what is for people
_LONGEST_NAME: Final = 64  # of a member, as a path shows it
_LONGEST_PATH: Final = 300


class Members:
    """The members of one object. A member that is null is one that is not there."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(path, f"must be an object, not {_named(value)}")
        self.path = path
        self._left = dict(value)

    def at(self, name: str) -> str:
        """The path of a member."""
        return below(self.path, name)

    def take(self, name: str) -> Any:
        """A required member."""
        value = self._left.pop(name, None)
        if value is None:
            raise FormatError(self.at(name), "is missing")
        return value

    def get(self, name: str) -> Any:
        """A member, or None."""
        return self._left.pop(name, None)

    def text(self, name: str, *, longest: int = LONGEST_TEXT) -> str:
        """A required text that is not empty."""
        return checked_text(self.take(name), self.at(name), longest=longest)

    def optional_text(self, name: str, *, longest: int = LONGEST_TEXT) -> str | None:
        value = self.get(name)
        return None if value is None else checked_text(value, self.at(name), longest=longest, least=0)

    def one_of(self, name: str, allowed: Collection[str]) -> str:
        value = self.take(name)
        if not isinstance(value, str) or value not in allowed:
            raise FormatError(self.at(name), f"must be one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise FormatError(self.at(name), f"must be true or false, not {_named(value)}")
        return default if value is None else value

    def number(self, name: str, *, most: int) -> int | None:
        """An optional integer from 0."""
        value = self.get(name)
        return None if value is None else checked_count(value, self.at(name), most=most)

    def named(self, name: str, *, most: int) -> dict[str, Any]:
        """An object with names of the author's choice; empty if it is not there."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise FormatError(self.at(name), f"must be an object, not {_named(value)}")
        if len(value) > most:
            raise FormatError(self.at(name), f"has more than {most} members")
        return value

    def items(self, name: str, *, least: int, most: int) -> list[Any]:
        """A list; empty if it is not there and may be."""
        value = self.get(name)
        value = [] if value is None else value
        if not isinstance(value, list):
            raise FormatError(self.at(name), f"must be an array, not {_named(value)}")
        if not least <= len(value) <= most:
            raise FormatError(self.at(name), f"must have {least} to {most} items")
        return value

    def sub(self, name: str) -> Members:
        """A required member that is an object."""
        return Members(self.take(name), self.at(name))

    def end(self) -> None:
        """Refuse members that were not taken."""
        if self._left:
            raise FormatError(self.at(next(iter(self._left))), "is not a member that this format has")


def checked_text(value: object, path: str, *, longest: int, least: int = 1) -> str:
    """FormatError unless it is text of an allowed length."""
    if not isinstance(value, str):
        raise FormatError(path, f"must be text, not {_named(value)}")
    if not least <= len(value) <= longest:
        raise FormatError(path, f"must have {least} to {longest} characters")
    return value


def checked_count(value: object, path: str, *, most: int) -> int:
    """FormatError unless it is an integer from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise FormatError(path, f"must be an integer from 0 to {most}")
    return value


def below(path: str, step: str | int) -> str:
    """The path of a member or an item. One that grows too long for an error frame ends in two dots."""
    if len(path) > _LONGEST_PATH:
        return path if path.endswith("..") else f"{path}.."
    return f"{path}[{step}]" if isinstance(step, int) else f"{path}.{shown(step)}"


def shown(name: str) -> str:
    """A name of the author's choice as a path shows it: printable, not too long, and no path of its own."""
    plain = name.isascii() and name.replace("_", "a").replace("-", "a").isalnum() and len(name) <= _LONGEST_NAME
    return name if plain else ascii(name[:_LONGEST_NAME])


def _named(value: object) -> str:
    kind = kind_of(value)
    if kind == "number" and isinstance(value, Decimal):
        kind = "number with a fraction"
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
