"""Users of a root, from its etc/passwd and etc/group. Pure. Formats: passwd(5), group(5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pluto_image.tree import Entry
from pluto_measure.errors import FormatError


@dataclass(frozen=True, slots=True)
class User:
    """One line of etc/passwd; `groups`: its own and those that list it; `units`: services that run as it."""

    name: str
    uid: int
    gid: int
    comment: str
    shell: str
    groups: tuple[str, ...]
    units: tuple[str, ...]


def users(entries: Sequence[Entry], services: Iterable[tuple[str, str]]) -> tuple[User, ...]:
    """All users in the order of their numbers. `services`: (user, unit). FormatError for a line that is none."""
    files = {entry.path: entry.data.decode(errors="replace") for entry in entries if entry.path.startswith("etc/")}
    by_user: dict[str, list[str]] = {}
    for user, unit in services:
        by_user.setdefault(user, []).append(unit)
    groups = [
        (name, _number(gid, "etc/group"), members.split(",")) for name, _, gid, members in _lines(files, "etc/group", 4)
    ]
    found = []
    for name, _, uid, gid, comment, _, shell in _lines(files, "etc/passwd", 7):
        own = _number(gid, "etc/passwd")
        inside = tuple(group for group, number, members in groups if number == own or name in members)
        units = tuple(by_user.get(name, ()))
        found.append(User(name, _number(uid, "etc/passwd"), own, comment, shell, inside, units))
    return tuple(sorted(found, key=lambda one: (one.uid, one.name)))


def _lines(files: dict[str, str], path: str, count: int) -> list[list[str]]:
    lines = [line.split(":") for line in files.get(path, "").splitlines() if line]
    if wrong := [line for line in lines if len(line) != count]:
        raise FormatError(path, f"a line has {len(wrong[0])} fields, not {count}")
    return lines


def _number(text: str, path: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise FormatError(path, f"{text[:20]!r} is not a number")
    return int(text)
