"""One expected event, and the few constants that every firmware measures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

Banks = Mapping[str, bytes]  # algorithm ("sha384") to digest


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """An event that a boot must log: what is extended into `register`, in every bank, and why.

    role         what the event is, the same in every log and register: "td-hob", "acpi:tables", "load-options", …
    digests      the one digest by bank; empty where several are allowed or none is known
    allowed      the digests that are allowed where there is not one alone: the allow-list that `source` names
    description  what is measured;  source  which input decided it

    An event with neither digests nor allowed ones is open: it must be there, whatever it digests. Its register is
    never `exact` then.
    """

    register: str
    type: int
    digests: Banks
    description: str
    source: str
    role: str
    allowed: tuple[Banks, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether any digest is as good as another here."""
        return not self.digests and not self.allowed

    def permits(self, digests: Banks, banks: Sequence[str]) -> bool:
        """Whether a logged event with these digests may stand here, judged by `banks`."""
        choices = (self.digests,) if self.digests else self.allowed
        return self.is_open or any(all(c.get(b) == digests.get(b) for b in banks) for c in choices)

    def to_json(self) -> dict[str, object]:
        """`digest` is the SHA-384 one, where there is one: what a TDX register is extended with. "" if it is open."""
        banks = _hex(self.digests)
        document: dict[str, object] = {
            "register": self.register,
            "type": type_name(self.type),
            "role": self.role,
            "digest": banks.get("sha384", next(iter(banks.values()), "")),
            "digests": banks,
            "description": self.description,
            "source": self.source,
        }
        return {**document, "allowed": [_hex(item) for item in self.allowed]} if self.allowed else document

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """The same from JSON. FormatError."""
        fields = Fields(value, what=what)
        register, name, role = fields.take("register", str), fields.take("type", str), fields.take("role", str)
        shown, given = fields.take("digest", str), fields.take("digests", dict)
        digests = parse_digests(given, what=f"{what}.digests") if given else {}
        listed = [parse_digests(item, what=f"{what}.allowed[]") for item in fields.get("allowed", [], list)]
        description, source = fields.take("description", str), fields.take("source", str)
        fields.end()
        if digests and listed:
            raise FormatError(what, "has both digests and allowed ones")
        event = cls(register, _type(name, what), digests, description, source, role, tuple(listed))
        if shown != event.to_json()["digest"]:
            raise FormatError(what, "digest is not the one in digests")
        return event


def parse_digests(value: object, *, what: str) -> dict[str, bytes]:
    """{algorithm: hex} to bytes. At least one, all known. FormatError."""
    if not isinstance(value, dict) or not value:
        raise FormatError(what, "is not an object with a digest by algorithm")
    digests = {}
    for name, text in value.items():
        if name not in ALGORITHMS or not isinstance(text, str):
            raise FormatError(what, f"{name!r} is not an algorithm with a digest in hex")
        digests[name] = unhex(text, ALGORITHMS[name][1], what=f"{what}.{name}")
    return digests


def of_banks(data: bytes | Digests, banks: Sequence[str]) -> dict[str, bytes]:
    """Digests by bank of the measured bytes, or from their digests. FormatError where one of these is not known."""
    digests = data if isinstance(data, Digests) else Digests.of(data)
    return {bank: digests[bank] for bank in banks}


def _hex(banks: Banks) -> dict[str, str]:
    return {name: value.hex() for name, value in banks.items()}


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
