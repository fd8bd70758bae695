"""Firmware volumes: which release of edk2 a firmware image is, and which of the files it holds that matter to a boot.

Formats: UEFI Platform Initialization 1.8, volume 3, sections 3.2.1 (volume), 3.2.3 (file), 3.2.5 (section); the GUIDed
section of LZMA is that of edk2 MdeModulePkg/Library/LzmaCustomDecompressLib. Nothing of this is measured by itself:
what is found here says which rules the firmware follows.

    volume    u8 zero[16], GUID filesystem, u64 length, "_FVH", u32 attributes, u16 header_length, u16 checksum,
              u16 ext_header_offset, u8 0, u8 revision, {u32 blocks, u32 size}..., 0, 0; files at multiples of 8
    ext       GUID name, u32 size, ...
    file      GUID name, u8 header_checksum, u8 data_checksum, u8 type, u8 attributes, u24 size, u8 state,
              [u64 size, where attributes has bit 0]; sections at multiples of 4, from the file's content
    section   u24 size, u8 type, [u32 size, where the first is 0xffffff]
    GUIDed    GUID, u16 data_offset, u16 attributes: the data are sections again, as they are or unpacked
"""

from __future__ import annotations

import lzma
import re
import struct
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

# Files: GUIDs as they lie in memory.
SETUP_APP: Final = uuid.UUID("462caa21-7614-4503-836e-8ab6f4662331").bytes_le  # UiApp
MENU_APP: Final = uuid.UUID("eec25bdc-67f2-4d95-b1d5-f81b2039d11d").bytes_le  # BootManagerMenuApp
SHELL: Final = uuid.UUID("7c04a583-9e3e-4f1c-ad65-e05268d0b4d1").bytes_le
SECURE_BOOT_CONFIG: Final = uuid.UUID("f0e6a44f-7195-41c3-ac64-54f202cd0a21").bytes_le  # SecureBootConfigDxe
SMBIOS_MEASUREMENT: Final = uuid.UUID("d27fed59-abb4-4fed-bead-2a878c7e4a7e").bytes_le  # SmbiosMeasurementDxe
# Volumes.
DXE_VOLUME: Final = uuid.UUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1").bytes_le
NOT_IN_TD_VOLUME: Final = uuid.UUID("ae047c6d-bce9-426c-ae03-a68e3b8a0488").bytes_le  # NCCFV: a TD does not load it

_WHAT: Final = "firmware volume"
_FILE_SYSTEMS: Final = frozenset(
    uuid.UUID(text).bytes_le
    for text in ("8c8ce578-8a3d-4f1c-9935-896185c32dd3", "5473c07a-3dcb-4dca-bd6f-1e9689e7349a")  # FFS 2 and 3
)
_LZMA: Final = uuid.UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf").bytes_le
_FILES_WITHOUT_SECTIONS: Final = frozenset({0x01, 0xF0})  # raw, padding
_GUIDED, _USER_INTERFACE, _VOLUME_IMAGE = 0x02, 0x15, 0x17  # section types
_PROCESSING_REQUIRED: Final = 0x01
_ERASED_TO_ONES: Final = 0x800  # volume attribute

_MOST_IMAGE: Final = 64 << 20  # bytes of an image
_MOST_UNPACKED: Final = 64 << 20  # bytes of all that is unpacked from it
_MOST_LZMA_MEMORY: Final = 128 << 20
_MOST_PARTS: Final = 20_000  # volumes, files and sections; OVMF has about a thousand
_MOST_DEPTH: Final = 6  # OVMF goes to 4
_MOST_HEADER: Final = 1024  # bytes of a volume's header; OVMF's have 72

# What firmware says of itself: PcdFirmwareVersionString of Debian and Ubuntu, of QEMU's own builds, of Fedora.
_VERSION: Final = re.compile(r"(?:20\d\d\.|edk2-(?:stable)?20\d\d)\d\d[!-~]*")
_CANDIDATES: Final = (  # the same in UTF-16, roughly; each begins with fixed bytes, which makes the search quick
    re.compile(rb"2\x000\x00[0-9]\x00[0-9]\x00\.\x00(?:[!-~]\x00){1,64}"),
    re.compile(rb"e\x00d\x00k\x002\x00-\x00(?:[!-~]\x00){1,64}"),
)
_RELEASE: Final = re.compile(r"(?:edk2-(?:stable)?)?(20\d\d)\.?(02|05|08|11)")
_FW_CFG_LABEL: Final = b"QEMU FW CFG\0"  # of the events of measured fw_cfg items
_INITRD_FIRST, _INITRD_LAST = b"initrd=initrd \0", b" initrd=initrd\0"  # pieces of the load options of `-kernel`


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume: its GUID, its type, and the name in its user interface section."""

    guid: bytes
    type: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, at whatever depth. `name` is the GUID that a device path gives it, where it has one."""

    name: bytes | None
    file_system: bytes
    size: int
    files: tuple[File, ...]

    def file(self, guid: bytes) -> File | None:
        """The first file of that GUID."""
        return next((file for file in self.files if file.guid == guid), None)


