"""The body of a message, read strictly: one JSON object of known members, each of its kind. Pure.

Errors name the member and quote nothing of what came; they drop their causes, which do quote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, loads
from pluto_notary.protocol.errors import ChannelError

VERSION: Final = 2
LARGEST_NUMBER: Final = 2**53 - 1

_MOST_VALUES: Final = 8192  # in one body, looked at before JSON makes an object of each


class Members:
    """Takes the members of a body one by one. Errors name the member, and quote nothing."""

    def __init__(self, body: bytes, what: str, *, one_spelling: bool = True) -> None:
        if not _has_few_values(body):
            raise ChannelError("json", f"a {what} has more than {_MOST_VALUES} values")
        try:
            value = loads(body, what=what)
            self._fields = Fields(value, what=what)
            same = not one_spelling or canonical(value) == body
        except (FormatError, TypeError, ValueError, RecursionError):
            raise ChannelError("json", f"the body of a {what} is one JSON object, as the format has it") from None
        if not same:
            raise ChannelError("json", f"the body of a {what} is not in canonical form")
        self._what = what
        if self.take("version", int) != VERSION:
            raise ChannelError("version", f"only version {VERSION} is spoken here", path="version")

    def take(self, name: str, *kinds: type) -> Any:
        return self._checked(name, lambda: self._fields.take(name, *kinds))

    def hex(self, name: str, size: int) -> bytes:
        value: bytes = self._checked(name, lambda: self._fields.hex(name, size))
        return value

    def nonce(self, name: str) -> bytes:
        try:
            value = self.hex(name, 32)
        except ChannelError:
            raise ChannelError("nonce", "a nonce is 32 bytes in lower-case hex", path=name) from None
        if not any(value):
            raise ChannelError("nonce", "a nonce of zeros is none", path=name)
        return value

    def number(self, name: str) -> int:
        value: int = self.take(name, int)
        if not 0 <= value <= LARGEST_NUMBER:
            raise ChannelError("json", f"a number is from 0 to {LARGEST_NUMBER}", path=name)
        return value

    def address(self, name: str) -> bytes:
        text: str = self.take(name, str)
        if len(text) != 42 or not text.startswith("0x") or not set(text[2:]) <= set("0123456789abcdef"):
            raise ChannelError("json", "an address is 0x and 40 lower-case hex digits", path=name)
        return bytes.fromhex(text[2:])

    def one_of(self, name: str, allowed: Collection[str]) -> str:
        if (value := self.take(name, str)) not in allowed:
            raise ChannelError("json", f"must be one of {len(allowed)} words of the format", path=name)
        return str(value)

    def end(self) -> None:
        try:
            self._fields.end()
        except FormatError:
            raise ChannelError("json", f"a {self._what} has members that the format does not have") from None

    def _checked(self, name: str, take: Callable[[], Any]) -> Any:
        try:
            return take()
        except FormatError:
            raise ChannelError("json", "a member is missing or not of its kind", path=name) from None


def _has_few_values(body: bytes) -> bool:
    """Whether JSON text has at most _MOST_VALUES; linear in time and small in memory, whatever the bytes are."""
    quotes = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # left are those that begin and end a text
    if quotes.count(b'"') > 4 * _MOST_VALUES:  # a name and a text for each
        return False
    bare = b"".join(quotes.split(b'"')[::2])
    return sum(bare.count(mark) for mark in (b",", b"[", b"{")) <= _MOST_VALUES


def spelled(value: dict[str, Any], path: str) -> bytes:
    """JSON text with the members in their order. ChannelError for half a UTF-16 pair or a number without end."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise ChannelError("json", "the text or a number in it is not one that JSON can exchange", path=path) from None
