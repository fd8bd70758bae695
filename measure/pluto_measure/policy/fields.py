"""Kinds of fields that a policy has: names of a list, durations, digests, "any". Pure; FormatError and nothing else."""

from __future__ import annotations

from typing import Any, Final, Literal

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex

ANY: Final = "any"
Any_ = Literal["any"]
Choice = bool | Any_
_LONGEST: Final = 10 * 366 * 86400
_MOST: Final = 0xFFFFFFFF


def names(fields: Fields, name: str, known: tuple[str, ...], *, empty: bool = False) -> tuple[str, ...]:
    """A list of names out of `known`, none twice; empty only where that means something."""
    values = fields.take(name, list)
    if not values and not empty:
        raise FormatError(fields.what, f"{name} is empty; name what is accepted")
    for value in values:
        if value not in known:
            raise FormatError(fields.what, f"{name} has {value!r}, which is not one of {', '.join(known)}")
    if len(set(values)) != len(values):
        raise FormatError(fields.what, f"{name} names something twice")
    return tuple(values)


def digests(values: list[Any], what: str, name: str, size: int = 32) -> tuple[bytes, ...]:
    """A list of digests in hex, the field `name` of the table `what`."""
    for value in values:
        if not isinstance(value, str):
            raise FormatError(what, f"{name} must hold text, not {type(value).__name__}")
    return tuple(unhex(value, size, what=f"{what}.{name}[]") for value in values)


def seconds(fields: Fields, name: str) -> int:
    return _seconds(fields.take(name, int), fields.what, name)


def _seconds(value: int, what: str, name: str) -> int:
    if not 0 <= value <= _LONGEST:
        raise FormatError(what, f"{name} of {value} seconds is out of range")
    return value


def seconds_or_any(fields: Fields, name: str) -> int | Any_:
    value = fields.take(name, int, str)
    if value == ANY:
        return "any"
    if isinstance(value, str):
        raise FormatError(fields.what, f'{name} must be "any" or a number of seconds')
    return _seconds(value, fields.what, name)


def sequence_or_any(fields: Fields, name: str) -> int | Any_:
    """A release's place in its channel, from 1 on, or "any"."""
    value = fields.take(name, int, str)
    if value == ANY:
        return "any"
    if isinstance(value, str) or not 1 <= value < 2**53:
        raise FormatError(fields.what, f'{name} must be "any" or a number from 1 on')
    return int(value)


def registers_or_any(fields: Fields, name: str, *, zero: bool) -> tuple[bytes, ...] | Any_:
    """ "any", a list of 48-byte values in hex that is not empty, or "zero" where that is allowed."""
    value = fields.take(name, list, str)
    if value == ANY:
        return "any"
    if value == "zero" and zero:
        return (bytes(48),)
    if isinstance(value, str) or not value:
        words = '"any", "zero"' if zero else '"any"'
        raise FormatError(fields.what, f"{name} must be {words} or a list of values that is not empty")
    return digests(value, fields.what, name, 48)


def required(fields: Fields, name: str) -> Literal["required", "any"]:
    value = fields.take(name, str)
    if value == "required":
        return "required"
    if value == ANY:
        return "any"
    raise FormatError(fields.what, f'{name} is {value!r}, neither "required" nor "any"')


def choice(fields: Fields, name: str) -> Choice:
    """True, false, or "any"."""
    value = fields.take(name, bool, str)
    if isinstance(value, bool):
        return value
    if value == ANY:
        return "any"
    raise FormatError(fields.what, f'{name} is {value!r}, neither true, false nor "any"')


def number(fields: Fields, name: str) -> int:
    """A number of 32 bits."""
    value: int = fields.take(name, int)
    if not 0 <= value <= _MOST:
        raise FormatError(fields.what, f"{name} {value} is out of range")
    return value