@dataclass(frozen=True, slots=True)
class Firmware:
    """What an image says of itself. Every volume is listed, the outer ones before those inside them."""

    volumes: tuple[Volume, ...]
    version_text: str | None  # such as 2025.02-8ubuntu3
    labels_fw_cfg: bool  # has code that measures fw_cfg items (in a TD alone)
    initrd_first: bool | None  # "initrd=initrd " goes before the command line of `-kernel`; None: no such loader

    @property
    def generation(self) -> int | None:
        """The stable tag of edk2, such as 202502; None where the version does not name one."""
        match = _RELEASE.match(self.version_text or "")
        return int(match[1] + match[2]) if match else None

    def has(self, guid: bytes) -> bool:
        """Whether any volume holds that file."""
        return bool(self.volumes_with(guid))

    def volumes_with(self, guid: bytes) -> tuple[Volume, ...]:
        """The volumes that hold that file."""
        return tuple(volume for volume in self.volumes if volume.file(guid))


def parse(firmware: bytes) -> Firmware:
    """All volumes of an image, unpacked. At most 64 MiB, and 64 MiB out of it. FormatError."""
    if len(firmware) > _MOST_IMAGE:
        raise FormatError(_WHAT, f"image of {len(firmware)} bytes is larger than {_MOST_IMAGE}")
    walk = _Walk()
    walk.image(firmware)
    if not walk.volumes:
        raise FormatError(_WHAT, "the image holds no volume")
    text = walk.texts.most_common(1)[0][0] if walk.texts else None
    first = True if _INITRD_FIRST in walk.labels else False if _INITRD_LAST in walk.labels else None
    return Firmware(tuple(v for v in walk.volumes if v is not None), text, _FW_CFG_LABEL in walk.labels, first)


def version_text(firmware: bytes) -> str | None:
    """The version that the firmware was built as. FormatError."""
    return parse(firmware).version_text


def generation(firmware: bytes) -> int | None:
    """The stable tag of edk2 that the firmware was built from, such as 202502. FormatError."""
    return parse(firmware).generation


