"""Debian's security tracker, as its file of everything has it: source → vulnerability → release → status. Pure.

    {"openssl": {"CVE-2026-1": {"description": …, "scope": …, "debianbug": …, "releases": {"trixie": {
        "status": "open" | "resolved" | "undetermined", "urgency": …, "fixed_version": …, "nodsa": …,
        "nodsa_reason": "" | "postponed" | "ignored", "repositories": {"trixie-security": …}}}}}}

Of the sources and releases that are asked for, every value is checked. The rest has to be JSON. Members that are not
known are left alone: the file is Debian's, and grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pluto_image.audit.model import URGENCIES, Issue, Status
from pluto_image.debian.relations import check_version
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads

LIMIT: Final = 256 * 1024 * 1024  # it had 75 MB in 2026
NEVER: Final = "0"  # the fixed version of what a release never had
_WHAT: Final = "security tracker"
_ID: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{4,10}|TEMP-[0-9]{7}-[0-9A-F]{6}", re.ASCII)
_STATUSES: Final = ("open", "resolved", "undetermined")
_REASONS: Final = ("", "postponed", "ignored")
_GUESSED: Final = "**"  # after an urgency that the tracker took from elsewhere
_LONGEST: Final = 16 * 1024  # characters of a text

Tracker = Mapping[str, tuple[Issue, ...]]


def parse(data: bytes, wanted: Iterable[tuple[str, str]]) -> Tracker:
    """What the tracker says of these (source, release) pairs, by source. FormatError."""
    top = loads(data, what=_WHAT, limit=LIMIT)
    if not isinstance(top, dict):
        raise FormatError(_WHAT, "is not an object")
    releases: dict[str, set[str]] = {}
    for source, release in wanted:
        releases.setdefault(source, set()).add(release)
    return {source: _issues(source, top[source], names) for source, names in releases.items() if source in top}


def _issues(source: str, value: object, releases: set[str]) -> tuple[Issue, ...]:
    if not isinstance(value, dict):
        raise FormatError(f"{_WHAT}: {source}", "is not an object")
    found = (_issue(source, name, one, releases) for name, one in value.items())
    return tuple(sorted(found, key=lambda issue: issue.id))


def _issue(source: str, name: str, value: object, releases: set[str]) -> Issue:
    if not _ID.fullmatch(name):
        raise FormatError(f"{_WHAT}: {source}", f"{name[:40]!r} is not the name of a vulnerability")
    what = f"{_WHAT}: {source} {name}"
    fields = Fields(value, what=what)
    listed: dict[str, Any] = fields.take("releases", dict)
    return Issue(
        id=name,
        description=_text(fields, "description") or "",
        scope=_text(fields, "scope") or "",
        bug=fields.get("debianbug", None, int, type(None)),
        releases={one: _status(listed[one], f"{what} {one}") for one in sorted(releases & listed.keys())},
    )


def _status(value: object, what: str) -> Status:
    fields = Fields(value, what=what)
    fixed = fields.get("fixed_version", "", str)
    repositories: dict[str, Any] = fields.take("repositories", dict)
    for version in (*([fixed] if fixed else []), *repositories.values()):
        _check_version(version, what)
    return Status(
        status=_one(fields, "status", fields.take("status", str), _STATUSES),
        fixed=fixed,
        urgency=_urgency(fields),
        nodsa=_text(fields, "nodsa"),
        reason=_reason(fields),
        repositories=repositories,
    )


def _check_version(version: object, what: str) -> None:
    try:
        check_version(version if isinstance(version, str) else "")
    except FormatError as error:
        raise FormatError(what, f"{str(version)[:40]!r} is not a Debian version") from error


def _urgency(fields: Fields) -> str:
    said: str = fields.take("urgency", str)
    return str(_one(fields, "urgency", said.removesuffix(_GUESSED), URGENCIES))


def _reason(fields: Fields) -> Literal["", "postponed", "ignored"]:
    said: str = fields.get("nodsa_reason", None, str, type(None)) or ""
    reason: Literal["", "postponed", "ignored"] = _one(fields, "nodsa_reason", said, _REASONS)
    return reason


def _one(fields: Fields, name: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise FormatError(fields.what, f"{name} {value[:40]!r} is not known")
    return value


def _text(fields: Fields, name: str) -> str | None:
    said: str | None = fields.get(name, None, str, type(None))
    return said if said is None else said[:_LONGEST]
