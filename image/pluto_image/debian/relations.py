"""Debian version numbers and package relations. Pure.

Debian Policy §5.6.12 (versions), §7.1 (relations):

    version  = [epoch ":"] upstream ["-" revision]
    relation = group *("," group);  group = one *("|" one)
    one      = name [":" arch] ["(" operator version ")"] ["[" arch+ "]"]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cmp_to_key, lru_cache
from itertools import zip_longest
from typing import Final, Self

from pluto_measure.errors import FormatError

OPERATORS: Final = ("<<", "<=", "=", ">=", ">>")
_VERSION: Final = re.compile(r"(?:(\d{1,9}):)?([A-Za-z0-9][A-Za-z0-9.+~:-]*?)(?:-([A-Za-z0-9.+~]+))?", re.ASCII)
_NAME: Final = r"[a-z0-9][a-z0-9+.-]+"
_ONE: Final = re.compile(
    rf"({_NAME})(?::([a-z0-9-]+))?(?:\s*\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?(?:\s*\[([^\]]*)\])?", re.ASCII
)
_PARTS: Final = re.compile(r"([^0-9]*)([0-9]*)", re.ASCII)
_END: Final = 0  # sorts after "~" and before everything else

# Alternating runs of a version part: what stands between the digits (as orders of characters), then the number.
Run = tuple[tuple[int, ...], int]
_EMPTY: Final[Run] = ((_END,), 0)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`. Raises FormatError."""
    for a, b in zip(_parse(left), _parse(right), strict=True):
        for one, other in zip_longest(a, b, fillvalue=_EMPTY):
            if one != other:
                return 1 if one > other else -1
    return 0


version_key = cmp_to_key(compare)


def check_version(text: str) -> str:
    """The text itself when it is a Debian version. Raises FormatError."""
    _parse(text)
    return text


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative: a package or virtual name, and the versions it may have."""

    name: str
    operator: str = ""
    version: str = ""

    def allows(self, version: str) -> bool:
        """Whether a package of this version satisfies the relation (its name is the caller's matter)."""
        if not self.operator:
            return True
        order = compare(version, self.version)
        return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[self.operator]

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name

    @classmethod
    def parse(cls, text: str) -> Self:
        """One relation without alternatives. Raises FormatError."""
        match = _ONE.fullmatch(text.strip())
        if match is None:
            raise FormatError("package relation", f"{text.strip()[:80]!r} is not one")
        name, _, operator, version, _ = match.groups()
        if version is not None:
            check_version(version)
        return cls(name, operator or "", version or "")


Group = tuple[Relation, ...]


def parse_relations(text: str, *, architecture: str) -> tuple[Group, ...]:
    """The groups of a Depends-like field in order; alternatives for other architectures are left out.

    A name qualified with a foreign architecture becomes an unsatisfiable alternative and is left out as well.
    """
    groups = []
    for group in text.split(","):
        if not group.strip():
            continue
        kept = tuple(Relation.parse(one) for one in group.split("|") if _applies(one, architecture))
        if kept:
            groups.append(kept)
    return tuple(groups)


def _applies(one: str, architecture: str) -> bool:
    match = _ONE.fullmatch(one.strip())
    if match is None:
        return True  # Relation.parse says what is wrong with it
    qualifier, listed = match.group(2), (match.group(5) or "").split()
    if qualifier not in (None, "any", "native", "all", architecture):
        return False
    if not listed:
        return True
    if listed[0].startswith("!"):
        return f"!{architecture}" not in listed
    return architecture in listed or "any" in listed


@lru_cache(maxsize=65536)
def _parse(text: str) -> tuple[tuple[Run, ...], ...]:
    """Epoch, upstream version and revision, each as runs."""
    match = _VERSION.fullmatch(text) if len(text) <= 512 else None
    epoch, upstream, revision = match.groups() if match else (None, "-", None)
    # A colon needs an epoch before it, a hyphen a revision behind it.
    if (":" in upstream and epoch is None) or (upstream.endswith("-") and revision is None):
        raise FormatError("Debian version", f"{text[:80]!r} is not one")
    return tuple(_runs(part or "0") for part in (epoch, upstream, revision))


def _runs(part: str) -> tuple[Run, ...]:
    found = (match.groups() for match in _PARTS.finditer(part) if match.group(0))
    return tuple(((*map(_order, text), _END), int(number or 0)) for text, number in found)


def _order(character: str) -> int:
    """Letters sort before other characters, "~" before the end of the text."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
