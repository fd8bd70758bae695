"""files.json read back: every path of the root and what accounts for it. Pure. Format: docs/formats/files.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.formats.strict_json import Fields, loads

_WHAT: Final = "files.json"
BYTE_CODE: Final = "derived:python-byte-code of "


@dataclass(frozen=True, slots=True)
class File:
    """One path. `size` in bytes and `sha256` in hex of a file, `target` of a link; 0 and "" of all else."""

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    origin: str
    size: int = 0
    sha256: str = ""
    target: str = ""

    @property
    def is_byte_code(self) -> bool:
        """Whether it was made of a source in the package that `owner` names."""
        return self.origin.startswith(BYTE_CODE)

    @property
    def owner(self) -> str:
        """Who accounts for it, such as "package:libc6"; byte code counts for what its source came from."""
        return self.origin.removeprefix(BYTE_CODE)


def parse(data: bytes) -> tuple[File, ...]:
    """Parse files.json. FormatError for anything unknown, missing or of the wrong kind."""
    listed = loads(data, what=_WHAT)
    if not isinstance(listed, list):
        raise FormatError(_WHAT, "is not a list")
    found = tuple(_file(value) for value in listed)
    keys = [file.path.encode(errors="surrogatepass") for file in found]
    if any(a >= b for a, b in pairwise(keys)):
        raise FormatError(_WHAT, "is not sorted by path, or holds a path twice")
    return found


def check(files: Sequence[File], entries: Sequence[Entry]) -> None:
    """VerificationError unless the list says exactly what a root holds (`opened.OpenedUki.entries`)."""
    listed = {file.path: file for file in files}
    for entry in entries:
        file = listed.pop(entry.path, None)
        if file is None or replace(file, origin="") != _of(entry):
            raise VerificationError(f"{_WHAT} does not say what the root in pluto.efi holds at {entry.path}")
    if listed:
        raise VerificationError(f"{_WHAT} lists {min(listed)}, which the root in pluto.efi does not hold")


def _of(entry: Entry) -> File:
    plain = File(entry.path, entry.kind, entry.mode, entry.uid, entry.gid, "")
    match entry.kind:
        case Kind.FILE:
            return replace(plain, size=len(entry.data), sha256=hashlib.sha256(entry.data).hexdigest())
        case Kind.SYMLINK:
            return replace(plain, target=entry.data.decode(errors="replace"))
        case Kind.DIRECTORY:
            return plain


def _file(value: object) -> File:
    fields = Fields(value, what=f"{_WHAT}: entry")
    path, kind, mode = fields.take("path", str), fields.take("kind", str), fields.take("mode", str)
    kinds = {one.value: one for one in Kind}
    if kind not in kinds or not (len(mode) == 4 and set(mode) <= set("01234567")):
        raise FormatError(_WHAT, f"kind or mode of {path[:80]!r} is not known")
    file = File(
        path,
        kinds[kind],
        int(mode, 8),
        fields.take("uid", int),
        fields.take("gid", int),
        fields.take("origin", str),
        fields.take("size", int) if kind == "file" else 0,
        fields.hex("sha256", 32).hex() if kind == "file" else "",
        fields.take("target", str) if kind == "symlink" else "",
    )
    fields.end()
    if file.size < 0:
        raise FormatError(_WHAT, f"size of {path[:80]!r} is negative")
    return file
