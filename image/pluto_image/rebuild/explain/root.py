"""What differs between two roots: entries added, removed and changed, each with what accounts for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pluto_image.contents import opened
from pluto_image.contents.opened import Record
from pluto_image.rebuild.explain.difference import Difference, both, printable, sized
from pluto_image.rebuild.explain.fields import stretch
from pluto_image.rebuild.explain.known import Origins
from pluto_image.rebuild.explain.text import content_differences
from pluto_measure.errors import FormatError

_KINDS = {0o100000: "file", 0o040000: "directory", 0o120000: "symlink", 0o020000: "character device",
          0o060000: "block device", 0o010000: "FIFO", 0o140000: "socket"}  # fmt: skip


def initrd_differences(
    file: str, where: str, published: bytes, rebuilt: bytes, origins: Origins
) -> Iterator[Difference]:
    """Two contents of .initrd: by entry, else by how the same entries are archived, else by compression."""
    try:
        archives = opened.unpacked(published), opened.unpacked(rebuilt)
        if archives[0] == archives[1]:
            meaning = "the same archive in other compressed bytes: another libzstd or another level made it"
            yield Difference(file, where, *stretch(published, rebuilt), meaning)
            return
        one, two = (tuple(opened.records(archive)) for archive in archives)
    except FormatError as error:
        yield Difference(file, where, *stretch(published, rebuilt), f"is no root that a build writes: {error}")
        return
    yield from _roots(file, where, one, two, archives, origins)


def _roots(
    file: str,
    where: str,
    one: tuple[Record, ...],
    two: tuple[Record, ...],
    archives: tuple[bytes, bytes],
    origins: Origins,
) -> Iterator[Difference]:
    names = tuple({record.name: record for record in records} for records in (one, two))
    found = False
    for name in sorted({*names[0], *names[1]}):
        for difference in _entry(file, where, name, names[0].get(name), names[1].get(name), origins):
            found = True
            yield difference
    if found:
        return
    if len(one) != len(names[0]) or [r.name for r in one] != [r.name for r in two]:
        yield Difference(file, where, "", "", "the same entries in another order, or one of them twice")
        return
    for left, right in zip(one, two, strict=True):
        if left.fields != right.fields:
            shown = both(_other, left.fields, right.fields)
            meaning = "numbers of the archive that no entry carries differ, here and perhaps in others"
            yield Difference(file, f"{where}: {printable(left.name)}", *shown, meaning)
            return
    yield Difference(file, where, *stretch(*archives), "the same entries in another spelling")


def _entry(
    file: str, where: str, name: bytes, one: Record | None, two: Record | None, origins: Origins
) -> Iterator[Difference]:
    path = printable(name)
    place, origin = f"{where}: {path}", origins.named(name.decode("utf-8", "replace"))
    if two is None:
        yield Difference(file, place, _shown(one), "", f"the entry is in the published root only ({origin})")
    elif one is None:
        yield Difference(file, place, "", _shown(two), f"the entry is missing in the published root ({origin})")
    else:
        for key, word in (("mode", "mode"), ("uid", "owner"), ("gid", "group")):
            values = one.fields[key], two.fields[key]
            if values[0] != values[1]:
                shown = both(_mode if key == "mode" else str, *values)
                yield Difference(file, place, *shown, f"another {word} ({origin})")
        if one.data != two.data:
            yield from content_differences(file, place, one.data, two.data, f"other content ({origin})")


def _shown(record: Record | None) -> str:
    return "" if record is None else f"{_mode(record.fields['mode'])}, {sized(len(record.data))}"


def _mode(mode: int) -> str:
    return f"{_KINDS.get(mode & ~0o7777, 'no kind')} {mode & 0o7777:04o}"


def _other(fields: Mapping[str, int]) -> str:
    kept = ("ino", "nlink", "mtime", "devmajor", "devminor", "rdevmajor", "rdevminor", "check")
    return " ".join(f"{name}={fields[name]}" for name in kept)
