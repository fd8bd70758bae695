"""Firmware volumes: what images say of themselves, at whatever depth; four real ones; and what is refused."""

from __future__ import annotations

import lzma
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import firmware_volume as fv
from simulators import firmware_volumes as made

CODE = made.section(0x10, b"MZ code")
MENU = made.file(fv.MENU_APP, made.sections(CODE, made.named("BootManagerMenuApp")), kind=made.APPLICATION)
SETUP = made.file(fv.SETUP_APP, made.sections(CODE, made.named("UiApp")), kind=made.APPLICATION)
SHELL = made.file(fv.SHELL, CODE, kind=made.APPLICATION)
IMAGE = made.ovmf([MENU], not_in_td=[SETUP, SHELL])


def driver(content: bytes) -> bytes:
    return made.file(b"D" * 16, made.section(0x10, content))


def says(text: str) -> bytes:
    return driver(b"\0\0" + f"{text}\0".encode("utf-16-le"))


def test_volumes_are_listed_from_the_outside_inwards() -> None:
    firmware = fv.parse(IMAGE)
    names = [None, b"C" * 16, b"P" * 16, fv.DXE_VOLUME, fv.NOT_IN_TD_VOLUME, b"Z" * 16]
    assert [volume.name for volume in firmware.volumes] == names
    assert sum(volume.size for volume in firmware.volumes if volume.name in (None, b"C" * 16, b"Z" * 16)) == len(IMAGE)
    assert firmware.volumes[0].file_system == made.VARIABLES


def test_files_are_found_in_their_volume_with_their_name() -> None:
    firmware = fv.parse(IMAGE)
    assert firmware.has(fv.MENU_APP)
    assert not firmware.has(fv.SECURE_BOOT_CONFIG)
    assert [volume.name for volume in firmware.volumes_with(fv.SETUP_APP)] == [fv.NOT_IN_TD_VOLUME]
    (volume,) = firmware.volumes_with(fv.MENU_APP)
    assert volume.files == (fv.File(fv.MENU_APP, made.APPLICATION, "BootManagerMenuApp"),)
    assert firmware.volumes[4].file(fv.SHELL) == fv.File(fv.SHELL, made.APPLICATION, None)
    assert volume.file(fv.SHELL) is None


@pytest.mark.parametrize(
    ("text", "version", "generation"),
    [
        ("2025.02-8ubuntu3", "2025.02-8ubuntu3", 202502),
        ("2026.08+ds-2", "2026.08+ds-2", 202608),
        ("edk2-stable202408-prebuilt.qemu.org", "edk2-stable202408-prebuilt.qemu.org", 202408),
        ("edk2-20250523-16.fc43", "edk2-20250523-16.fc43", 202505),
        ("2025.03-1", "2025.03-1", None),
        ("edk2-test", None, None),
        ("2025.x", None, None),
        ("1.0", None, None),
        ("", None, None),
    ],
)
def test_the_version_is_found_and_names_a_stable_tag(text: str, version: str | None, generation: int | None) -> None:
    image = made.ovmf([], pei=[says(text)])
    assert fv.version_text(image) == version
    assert fv.generation(image) == generation


def test_the_version_may_stand_outside_of_what_is_packed() -> None:
    assert fv.version_text(made.ovmf([], sec="x2025.05-1\0".encode("utf-16-le"))) == "2025.05-1"


def test_the_version_that_is_said_most_often_counts() -> None:
    image = made.ovmf([says("2019.11-0"), says("2025.02-8"), says("2025.02-8")], pei=[says("2024.02-1")])
    assert fv.version_text(image) == "2025.02-8"


@pytest.mark.parametrize(
    ("code", "fw_cfg", "initrd_first"),
    [
        (b"", False, None),
        (b"QEMU FW CFG\0", True, None),
        (b"\0 initrd=initrd\0", False, False),
        (b"\0initrd=initrd \0", False, True),
    ],
)
def test_rules_that_show_in_the_code(code: bytes, fw_cfg: bool, initrd_first: bool | None) -> None:
    for image in (made.ovmf([driver(code)]), made.ovmf([], sec=code)):
        firmware = fv.parse(image)
        assert (firmware.labels_fw_cfg, firmware.initrd_first) == (fw_cfg, initrd_first)


