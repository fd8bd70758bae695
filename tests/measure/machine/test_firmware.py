"""Firmware as far as it decides measurements: what is kept of an image, and where its generation comes from."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import firmware_volume, tdvf
from pluto_measure.machine import firmware
from pluto_measure.machine.firmware import GENERATIONS, KNOWN, Firmware, Inside, parse_generation
from pluto_measure.machine.mrtd import ORDERS, mrtd
from simulators import firmware_volumes, tdvf_images
from simulators.tdvf_images import CFV, CFV_SIZE, Entry

IMAGE = tdvf_images.image()


def built_from(version: str, *files: bytes, volume: bytes = firmware_volume.DXE_VOLUME) -> bytes:
    """An image whose code is a firmware volume of this name, with these files and this version in it."""
    text = f"{version}\0".encode("utf-16-le")
    named = [firmware_volumes.file(guid, firmware_volumes.section(0x10, text)) for guid in (b"D" * 16, *files)]
    return tdvf_images.laid(IMAGE, [(CFV_SIZE, firmware_volumes.volume(named, name=volume))])


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_kept_of_an_image(order: str) -> None:
    found = Firmware.of(IMAGE, order, 202502)
    sections = tdvf.parse(IMAGE)
    assert (found.digests, found.size, found.sections) == (Digests.of(IMAGE), len(IMAGE), sections)
    assert found.cfv == hashlib.sha384(IMAGE[:CFV_SIZE]).digest()
    assert found.mrtd(order) == mrtd(IMAGE, sections, order)
    (other,) = set(ORDERS) - {order}
    with pytest.raises(FormatError, match="MRTD cannot be computed") as caught:
        found.mrtd(other)
    assert caught.value.hint == "name the image with --firmware FILE"


def test_an_image_in_json() -> None:
    found = Firmware.of(IMAGE, "interleaved", 202502)
    assert found.to_json() == {
        **Digests.of(IMAGE).to_json(),
        "edk2Generation": 202502,
        "size": len(IMAGE),
        "cfv": found.cfv.hex(),
        "mrtd": {"interleaved": found.mrtd("interleaved").hex()},
        "sections": [section.to_json() for section in found.sections],
    }


def test_an_image_without_mrtd_in_json() -> None:
    assert Firmware(Digests.of(IMAGE), sections=tdvf.parse(IMAGE)).to_json()["mrtd"] == {}


def test_firmware_by_its_digest_has_no_mrtd() -> None:
    by_digest = Firmware(Digests.of(IMAGE))
    assert by_digest.to_json() == Digests.of(IMAGE).to_json()
    with pytest.raises(FormatError, match="is known by its digest alone, so MRTD cannot be computed"):
        by_digest.mrtd("interleaved")


@pytest.mark.parametrize("stores", [0, 2])
def test_one_variable_store_is_what_the_event_is_of(stores: int) -> None:
    code, _, *rest = tdvf_images.ovmf()
    more = [Entry(0x1000 * i, 0x1000, 0xFF000000 + 0x1000 * i, 0x1000, CFV, 0) for i in range(stores)]
    with pytest.raises(FormatError, match=f"{stores} CFV sections, not one"):
        Firmware.of(tdvf_images.image([code, *more, *rest]), "interleaved", 202502)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(FormatError, match="neither OVMF's table"):
        Firmware.of(bytes(len(IMAGE)), "interleaved", 202502)


# Where the generation comes from


def generation(image: bytes, said: int | None = None) -> int | None:
    return Firmware.of(image, "interleaved", said).generation


def test_the_generation_is_read_out_of_the_image() -> None:
    assert generation(built_from("2025.02-8+deb13u1")) == 202502
    assert generation(built_from("edk2-stable202411")) == 202411


def test_the_callers_word_comes_first_then_the_list_of_known_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    image = built_from("2025.02-8")
    assert generation(image, 202505) == 202505
    monkeypatch.setattr(firmware, "KNOWN", {hashlib.sha256(image).hexdigest(): Inside(202508)})
    assert generation(image, 202505) == 202505
    assert generation(image) == 202508
    assert generation(built_from("2025.02-9")) == 202502


def test_an_image_whose_volumes_nobody_can_read_has_no_generation() -> None:
    assert generation(IMAGE) is None
    assert Firmware.of(IMAGE, "interleaved").mrtd("interleaved") == mrtd(IMAGE, tdvf.parse(IMAGE))
    assert "edk2Generation" not in Firmware.of(IMAGE, "interleaved").to_json()


def test_an_image_without_a_version_has_no_generation() -> None:
    assert generation(built_from("unknown")) is None


# Whether the shell is a boot option


def has_shell(image: bytes, said: int | None = None, *, unpack: bool = False) -> bool | None:
    return Firmware.of(image, "interleaved", said, unpack=unpack).inside.has_shell


def test_the_shell_counts_where_a_trust_domain_finds_it() -> None:
    assert has_shell(built_from("2025.02-8", firmware_volume.SHELL)) is True
    assert has_shell(built_from("2025.02-8")) is False
    outside = firmware_volume.NOT_IN_TD_VOLUME
    assert has_shell(built_from("2025.02-8", firmware_volume.SHELL, volume=outside)) is False


def test_an_image_is_looked_into_only_where_that_is_needed() -> None:
    image = built_from("2025.02-8", firmware_volume.SHELL)
    assert has_shell(image, 202502) is None
    assert has_shell(image, 202502, unpack=True) is True
    assert generation(image, 202508) == 202508
    assert Firmware.of(image, "interleaved", 202508, unpack=True).generation == 202508


def test_nobody_knows_whether_the_shell_is_in_an_image_that_cannot_be_read() -> None:
    assert has_shell(IMAGE) is None
    assert has_shell(IMAGE, 202502, unpack=True) is None
    assert Firmware(Digests.of(IMAGE)).inside == Inside()


@pytest.mark.parametrize(
    ("name", "shell"),
    [
        ("debian-13-ovmf_2025.02-8+deb13u1-OVMF.fd", True),
        ("ubuntu-25.04-ovmf_2025.02-3ubuntu2-OVMF.fd", True),
        ("ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd", True),
        ("ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd", False),
    ],
)
def test_known_builds_are_what_an_unpacking_finds(
    vectors: Path, monkeypatch: pytest.MonkeyPatch, name: str, shell: bool
) -> None:
    data = lzma.decompress((vectors / f"measure/firmware/{name}.xz").read_bytes())
    known = Firmware.of(data, "interleaved")
    assert (known.generation, known.inside.has_shell) == (202502, shell)
    assert KNOWN[hashlib.sha256(data).hexdigest()] == Inside(202502, shell, True)
    monkeypatch.setattr(firmware, "KNOWN", {})
    assert Firmware.of(data, "interleaved") == known


def test_every_known_build_is_of_a_generation_whose_rules_are_known() -> None:
    assert {inside.generation for inside in KNOWN.values()} <= set(GENERATIONS)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in KNOWN)


@pytest.mark.parametrize("value", [202502, "202502", "edk2-stable202502"])
def test_each_spelling_of_a_generation(value: int | str) -> None:
    assert parse_generation(value) == 202502


@pytest.mark.parametrize("value", [*GENERATIONS, 202602])
def test_stable_tags_from_202302_on_are_generations(value: int) -> None:
    assert parse_generation(value) == value


@pytest.mark.parametrize(
    "value",
    ["", "2025.02", "edk2-202502", "stable202502", 2025, 2025021, "202500", "202513", "２０２５０２", -20250, "20250x"],
)
def test_what_is_no_stable_tag_is_refused(value: int | str) -> None:
    with pytest.raises(FormatError, match="is not a stable tag such as 202502"):
        parse_generation(value)


@pytest.mark.parametrize("value", [202211, "edk2-stable202208", "000001"])
def test_firmware_that_measures_too_little_is_refused(value: int | str) -> None:
    with pytest.raises(FormatError, match="measures no TD HOB and no variable store; 202302 is the first"):
        parse_generation(value)


# What decides the options of 202505 and later


def test_menu_and_setup_are_found_with_the_volume_they_lie_in() -> None:
    both = built_from("2025.05-1", firmware_volume.MENU_APP, firmware_volume.SETUP_APP)
    inside = Firmware.of(both, "interleaved").inside
    assert inside == Inside(202505, False, True, firmware_volume.DXE_VOLUME)
    alone = built_from("2025.05-1", firmware_volume.MENU_APP, volume=b"V" * 16)
    assert Firmware.of(alone, "interleaved").inside == Inside(202505, False, False, b"V" * 16)
    unseen = built_from("2026.05-1", firmware_volume.MENU_APP, volume=firmware_volume.NOT_IN_TD_VOLUME)
    assert Firmware.of(unseen, "interleaved").inside.menu_volume is None
