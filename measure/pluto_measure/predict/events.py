"""One expected event, and the few constants that every firmware measures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import ALGORITHMS, Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventType, type_name
from pluto_measure.formats.strict_json import Fields, unhex

BANKS: Final = ("sha256", "sha384")

CALLING: Final = b"Calling EFI Application from Boot Option"
RETURNING: Final = b"Returning from EFI Application from Boot Option"
EXIT_INVOKED: Final = b"Exit Boot Services Invocation"
EXIT_DONE: Final = b"Exit Boot Services Returned with Success"
EXIT_FAILED: Final = b"Exit Boot Services Returned with Failure"
SEPARATOR: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """An event that a boot must log: what is extended into `register`, in every bank, and why.

    `digests` maps bank names to digests. `description` says what is measured, `source` which input decided it.
    """

    register: str
    type: int
    digests: Mapping[str, bytes]
    description: str
    source: str

    def to_json(self) -> dict[str, object]:
        """`digest` is the SHA-384 one, where there is one: what a TDX register is extended with."""
        banks = {name: value.hex() for name, value in self.digests.items()}
        return {
            "register": self.register,
            "type": type_name(self.type),
            "digest": banks.get("sha384", next(iter(banks.values()))),
            "digests": banks,
            "description": self.description,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """The same from JSON. FormatError."""
        fields = Fields(value, what=what)
        register, name = fields.take("register", str), fields.take("type", str)
        digests = parse_digests(fields.take("digests", dict), what=f"{what}.digests")
        shown = fields.take("digest", str)
        event = cls(register, _type(name, what), digests, fields.take("description", str), fields.take("source", str))
        fields.end()
        if shown != event.to_json()["digest"]:
            raise FormatError(what, "digest is not the one in digests")
        return event


def expected(register: str, kind: EventType, data: bytes | Digests, description: str, source: str) -> ExpectedEvent:
    """An event from the measured bytes themselves, or from their digests."""
    digests = data if isinstance(data, Digests) else Digests.of(data)
    return ExpectedEvent(register, kind, {bank: digests[bank] for bank in BANKS}, description, source)


def parse_digests(value: Mapping[str, object], *, what: str) -> dict[str, bytes]:
    """{algorithm: hex} to bytes. At least one, all known. FormatError."""
    if not value:
        raise FormatError(what, "has no algorithm")
    digests = {}
    for name, text in value.items():
        if name not in ALGORITHMS or not isinstance(text, str):
            raise FormatError(what, f"{name!r} is not an algorithm with a digest in hex")
        digests[name] = unhex(text, ALGORITHMS[name][1], what=f"{what}.{name}")
    return digests


def _type(name: str, what: str) -> int:
    if name in EventType.__members__:
        return EventType[name]
    try:
        number = int(name, 16)
    except ValueError as error:
        raise FormatError(what, f"type {name!r} is not known") from error
    if type_name(number) != name:
        raise FormatError(what, f"type {name!r} is not spelled as {type_name(number)}")
    return number