@pytest.mark.parametrize(
    "files",
    [
        [made.file(fv.MENU_APP, made.section(0x15, "A\0".encode("utf-16-le"), large=True))],
        [made.file(fv.MENU_APP, made.named("A"), large=True)],
        [made.file(b"B" * 16, b"raw", kind=1), made.file(fv.MENU_APP, made.named("A"), state=0)],
        [made.file(b"\xff" * 16, b"\xff" * 5, kind=made.PADDING_FILE), made.file(fv.MENU_APP, made.named("A"))],
        [made.file(fv.MENU_APP, made.guided(made.CRC32, made.named("B"), attributes=2) + made.named("A"))],
        [made.file(fv.MENU_APP, made.sections(made.guided(b"?" * 16, b"opaque"), made.named("A")))],
    ],
)
@pytest.mark.parametrize("erased", [0xFF, 0])
def test_every_form_of_files_and_sections_is_read(files: list[bytes], erased: int) -> None:
    (volume,) = fv.parse(made.volume(files, erased=erased)).volumes
    found = volume.file(fv.MENU_APP)
    assert found is not None
    assert found.name == "A"
    assert volume.name is None


def test_sections_that_are_only_wrapped_are_looked_into() -> None:
    inner = made.section(0x17, made.volume([MENU], name=b"I" * 16))
    for wrapped in (made.guided(made.CRC32, inner, attributes=2, skipped=b"crc!"), made.packed(inner)):
        firmware = fv.parse(made.volume([made.file(b"W" * 16, wrapped, kind=made.VOLUME_FILE)]))
        assert [volume.name for volume in firmware.volumes] == [None, b"I" * 16]


def test_a_volume_may_be_full() -> None:
    (volume,) = fv.parse(made.volume([MENU, SETUP], free=0)).volumes
    assert [file.guid for file in volume.files] == [fv.MENU_APP, fv.SETUP_APP]


def test_what_looks_like_a_volume_by_chance_is_passed_over() -> None:
    volume = made.volume([MENU])
    broken = volume[:50] + b"\1\2" + volume[52:]
    odd_size = volume[:48] + b"\x49\0" + volume[50:]
    image = b"x" * 40 + b"_FVH" + b"y" * 12 + broken + odd_size + b"padding!" + volume + b"tail" + volume[:48]
    firmware = fv.parse(image)
    assert [volume.size for volume in firmware.volumes] == [len(volume)]


def bomb() -> bytes:
    return made.packed(made.section(0x19, bytes(60 << 20), large=True))


