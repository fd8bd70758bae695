"""JSON read strictly: a manifest's, and that of a web site's answer. Numbers keep their exact value. Pure.

One value in UTF-8, no member twice, no NaN, no half of a surrogate pair, and bounds on size, depth, count of values and
length of numbers. RFC 8259, RFC 7493 (I-JSON); integers may be longer than I-JSON wants them.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation

from pluto_measure.errors import FormatError
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

Number = int | Decimal  # a Decimal is never integral

_CONTAINERS: Final = (dict, list)
LONGEST_NUMBER: Final = 400  # characters
LARGEST_EXPONENT: Final = 400
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_OUT_OF_BOUNDS: Final = "has a number that is longer or larger than any we take"
# Escapes of which a half of a surrogate pair can be made.
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


@record
class JsonLimits:
    """Bounds of one document."""

    size: int  # bytes
    depth: int  # of arrays and objects in each other
    values: int  # of all kinds; more may be counted than there are, as commas in texts count, too


def read(data: bytes, limits: JsonLimits, *, what: str) -> Any:
    """Parse one JSON value: None, bool, str, int, Decimal, list, dict. FormatError(what, problem)."""
    if len(data) > limits.size:
        raise FormatError(what, f"has more than {limits.size} bytes")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > limits.values:
        raise FormatError(what, f"has more than {limits.values} values")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_float=_fraction,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise FormatError(what, f"is not JSON, as its character {error.pos} shows") from None
    except UnicodeDecodeError as error:
        raise FormatError(what, f"is not UTF-8, as its byte {error.start} shows") from None
    except _RefusedError as error:
        raise FormatError(what, str(error)) from None
    except RecursionError:
        raise FormatError(what, f"is nested deeper than {limits.depth}") from None
    _check(value, limits.depth, what, texts=_SURROGATE.search(data) is not None)
    return value


def number(text: str) -> Number | None:
    """The number that a text spells as JSON does, or None: a text that is no number, or one out of bounds."""
    spelt = _NUMBER.fullmatch(text)
    try:
        return None if spelt is None else _fraction(text) if spelt[1] else _integer(text)
    except _RefusedError:
        return None


def kind_of(value: object) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "number"


def is_text(text: str) -> bool:
    """Whether UTF-8 can spell it: JSON has names for halves of surrogate pairs."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


class _RefusedError(Exception):
    """JSON that we do not take; the text says why, and quotes nothing."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("has an object with a member that occurs twice")
    return found


def _constant(_: str) -> Any:
    raise _RefusedError("has a number that JSON does not have (NaN or an infinity)")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise _RefusedError(_OUT_OF_BOUNDS)
    return int(text)


def _fraction(text: str) -> Number:
    """A number with a fraction or an exponent, though its value may be integral."""
    if len(text) > LONGEST_NUMBER:
        raise _RefusedError(_OUT_OF_BOUNDS)
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent beyond even this library's
        raise _RefusedError(_OUT_OF_BOUNDS) from None
    if abs(exact.adjusted()) > LARGEST_EXPONENT:
        raise _RefusedError(_OUT_OF_BOUNDS)
    return int(exact) if exact == exact.to_integral_value() else exact


def _check(value: Any, depth: int, what: str, *, texts: bool) -> None:
    """Depth, and on demand all texts. A loop, as the depth is not known to be small."""
    level = [value]
    for _ in range(depth + 1):
        if texts and not all(_is_clean(item) for item in level):
            raise FormatError(what, "has text with a half of a surrogate pair")
        containers = [item.values() if type(item) is dict else item for item in level if type(item) in _CONTAINERS]
        if not containers:
            return
        level = [inner for items in containers for inner in items if texts or type(inner) in _CONTAINERS]
    raise FormatError(what, f"is nested deeper than {depth}")


def _is_clean(item: Any) -> bool:
    if isinstance(item, dict):
        return all(is_text(name) for name in item)
    return not isinstance(item, str) or is_text(item)
