"""Intel's JSON documents: text to one object, and its members taken by name and kind. Pure; nothing is verified.

Members that we do not know are ignored, as the API allows Intel to add some; JSON is nested at most 32 deep, and no key
occurs twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

_DEEPEST: Final = 32
_MOST_LEVELS: Final = 1024
_MOST_MEMBERS: Final = 65536  # of 1024 levels with 32 components each; a genuine document has 700
_CONTAINERS: Final = frozenset((dict, list))
_PLAIN: Final = json.JSONDecoder()
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ", re.ASCII)


class Taker:
    """Takes members of one JSON object of Intel's, checked. Unknown members stay where they are.

    Hex is upper or lower case there, so `strict_json.Fields`, which is for our own formats, does not fit.
    """

    __slots__ = ("_value", "_what")

    def __init__(self, value: object, what: str) -> None:
        if type(value) is not dict:
            raise FormatError(what, f"must be an object, not {type(value).__name__}")
        self._value: Mapping[str, Any] = value
        self._what = what

    def _of(self, name: str, kind: type) -> Any:
        try:
            value = self._value[name]
        except KeyError as error:
            raise FormatError(self._what, f"{name} is missing") from error
        if type(value) is not kind:
            raise FormatError(self._what, f"{name} must be {kind.__name__}, not {type(value).__name__}")
        return value

    def has(self, name: str) -> bool:
        return name in self._value

    def object(self, name: str) -> Taker:
        return Taker(self._of(name, dict), f"{self._what}.{name}")

    def array(self, name: str) -> list[Any]:
        """An array that is not empty."""
        value: list[Any] = self._of(name, list)
        if not 0 < len(value) <= _MOST_LEVELS:
            raise FormatError(self._what, f"{name} has {len(value)} members, not 1 to {_MOST_LEVELS}")
        return value

    def text(self, name: str) -> str:
        value: str = self._of(name, str)
        return value

    def number(self, name: str, most: int = 0xFFFFFFFF) -> int:
        value: int = self._of(name, int)
        if not 0 <= value <= most:
            raise FormatError(self._what, f"{name} is {value}, not 0 to {most}")
        return value

    def constant(self, name: str, wanted: str | int) -> None:
        if (value := self._of(name, type(wanted))) != wanted:
            raise FormatError(self._what, f"{name} is {value!r}, not {wanted!r}")

    def hex(self, name: str, size: int) -> bytes:
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError as error:
            raise FormatError(self._what, f"{name} is not hex") from error
        if len(value) != size or len(text) != 2 * size:
            raise FormatError(self._what, f"{name} must be {2 * size} hex digits")
        return value

    def date(self, name: str) -> datetime:
        """An ISO 8601 time in this one spelling: 2025-08-13T00:00:00Z."""
        text = self.text(name)
        try:
            if not _DATE.fullmatch(text):
                raise ValueError(text)
            return datetime.fromisoformat(text)
        except ValueError as error:  # of either: there is no 30 February
            raise FormatError(self._what, f"{name} is not a time such as 2025-08-13T00:00:00Z") from error

    def status(self, known: tuple[str, ...]) -> str:
        status = self.text("tcbStatus")
        if status not in known:
            raise FormatError(self._what, f"tcbStatus {status!r} is not one of {', '.join(known)}")
        return status

    def advisories(self) -> tuple[str, ...]:
        """`advisoryIDs`, which a level without any may leave out."""
        if not self.has("advisoryIDs"):
            return ()
        value = self._of("advisoryIDs", list)
        if not set(map(type, value)) <= {str}:
            raise FormatError(self._what, "advisoryIDs must hold text")
        return tuple(value)


def members(text: bytes, *, what: str, limit: int) -> dict[str, Any]:
    """The object in JSON text of Intel's: no key twice, nested at most 32 deep, no half of a surrogate pair."""
    if text.count(b",") > _MOST_MEMBERS:  # before JSON makes a value of each
        raise FormatError(what, f"has more than {_MOST_MEMBERS} members")
    value = _decoded(text, limit)
    is_counted = value is not None
    if value is None:
        value = loads(text, what=what, limit=limit)
    if type(value) is not dict:
        raise FormatError(what, f"must be an object, not {type(value).__name__}")
    level: list[Any] = [value]
    strings = 0
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for outer in level:
            if type(outer) is dict:
                strings += len(outer)
                inner += outer.values()
            else:
                inner += outer
        kinds = list(map(type, inner))
        strings += kinds.count(str)
        if _CONTAINERS.isdisjoint(kinds):
            break
        level = [item for item, kind in zip(inner, kinds, strict=True) if kind in _CONTAINERS]
    else:
        raise FormatError(what, f"is nested more than {_DEEPEST} deep")
    if is_counted and text.count(b'"') != 2 * strings:
        loads(text, what=what, limit=limit)  # which says what occurs twice
    if b"\\" in text:  # only an escape can spell half of a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise FormatError(what, "holds half of a surrogate pair, which is no text") from error
    return value


def _decoded(text: bytes, limit: int) -> Any:
    """The value of JSON without escapes, in which keys may occur twice. None: let `loads` look at it, or refuse it.

    Without escapes there are two quotes for each key and each string, and nowhere else. A key that occurs twice is in
    the text twice and in the value once, so the value's strings are too few. That is counted in half the time that
    `loads` takes to look at each object.
    """
    if len(text) > limit or b"\\" in text or b"NaN" in text or b"Infinity" in text:
        return None
    try:
        return _PLAIN.decode(text.decode())
    except (ValueError, RecursionError):
        return None
