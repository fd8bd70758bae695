"""What differs between two tar archives: a member, its content, a header's field, padding. Pure.

Format: POSIX.1-1988 ustar and GNU tar "Basic Tar Format": a header of 512 bytes, content in blocks of 512, zeros at the
end. Headers that stand for a long name are members like others here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pluto_image.rebuild.explain.difference import Difference, both, printable, sized
from pluto_image.rebuild.explain.fields import Layout, stretch
from pluto_image.rebuild.explain.text import content_differences
from pluto_measure.errors import FormatError

BLOCK: Final = 512
HEADER: Final = Layout.of(
    "name:100:text mode:8:text uid:8:text gid:8:text size:12:text mtime:12:text checksum:8:text typeflag:1:text "
    "linkname:100:text magic:8:hex uname:32:text gname:32:text devmajor:8:text devminor:8:text prefix:155:text "
    "padding:12:hex"
)
_MOST: Final = 200_000
_META: Final = "another field of the tar header"


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    header: bytes
    data: bytes


def tar_differences(
    file: str, published: bytes, rebuilt: bytes, about: Callable[[str], str], *, place: str = ""
) -> Iterator[Difference]:
    """By member. `about` says of a path what accounts for it. `place`: where the archives lie in their files."""
    try:
        one, two = _members(published), _members(rebuilt)
    except FormatError as error:
        yield Difference(file, place, *stretch(published, rebuilt), f"is no tar that a build writes: {error.problem}")
        return
    found = False
    for name in sorted({*one, *two}):
        for difference in _member(file, place, name, one.get(name), two.get(name), about):
            found = True
            yield difference
    if not found:
        meaning = "the same members in another order" if list(one) != list(two) else "padding or the end differs"
        yield Difference(file, place, *stretch(published, rebuilt), meaning)


def _member(
    file: str, place: str, name: str, one: _Member | None, two: _Member | None, about: Callable[[str], str]
) -> Iterator[Difference]:
    where = f"{place}: {printable(name)}" if place else printable(name)
    if one is None or two is None:
        shown = both(lambda member: sized(len(member.data)), one, two)
        side = "in the published archive only" if two is None else "missing in the published archive"
        yield Difference(file, where, *shown, f"the member is {side} ({about(name)})")
        return
    if one.data != two.data:
        yield from content_differences(file, where, one.data, two.data, f"other content ({about(name)})")
    follows = ("size", "checksum") if one.header != two.header else ()
    for each in HEADER.differences(one.header, two.header, file=file, place=where, meaning=_META):
        if each.where.rpartition(": ")[2] not in follows or one.data == two.data:
            yield each


def _members(data: bytes) -> dict[str, _Member]:
    """By path; a path that occurs again gets a number behind it."""
    found: dict[str, _Member] = {}
    at = 0
    while any(header := data[at : at + BLOCK]):
        if len(header) < BLOCK or len(found) >= _MOST:
            raise FormatError("tar", "is cut, or has too many members", offset=at)
        digits = header[124:136].strip(b"\0 ")
        if digits.translate(None, b"01234567"):
            raise FormatError("tar", f"size {digits!r} is not octal", offset=at)
        size = int(digits or b"0", 8)
        begin, end = at + BLOCK, at + BLOCK + size
        if end > len(data):
            raise FormatError("tar", f"a member of {size} bytes ends beyond the archive", offset=at)
        name = _name(header)
        if name in found:
            name = f"{name} ({len(found)})"
        found[name] = _Member(name, header, data[begin:end])
        at = end + -size % BLOCK
    return found


def _name(header: bytes) -> str:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    whole = prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name
    return whole.decode("utf-8", "backslashreplace").removeprefix("./").rstrip("/") or "."
