"""What differs between two disks: a field of MBR, GPT or FAT, a file of the ESP, or bytes between them. Pure.

Formats: UEFI Specification 2.10 §5.2.3 (protective MBR), §5.3 (GPT); Microsoft FAT specification (2005) §3, §5;
Microsoft "Virtual Hard Disk Image Format Specification" (2006), "Hard Disk Footer Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pluto_image.formats import disk, gpt
from pluto_image.rebuild.compare import same, spans
from pluto_image.rebuild.explain.difference import Difference, both, printable, sized, within
from pluto_image.rebuild.explain.esp import Volume
from pluto_image.rebuild.explain.fields import Layout, stretch
from pluto_image.rebuild.explain.known import Known
from pluto_image.rebuild.explain.uki import uki_differences
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError

_SECTOR: Final = 512
_ENTRIES: Final = 32 * _SECTOR
_MBR: Final = Layout.of("BootCode:446:hex Partition1:16:hex Partition2:16:hex Partition3:16:hex Partition4:16:hex "
                        "Signature:2:hex")  # fmt: skip
_GPT: Final = Layout.of(
    "Signature:8:hex Revision:4 HeaderSize:4 HeaderCRC32:4 Reserved:4 MyLBA:8 AlternateLBA:8 FirstUsableLBA:8 "
    "LastUsableLBA:8 DiskGUID:16:guid PartitionEntryLBA:8 NumberOfPartitionEntries:4 SizeOfPartitionEntry:4 "
    "PartitionEntryArrayCRC32:4"
)
_ENTRY: Final = Layout.of(
    "PartitionTypeGUID:16:guid UniquePartitionGUID:16:guid StartingLBA:8 EndingLBA:8 Attributes:8 PartitionName:72:hex"
)
_BOOT: Final = Layout.of(
    "BS_jmpBoot:3:hex BS_OEMName:8:text BPB_BytsPerSec:2 BPB_SecPerClus:1 BPB_RsvdSecCnt:2 BPB_NumFATs:1 "
    "BPB_RootEntCnt:2 BPB_TotSec16:2 BPB_Media:1 BPB_FATSz16:2 BPB_SecPerTrk:2 BPB_NumHeads:2 BPB_HiddSec:4 "
    "BPB_TotSec32:4 BPB_FATSz32:4 BPB_ExtFlags:2 BPB_FSVer:2 BPB_RootClus:4 BPB_FSInfo:2 BPB_BkBootSec:2 "
    "BPB_Reserved:12:hex BS_DrvNum:1 BS_Reserved1:1 BS_BootSig:1 BS_VolID:4 BS_VolLab:11:text BS_FilSysType:8:text"
)
_INFO: Final = Layout.of("FSI_LeadSig:4 FSI_Reserved1:480:hex FSI_StrucSig:4 FSI_Free_Count:4 FSI_Nxt_Free:4")
_FOOTER: Final = Layout.of(
    "Cookie:8:text Features:4 FileFormatVersion:4 DataOffset:8 TimeStamp:4 CreatorApplication:4:text CreatorVersion:4 "
    "CreatorHostOS:4:text OriginalSize:8 CurrentSize:8 DiskGeometry:4:hex DiskType:4 Checksum:4 UniqueId:16:hex "
    "SavedState:1",
    "big",
)
_SEE_DISK: Final = "holds the published disk.raw: see there"


@dataclass(frozen=True, slots=True)
class _Region:
    """A stretch of the disk that has a name. `end` is the first byte behind it."""

    name: str
    begin: int
    end: int
    layout: Layout | None = None


def disk_differences(file: str, published: View, rebuilt: View, known: Known) -> Iterator[Difference]:
    """By files of the ESP, then by region of the disk.

    Identifiers and tables follow from the UKI, so a disk with another one is held against that which a build makes of
    the UKI on it: what is said of regions and clusters then is more than a consequence.
    """
    if published.size != rebuilt.size:
        yield Difference(file, "", sized(published.size), sized(rebuilt.size), "another size of the disk")
    try:
        where = gpt.layout(rebuilt.size)
    except FormatError:  # no disk that a build makes
        where = gpt.Layout(rebuilt.size // _SECTOR, 1, 0)
    esp = _Region("ESP", where.offset, where.offset + where.size)
    wanted, volumes = rebuilt, _volumes(published, rebuilt, esp)
    if isinstance(volumes, FormatError):
        yield Difference(file, "ESP", "", "", f"is no file system that a build writes: {volumes.problem}")
    elif volumes is not None:
        yield from _files(file, *volumes, known)
        wanted = _disk_of(*volumes, rebuilt.size) or rebuilt
    for region in _regions(where, esp):
        yield from _region(file, region, published, wanted)
    if volumes is not None and not isinstance(volumes, FormatError):
        right = Volume.read(wanted.part(esp.begin, esp.end - esp.begin))
        if [(one.path, one.folder) for one in volumes[0].nodes] == [(one.path, one.folder) for one in right.nodes]:
            yield from _clusters(file, volumes[0], right)


def vhd_differences(file: str, published: View, rebuilt: View, known: Known) -> Iterator[Difference]:
    """The disk inside, then the footer."""
    if published.size != rebuilt.size:
        yield Difference(file, "", sized(published.size), sized(rebuilt.size), "another size of the file")
    size = rebuilt.size - _SECTOR
    inside = published.part(0, size)
    if known.disk is not None and same(inside, known.disk) and not same(inside, rebuilt.part(0, size)):
        yield Difference(file, "disk", "", "", _SEE_DISK)
    elif not same(inside, rebuilt.part(0, size)):
        yield from within(disk_differences(file, inside, rebuilt.part(0, size), known), file, "disk")
    footers = published.read(size, _SECTOR), rebuilt.read(size, _SECTOR)
    yield from _FOOTER.differences(*footers, file=file, place="footer", meaning="another footer of the VHD")


def disk_inside(file: str, place: str, published: View, rebuilt: View, known: Known) -> Iterator[Difference]:
    """A disk that lies in another file: explained there, or a pointer to disk.raw if it is the published one."""
    if known.disk is not None and same(published, known.disk):
        yield Difference(file, place, "", "", _SEE_DISK)
    else:
        yield from within(disk_differences(file, published, rebuilt, known), file, place)


def _volumes(published: View, rebuilt: View, at: _Region) -> tuple[Volume, Volume] | FormatError | None:
    """Both file systems; None where the rebuilt disk has none, the error where the published one cannot be read."""
    try:
        right = Volume.read(rebuilt.part(at.begin, at.end - at.begin))
    except FormatError:
        return None
    try:
        return Volume.read(published.part(at.begin, at.end - at.begin)), right
    except FormatError as error:
        return error


def _disk_of(published: Volume, rebuilt: Volume, size: int) -> View | None:
    """The disk that a build makes of the published volume's UKI; None if there is none, the same one, or no room."""
    one, two = (_uki(volume) for volume in (published, rebuilt))
    try:
        return None if one is None or one == two else View.sparse(size, disk.disk(one, size))
    except FormatError:
        return None


