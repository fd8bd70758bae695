"""SMBIOS tables: what firmware blanks before it measures them, type by type, and the table of an OVMF guest."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import smbios
from simulators.smbios_tables import END, machine, numbered, structure

TYPE0 = smbios.ovmf_type0(vendor="EDK II", version="2025.05-1", date="05/20/2025")


def remains(kind: int, size: int, *strings: bytes, **at: int) -> tuple[dict[int, int], tuple[bytes, ...]]:
    """The fields that were blanked, as offset to new value, and the strings of a structure after it was measured."""
    fields = numbered(size, **at)
    (after, _) = smbios.parse(smbios.measured(structure(kind, fields, *strings) + END))
    changed = {4 + i: new for i, (old, new) in enumerate(zip(fields, after.formatted[4:], strict=True)) if old != new}
    return changed, after.strings


def zero(*offsets: int) -> dict[int, int]:
    return dict.fromkeys(offsets, 0)


def test_a_table_is_taken_apart_and_nothing_is_lost() -> None:
    structures = smbios.parse(machine())
    assert [s.type for s in structures] == [1, 3, 4, 16, 17, 19, 32, 127]
    assert structures[0].strings == (b"QEMU", b"Standard PC", b"pc-q35", b"serial")
    assert structures[3].strings == ()
    assert b"".join(s.raw for s in structures) == machine()


def test_strings_may_begin_after_one_nul() -> None:
    (first, _) = smbios.parse(structure(2, b"\1", b"", b"board") + END)
    assert first.strings == (b"board",)


@pytest.mark.parametrize(
    ("kind", "size", "strings", "at", "changed", "after"),
    [
        (1, 23, (b"a", b"serial"), {"at_7": 2}, zero(7, *range(8, 24), 24), (b"a", b"      ")),
        (2, 11, (b"a", b"bc", b"def"), {"at_7": 2, "at_10": 3}, zero(7, 10), (b"a", b"  ", b"   ")),
        (3, 18, (b"a", b"bc"), {"at_7": 1, "at_8": 2}, zero(7, 8), (b" ", b"  ")),
        (
            4,
            44,
            (b"a", b"bc", b"def"),
            {"at_32": 1, "at_33": 2, "at_34": 3},
            zero(0x11, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, *range(0x2A, 0x30)),
            (b" ", b"  ", b"   "),
        ),
        (17, 36, (b"a", b"b", b"c", b"d"), {"at_24": 2, "at_25": 3, "at_26": 4}, zero(24, 25, 26), (b"a", *[b" "] * 3)),
        (22, 22, (b"a",), {"at_7": 1}, zero(7, 0x10, 0x11, 0x12, 0x13), (b" ",)),
        (23, 9, (), {}, zero(5, 6), ()),
        (27, 11, (b"a",), {}, zero(0xC, 0xD), (b"a",)),
        (39, 18, (b"a", b"b", b"c"), {"at_8": 3, "at_9": 2, "at_10": 1}, zero(8, 9, 10), (b" ",) * 3),
    ],
)
def test_the_blanked_fields_of_a_type(
    kind: int,
    size: int,
    strings: tuple[bytes, ...],
    at: dict[str, int],
    changed: dict[int, int],
    after: tuple[bytes, ...],
) -> None:
    assert remains(kind, size, *strings, **at) == (changed, after)


@pytest.mark.parametrize("kind", [0, 7, 9, 13, 16, 19, 32, 38, 41, 126])
def test_types_that_are_measured_as_they_are(kind: int) -> None:
    assert remains(kind, 30, b"a", b"b") == ({}, (b"a", b"b"))


@pytest.mark.parametrize("kind", [11, 15, 18, 31, 33, 128, 221, 255])
def test_types_of_which_the_header_alone_is_measured(kind: int) -> None:
    raw = structure(kind, b"\1\2", b"option", b"more")
    assert smbios.measured(raw + END) == raw[:4] + bytes(len(raw) - 4) + END


def test_fields_beyond_the_structure_are_left() -> None:
    short = structure(1, numbered(19, at_7=0), b"a")  # the UUID and the wake-up type would end at 24 and 25
    assert smbios.measured(short + END) == short + END
    processor = structure(4, numbered(42, at_32=0, at_33=0, at_34=0), b"a")  # 46 bytes: no second thread count
    assert smbios.measured(processor + END)[0x2A:0x2E] == bytes(4)


def test_a_string_that_two_fields_name_is_blanked_once() -> None:
    assert remains(3, 18, b"same", at_7=1, at_8=1) == (zero(7, 8), (b"    ",))


def test_a_number_beyond_the_strings_blanks_the_last_one() -> None:
    assert remains(3, 18, b"a", b"last", at_7=9, at_8=0) == (zero(7), (b"a", b"    "))


def test_a_number_without_strings_is_refused() -> None:
    with pytest.raises(FormatError, match="type 3 names string 1 and has none"):
        smbios.measured(structure(3, numbered(18, at_7=1, at_8=0)) + END)


def test_the_end_of_table_is_measured() -> None:
    assert smbios.measured(machine()).endswith(END)
    assert len(smbios.measured(machine())) == len(machine())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 3, 4, 16, 17, 19, 22, 23, 27, 32, 39]),
            st.binary(max_size=60),
            st.lists(st.binary(min_size=1, max_size=9).map(lambda s: s.replace(b"\0", b"x")), max_size=5),
        ),
        max_size=6,
    )
)
def test_blanking_twice_changes_nothing_more(parts: list[tuple[int, bytes, list[bytes]]]) -> None:
    table = b"".join(structure(kind, fields, *strings) for kind, fields, strings in parts) + END
    with suppress(FormatError):
        once = smbios.measured(table)
        assert len(once) == len(table)
        assert smbios.measured(once) == once


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (b"", "offset 0x0: type needs 1 bytes"),
        (structure(1, b"\1", b"a"), "offset 0x8: type needs 1 bytes"),
        (b"\1\3\0\0\0\0" + END, "structure of type 1 has length 3"),
        (b"\1\x09\0\0ab", "formatted area needs 5 bytes, 2 left"),
        (b"\1\4\0\0abc\0", "strings of type 1 have no end"),
        (END + b"\0", "offset 0x6: 1 bytes left over"),
    ],
)
def test_what_is_no_table_is_refused(table: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        smbios.parse(table)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(machine()) - 1))
def test_every_truncated_table_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        smbios.parse(machine()[:size])


def test_the_bios_information_of_ovmf() -> None:
    (bios, _) = smbios.parse(TYPE0 + END)
    assert (bios.type, bios.handle, len(bios.formatted)) == (0, 0, 26)
    assert bios.strings == (b"EDK II", b"2025.05-1", b"05/20/2025")
    assert bios.formatted[4:9] == b"\1\2\0\xe8\3"


def test_texts_that_are_not_set_get_those_of_ovmf() -> None:
    (bios, _) = smbios.parse(smbios.ovmf_type0(vendor="", version="1", date="ab") + END)
    assert bios.strings == (b"unknown", b"unknown", b"02/02/2022")


@pytest.mark.parametrize("vendor", ["Plutô", "a\0b"])
def test_a_text_that_is_not_ascii_is_refused(vendor: str) -> None:
    with pytest.raises(FormatError, match="is not ASCII"):
        smbios.ovmf_type0(vendor=vendor, version="1.0", date="")


def test_the_table_of_a_guest_ends_with_the_bios_information_and_a_new_end() -> None:
    table = smbios.merge_qemu(machine(), TYPE0)
    assert table == machine()[: -len(END)] + TYPE0 + bytes.fromhex("7f04fffe0000")


def test_the_bios_information_takes_the_lowest_free_handle() -> None:
    used = structure(1, b"\1", handle=0) + structure(3, b"\1", handle=1) + structure(16, b"", handle=3)
    assert smbios.parse(smbios.merge_qemu(used + END, TYPE0))[3].handle == 2


def test_a_machine_with_bios_information_keeps_it() -> None:
    own = structure(0, b"\1", b"mine", handle=5)
    assert smbios.merge_qemu(own + END, TYPE0) == own + bytes.fromhex("7f04fffe0000")


def test_an_empty_machine_has_bios_information_alone() -> None:
    assert [s.type for s in smbios.parse(smbios.merge_qemu(END, TYPE0))] == [0, 127]


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        (structure(1, b"") + structure(3, b"") + END, "two structures have one handle"),
        (structure(1, b"", handle=0xFF00) + END, "handle 0xff00 is above 0xfeff"),
        (b"".join(structure(9, b"", handle=handle) for handle in range(0xFEFF)) + END, "no handle is left"),
    ],
)
def test_a_structure_that_the_firmware_would_drop_is_refused(tables: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        smbios.merge_qemu(tables, TYPE0)


def test_bios_information_that_is_no_structure_is_refused() -> None:
    with pytest.raises(FormatError):
        smbios.merge_qemu(END, b"\0")
