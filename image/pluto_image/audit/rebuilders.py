"""What rebuilders of Debian's packages found: the list of a rebuilderd, as its `/api/v0/pkgs/list` gives it. Pure.

    [{"name": …, "version": …, "architecture": "amd64" | "all", "distro": "debian", "suite": …, "status": "GOOD" |
      "BAD" | "UNKWN", …}]

A package is the same file in every suite, so suites do not count, and the worst word does. Members that are not known
are left alone: rebuilderd has had several more and less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.audit.model import Component, Rebuilt
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads

LIMIT: Final = 256 * 1024 * 1024
_WHAT: Final = "rebuilders' list"
_STATUSES: Final[Mapping[str, Rebuilt]] = {"GOOD": "good", "BAD": "bad", "UNKWN": "unknown"}
_DISTRO: Final = "debian"

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Rebuilds:
    """Words by (name, version, architecture); several where several lists or suites have it."""

    words: Mapping[Key, frozenset[Rebuilt]]

    def of(self, component: Component) -> Rebuilt:
        """The worst word about a package; unknown where there is none."""
        said = self.words.get(_key(component), frozenset())
        return "bad" if "bad" in said else "good" if "good" in said else "unknown"

    def is_disputed(self, component: Component) -> bool:
        """Whether somebody rebuilt it, and somebody could not."""
        return {"good", "bad"} <= self.words.get(_key(component), frozenset())


def parse(lists: Iterable[bytes], wanted: Iterable[Component]) -> Rebuilds:
    """What these lists say of these packages. FormatError."""
    keys = {_key(one) for one in wanted}
    found: dict[Key, set[Rebuilt]] = {}
    for data in lists:
        listed = loads(data, what=_WHAT, limit=LIMIT)
        if not isinstance(listed, list):
            raise FormatError(_WHAT, "is not a list")
        for value in listed:
            key, word = _package(value)
            if key in keys:
                found.setdefault(key, set()).add(word)
    return Rebuilds({key: frozenset(words) for key, words in found.items()})


def _package(value: object) -> tuple[Key, Rebuilt]:
    fields = Fields(value, what=f"{_WHAT}: package")
    name, version, architecture, status = (
        fields.take(one, str) for one in ("name", "version", "architecture", "status")
    )
    if status not in _STATUSES:
        raise FormatError(_WHAT, f"status {status[:40]!r} is not known")
    if (distro := fields.take("distro", str)) != _DISTRO:
        raise FormatError(_WHAT, f"is of {distro[:40]!r}, not of {_DISTRO}")
    return (name, version, architecture), _STATUSES[status]


def _key(component: Component) -> Key:
    return component.name, component.version, component.architecture
