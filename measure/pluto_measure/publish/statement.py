"""in-toto statements: which files (subjects, by digest) are claimed to be what (predicate). Pure; read strictly.

Specification: in-toto Attestation Framework v1, "Statement layer specification". A subject here always has a name and
both digests, SHA-256 and SHA-384, and names are relative paths without "." and "..".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
LIMIT: Final = 16 * 1024 * 1024
_MOST_SUBJECTS: Final = 10_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Subject:
    """One file: its path relative to the release's folder, and its digests."""

    name: str
    digests: Digests

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "digest": self.digests.to_json()}

    @classmethod
    def parse(cls, value: object, what: str) -> Self:
        """FormatError for other members, a missing digest, or a name that leaves the folder."""
        fields = Fields(value, what=what)
        name, digest = fields.take("name", str), fields.sub("digest")
        fields.end()
        if _NAME.fullmatch(name) is None or len(name) > 255:
            raise FormatError(what, f"name {name[:80]!r} is no plain relative path")
        digests = Digests(digest.hex("sha256", 32), digest.hex("sha384", 48))
        digest.end()
        return cls(name, digests)


@dataclass(frozen=True, slots=True)
class Statement:
    """Subjects sorted by name, each name once; the predicate is not read any further here."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def subject(self, name: str) -> Subject | None:
        """The subject of this name."""
        return next((subject for subject in self.subjects if subject.name == name), None)

    def to_json(self) -> dict[str, object]:
        return {
            "_type": TYPE,
            "subject": [subject.to_json() for subject in self.subjects],
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }

    def to_text(self) -> str:
        """The file's bytes, which are what is signed."""
        return pretty(self.to_json())

    @classmethod
    def parse(cls, text: bytes | str, *, what: str = "statement") -> Self:
        """FormatError for anything unknown, missing, doubled or out of order."""
        fields = Fields(loads(text, what=what, limit=LIMIT), what=what)
        if (kind := fields.take("_type", str)) != TYPE:
            raise FormatError(what, f"_type {kind[:80]!r} is not {TYPE}")
        listed = fields.take("subject", list)
        predicate_type, predicate = fields.take("predicateType", str), fields.take("predicate", dict)
        fields.end()
        if not 1 <= len(listed) <= _MOST_SUBJECTS:
            raise FormatError(what, f"{len(listed)} subjects are not between 1 and {_MOST_SUBJECTS}")
        subjects = tuple(Subject.parse(value, f"{what}.subject[{i}]") for i, value in enumerate(listed))
        _check_order(subjects, what)
        return cls(subjects, predicate_type, predicate)


def of(subjects: Mapping[str, Digests], predicate_type: str, predicate: Mapping[str, Any]) -> Statement:
    """The statement about these files."""
    named = tuple(Subject(name, subjects[name]) for name in sorted(subjects))
    return Statement(named, predicate_type, predicate)


def _check_order(subjects: Sequence[Subject], what: str) -> None:
    names = [subject.name for subject in subjects]
    if names != sorted(set(names)):
        raise FormatError(what, "subjects are not sorted by name, or a name occurs twice")