def nested(depth: int) -> bytes:
    content = MENU
    for _ in range(depth):
        content = made.file(b"N" * 16, made.section(0x17, made.volume([content])), kind=made.VOLUME_FILE)
    return made.volume([content])


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (b"", "holds no volume"),
        (bytes(4096), "holds no volume"),
        (IMAGE[:4000], "volume of 4096 bytes is cut off"),
        (made.volume([MENU], length=1 << 63), "is cut off"),
        (made.volume([b"\0" + MENU[1:]]), "offset 0x48: file header checksum does not hold"),
        (made.volume([MENU], free=0)[:-8], "is cut off"),
        (made.volume([made.file(b"a" * 16, b"")[:20] + b"\1\0\0\xf8"]), "checksum"),
        (made.volume([driver(b"")], name=b"n" * 12), "volume header needs"),
        (made.volume([made.file(b"a" * 16, b"\3\0\0\x19")]), "section of 3 bytes is shorter"),
        (made.volume([made.file(b"a" * 16, b"\5\0\0\x19")]), "section needs 1 bytes, 0 left"),
        (made.volume([made.file(b"a" * 16, b"\xff\xff\xff\x19\7\0\0\0")]), "section of 7 bytes is shorter"),
        (made.volume([made.file(b"a" * 16, made.section(2, b"g" * 16 + b"\x10\0\1\0"))]), "GUIDed header needs -8"),
        (made.volume([made.file(b"a" * 16, made.section(0x17, b"no volume"))]), "section holds no volume"),
        (made.volume([made.file(b"a" * 16, made.section(0x17, made.volume([])[:-8]))]), "section holds no volume"),
        (made.volume([made.file(b"a" * 16, made.guided(made.LZMA, b"\xff" * 64))]), "LZMA: "),
        (made.volume([made.file(b"a" * 16, made.packed(CODE, dict_size=1 << 29))]), "LZMA: Memory usage limit"),
        (made.volume([made.file(b"a" * 16, made.guided(made.LZMA, b""))]), "LZMA: the stream is cut off"),
        (made.volume([made.file(b"a" * 16, bomb()), made.file(b"b" * 16, bomb())]), "unpack to more than"),
        (nested(3), "lie deeper than 6"),
        (made.volume([made.file(b"a" * 16, b"\4\0\0\x19" * 20_000)]), "more than 20000 volumes, files and sections"),
        (b"_FVH" * 20_011, "more than 20000 volumes, files and sections"),
    ],
)
def test_what_does_not_hold_together_is_refused(image: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        fv.parse(image)


def test_nesting_has_a_limit_on_either_kind() -> None:
    assert fv.parse(nested(2)).has(fv.MENU_APP)
    content = made.named("deep")
    for _ in range(7):
        content = made.guided(made.CRC32, content, attributes=0)
    with pytest.raises(FormatError, match="lie deeper than 6"):
        fv.parse(made.volume([made.file(b"a" * 16, content)]))


def test_a_file_that_is_shorter_than_its_header_is_refused() -> None:
    head = bytearray(made.file(b"a" * 16, b""))
    head[16] = (head[16] + head[20] - 5) & 0xFF
    head[20] = 5
    with pytest.raises(FormatError, match="file of 5 bytes is shorter"):
        fv.parse(made.volume([bytes(head)]))


def test_an_image_has_a_largest_size() -> None:
    with pytest.raises(FormatError, match="is larger than 67108864"):
        fv.parse(bytes((64 << 20) + 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(IMAGE) - 1))
def test_a_cut_image_is_refused_or_has_fewer_volumes(size: int) -> None:
    with suppress(FormatError):
        assert len(fv.parse(IMAGE[:size]).volumes) < len(fv.parse(IMAGE).volumes)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(IMAGE) - 1), new=st.binary(min_size=1, max_size=4))
def test_any_change_is_read_or_refused(at: int, new: bytes) -> None:
    with suppress(FormatError):
        fv.parse(IMAGE[:at] + new + IMAGE[at + len(new) :])


REAL = {
    "debian-13-ovmf_2025.02-8+deb13u1-OVMF.fd": ("2025.02-8+deb13u1", fv.DXE_VOLUME),
    "ubuntu-25.04-ovmf_2025.02-3ubuntu2-OVMF.fd": ("2025.02-3ubuntu2", fv.DXE_VOLUME),
    "ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd": ("2025.02-8ubuntu3", fv.DXE_VOLUME),
    "ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd": ("2025.02-8ubuntu3", fv.NOT_IN_TD_VOLUME),
}


@pytest.mark.parametrize("name", REAL)
def test_real_firmware(vectors: Path, name: str) -> None:
    version, shell_volume = REAL[name]
    data = lzma.decompress((vectors / f"measure/firmware/{name}.xz").read_bytes())
    began = time.perf_counter()
    firmware = fv.parse(data)
    assert time.perf_counter() - began < 5
    assert (firmware.version_text, firmware.generation) == (version, 202502)
    (setup,) = firmware.volumes_with(fv.SETUP_APP)
    assert setup.name == fv.DXE_VOLUME
    assert setup.file(fv.SETUP_APP) == fv.File(fv.SETUP_APP, made.APPLICATION, "UiApp")
    assert [volume.name for volume in firmware.volumes_with(fv.SHELL)] == [shell_volume]
    assert not firmware.has(fv.MENU_APP)
    assert not firmware.has(fv.SMBIOS_MEASUREMENT)
    assert (firmware.labels_fw_cfg, firmware.initrd_first) == (False, False)
