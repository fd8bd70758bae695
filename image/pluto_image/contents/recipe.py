"""Reasons that an image's recipe gives, from the image.toml in source.tar. Pure.

A recipe of another version may have other tables, so nothing here is required: where there is no reason, none is shown.
What a recipe must be is checked where it is used, by `pluto_image.recipe.tables`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pluto_image.formats import untar
from pluto_measure.errors import FormatError

_PLACE: Final = re.compile(r"image/[^/]+/image\.toml")
_MOST: Final = 256 * 1024 * 1024  # bytes of a source.tar


@dataclass(frozen=True, slots=True)
class Reasons:
    """Reasons by name. `loaded`: modules that systemd loads at boot, where others wait for their device."""

    name: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    loaded: frozenset[str] = frozenset()
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)


def reasons(source_tar: bytes) -> Reasons:
    """The reasons in the one image.toml of a source.tar; none if there is not exactly one. FormatError for no tar."""
    found = document(source_tar)
    return Reasons() if found is None else of_definition(found)


def document(source_tar: bytes) -> Mapping[str, Any] | None:
    """The one image.toml of a source.tar, parsed; None if there is not exactly one. FormatError for no tar, no TOML."""
    limits = untar.Limits(total=_MOST)
    members = untar.members(
        source_tar, "", what="source.tar", limits=limits, want=lambda path: _PLACE.fullmatch(path) is not None
    )
    definitions = [member for member in members if _PLACE.fullmatch(member.path)]
    if len(definitions) != 1:
        return None
    try:
        return tomllib.loads(definitions[0].data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError("image.toml in source.tar", f"not TOML: {error}") from error


def of_definition(document: Mapping[str, Any]) -> Reasons:
    """The reasons of a parsed image.toml."""
    groups = [*_tables(document, "kernel", "module")]
    modules = {_underscored(name): _text(group) for group in groups for name in _names(group, "names")}
    loaded = {_underscored(name) for group in groups if group.get("load") is True for name in _names(group, "names")}
    packages: dict[str, tuple[str, ...]] = {}
    for table, reason in (
        ("kernel", "the kernel and its modules"),
        ("stub", "systemd-stub, which the UKI begins with"),
    ):
        if isinstance(name := _table(document, table).get("package"), str):
            packages[name] = (reason,)
    for keep in _tables(document, "prune", "keep"):
        for name in _names(keep, "packages"):
            packages[name] = (*packages.get(name, ()), _text(keep))
    return Reasons(
        name=str(document.get("name", "")),
        modules=modules,
        loaded=frozenset(loaded),
        packages=packages,
        units={name: _text(one) for one in _tables(document, "units", "enable") for name in _names(one, "units")},
        masks={name: _text(one) for one in _tables(document, "units", "mask") for name in _names(one, "units")},
    )


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _tables(document: Mapping[str, Any], name: str, inner: str) -> Iterator[Mapping[str, Any]]:
    listed = _table(document, name).get(inner)
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))


def _names(table: Mapping[str, Any], member: str) -> Iterator[str]:
    listed = table.get(member)
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, str))


def _text(table: Mapping[str, Any]) -> str:
    reason = table.get("reason")
    return reason if isinstance(reason, str) else ""


def _underscored(name: str) -> str:
    return name.replace("-", "_")
