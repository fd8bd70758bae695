"""Follows everything that makes systemd start a unit, and compares what it finds with the recipe's list. Pure.

From default.target and the units that udev rules name, over links in `.wants`, `.requires` and `.upholds` folders, over
settings of units and drop-ins, over what sockets, timers and paths trigger. A condition is taken as fulfilled. What it
cannot follow is a finding. Units that are not in the image do not count.

Not followed: what a running program asks systemd for, the targets of ends (poweroff, reboot), mounts that systemd
adds for settings such as PrivateTmp=, and [Install] sections, which only `systemctl enable` reads: it would write
links, and those count.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from pluto_image.lint.tree import resolve
from pluto_image.lint.units import FOLDERS, settings
from pluto_image.tree import Entry, Kind

ROOT_UNIT: Final = "default.target"
# systemd.unit(5), systemd.service(5), systemd.socket(5): settings whose units are started with, after or by the unit.
_PULLS: Final = frozenset(
    {
        "Wants", "Requires", "RequiresOverridable", "BindsTo", "BindTo", "Upholds", "OnFailure", "OnSuccess",
        "Sockets", "Service", "Unit", "Slice",
    }
)  # fmt: skip
_MOUNTS: Final = frozenset({"RequiresMountsFor", "WantsMountsFor"})
_LINKS: Final = (".wants", ".requires", ".upholds")
_TRIGGERS: Final = {".socket": ".service", ".timer": ".service", ".path": ".service", ".automount": ".mount"}
# Units that get Requires=sysinit.target unless they say DefaultDependencies=no.
_DEFAULTED: Final = (".service", ".socket", ".timer", ".path")
_NO: Final = frozenset({"no", "n", "false", "f", "off", "0"})
_GENERATORS: Final = re.compile(
    r"(?:etc|run|usr/local/lib|usr/lib)/systemd/(?:system|user)-(?:environment-)?generators/.+"
)
_RULES: Final = re.compile(r"(?:etc|run|usr/local/lib|usr/lib)/udev/rules\.d/[^/]+\.rules")
_BY_UDEV: Final = re.compile(r'ENV\{SYSTEMD_WANTS\}\s*[+:]?=\s*e?"([^"]*)"')


def check(entries: Sequence[Entry], *, expected: Collection[str]) -> Iterator[str]:
    """One sentence for each unit that will be started and is not expected, or the reverse, or cannot be followed."""
    graph = Graph(entries)
    found = graph.started()
    yield from graph.unclear
    for name in sorted(found - set(expected)):
        yield f"unit {name} will be started, which the recipe's [lint] units does not list"
    for name in sorted(set(expected) - found):
        yield f"unit {name} is in the recipe's [lint] units, but nothing starts it"


class Graph:
    """The units of a root and what pulls what. `unclear`: one sentence for everything that it does not follow."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_path = {entry.path: entry for entry in entries}
        self._files: dict[str, Entry] = {}  # by name; the folder that systemd prefers wins
        self._linked: dict[str, list[str]] = {}  # names in NAME.wants and its like, by NAME
        self._drop_ins: dict[str, list[Entry]] = {}  # files of NAME.d, by NAME
        self.unclear = sorted(self._strange())
        for folder in reversed(FOLDERS):
            self._index(folder)

    def started(self) -> set[str]:
        """Names of all units that something starts, aliases resolved."""
        waiting, found = [ROOT_UNIT, *self._by_udev()], set[str]()
        while waiting:
            name = self._canonical(waiting.pop())
            if name and name not in found:
                found.add(name)
                waiting += self._pulled(name)
        return found

    def _index(self, folder: str) -> None:
        for path, entry in self._by_path.items():
            parent, name = posixpath.split(path)
            if parent == folder and entry.kind is not Kind.DIRECTORY:
                self._files[name] = entry
            elif posixpath.dirname(parent) == folder and entry.kind is not Kind.DIRECTORY:
                owner = posixpath.basename(parent)
                if owner.endswith(_LINKS):
                    self._linked.setdefault(owner.rpartition(".")[0], []).append(name)
                elif owner.endswith(".d"):
                    self._drop_ins.setdefault(owner.removesuffix(".d"), []).append(entry)

    def _strange(self) -> Iterator[str]:
        for path, entry in self._by_path.items():
            if _GENERATORS.fullmatch(path):
                yield f"{path} could make units at boot"
            inside = posixpath.dirname(path) in FOLDERS and path.endswith((*_LINKS, ".d"))
            around = any(folder == path or folder.startswith(f"{path}/") for folder in FOLDERS)
            if entry.kind is Kind.SYMLINK and (inside or around):
                yield f"{path} is a link where systemd expects a folder of units"

    def _by_udev(self) -> Iterator[str]:
        for path, entry in self._by_path.items():
            if _RULES.fullmatch(path):
                for value in _BY_UDEV.findall(entry.data.decode(errors="replace").replace("\\\n", " ")):
                    yield from value.split()

    def _canonical(self, name: str) -> str:
        """The name under which a unit runs: aliases followed; "" if it is masked or not in the image."""
        for _ in range(20):
            file = self._file(name)
            if file is None or file.kind is not Kind.SYMLINK:
                return name if file is not None and file.data else ""
            target = self._target(file)
            if posixpath.dirname(target) not in FOLDERS:  # a mask, or a unit file that lies elsewhere
                return name if target in self._by_path else ""
            base = posixpath.basename(target)
            if base in (name, _template(name)):
                return name
            name = _instance(base, name)
        return ""

    def _file(self, name: str) -> Entry | None:
        return self._files.get(name) or self._files.get(_template(name))

    def _target(self, link: Entry) -> str:
        text = link.data.decode(errors="replace")
        joined = text if text.startswith("/") else posixpath.join("/", posixpath.dirname(link.path), text)
        return resolve(posixpath.normpath(joined).lstrip("/"), self._by_path)

    def _pulled(self, name: str) -> Iterator[str]:
        names = {name, *(alias for alias in self._aliases() if self._canonical(alias) == name)}
        owners = sorted({owner for one in names for owner in _owners(one)})
        for owner in owners:
            yield from self._linked.get(owner, ())
        assigned = [pair for text in self._texts(name, owners) for pair in settings(text)]
        for key, value in assigned:
            yield from self._named(name, key, value)
        stem, _, kind = name.rpartition(".")
        if other := _TRIGGERS.get(f".{kind}"):
            yield stem + other
            yield f"{stem}@instance{other}"  # a socket with Accept=yes; no unit if there is no template
        told = [value.lower() for key, value in assigned if key == "DefaultDependencies"]
        if name.endswith(_DEFAULTED) and not (told and told[-1] in _NO):
            yield "sysinit.target"

    def _aliases(self) -> Iterator[str]:
        return (name for name, entry in self._files.items() if entry.kind is Kind.SYMLINK)

    def _texts(self, name: str, owners: Sequence[str]) -> Iterator[str]:
        """The unit file and every drop-in that applies."""
        if (file := self._file(name)) is not None:
            yield self._text(file)
        for owner in owners:
            yield from map(self._text, self._drop_ins.get(owner, ()))

    def _text(self, file: Entry | None) -> str:
        for _ in range(20):
            if file is None or file.kind is not Kind.SYMLINK:
                break
            file = self._by_path.get(self._target(file))
        return "" if file is None else file.data.decode(errors="replace")

    def _named(self, name: str, key: str, value: str) -> Iterator[str]:
        words = value.replace('"', " ").replace("'", " ").split()
        if key in _MOUNTS:
            for word in words:
                yield from _mounts(word)
        if key in _PULLS:
            for word in words:
                yield (text := _specified(word, name))
                if "%" in text:
                    self.unclear.append(f"unit {name} names {word} in {key}=, which cannot be followed")


