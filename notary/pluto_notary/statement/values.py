"""Values of a statement: signed as digests, opened one by one. Pure.

digest = keccak256(salt, 32 bytes ‖ the value as canonical JSON, UTF-8). A revealed value has a salt of zeros and its
opening is in the proof. A committed one has a random salt: who has no opening learns its id and nothing of the value.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.statement.keccak import SIZE, keccak256

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

NO_SALT: Final = bytes(SIZE)
MOST_VALUES: Final = 100
LONGEST_ID: Final = 256  # characters


@record
class ValueDigest:
    """What a statement says of one value."""

    id: str  # the extractor's, in the manifest
    digest: bytes  # 32 bytes


@record
class Opening:
    """What a value is, for whoever has it. `text` is the value's canonical JSON."""

    id: str
    salt: bytes  # 32 bytes; zeros where the value is revealed
    text: str

    @property
    def digest(self) -> bytes:
        return value_digest(self.salt, self.text.encode())

    @property
    def is_revealed(self) -> bool:
        """Whether anybody could have opened it, as its salt is no secret."""
        return self.salt == NO_SALT


def value_digest(salt: bytes, text: bytes) -> bytes:
    """The digest of a value; `text` is its canonical JSON (RFC 8785)."""
    assert len(salt) == SIZE, "a salt has a fixed size, so nothing moves between it and the value"
    return keccak256(salt + text)


def revealed(values: Iterable[tuple[str, bytes]]) -> tuple[Opening, ...]:
    """Openings of values (id and canonical JSON) that everybody may read."""
    return tuple(Opening(name, NO_SALT, text.decode()) for name, text in values)


def committed(values: Iterable[tuple[str, bytes]], random: Callable[[int], bytes]) -> tuple[Opening, ...]:
    """Openings of values with a salt each from `random`, which gives so many secret bytes."""
    return tuple(Opening(name, random(SIZE), text.decode()) for name, text in values)


def digests(openings: Iterable[Opening]) -> tuple[ValueDigest, ...]:
    """What goes into the statement."""
    return tuple(ValueDigest(opening.id, opening.digest) for opening in openings)


def few(items: list[object], *, what: str) -> list[object]:
    """The same list. FormatError where it is longer than any list of values, before anybody looks into it."""
    if len(items) > MOST_VALUES:
        raise FormatError(what, f"has more than {MOST_VALUES} values")
    return items


def check_ids(names: Iterable[str], *, what: str) -> None:
    """FormatError unless there are few enough, each once, short and spelt in UTF-8."""
    known: set[str] = set()
    for name in names:
        if not 0 < len(name) <= LONGEST_ID or not is_text(name):
            raise FormatError(what, f"an id must be text of 1 to {LONGEST_ID} characters")
        if name in known:
            raise FormatError(what, f"id {name!r} occurs twice")
        known.add(name)
        if len(known) > MOST_VALUES:
            raise FormatError(what, f"has more than {MOST_VALUES} values")


def is_text(text: str) -> bool:
    """Whether UTF-8 can spell it: JSON has names for halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
