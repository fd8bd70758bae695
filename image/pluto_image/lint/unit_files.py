"""Units as systemd reads them: the file that wins, then its drop-ins, section by section. Pure.

systemd.unit(5), "System Unit Search Path" and the paragraphs on drop-ins; systemd.syntax(7). Of two drop-ins of one
name the nearer folder's counts, and all are read in the order of their names. `lint.unit_graph` follows what starts
what.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_image.lint.tree import resolve
from pluto_image.lint.units import FOLDERS
from pluto_image.tree import Entry, Kind

KINDS: Final = frozenset(
    {"service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope", "device"}
)
_MOST_LINKS: Final = 20


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of a root. `settings`: (section, name, value) in the order in which systemd applies them."""

    name: str
    path: str
    drop_ins: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]

    @property
    def kind(self) -> str:
        """What it is, such as "service"."""
        return self.name.rpartition(".")[2]

    def all(self, section: str, name: str) -> list[str]:
        """Every value that is assigned to a setting, in order; an empty one resets a list."""
        return [value for place, key, value in self.settings if (place, key) == (section, name)]

    def last(self, section: str, name: str) -> str:
        """The value that counts for a setting with one value; "" where there is none."""
        values = self.all(section, name)
        return values[-1] if values else ""


def units(entries: Sequence[Entry]) -> dict[str, Unit]:
    """Every unit file of a root by its name, sorted; aliases and masked units are left out."""
    by_path = {entry.path: entry for entry in entries}
    files: dict[str, Entry] = {}
    for folder in reversed(FOLDERS):
        for path, entry in by_path.items():
            if posixpath.dirname(path) == folder and path.rpartition(".")[2] in KINDS:
                files[posixpath.basename(path)] = entry
    drop_ins = _drop_ins(by_path)
    found = {}
    for name in sorted(files):
        file = _content(files[name], name, by_path)
        if file is not None and file.data:
            own = _applying(name, drop_ins)
            texts = [entry.data.decode(errors="replace") for entry in (file, *own)]
            assigned = tuple(one for text in texts for one in assignments(text))
            found[name] = Unit(name, files[name].path, tuple(entry.path for entry in own), assigned)
    return found


def masked(entries: Sequence[Entry]) -> list[str]:
    """Names of units that lead to nothing, sorted: systemd starts none of them, whatever asks for it."""
    by_path = {entry.path: entry for entry in entries}
    links = (entry for entry in entries if posixpath.dirname(entry.path) in FOLDERS and entry.kind is Kind.SYMLINK)
    return sorted({posixpath.basename(link.path) for link in links if _follow(link, by_path)[0] == "dev/null"})


def assignments(text: str) -> Iterator[tuple[str, str, str]]:
    """(section, name, value) of a unit file in order, continued lines joined by a blank."""
    section, whole = "", ""
    for line in (*text.splitlines(), ""):
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            continue  # also in the middle of a continued line
        whole += stripped
        if (len(stripped) - len(stripped.rstrip("\\"))) % 2:
            whole = whole[:-1] + " "
            continue
        name, equals, value = whole.partition("=")
        if whole.startswith("["):
            section = whole[1:-1] if whole.endswith("]") else ""
        elif equals and section:
            yield section, name.strip(), value.strip()
        whole = ""


def _drop_ins(by_path: Mapping[str, Entry]) -> dict[str, dict[str, list[Entry]]]:
    """Files of NAME.d by folder of units, by NAME."""
    found: dict[str, dict[str, list[Entry]]] = {folder: {} for folder in FOLDERS}
    for path, entry in by_path.items():
        parent = posixpath.dirname(path)
        folder, owner = posixpath.split(parent)
        if folder in found and owner.endswith(".d") and path.endswith(".conf") and entry.kind is not Kind.DIRECTORY:
            file = _content(entry, posixpath.basename(path), by_path)
            if file is not None:
                laid = Entry(path, Kind.FILE, 0, file.data, entry.origin)
                found[folder].setdefault(owner.removesuffix(".d"), []).append(laid)
    return found


def _applying(name: str, drop_ins: Mapping[str, Mapping[str, Sequence[Entry]]]) -> list[Entry]:
    """The drop-ins of a unit in the order of their names."""
    chosen: dict[str, Entry] = {}
    *own, kind = _owners(name)
    for owners in (own, [kind]):
        for folder in FOLDERS:
            for owner in owners:
                for entry in drop_ins[folder].get(owner, ()):
                    chosen.setdefault(posixpath.basename(entry.path), entry)
    return [chosen[key] for key in sorted(chosen)]


def _owners(name: str) -> list[str]:
    """Whose `.d` folders count for a unit, nearest first: its own, its template's, those of its dashes, its kind's."""
    stem, _, kind = name.rpartition(".")
    names = [name]
    prefix, at, instance = stem.partition("@")
    if at and instance:
        names.append(f"{prefix}@.{kind}")
    parts = (prefix if at else stem).split("-")
    names += [f"{'-'.join(parts[:count])}-.{kind}" for count in range(len(parts) - 1, 0, -1)]
    return [*names, kind]


def _content(entry: Entry, name: str, by_path: Mapping[str, Entry]) -> Entry | None:
    """The file behind a path; None for a mask, a link without an end, and an alias of a unit with another name."""
    target, file = _follow(entry, by_path)
    is_alias = posixpath.dirname(target) in FOLDERS and posixpath.basename(target) != name
    return None if is_alias or file is None or file.kind is not Kind.FILE else file


def _follow(entry: Entry, by_path: Mapping[str, Entry]) -> tuple[str, Entry | None]:
    """Where a chain of links ends, and what is there."""
    path, file = entry.path, by_path.get(entry.path)
    for _ in range(_MOST_LINKS):
        if file is None or file.kind is not Kind.SYMLINK:
            return path, file
        text = file.data.decode(errors="replace")
        joined = text if text.startswith("/") else posixpath.join("/", posixpath.dirname(path), text)
        path = resolve(posixpath.normpath(joined).lstrip("/"), by_path)
        file = by_path.get(path)
    return path, None
