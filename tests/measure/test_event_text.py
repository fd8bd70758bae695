"""An event's words: its data read where it fits, and printable and short whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.event_text import (
    INITRD_TAG,
    blob_size,
    boot_order,
    describe,
    image_path,
    label,
    listed,
    tag_of,
    variable_of,
)
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType, LogEvent
from simulators.boot_logs import BLOCK, file, image_data, tagged
from simulators.event_logs import measured

OPTION = b"\1\0\0\0\4\0" + "UiApp\0".encode("utf-16-le") + b"\x7f\xff\4\0"


def variable(name: str, content: bytes) -> bytes:
    return uefi.Variable(uefi.GLOBAL_VARIABLE, name, content).encode()


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (EventType.EV_SEPARATOR, bytes(4), "separator"),
        (EventType.EV_SEPARATOR, b"\1\0\0\0", "separator 01000000"),
        (EventType.EV_EFI_ACTION, b"Exit\x1b", "Exit\\x1b"),
        (EventType.EV_IPL, "x=1\0".encode("utf-16-le"), "x=1"),
        (EventType.EV_IPL, b"grub.cfg\0", "grub.cfg"),
        (EventType.EV_IPL, b"x" * 400, "x" * 200 + "..."),
        (EventType.EV_PLATFORM_CONFIG_FLAGS, b"ACPI DATA", "ACPI DATA"),
        (EventType.EV_PLATFORM_CONFIG_FLAGS, b"QEMU FW CFG\0" + b"BootMenu".ljust(56, b"\0"), "QEMU FW CFG BootMenu"),
        (EventType.EV_PLATFORM_CONFIG_FLAGS, bytes(8), "label without a text"),
        (EventType.EV_EVENT_TAG, tagged(INITRD_TAG, b"Linux initrd\0"), "initrd: Linux initrd"),
        (EventType.EV_EVENT_TAG, tagged(7, b"x\0"), "tag 0x7: x"),
        (EventType.EV_EVENT_TAG, b"Linux initrd\0", "initrd: Linux initrd"),
        (EventType.EV_EVENT_TAG, b"?", "EV_EVENT_TAG with 1 bytes that do not fit it"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("PK", b""), "variable PK: absent"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("PK", b"12"), "variable PK: 2 bytes 3132"),
        (EventType.EV_EFI_VARIABLE_AUTHORITY, variable("db", bytes(17)), "variable db: 17 bytes " + "00" * 16 + "..."),
        (EventType.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\1\0\0\0"), "variable BootOrder: 0001 0000"),
        (EventType.EV_EFI_VARIABLE_BOOT, variable("Boot0000", OPTION), "variable Boot0000: UiApp"),
        (EventType.EV_EFI_VARIABLE_BOOT2, variable("Boot0001", b"??"), "variable Boot0001: 2 bytes 3f3f"),
        (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data(), "image of 4096 bytes from memory"),
        (EventType.EV_EFI_BOOT_SERVICES_DRIVER, image_data(BLOCK), "image of 4096 bytes from Pci(2,0)"),
        (EventType.EV_EFI_GPT_EVENT, b"12", "partition table, 2 bytes"),
        (EventType.EV_EFI_HANDOFF_TABLES2, b"\x09TdxTable\0" + bytes(8), "table TdxTable"),
        (
            EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2,
            b"\x03Fv\0" + (0xFFC00000).to_bytes(8, "little") + (0x84000).to_bytes(8, "little"),
            "firmware blob Fv, 0x84000 bytes at 0xffc00000",
        ),
        (EventType.EV_EFI_HANDOFF_TABLES2, b"\x03F", "EV_EFI_HANDOFF_TABLES2 with 2 bytes that do not fit it"),
        (EventType.EV_S_CRTM_VERSION, b"12", "EV_S_CRTM_VERSION with 2 bytes"),
        (EventType.EV_EFI_VARIABLE_BOOT, b"", "EV_EFI_VARIABLE_BOOT without its data"),
    ],
)  # fmt: skip
def test_data_is_read_by_its_type(kind: int, data: bytes, words: str) -> None:
    assert describe(LogEvent(1, kind, {}, data)) == words


@given(st.sampled_from([*map(int, EventType), 0x7777]), st.binary(max_size=300))
def test_any_data_has_short_printable_words(kind: int, data: bytes) -> None:
    words = describe(measured(1, kind, data))
    assert words.isprintable()
    assert len(words) < 900


def test_labels_are_read_in_both_spellings() -> None:
    assert label("a b\0".encode("utf-16-le")) == "a b"
    assert label(b"etc/acpi/rsdp".ljust(56, b"\0")) == "etc/acpi/rsdp"
    assert label("a".encode("utf-16-le")) == label(b"a") == "a"
    assert label("ab".encode("utf-16-le") + b"\0") == "ab"
    assert label(b"") == ""


def test_what_does_not_fit_is_none() -> None:
    odd = LogEvent(1, EventType.EV_EVENT_TAG, {}, b"?")
    assert [tag_of(event) for event in (odd, None, LogEvent(1, 4, {}, b""))] == [None] * 3
    assert [read(odd) for read in (image_path, blob_size, variable_of)] == [None] * 3
    assert variable_of(LogEvent(1, EventType.EV_EFI_VARIABLE_BOOT, {}, b"?")) is None
    assert image_path(LogEvent(1, 0, {}, image_data(file("x")))) == (file("x"),)


def test_orders_and_lists_are_short() -> None:
    assert boot_order(b"") == boot_order(b"\1") == "empty"
    assert boot_order(bytes(40)) == "0000 " * 16 + "..."
    many = [measured(1, EventType.EV_IPL, bytes([97 + n])) for n in range(5)]
    assert listed(many, describe) == "a; b; c and 2 more"
    assert listed(many[:2], describe) == "a; b"
    assert listed([], describe) == "nothing"
