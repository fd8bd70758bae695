"""TDVF metadata as virt-firmware, tdx and td-shim-interface read it, and MRTD as mosaik computes it, beside ours."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interop.samples import firmware
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import mrtd
from simulators import tdvf_images

pytestmark = pytest.mark.interop

Rust = Callable[..., list[list[str]]]


def ours(data: bytes) -> list[list[int]]:
    return [[s.data_offset, s.raw_size, s.address, s.memory_size, s.type.value, s.attributes] for s in tdvf.parse(data)]


def numbers(lines: list[list[str]]) -> list[list[int]]:
    return [[int(word) for word in line] for line in lines]


def agrees(data: bytes, folder: Path, rust: Rust, python: Callable[..., Any]) -> None:
    """Two readers of the metadata and the one who computes MRTD say what we say of an image with OVMF's table."""
    path = folder / "firmware.fd"
    path.write_bytes(data)
    assert numbers(rust("sections", path)) == ours(data)
    assert python("sections", path) == ours(data)
    # mosaik adds all pages of a section before it extends them, and knows no other order. Which one a VMM takes, only
    # quotes tell: test_quotes.py.
    assert rust("mrtd", path) == [[mrtd(data, tdvf.parse(data), "sectioned").hex()]]


@pytest.mark.parametrize("name", firmware())
def test_peers_read_and_measure_our_images_as_we_do(
    name: str, tmp_path: Path, rust: Rust, python: Callable[..., Any]
) -> None:
    agrees(firmware()[name], tmp_path, rust, python)


def test_peers_read_and_measure_the_locked_firmware_as_we_do(
    locked: Callable[[str, str], bytes], tmp_path: Path, rust: Rust, python: Callable[..., Any]
) -> None:
    agrees(locked("ovmf", "usr/share/ovmf/OVMF.fd"), tmp_path, rust, python)


def test_peers_read_and_measure_published_firmware_as_we_do(
    vectors: Path, tmp_path: Path, rust: Rust, python: Callable[..., Any]
) -> None:
    images = sorted((vectors / "measure/firmware").glob("*.xz"))
    assert len(images) == 4
    for path in images:
        agrees(lzma.decompress(path.read_bytes()), tmp_path, rust, python)


def test_pages_that_are_added_later_are_in_nobodys_mrtd(tmp_path: Path, rust: Rust) -> None:
    """PAGE.AUG. The readers of the metadata know no other types of sections than OVMF has; mosaik does not care."""
    later = tdvf_images.Entry(0, 0, 0x100000000, 0x4000, tdvf_images.PERM_MEM, tdvf.AUGMENT)
    data = tdvf_images.image((*tdvf_images.ovmf(), later))
    (tmp_path / "firmware.fd").write_bytes(data)
    theirs = rust("mrtd", tmp_path / "firmware.fd")
    assert theirs == [[mrtd(data, tdvf.parse(data), "sectioned").hex()]]
    assert mrtd(data, tdvf.parse(data)[:-1], "sectioned").hex() == theirs[0][0]


def test_td_shims_own_reader_finds_the_sections_that_we_find(tmp_path: Path, rust: Rust) -> None:
    data = tdvf_images.td_shim()
    (tmp_path / "td-shim.bin").write_bytes(data)
    assert numbers(rust("td-shim-sections", tmp_path / "td-shim.bin")) == ours(data)


def test_td_shims_own_reader_finds_no_sections_in_ovmf(tmp_path: Path, rust: Rust) -> None:
    (tmp_path / "firmware.fd").write_bytes(tdvf_images.image())
    with pytest.raises(RuntimeError, match=r"no metadata of td-shim|out of range|overflow"):
        rust("td-shim-sections", tmp_path / "firmware.fd")
