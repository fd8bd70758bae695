"""Kernels of -kernel: the header that QEMU writes, field by field, and the load options of each firmware."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import linux
from simulators import bzimages

GIB = 1 << 30
ACPI_DATA = 0x28000
# Bytes that QEMU may write, with an initrd and a video mode.
WRITTEN = {0x1FA, 0x1FB, 0x210, 0x211, *range(0x218, 0x220), 0x224, 0x225, *range(0x228, 0x22C)}


def rewritten(kernel: bytes, *, memory: int = 4 * GIB, initrd: int | None = None, line: str = "") -> bytes:
    return linux.rewrite_for_qemu(kernel, memory=memory, initrd_size=initrd, command_line=line)


def initrd_address(kernel: bytes, memory: int, size: int) -> int:
    header = linux.parse_setup_header(rewritten(kernel, memory=memory, initrd=size))
    assert header.ramdisk_size == size
    return header.ramdisk_image


def test_the_header_is_read_field_by_field() -> None:
    header = linux.parse_setup_header(bzimages.kernel(setup_sectors=7, ramdisk_image=5, ramdisk_size=6, heap_end=8))
    assert header == linux.SetupHeader(7, 0xFFFF, 0x20F, 0, 1, 5, 6, 8, 0, 0x7FFFFFFF, 0x7F)
    assert header.setup_size == 8 * 512


def test_no_setup_sectors_are_four() -> None:
    assert linux.parse_setup_header(bzimages.kernel(setup_sectors=0)).setup_size == 5 * 512


def test_without_initrd_seven_bytes_change() -> None:
    kernel = bzimages.kernel(loadflags=0x21, loader=0xFF, heap_end=1)
    result = rewritten(kernel, line="console=ttyS0")
    assert result[0x210:0x212] == b"\xb0\xa1"
    assert result[0x224:0x226] == b"\x00\xfe"
    assert result[0x228:0x22C] == b"\x00\x00\x02\x00"
    changed = {at for at, (old, new) in enumerate(zip(kernel, result, strict=True)) if old != new}
    assert changed <= {0x210, 0x211, 0x224, 0x225, *range(0x228, 0x22C)}


@settings(max_examples=50, deadline=None)
@given(memory=st.integers(1 << 28, 1 << 40), size=st.integers(0, 1 << 27), above=st.booleans(), mode=st.integers(0, 99))
def test_nothing_else_changes_and_a_second_time_changes_nothing(memory: int, size: int, above: bool, mode: int) -> None:
    kernel = bzimages.kernel(xloadflags=2 * above)
    result = rewritten(kernel, memory=memory, initrd=size, line=f"vga={mode}")
    changed = {at for at, (old, new) in enumerate(zip(kernel, result, strict=True)) if old != new}
    assert changed <= WRITTEN
    assert rewritten(result, memory=memory, initrd=size, line=f"vga={mode}") == result
    header = linux.parse_setup_header(result)
    assert header.ramdisk_image % 4096 == 0
    assert header.ramdisk_image + size <= header.initrd_limit
    assert header.ramdisk_image + size < min(memory, 0xB0000000) - ACPI_DATA


@pytest.mark.parametrize(
    ("memory", "low"),
    [(1 * GIB, 1 * GIB), (0xB0000000 - 4096, 0xB0000000 - 4096), (0xB0000000, 2 * GIB), (512 * GIB, 2 * GIB)],
)
def test_the_initrd_ends_below_the_acpi_data_of_low_memory(memory: int, low: int) -> None:
    assert initrd_address(bzimages.kernel(), memory, 5000) == (low - ACPI_DATA - 1 - 5000) & ~4095


def test_a_kernel_that_does_not_load_above_4g_keeps_its_own_limit() -> None:
    kernel = bzimages.kernel(xloadflags=0, initrd_addr_max=0x37FFFFFF)
    assert initrd_address(kernel, 4 * GIB, 1) == 0x37FFF000
    assert initrd_address(bzimages.kernel(xloadflags=0), 1 * GIB, 1) == (1 * GIB - ACPI_DATA - 2) & ~4095


def test_xloadflags_count_from_protocol_2_12() -> None:
    old = bzimages.kernel(protocol=0x20B, xloadflags=2, initrd_addr_max=0x37FFFFFF)
    assert linux.parse_setup_header(old).xloadflags == 0
    assert initrd_address(old, 4 * GIB, 1) == 0x37FFF000


def test_an_initrd_that_does_not_fit_is_refused() -> None:
    kernel = bzimages.kernel()
    limit = 1 * GIB - ACPI_DATA - 1
    assert initrd_address(kernel, 1 * GIB, limit - 1) == 0
    with pytest.raises(FormatError, match=f"initrd of {limit} bytes does not fit below address 0x3ffd7fff"):
        rewritten(kernel, memory=1 * GIB, initrd=limit)
    with pytest.raises(FormatError, match="does not fit below address 0x0"):
        rewritten(kernel, memory=4096, initrd=0)


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("quiet", None),
        ("vga=normal", 0xFFFF),
        ("vga=ext", 0xFFFE),
        ("vga=ask quiet", 0xFFFD),
        ("vga=normally", 0xFFFF),
        ("quiet vga=791 vga=1", 791),
        ("novga=0x317", 0x317),
        ("vga=0X317 ", 0x317),
        ("vga=0", 0),
        ("vga=017", 15),
        ("vga= 5", 5),
        ("vga=+5", 5),
        ("vga=-1", 0xFFFF),
        ("vga=65536", 0),
        ("vga=4294967295", 0xFFFF),
    ],
)
def test_the_first_vga_sets_the_video_mode(line: str, mode: int | None) -> None:
    kernel = bzimages.kernel(video_mode=0x1234)
    assert linux.parse_setup_header(rewritten(kernel, line=line)).video_mode == (0x1234 if mode is None else mode)


@pytest.mark.parametrize("value", ["", "x", "5x", "08", "0x", "5\n", "4294967296", "-4294967296", "--1"])
def test_a_vga_that_qemu_does_not_start_with_is_refused(value: str) -> None:
    with pytest.raises(FormatError, match="is no video mode"):
        rewritten(bzimages.kernel(), line=f"vga={value}")


@pytest.mark.parametrize(
    ("kernel", "problem"),
    [
        (b"", "boot sector needs 497 bytes"),
        (bzimages.kernel()[:0x237], "xloadflags needs 2 bytes, 1 left"),
        (bzimages.kernel(dos=b"\x7fELF", magic=b"\0\0\0\0"), "HdrS is missing"),
        (bzimages.kernel(protocol=0x202), "protocol 0x202 is older"),
        (bzimages.kernel(loadflags=0), "is a zImage"),
        (bzimages.kernel(setup_sectors=16), "setup of 8704 bytes is longer than the file"),
    ],
)
def test_what_is_no_bzimage_is_refused(kernel: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        rewritten(kernel)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 0x237))
def test_every_truncated_header_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        linux.parse_setup_header(bzimages.kernel()[:size])


def test_an_image_that_is_no_kernel_stays_as_it_is() -> None:
    image = bzimages.kernel(magic=b"\0\0\0\0")
    assert rewritten(image, line="vga=5") == image
    with pytest.raises(FormatError, match="takes no initrd"):
        rewritten(image, initrd=1)


@pytest.mark.parametrize(("line", "pointer"), [("", 0x9FF0), ("x" * 15, 0x9FF0), ("x" * 16, 0x9FE0), ("é" * 8, 0x9FE0)])
def test_an_older_qemu_writes_into_any_image(line: str, pointer: int) -> None:
    image = bzimages.kernel(magic=b"\0\0\0\0")
    result = linux.rewrite_for_qemu(image, memory=GIB, initrd_size=None, command_line=line, patches_any_image=True)
    assert result == image[:0x20] + b"\x3f\xa3" + pointer.to_bytes(2, "little") + image[0x24:]


def test_a_kernel_is_written_to_in_the_same_way_by_every_qemu() -> None:
    kernel = bzimages.kernel()
    older = linux.rewrite_for_qemu(kernel, memory=GIB, initrd_size=1, command_line="", patches_any_image=True)
    assert older == rewritten(kernel, memory=GIB, initrd=1)


@pytest.mark.parametrize(
    ("append", "has_initrd", "generation", "expected"),
    [
        ("quiet", False, 202502, "quiet\0"),
        ("quiet", False, 202508, "quiet\0"),
        ("quiet", True, 202505, "quiet initrd=initrd\0"),
        ("quiet", True, 202508, "initrd=initrd quiet\0"),
        (" quiet  ", True, 202608, "initrd=initrd  quiet  \0"),
        ("", True, 202502, " initrd=initrd\0"),
        ("", True, 202508, "initrd=initrd \0"),
        ("", False, 202502, ""),
    ],
)
def test_load_options(append: str, has_initrd: bool, generation: int, expected: str) -> None:
    assert linux.load_options(append, has_initrd, generation) == expected.encode("utf-16-le")


def test_each_byte_of_the_command_line_is_a_character() -> None:
    assert linux.load_options("é\udcff", False, 202502) == b"\xc3\0\xa9\0\xff\0\0\0"


def test_a_command_line_with_nul_is_refused() -> None:
    with pytest.raises(FormatError, match="offset 0x1: holds a NUL"):
        linux.load_options("a\0b", False, 202502)