def _uki(volume: Volume) -> bytes | None:
    node = next((one for one in volume.nodes if one.path == disk.BOOT_PATH and not one.folder), None)
    return None if node is None else volume.content(node)


def _files(file: str, one: Volume, two: Volume, known: Known) -> Iterator[Difference]:
    left, right = ({node.path: node for node in volume.nodes} for volume in (one, two))
    for path in sorted({*left, *right}):
        place = f"ESP: {printable(path)}"
        if path not in left or path not in right:
            shown = both(lambda node: sized(node.size), left.get(path), right.get(path))
            side = "on the published disk only" if path in left else "missing on the published disk"
            yield Difference(file, place, *shown, f"the file is {side}")
        elif left[path].folder != right[path].folder:
            shown = both(lambda node: "folder" if node.folder else "file", left[path], right[path])
            yield Difference(file, place, *shown, "another kind of entry")
        elif not left[path].folder:
            before, after = one.content(left[path]), two.content(right[path])
            if before == after:
                continue
            if path == disk.BOOT_PATH and before == known.uki:
                yield Difference(file, place, "", "", "holds the published pluto.efi: see there")
            else:
                yield from within(uki_differences(file, before, after, known.origins, known.kernel), file, place)


def _regions(where: gpt.Layout, esp: _Region) -> Iterator[_Region]:
    """The named stretches outside of files, in order."""
    end = where.total * _SECTOR
    backup = end - _SECTOR - _ENTRIES
    yield _Region("protective MBR", 0, _SECTOR, _MBR)
    yield _Region("GPT header", _SECTOR, 2 * _SECTOR, _GPT)
    yield from _table("GPT", 2 * _SECTOR)
    yield _Region("before the partition", 2 * _SECTOR + _ENTRIES, esp.begin)
    for copy, name in ((0, ""), (6, " (copy)")):
        first = esp.begin + copy * _SECTOR
        yield _Region(f"ESP: boot sector{name}", first, first + _SECTOR, _BOOT)
        yield _Region(f"ESP: FSInfo{name}", first + _SECTOR, first + 2 * _SECTOR, _INFO)
    yield _Region("ESP: reserved sectors", esp.begin + 2 * _SECTOR, esp.begin + 6 * _SECTOR)
    yield _Region("ESP: reserved sectors", esp.begin + 8 * _SECTOR, esp.begin + 32 * _SECTOR)
    yield _Region("behind the partition", esp.end, backup)
    yield from _table("backup GPT", backup)
    yield _Region("backup GPT header", end - _SECTOR, end, _GPT)


def _table(name: str, begin: int) -> Iterator[_Region]:
    for number in range(_ENTRIES // _ENTRY.size):
        first = begin + number * _ENTRY.size
        yield _Region(f"{name} entry {number}", first, first + _ENTRY.size, _ENTRY)


def _region(file: str, region: _Region, published: View, rebuilt: View) -> Iterator[Difference]:
    size = region.end - region.begin
    one, two = published.read(region.begin, size), rebuilt.read(region.begin, size)
    if one == two:
        return
    if region.layout is not None:
        meaning = f"another field of the {region.name.removeprefix('ESP: ')}"
        yield from region.layout.differences(one, two, file=file, place=region.name, meaning=meaning)
    else:
        place = f"{region.name}, which begins at {region.begin:#x}"
        yield Difference(file, place, *stretch(one, two), "bytes that no build writes")


def _clusters(file: str, one: Volume, two: Volume) -> Iterator[Difference]:
    """Stretches of FAT and clusters, where the files themselves are the same."""
    fat = (two.data - 32 * _SECTOR) // 2
    found = spans(one.view, two.view)
    for begin, end in found.listed:
        first = max(begin, 32 * _SECTOR)
        if end <= first:
            continue
        if first < two.data:
            number = (first - 32 * _SECTOR) // fat + 1
            place, meaning = f"ESP: FAT {number}", "another chain of clusters for the same files"
        else:
            place, meaning = f"ESP: {printable(two.owner(first))}", "other bytes around the same files"
        count = min(end - first, _SECTOR)
        yield Difference(file, place, *stretch(one.view.read(first, count), two.view.read(first, count)), meaning)
