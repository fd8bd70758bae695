"""What QEMU and OVMF make of a kernel that is given with `-kernel`: its setup header rewritten, and its load options.

Formats: Linux Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"); the rules are those of QEMU
hw/i386/x86-common.c (x86_load_linux; x86.c before 9.1) and hw/i386/pc_q35.c (memory below 4 GiB), and of edk2
OvmfPkg/Library/GenericQemuLoadImageLib.

    0x1f1 u8 setup_sects   0x1fa u16 vid_mode       0x202 "HdrS"              0x206 u16 protocol
    0x210 u8 loader        0x211 u8 loadflags       0x218 u32 ramdisk_image   0x21c u32 ramdisk_size
    0x224 u16 heap_end     0x228 u32 cmd_line_ptr   0x22c u32 initrd_addr_max 0x236 u16 xloadflags
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

LOADED_HIGH: Final = 0x01  # loadflags: the protected-mode code goes to 1 MiB, as every bzImage asks
ABOVE_4G: Final = 0x0002  # xloadflags: XLF_CAN_BE_LOADED_ABOVE_4G

_WHAT: Final = "Linux kernel"
_HEADER_END: Final = 0x238
_OLDEST: Final = 0x203  # older ones have no initrd_addr_max, and 2.01 and before another place for the command line
_WITH_XLOADFLAGS: Final = 0x20C

# QEMU: a q35 machine with this much memory has 2 GiB below 4 GiB, one with less has all of it there.
_SPLIT_FROM: Final = 0xB0000000
_LOW_WHEN_SPLIT: Final = 0x80000000
_ACPI_DATA: Final = 0x28000  # kept free at the end of low memory, for every machine type after 2.0

_LOADER: Final = 0xB0  # type_of_loader: QEMU
_CAN_USE_HEAP: Final = 0x80
_REAL_MODE, _COMMAND_LINE = 0x10000, 0x20000  # addresses of a bzImage of protocol 2.02 and later
_OLD_REAL_MODE, _OLD_END = 0x90000, 0x9A000  # of everything else
_OLD_MAGIC: Final = 0xA33F

_VGA_WORDS: Final = (("normal", 0xFFFF), ("ext", 0xFFFE), ("ask", 0xFFFD))
_VGA_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?= |\Z)")


@dataclass(frozen=True, slots=True)
class SetupHeader:
    """The header of a bzImage, as far as something here depends on it. Addresses and sizes in bytes."""

    setup_sectors: int  # as written; 0 means 4
    video_mode: int
    protocol: int  # 0x20f for 2.15
    loader: int
    loadflags: int
    ramdisk_image: int
    ramdisk_size: int
    heap_end: int
    command_line: int
    initrd_addr_max: int
    xloadflags: int  # 0 before protocol 2.12

    @property
    def setup_size(self) -> int:
        """Boot sector and real-mode code: the part of the file that QEMU hands over apart from the rest."""
        return (1 + (self.setup_sectors or 4)) * 512

    @property
    def initrd_limit(self) -> int:
        """The highest address of an initrd in QEMU's reading: kernels that load above 4 GiB take any."""
        return 0xFFFFFFFF if self.xloadflags & ABOVE_4G else self.initrd_addr_max


def parse_setup_header(data: bytes) -> SetupHeader:
    """The setup header of a bzImage of protocol 2.03 or later. FormatError."""
    r = Reader(data[:_HEADER_END], what=_WHAT)
    r.take(0x1F1, "boot sector")
    sectors = r.uint(1, "setup_sects")
    r.take(8, "root_flags to ram_size")
    video_mode = r.uint(2, "vid_mode")
    r.take(6, "root_dev to jump")
    if r.take(4, "header") != b"HdrS":
        raise FormatError(_WHAT, "has no setup header: HdrS is missing", offset=0x202)
    protocol = r.uint(2, "version")
    if protocol < _OLDEST:
        raise FormatError(_WHAT, f"boot protocol {protocol:#x} is older than {_OLDEST:#x}", offset=0x206)
    r.take(8, "realmode_swtch to kernel_version")
    loader, loadflags = r.uint(1, "type_of_loader"), r.uint(1, "loadflags")
    r.take(6, "setup_move_size and code32_start")
    image, size = r.uint(4, "ramdisk_image"), r.uint(4, "ramdisk_size")
    r.take(4, "bootsect_kludge")
    heap_end = r.uint(2, "heap_end_ptr")
    r.take(2, "ext_loader_ver and ext_loader_type")
    command_line, limit = r.uint(4, "cmd_line_ptr"), r.uint(4, "initrd_addr_max")
    r.take(6, "kernel_alignment to min_alignment")
    xloadflags = r.uint(2, "xloadflags") if protocol >= _WITH_XLOADFLAGS else 0
    header = SetupHeader(
        sectors, video_mode, protocol, loader, loadflags, image, size, heap_end, command_line, limit, xloadflags
    )
    if header.setup_size > len(data):
        raise FormatError(_WHAT, f"setup of {header.setup_size} bytes is longer than the file", offset=0x1F1)
    return header


