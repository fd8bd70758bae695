"""Assembles the root file system: package files, then what the recipe lays beside them. Pure.

No maintainer script runs. Two sources for one path are an error, so that the order of packages cannot matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pluto_image.recipe.model import Certificates, Files, Recipe, Units
from pluto_image.recipe.patterns import select
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

# Debian 13 ships these four as links into usr; files of other packages below them move there (merged /usr).
_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_LIB_UNITS: Final = "usr/lib/systemd/system"
_ETC_UNITS: Final = "etc/systemd/system"


class Root:
    """Entries by path. `add` refuses a second entry for a path; `complete` adds the parent directories."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if (other := self._entries.get(entry.path)) is not None:
                raise FormatError("root", f"{entry.path} comes from {other.origin} and from {entry.origin}")
            self._entries[entry.path] = entry

    def replace(self, remove: Iterable[str], entries: Iterable[Entry]) -> None:
        """Take some entries away and add others."""
        for path in remove:
            del self._entries[path]
        self.add(entries)

    def paths(self) -> Iterator[str]:
        yield from self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def complete(self) -> tuple[Entry, ...]:
        """All entries with every parent directory, sorted by the bytes of the path. FormatError if one is a file."""
        entries = dict(self._entries)
        for path in self._entries:
            parent = path.rpartition("/")[0]
            while parent and parent not in entries:
                entries[parent] = Entry(parent, Kind.DIRECTORY, 0o755, b"", "recipe:parents")
                parent = parent.rpartition("/")[0]
            if parent and entries[parent].kind is not Kind.DIRECTORY:
                raise FormatError("root", f"{path} lies below {parent}, which is no directory")
        return tuple(sorted(entries.values(), key=lambda entry: entry.path.encode()))


def merged(path: str) -> str:
    """The path with merged /usr applied: bin/x is usr/bin/x."""
    first, slash, _ = path.partition("/")
    return f"usr/{path}" if slash and first in _MERGED else path


def recipe_entries(recipe: Recipe) -> Iterator[Entry]:
    """What the recipe alone decides: directories, links, texts, unit links and masks."""
    files = recipe.files
    for item in files.directories:
        yield Entry(item.path, Kind.DIRECTORY, item.mode, b"", "recipe:files.directory", item.uid, item.gid)
    for link in files.links:
        yield Entry(link.path, Kind.SYMLINK, 0o777, link.target.encode(), "recipe:files.link")
    for text in files.texts:
        yield Entry(text.path, Kind.FILE, text.mode, text.text.encode(), "recipe:files.text")
    yield from unit_links(recipe.units)


def unit_links(units: Units) -> Iterator[Entry]:
    """Enablement links and masks, as `systemctl enable` and `systemctl mask` would write them."""

    def link(path: str, target: str, line: str) -> Entry:
        return Entry(f"{_ETC_UNITS}/{path}", Kind.SYMLINK, 0o777, target.encode(), f"recipe:units.{line}")

    yield link("default.target", f"/{_LIB_UNITS}/{units.default}", "default")
    for item in units.enable:
        for unit in item.units:
            name, at, rest = unit.partition("@")
            file = f"{name}@.{rest.rpartition('.')[2]}" if at else unit
            yield link(f"{item.target}.wants/{unit}", f"/{_LIB_UNITS}/{file}", "enable")
    for mask in units.mask:
        for unit in mask.units:
            yield link(unit, "/dev/null", "mask")


def source_entries(files: Files, tree: Mapping[str, bytes], rootfs: str, flavour: str = "debug") -> Iterator[Entry]:
    """Files of the source tree: the overlay folder `rootfs` as it lies, and what [[files.source]] names.

    A debug image holds all of them. Modes are constants of the recipe: a checkout's modes differ from machine to
    machine.
    """
    for path in sorted(tree):
        if path.startswith(f"{rootfs}/"):
            yield Entry(path.removeprefix(f"{rootfs}/"), Kind.FILE, 0o644, tree[path], "recipe:rootfs")
    for source in files.sources:
        below = {path.removeprefix(f"{source.base}/"): path for path in tree if path.startswith(f"{source.base}/")}
        found = select(source.paths, below, what="image.toml [files.source]")  # also where nothing is laid
        for path in found if flavour == "debug" or not source.debug else ():
            yield Entry(f"{source.to}/{path}", Kind.FILE, 0o644, tree[below[path]], f"source:{source.base}")


def certificate_bundle(certificates: Certificates, entries: Iterable[Entry]) -> Entry:
    """The CA bundle that ca-certificates' postinst would write: all its files, in the order of their paths.

    `entries` are the files that match `certificates.sources`; they are not laid into the root themselves.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.encode())
    if not ordered:
        raise FormatError("image.toml [files.certificates]", "no certificate matches")
    texts = []
    for entry in ordered:
        text = entry.data.replace(b"\r\n", b"\n").strip() + b"\n"
        if not (text.startswith(b"-----BEGIN CERTIFICATE-----\n") and text.endswith(b"-----END CERTIFICATE-----\n")):
            raise FormatError(entry.path, "not one certificate in PEM")
        texts.append(text)
    return Entry(certificates.bundle, Kind.FILE, 0o644, b"".join(texts), ordered[0].origin)
