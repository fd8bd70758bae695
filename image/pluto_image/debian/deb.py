"""Debian binary packages, read in memory: control fields, maintainer scripts (as data; none ever runs), members.

The input is locked by hash, but it is read as if it were hostile. Format: deb(5), deb-control(5), ar(5):

    "!<arch>\\n", then exactly three members in this order: debian-binary, control.tar*, data.tar*
    member: name[16] mtime[12] uid[6] gid[6] mode[8] size[10] "`\\n", data, "\\n" if size is odd
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.formats.untar import DEFAULT_LIMITS, Limits, Member, Want, members
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

__all__ = ["SCRIPTS", "Deb", "Limits", "Member", "read"]

SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm", "config", "triggers")
_COMPRESSIONS: Final = {"": "", ".gz": "gz", ".xz": "xz", ".zst": "zst"}
_REQUIRED: Final = ("Package", "Version", "Architecture")


@dataclass(frozen=True, slots=True)
class Deb:
    """One package. `members` reads the content as it is consumed, once; it raises FormatError at damage.

    `control` keeps the fields' own spelling; continuation lines stay, joined by line feeds. `scripts` has those of
    SCRIPTS that the package carries.
    """

    control: Mapping[str, str]
    scripts: Mapping[str, bytes]
    members: Iterator[Member]


def read(data: bytes, *, limits: Limits = DEFAULT_LIMITS, want: Want | None = None) -> Deb:
    """Read a package; `want` chooses the members by path, so that the data of others is skipped without a copy.

    Control fields and scripts are read at once, members lazily. Raises FormatError.
    """
    r = Reader(data, what="deb")
    if (magic := r.take(8, "magic")) != b"!<arch>\n":
        raise r.error(f"magic is {magic!r}")
    name, version = _ar_member(r)
    if name != "debian-binary":
        raise r.error(f"first member is {name!r}, not debian-binary")
    if not (version.startswith(b"2.") and version.endswith(b"\n") and version[2:-1].isdigit()):
        raise r.error(f"format version {version[:16]!r} is not known")
    control, compressed = _tar_member(r, "control.tar")
    fields, scripts = _control(control, compressed, limits)
    content, compressed = _tar_member(r, "data.tar")
    r.end()
    what = f"{fields['Package']} {fields['Version']}: data.tar"
    return Deb(fields, scripts, members(content, compressed, what=what, limits=limits, want=want))


def _ar_member(r: Reader) -> tuple[str, bytes]:
    name = r.take(16, "name")
    r.take(12 + 6 + 6 + 8, "mtime, uid, gid, mode")
    size = r.take(10, "size").rstrip(b" ")
    if not size.isdigit():
        raise r.error(f"size {size!r} is not a decimal number")
    if (end := r.take(2, "end of header")) != b"`\n":
        raise r.error(f"header ends in {end!r}")
    data = r.take(int(size), "data")
    if len(data) % 2 and (pad := r.take(1, "padding")) != b"\n":
        raise r.error(f"padding is {pad!r}")
    return name.rstrip(b" ").removesuffix(b"/").decode("ascii", "replace"), data


def _tar_member(r: Reader, stem: str) -> tuple[bytes, str]:
    name, data = _ar_member(r)
    suffix = name.removeprefix(stem)
    if not name.startswith(stem) or (suffix and not suffix.startswith(".")):
        raise r.error(f"member {name!r} stands where {stem} must be")
    if suffix not in _COMPRESSIONS:
        raise r.error(f"compression of {name!r} is not known")
    return data, _COMPRESSIONS[suffix]


def _control(data: bytes, compression: str, limits: Limits) -> tuple[dict[str, str], dict[str, bytes]]:
    small = Limits(total=limits.control, ratio=limits.ratio, members=limits.members, path=limits.path)
    found = {m.path: m for m in members(data, compression, what="deb: control.tar", limits=small)}
    if "control" not in found or found["control"].kind is not Kind.FILE:
        raise FormatError("deb: control.tar", "has no control file")
    for name in SCRIPTS:
        if name in found and found[name].kind is not Kind.FILE:
            raise FormatError("deb: control.tar", f"{name} is not a file")
    return _fields(found["control"].data), {name: found[name].data for name in SCRIPTS if name in found}


def _fields(text: bytes) -> dict[str, str]:
    """The one paragraph of a control file: `Name: value`, continuation lines begin with a blank."""
    what = "deb: control"
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    value: list[str] = []
    try:
        lines = text.decode().rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(what, "is not UTF-8") from error
    for line in lines:
        if line[:1] in (" ", "\t") and found:
            value.append(line)
            continue
        name, colon, first = line.partition(":")
        if not colon or not name.isascii() or not name.replace("-", "").isalnum():
            raise FormatError(what, f"line {line[:80]!r} is no field")
        if name.lower() in seen:
            raise FormatError(what, f"field {name} occurs twice")
        seen.add(name.lower())
        found[name] = value = [first.strip()]
    fields = {name: "\n".join(parts) for name, parts in found.items()}
    for required in _REQUIRED:
        if not fields.get(required):
            raise FormatError(what, f"field {required} is missing")
    return fields