def rewrite_for_qemu(
    kernel: bytes, *, memory: int, initrd_size: int | None, command_line: str, patches_any_image: bool = False
) -> bytes:
    """The kernel as QEMU (q35) hands it to the firmware in the fw_cfg items of setup and kernel data.

    QEMU from 10.2 leaves the kernel of a confidential machine alone, and one from 10.0 offers the file as it is in
    `etc/boot/kernel`, which OVMF from 202502 prefers: this function is for what is older. `memory` is that of the
    machine and `initrd_size` that of the file, in bytes. A PE image that is no kernel (a UKI, a boot loader) comes
    back as it is, unless `patches_any_image`: so did QEMU before its commit 57e2cc9abf5d (10.0, and the stable
    updates of 2025). FormatError where QEMU would not start, and for kernels that this rule does not cover.
    """
    low = _LOW_WHEN_SPLIT if memory >= _SPLIT_FROM else memory
    if kernel[:2] == b"MZ" and kernel[0x202:0x206] != b"HdrS":
        if initrd_size is not None:
            raise FormatError(_WHAT, "an image without setup header takes no initrd", offset=0x202)
        return _patched(kernel, _patches_of_an_image(command_line)) if patches_any_image else kernel
    header = parse_setup_header(kernel)
    if not header.loadflags & LOADED_HIGH:
        raise FormatError(_WHAT, "is a zImage, not a bzImage", offset=0x211)
    patches = {
        0x210: bytes([_LOADER, header.loadflags | _CAN_USE_HEAP]),
        0x224: (_COMMAND_LINE - _REAL_MODE - 0x200).to_bytes(2, "little"),
        0x228: _COMMAND_LINE.to_bytes(4, "little"),
        **_video_mode(command_line),
    }
    if initrd_size is not None:
        address = _initrd_address(header, low, initrd_size)
        patches[0x218] = address.to_bytes(4, "little") + initrd_size.to_bytes(4, "little")
    return _patched(kernel, patches)


def load_options(append: str, has_initrd: bool, edk2_generation: int) -> bytes:
    """The load options that OVMF gives a kernel of `-kernel`: UTF-16LE with its NUL; nothing where there are none.

    `append` is QEMU's `-append` ("" without), `edk2_generation` a stable tag such as 202502. Each byte of the command
    line becomes one UTF-16 character. The blank between the two parts stays where `append` is empty. FormatError.
    """
    if "\0" in append:
        raise FormatError("command line", "holds a NUL", offset=append.index("\0"))
    line = append.encode("utf-8", "surrogateescape").decode("latin-1")
    if has_initrd:
        line = f"initrd=initrd {line}" if edk2_generation >= 202508 else f"{line} initrd=initrd"
    return f"{line}\0".encode("utf-16-le") if line else b""


def _initrd_address(header: SetupHeader, low_memory: int, size: int) -> int:
    limit = min(header.initrd_limit, low_memory - _ACPI_DATA - 1)
    if size >= limit:
        raise FormatError(_WHAT, f"initrd of {size} bytes does not fit below address {max(limit, 0):#x}")
    return (limit - size) & ~0xFFF


def _video_mode(command_line: str) -> dict[int, bytes]:
    """The patch for the first `vga=`, wherever it stands: QEMU looks for the text and not for a word."""
    _, found, value = command_line.partition("vga=")
    if not found:
        return {}
    for word, mode in _VGA_WORDS:
        if value.startswith(word):
            return {0x1FA: mode.to_bytes(2, "little")}
    match = _VGA_NUMBER.match(value)
    if match is None:
        raise FormatError("command line", f"vga={value.partition(' ')[0]} is no video mode")
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    number = int(digits, base)
    if number > 0xFFFFFFFF:
        raise FormatError("command line", f"vga={digits} is no video mode")
    return {0x1FA: ((-number if match[1] == "-" else number) & 0xFFFF).to_bytes(2, "little")}


def _patches_of_an_image(command_line: str) -> dict[int, bytes]:
    """What an image without setup header gets: it is taken for a kernel of before protocol 2.00."""
    room = (len(command_line.encode("utf-8", "surrogateescape")) + 16) & ~15
    offset = (_OLD_END - room - _OLD_REAL_MODE) & 0xFFFF
    pointer = _OLD_MAGIC.to_bytes(2, "little") + offset.to_bytes(2, "little")
    return {0x20: pointer, **_video_mode(command_line)}


def _patched(image: bytes, patches: dict[int, bytes]) -> bytes:
    result = bytearray(image)
    for at, new in patches.items():
        result[at : at + len(new)] = new
    return bytes(result)
