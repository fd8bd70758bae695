"""Any bytes are a UKI whose root archives to the same bytes again, within the limit, or a FormatError.

The same bytes are taken for .initrd and for the archive in it, too, which mutations of a whole UKI seldom reach.
"""

from __future__ import annotations

from contextlib import suppress

from pluto_image.contents import opened
from pluto_image.formats import compress, cpio, uki
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from simulators.pe_images import KERNEL, STUB

_MOST = 1 << 16
_ROOT = (
    Entry("etc", Kind.DIRECTORY, 0o755, b"", ""),
    Entry("etc/hostname", Kind.FILE, 0o644, b"pluto\n", ""),
    Entry("init", Kind.SYMLINK, 0o777, b"usr/bin/init", ""),
)


def target(data: bytes) -> None:
    with suppress(FormatError):
        found = opened.open_uki(data, most=_MOST)
        assert sum(map(len, found.sections.values())) <= _MOST
        _is_its_archive(opened.unpacked(found.sections[opened.INITRD], most=_MOST), found.entries)
    archive = data
    with suppress(FormatError):
        archive = opened.unpacked(data, most=_MOST)
        assert len(archive) <= _MOST
    with suppress(FormatError):
        assert sum(len(record.data) for record in opened.records(archive)) <= len(archive)
        _is_its_archive(archive, opened.entries(archive))


def _is_its_archive(archive: bytes, entries: tuple[Entry, ...]) -> None:
    """What was read is all that there is."""
    time = next((record.fields["mtime"] for record in opened.records(archive)), 0)
    assert b"".join(cpio.newc(entries, time)) == archive


def seeds() -> list[bytes]:
    """A root, stored and compressed, by itself and in a UKI; one that unpacks to more than may be; an empty one."""
    archive = b"".join(cpio.newc(_ROOT, 1_700_000_000))
    packed = compress.zstd([archive])
    images = [uki.build(STUB, [(".initrd", initrd), (".linux", KERNEL)]) for initrd in (archive, packed)]
    return [*images, archive, packed, compress.zstd([bytes(1 << 24)]), b"".join(cpio.newc((), 0))]
