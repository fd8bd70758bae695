"""Strict JSON: canonical text out; text in with no duplicate keys, no unknown or missing members, checked kinds.

Canonical form: RFC 8785 restricted to what we write (objects, arrays, strings, integers below 2**53, booleans,
null; no floats). Keys sort by UTF-16 code units, which for our ASCII keys is the order of `sorted`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pluto_measure.errors import FormatError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 2**53 - 1
_LONGEST_NAME, _MOST_NAMES = 64, 100  # of members that a misspelt one is looked for among


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value, UTF-8, without a line end. TypeError for what is not ours to write."""
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(value: object) -> str:
    """The same value for people and for files that are reviewed: indented, keys in the order given."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def loads(text: bytes | str, *, what: str, limit: int = 64 * 1024 * 1024) -> Any:
    """Parse JSON text. FormatError for anything but one JSON value without duplicate keys."""
    if len(text) > limit:
        raise FormatError(what, f"{len(text)} bytes are more than {limit}")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            left = dict.fromkeys(found, 1)
            twice = next(name for name, _ in items if left.pop(name, None) is None)
            raise FormatError(what, f"key occurs twice: {twice[:40]!r}")
        return found

    def constant(name: str) -> Any:
        raise FormatError(what, f"{name} is not JSON")

    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(what, f"not JSON: {error}") from error


class Fields:
    """Takes the members of one JSON object one by one; `end()` refuses what nobody took."""

    def __init__(self, value: object, *, what: str) -> None:
        if not isinstance(value, Mapping):
            raise FormatError(what, f"must be an object, not {type(value).__name__}")
        self._left: dict[str, Any] = dict(value)
        self._what = what

    @property
    def what(self) -> str:
        """What the object is, for an error of the caller's about a value."""
        return self._what

    def take(self, name: str, *kinds: type) -> Any:
        """A required member of one of the given Python types."""
        if name not in self._left:
            raise FormatError(self._what, f"{name} is missing{_instead(name, self._left)}")
        return self._checked(name, kinds)

    def get(self, name: str, default: Any, *kinds: type) -> Any:
        """An optional member."""
        return self._checked(name, kinds) if name in self._left else default

    def hex(self, name: str, size: int) -> bytes:
        """A required member that is `size` bytes in lower-case hex."""
        return unhex(self.take(name, str), size, what=f"{self._what}.{name}")

    def sub(self, name: str) -> Fields:
        """A required member that is an object."""
        return Fields(self.take(name, dict), what=f"{self._what}.{name}")

    def optional(self, name: str) -> Fields | None:
        """A member that is an object, null or not there."""
        value = self.get(name, None, dict, type(None))
        return None if value is None else Fields(value, what=f"{self._what}.{name}")

    def end(self) -> None:
        """Refuse members that were not taken."""
        if self._left:
            name = sorted(self._left)[0]
            shown = name if name.isprintable() and len(name) <= _LONGEST_NAME else repr(name[:_LONGEST_NAME])
            raise FormatError(self._what, f"unknown member {shown}")

    def _checked(self, name: str, kinds: tuple[type, ...]) -> Any:
        value = self._left.pop(name)
        wrong_bool = isinstance(value, bool) and bool not in kinds
        if kinds and (wrong_bool or not isinstance(value, kinds)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise FormatError(self._what, f"{name} must be {wanted}, not {type(value).__name__}")
        return value


def _instead(name: str, left: Mapping[str, Any]) -> str:
    """What is there and looks as if it were meant: a misspelt member is a missing one. Bounded, whatever is there."""
    from difflib import get_close_matches  # only an error needs it

    names = [one for one in left if len(one) <= _LONGEST_NAME and one.isprintable()][:_MOST_NAMES]
    close = get_close_matches(name, names, n=3, cutoff=0.8)
    return f"; there {'is' if len(close) == 1 else 'are'} {', '.join(close)}" if close else ""


def unhex(text: str, size: int, *, what: str) -> bytes:
    """`size` bytes from lower-case hex; one value has one spelling."""
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise FormatError(what, "not hex") from error
    if len(value) != size or value.hex() != text:
        raise FormatError(what, f"must be {2 * size} lower-case hex digits")
    return value


def _check(value: object) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            if abs(value) > _LARGEST:
                raise TypeError(f"{value} does not fit canonical JSON")
        case list() | tuple():
            for item in value:
                _check(item)
        case dict():
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise TypeError(f"key {key!r} is not ASCII text")
                _check(item)
        case _:
            raise TypeError(f"{type(value).__name__} is not canonical JSON")
