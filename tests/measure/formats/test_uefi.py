"""UEFI structures, by hand-made bytes, by round trips, and as real logs hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import digest
from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType
from simulators import recorded_boots

UI_APP = (
    "09010000 2c00 5500 6900 4100 7000 7000 0000 04071400 c9bdb87cebf8344faaea3ee4af6516a1"
    "04061400 21aa2c46 1476 0345 836e 8ab6f4662331 7fff0400"
)


def test_the_load_option_of_the_firmwares_menu_is_read() -> None:
    option = uefi.parse_load_option(bytes.fromhex(UI_APP))
    assert (option.attributes, option.description, option.optional_data) == (0x109, "UiApp", b"")
    assert uefi.path_text(option.paths[0]) == (
        "Fv(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)"
    )


@pytest.mark.parametrize("size", range(len(bytes.fromhex(UI_APP))))
def test_a_cut_load_option_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        uefi.parse_load_option(bytes.fromhex(UI_APP)[:size])


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=16, max_size=16), st.text(max_size=12), st.binary(max_size=40))
def test_a_variable_is_read_as_it_was_written(guid: bytes, name: str, data: bytes) -> None:
    variable = uefi.Variable(guid, name, data)
    assert uefi.parse_variable(variable.encode()) == variable


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(uefi.PathNode, st.integers(1, 5), st.integers(0, 9), st.binary(max_size=20)), max_size=5))
def test_a_device_path_is_read_as_it_was_written(nodes: list[uefi.PathNode]) -> None:
    assert uefi.parse_path(uefi.encode_path(tuple(nodes))) == tuple(nodes)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("01010300", "node 0 of 3 bytes"),
        ("7fff0500 00", "end node is not empty"),
        ("7fff0400 00", "1 bytes left over"),
        ("01010400" * 70 + "7fff0400", "node 65"),
        ("0101", "length needs 2 bytes"),
    ],
)
def test_a_path_that_does_not_end_where_it_says_is_refused(path: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        uefi.parse_path(bytes.fromhex(path))


def test_signature_lists_are_read_one_after_the_other() -> None:
    def listed(kind: bytes, entries: list[bytes], header: bytes = b"") -> bytes:
        size = 16 + len(entries[0])
        body = header + b"".join(b"o" * 16 + entry for entry in entries)
        sizes = (28 + len(body)).to_bytes(4, "little") + len(header).to_bytes(4, "little") + size.to_bytes(4, "little")
        return kind + sizes + body

    data = listed(uefi.X509_SIGNATURE, [b"certificate"]) + listed(b"k" * 16, [b"a" * 32, b"b" * 32], b"head")
    assert [entry.data for entry in uefi.parse_signatures(data)] == [b"certificate", b"a" * 32, b"b" * 32]
    for size in range(1, len(data)):
        if size != len(listed(uefi.X509_SIGNATURE, [b"certificate"])):
            with pytest.raises(FormatError):
                uefi.parse_signatures(data[:size])


def test_a_signature_list_of_no_whole_entries_is_refused() -> None:
    with pytest.raises(FormatError, match="does not hold signatures of 17"):
        uefi.parse_signatures(
            bytes(16) + (60).to_bytes(4, "little") + bytes(4) + (17).to_bytes(4, "little") + bytes(32)
        )


def test_every_structure_in_the_recorded_logs_is_read(vectors: Path) -> None:
    seen = set()
    for folder in recorded_boots.FOLDERS:
        for event in recorded_boots.log(vectors, folder).events:
            match event.type:
                case EventType.EV_EFI_VARIABLE_DRIVER_CONFIG:
                    assert uefi.parse_variable(event.data).encode() == event.data
                    assert event.data_is_measured
                case EventType.EV_EFI_VARIABLE_BOOT:
                    variable = uefi.parse_variable(event.data)
                    assert all(digest(name, variable.data) == value for name, value in event.digests.items())
                    if variable.name != "BootOrder":
                        seen.add(uefi.parse_load_option(variable.data).description)
                case EventType.EV_EFI_BOOT_SERVICES_APPLICATION | EventType.EV_EFI_BOOT_SERVICES_DRIVER:
                    load = uefi.parse_image_load(event.data)
                    seen.add(uefi.path_text(load.path).rpartition("/")[2])
                case EventType.EV_EVENT_TAG:
                    seen.add(uefi.parse_tagged(event.data)[1].decode())
    assert {"UiApp", "UEFI Misc Device", "EFI Internal Shell", "File(kernel)"} <= seen
    assert {"File(\\EFI\\BOOT\\BOOTX64.EFI)", "VenMedia(55c5d1f8-04cd-46b5-8a20-e56cbb3052d0)"} <= seen
    assert {"LOADED_IMAGE::LoadOptions\0", "Linux initrd\0"} <= seen
