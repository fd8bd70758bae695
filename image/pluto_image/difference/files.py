"""What changed in the root and in source.tar, path by path, with what accounts for each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Final

from pluto_image.contents.files import BYTE_CODE, File
from pluto_image.difference import lines
from pluto_image.difference.model import FileChange, FileState, SourceChange
from pluto_image.difference.side import Side
from pluto_image.tree import Entry

_WHAT: Final = ("content", "target", "kind", "mode", "owner", "origin")
# What `SourceChange.part` says by the beginning of a path; the first that fits.
_PARTS: Final = (
    ("image/pluto_image/", "builder"),
    ("measure/", "measure"),
    ("notary/", "notary"),
    ("deploy/", "deploy"),
    ("requirements/", "requirements"),
    ("image/", "image definition"),
)


def files(before: Side, after: Side, apart: Collection[str] = ()) -> tuple[FileChange, ...]:
    """Paths of the root that differ, the first 300 texts with lines. `apart`: those whose lines are shown elsewhere."""
    versions = _versions(before), _versions(after)
    found, texts = [], 0
    for path in sorted({*before.files, *after.files}, key=_bytes):
        pair = before.files.get(path), after.files.get(path)
        if pair[0] == pair[1]:
            continue  # an origin names no version, so a package's untouched files are equal
        states = _state(pair[0], versions[0]), _state(pair[1], versions[1])
        what = tuple(_what(*pair))
        differing = "content" in what and path not in apart and texts < lines.MOST_TEXTS
        shown = lines.of_texts(_data(before.entries, path), _data(after.entries, path)) if differing else ()
        texts += bool(shown)
        found.append(FileChange(path, *states, what, shown))
    return tuple(found)


def sources(before: Side, after: Side) -> tuple[SourceChange, ...]:
    """Files of source.tar that differ."""
    found = []
    for path in sorted({*before.sources, *after.sources}, key=_bytes):
        one, two = before.sources.get(path), after.sources.get(path)
        if one != two:
            digests = [None if data is None else sha256(data).hexdigest() for data in (one, two)]
            part = next((part for start, part in _PARTS if path.startswith(start)), "project")
            found.append(SourceChange(path, part, *digests))
    return tuple(found)


def named(origin: str, versions: Mapping[str, str]) -> str:
    """Such as "package init 257.1", "recipe files.users" or "byte code of package python3-h11 0.14"."""
    made = "byte code of " if origin.startswith(BYTE_CODE) else ""
    kind, _, name = origin.removeprefix(BYTE_CODE).partition(":")
    version = versions.get(name, "") if kind in ("package", "wheel") else ""
    return f"{made}{kind} {name} {version}".rstrip()


def _versions(side: Side) -> dict[str, str]:
    lock = side.lock
    return {one.name: one.version for one in lock.image} | {one.name: one.version for one in lock.wheels}


def _state(file: File | None, versions: Mapping[str, str]) -> FileState | None:
    if file is None:
        return None
    mode, owner = f"{file.mode:04o}", f"{file.uid}:{file.gid}"
    return FileState(file.kind.value, mode, owner, file.size, file.sha256, file.target, named(file.origin, versions))


def _what(one: File | None, two: File | None) -> Iterator[str]:
    if one is None or two is None:
        yield from ("content",)
        return
    pairs = (
        (one.sha256, two.sha256), (one.target, two.target), (one.kind, two.kind), (one.mode, two.mode),
        ((one.uid, one.gid), (two.uid, two.gid)), (one.origin, two.origin),
    )  # fmt: skip
    yield from (word for word, (left, right) in zip(_WHAT, pairs, strict=True) if left != right)


def _data(entries: Mapping[str, Entry], path: str) -> bytes | None:
    entry = entries.get(path)
    return None if entry is None else entry.data


def _bytes(path: str) -> bytes:
    return path.encode(errors="surrogatepass")