def _owners(name: str) -> set[str]:
    """Whose `.d` and `.wants` folders count for a unit: its own, its template's, its type's, its dash-cut prefixes'."""
    stem, _, kind = name.rpartition(".")
    parts = stem.split("-")
    prefixes = {f"{'-'.join(parts[:count])}-.{kind}" for count in range(1, len(parts))}
    return {name, kind, *prefixes, _template(name)} - {""}


def _template(name: str) -> str:
    """a@b.service is made of a@.service; "" for a name that is no instance."""
    stem, dot, kind = name.rpartition(".")
    prefix, at, instance = stem.partition("@")
    return f"{prefix}@{dot}{kind}" if at and instance else ""


def _instance(base: str, name: str) -> str:
    """An alias that leads from an instance to a template keeps the instance."""
    stem, dot, kind = base.rpartition(".")
    instance = name.rpartition(".")[0].partition("@")[2]
    return f"{stem}{instance}{dot}{kind}" if stem.endswith("@") else base


def _specified(word: str, name: str) -> str:
    """The word with the specifiers that follow from the unit's name (systemd.unit(5), "Specifiers")."""
    stem = name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    known: Mapping[str, str] = {
        "%n": name, "%N": stem, "%p": prefix, "%P": prefix, "%i": instance, "%I": instance,
        "%j": prefix.rpartition("-")[2],
    }  # fmt: skip
    return re.sub(r"%[nNpPiIj]", lambda found: known[found[0]], word)


def _mounts(path: str) -> Iterator[str]:
    """Mount units of a path and all its parents, by systemd-escape's rules."""
    parts = [part for part in path.split("/") if part]
    for count in range(1, len(parts) + 1):
        yield "-".join(map(_escaped, parts[:count])) + ".mount"


def _escaped(part: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in ":_.") else f"\\x{ord(c):02x}" for c in part)
    return f"\\x2e{kept[1:]}" if kept.startswith(".") else kept