@dataclass(slots=True)
class _Walk:
    """One way through an image: what it found, and what it may still use up."""

    volumes: list[Volume | None] = field(default_factory=list)  # None: not yet read to its end
    texts: Counter[str] = field(default_factory=Counter)
    labels: set[bytes] = field(default_factory=set)
    parts: int = 0
    unpacked: int = 0

    def image(self, data: bytes) -> None:
        """Every volume that begins in `data`, at a multiple of 8. What looks like one by chance is passed over."""
        self.look(data)
        at = 0
        while (at := data.find(b"_FVH", at + 40) - 40) >= 0:
            self.count(at)
            if at % 8 == 0 and (header := _volume_header(data[at : at + _MOST_HEADER])):
                if header.length > len(data) - at:
                    raise FormatError(_WHAT, f"volume of {header.length} bytes is cut off", offset=at)
                self.volume(Reader(data[at : at + header.length], what=_WHAT, base=at), 0)
                at += header.length - 40
            else:
                at += 4

    def look(self, data: bytes) -> None:
        """The texts and labels in `data`, wherever they stand."""
        texts = [match[0].decode("utf-16-le") for pattern in _CANDIDATES for match in pattern.finditer(data)]
        self.texts.update(text for text in texts if _VERSION.fullmatch(text))
        self.labels.update(label for label in (_FW_CFG_LABEL, _INITRD_FIRST, _INITRD_LAST) if label in data)

    def volume(self, r: Reader, depth: int) -> None:
        start = r.offset
        raw = r.rest()
        header = _volume_header(raw)
        if header is None or header.length > len(raw):
            raise FormatError(_WHAT, "section holds no volume", offset=start)
        place = len(self.volumes)
        self.volumes.append(None)
        body = Reader(raw[: header.length], what=_WHAT, base=start)
        name, first = _extended_header(raw, header, start)
        files: list[File] = []
        if header.file_system in _FILE_SYSTEMS:
            body.take(first, "volume header")
            files = self.files(body, b"\xff" if header.attributes & _ERASED_TO_ONES else b"\0", start, depth)
        self.volumes[place] = Volume(name, header.file_system, header.length, tuple(files))

    def files(self, r: Reader, erased: bytes, start: int, depth: int) -> list[File]:
        found = []
        while r.left >= 24:
            at = r.offset
            head = r.take(24, "file header")
            if head == erased * 24:
                break
            self.count(r.offset)
            size = int.from_bytes(head[20:23], "little")
            if head[19] & 1:
                size = r.uint(8, "file size")
                head += size.to_bytes(8, "little")
            if (sum(head) - head[17] - head[23]) & 0xFF:
                raise FormatError(_WHAT, "file header checksum does not hold", offset=at)
            if size < len(head):
                raise FormatError(_WHAT, f"file of {size} bytes is shorter than its header", offset=at)
            content = r.sub(size - len(head), "file")
            name = None if head[18] in _FILES_WITHOUT_SECTIONS else self.sections(content, depth + 1)
            if head[18] != 0xF0:
                found.append(File(head[:16], head[18], name))
            r.take(min(-(r.offset - start) % 8, r.left), "padding")
        return found

    def sections(self, r: Reader, depth: int) -> str | None:
        """Reads what lies in a file or an unpacked section. Returns the name in the user interface section."""
        if depth > _MOST_DEPTH:
            raise r.error(f"volumes and sections lie deeper than {_MOST_DEPTH}")
        name, start = None, r.offset
        while r.left >= 4:
            self.count(r.offset)
            size, kind, header = r.uint(3, "section size"), r.uint(1, "section type"), 4
            if size == 0xFFFFFF:
                size, header = r.uint(4, "section size"), 8
            if size < header:
                raise r.error(f"section of {size} bytes is shorter than its header")
            content = r.sub(size - header, "section")
            if kind == _VOLUME_IMAGE:
                self.volume(content, depth + 1)
            elif kind == _GUIDED:
                self.guided(content, header, depth)
            elif kind == _USER_INTERFACE:
                name = content.rest().decode("utf-16-le", "replace").partition("\0")[0]
            r.take(min(-(r.offset - start) % 4, r.left), "padding")
        return name

    def guided(self, r: Reader, header: int, depth: int) -> None:
        guid, offset, attributes = r.take(16, "section GUID"), r.uint(2, "data offset"), r.uint(2, "attributes")
        r.take(offset - header - 20, "GUIDed header")
        if guid == _LZMA:
            at, data = r.offset, self.unpack(r)
            self.look(data)
            self.sections(Reader(data, what=f"{_WHAT} (unpacked from {at:#x})"), depth + 1)
        elif not attributes & _PROCESSING_REQUIRED:
            self.sections(r, depth + 1)

    def unpack(self, r: Reader) -> bytes:
        try:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_LZMA_MEMORY)
            data = decoder.decompress(r.rest(), max_length=_MOST_UNPACKED - self.unpacked + 1)
        except lzma.LZMAError as error:
            raise r.error(f"LZMA: {error}") from error
        self.unpacked += len(data)
        if self.unpacked > _MOST_UNPACKED:
            raise r.error(f"sections unpack to more than {_MOST_UNPACKED} bytes")
        if not decoder.eof:
            raise r.error("LZMA: the stream is cut off")
        return data

    def count(self, offset: int) -> None:
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise FormatError(_WHAT, f"more than {_MOST_PARTS} volumes, files and sections", offset=offset)


@dataclass(frozen=True, slots=True)
class _Header:
    file_system: bytes
    length: int
    attributes: int
    size: int
    extended: int  # offset of the extended header; 0 without


def _volume_header(data: bytes) -> _Header | None:
    """The header that `data` begins with, where there is one whose checksum holds."""
    if len(data) < 56 or data[40:44] != b"_FVH":
        return None
    length, size = int.from_bytes(data[32:40], "little"), int.from_bytes(data[48:50], "little")
    if size < 56 or size % 2 or size > min(length, len(data)):
        return None
    if sum(struct.unpack(f"<{size // 2}H", data[:size])) & 0xFFFF:
        return None
    attributes, extended = int.from_bytes(data[44:48], "little"), int.from_bytes(data[52:54], "little")
    return _Header(data[16:32], length, attributes, size, extended)


def _extended_header(raw: bytes, header: _Header, start: int) -> tuple[bytes | None, int]:
    """The volume's name, and the offset of its first file."""
    if header.extended == 0:
        return None, header.size
    r = Reader(raw[header.extended : header.length], what=_WHAT, base=start + header.extended)
    name, size = r.take(16, "volume name"), r.uint(4, "extended header size")
    first = header.extended + size
    return name, first + -first % 8
