"""The one spelling of a JSON value: RFC 8785 (JCS), without its rounding. Pure.

RFC 8785 writes numbers as ECMAScript does, that is as doubles. Where that loses nothing, so do we. A number that a
double does not hold is written out exactly instead: an integer by its digits, another one as a decimal fraction. A
manifest may not have such a number (`exact=True`), so its spelling is that of any implementation of RFC 8785.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import JSONEncoder
from json.encoder import encode_basestring as quoted
from math import isfinite

from pluto_notary.manifest.document import Number

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

_ENCODER: Final = JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))
_LONG: Final = re.compile("[0-9]{16}")
_LARGEST_SAFE: Final = 2**53 - 1
_MOST_DIGITS: Final = 21  # ECMAScript, Number::toString: more, and it takes an exponent


class InexactError(ValueError):
    """A number that RFC 8785 would round. `path` is where it is."""

    def __init__(self) -> None:
        self.path: list[str | int] = []
        super().__init__("a number that a double does not hold")


def canonical(value: Any, *, exact: bool = False) -> bytes:
    """UTF-8 without a line end. `exact`: InexactError for a number that RFC 8785 would round."""
    if (plain := _plain(value)) is not None:
        return plain
    pieces: list[str] = []
    _write(value, pieces, exact)
    return "".join(pieces).encode()


def _plain(value: Any) -> bytes | None:
    """The same by the standard library, many times as fast; None for what it would or could spell otherwise.

    It leaves Decimals to us, so all numbers are integers, and those of 15 digits are safe; of ASCII names the order of
    UTF-16 code units is its own. It escapes texts as `quoted` does.
    """
    try:
        text = _ENCODER.encode(value)
    except TypeError:
        return None
    return text.encode() if text.isascii() and not _LONG.search(text) else None


def number_text(value: Number) -> str:
    """A number as ECMAScript writes it, or exactly, if that would be another number."""
    if isinstance(value, int) and abs(value) <= _LARGEST_SAFE:
        return str(value)
    if (double := _double(value)) is not None:
        return _ecmascript(double)
    return str(value) if isinstance(value, int) else format(value, "f").rstrip("0")


def _write(value: Any, pieces: list[str], exact: bool) -> None:
    if isinstance(value, str):
        pieces.append(quoted(value))
    elif value is None or isinstance(value, bool):
        pieces.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, Mapping):
        _write_members(value, pieces, exact)
    elif isinstance(value, list | tuple):
        pieces.append("[")
        for index, item in enumerate(value):
            pieces.append("," if index else "")
            _step(index, item, pieces, exact)
        pieces.append("]")
    else:
        safe = isinstance(value, int) and abs(value) <= _LARGEST_SAFE
        if exact and not safe and _double(value) is None:
            raise InexactError
        pieces.append(number_text(value))


def _write_members(value: Mapping[str, Any], pieces: list[str], exact: bool) -> None:
    """Members in the order of their names' UTF-16 code units: RFC 8785, section 3.2.3."""
    pieces.append("{")
    for index, name in enumerate(sorted(value, key=lambda name: name.encode("utf-16-be"))):
        pieces.append(f"{',' if index else ''}{quoted(name)}:")
        _step(name, value[name], pieces, exact)
    pieces.append("}")


def _step(name: str | int, value: Any, pieces: list[str], exact: bool) -> None:
    try:
        _write(value, pieces, exact)
    except InexactError as error:
        error.path.insert(0, name)
        raise


def _double(value: Number) -> float | None:
    """The double whose shortest spelling is this very number, if there is one."""
    try:
        double = float(value)
    except OverflowError:
        return None
    return double if isfinite(double) and Decimal(repr(double)) == value else None


def _ecmascript(value: float) -> str:
    """ECMA-262, Number::toString, radix 10. Python finds the same shortest digits and only sets them otherwise."""
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    text = "".join(map(str, digits)).rstrip("0")
    point = len(digits) + exponent
    minus = "-" if sign else ""
    if len(text) <= point <= _MOST_DIGITS:
        return minus + text.ljust(point, "0")
    if 0 < point <= _MOST_DIGITS:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{point - 1:+d}"
