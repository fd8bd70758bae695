"""Unified kernel images: our parser, binutils and ukify find in them what was put in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats.uki import build
from pluto_measure.errors import FormatError
from pluto_measure.formats import pe as parser
from simulators.pe_images import KERNEL, STUB, image

SECTIONS = [
    (".osrel", b"ID=debian\n"), (".cmdline", b"console=ttyS0,115200"), (".uname", b"6.12.0"),
    (".initrd", bytes(range(256)) * 33 + b"x"), (".linux", KERNEL),
]  # fmt: skip


def test_every_section_is_found_again_behind_those_of_the_stub() -> None:
    uki = build(STUB, SECTIONS)
    parsed = parser.parse(uki)
    names = [section.name for section in parsed.sections]
    assert names == [".text", ".data", ".sbat", ".reloc", *(name for name, _ in SECTIONS)]
    assert [(s.name, parser.section_data(uki, s)) for s in parsed.sections[4:]] == SECTIONS
    before = parser.parse(STUB)
    assert [parser.section_data(uki, s) for s in parsed.sections[:4]] == [
        parser.section_data(STUB, s) for s in before.sections
    ]
    assert parsed.entry_point == before.entry_point


def test_sections_lie_one_behind_the_other_and_sizes_follow() -> None:
    uki = build(STUB, SECTIONS)
    parsed = parser.parse(uki)
    raw = parser.parse(STUB).sections[-1]
    offset, address = raw.raw_offset + raw.raw_size, raw.virtual_address + raw.virtual_size
    for section in parsed.sections[4:]:
        address += -address % parsed.section_alignment
        assert (section.raw_offset, section.virtual_address) == (offset, address)
        assert section.raw_size == -(-section.virtual_size // parsed.file_alignment) * parsed.file_alignment
        offset, address = offset + section.raw_size, address + section.virtual_size
    assert offset == len(uki)
    assert parsed.image_size == address + -address % parsed.section_alignment
    assert uki[parsed.checksum_offset : parsed.checksum_offset + 4] == bytes(4)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.binary(min_size=1, max_size=3000))
def test_any_content_survives_and_moves_the_authenticode_digest(first: bytes, second: bytes) -> None:
    uki = build(STUB, [(".a", first), (".b", second)])
    parsed = parser.parse(uki)
    assert [parser.section_data(uki, s) for s in parsed.sections[-2:]] == [first, second]
    changed = bytes([first[0] ^ 1]) + first[1:]
    assert parser.authenticode(uki) != parser.authenticode(build(STUB, [(".a", changed), (".b", second)]))


def test_nx_compatibility_is_declared_only_if_the_kernel_declares_it() -> None:
    place = parser.parse(STUB).optional_offset + 70
    assert build(STUB, SECTIONS)[place : place + 2] == b"\x00\x01"
    assert build(STUB, [(".linux", image([(".text", b"k")], nx=False))])[place : place + 2] == b"\x00\x00"


@pytest.mark.parametrize(
    ("stub", "sections", "problem"),
    [
        (STUB, [(".linux", b"")], "is empty"),
        (STUB, [(".sbat", b"x")], "is there already"),
        (STUB, [(".a", b"x"), (".a", b"y")], "is there already"),
        (STUB, [("name", b"x")], "not a dot"),
        (STUB, [(".too_long", b"x")], "not a dot"),
        (STUB, [(".linux", b"no PE")], "linux"),
        (image([(".text", b"x")], headers=0x200), [(f".{n}", b"x") for n in range(9)], "no room for the header"),
        (image(certificates=b"\x10\0\0\0\0\2\2\0certific"), [(".a", b"x")], "is signed"),
        (STUB + b"trailing", [(".a", b"x")], "do not fit each other"),
        (b"MZ", [(".a", b"x")], "PE stub"),
        (b"\x7fELF" + bytes(100), [(".a", b"x")], "is no PE file"),
        (STUB.replace(b"PE\0\0", b"NE\0\0", 1), [(".a", b"x")], "is no PE file"),
    ],
)
def test_a_stub_or_section_that_does_not_fit_is_refused(
    stub: bytes, sections: list[tuple[str, bytes]], problem: str
) -> None:
    with pytest.raises(FormatError, match=problem):
        build(stub, sections)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 0x300), st.integers(1, 255))
def test_a_damaged_stub_gives_an_image_or_a_format_error(place: int, flip: int) -> None:
    broken = bytearray(STUB)
    broken[place] ^= flip
    try:
        build(bytes(broken), SECTIONS)
    except FormatError:
        return


@pytest.mark.interop
def test_objcopy_takes_every_section_out_unchanged(tmp_path: Path) -> None:
    if shutil.which("objcopy") is None or shutil.which("objdump") is None:
        pytest.skip("binutils is not installed")
    (tmp_path / "uki.efi").write_bytes(build(STUB, SECTIONS))
    listing = subprocess.run(
        ["objdump", "--section-headers", str(tmp_path / "uki.efi")], check=True, capture_output=True, text=True
    )
    for name, content in SECTIONS:
        out = tmp_path / f"section{name}"
        target = "--dump-section", f"{name}={out}", str(tmp_path / "uki.efi"), str(tmp_path / "ignored")
        subprocess.run(["objcopy", *target], check=True, capture_output=True)
        assert out.read_bytes()[: len(content)] == content
        assert f"{name:<13} {len(content):08x}" in listing.stdout


@pytest.mark.interop
def test_ukify_lays_the_same_sections_out_in_the_same_bytes(tmp_path: Path) -> None:
    ukify = shutil.which("ukify")
    if ukify is None:
        pytest.skip("no peer: ukify")
    options = {".linux": "linux", ".initrd": "initrd", ".cmdline": "cmdline", ".osrel": "os-release", ".uname": "uname"}
    command = [ukify, "build", f"--stub={tmp_path / 'stub'}", f"--output={tmp_path / 'theirs.efi'}"]
    (tmp_path / "stub").write_bytes(STUB)
    for name, content in SECTIONS:
        (tmp_path / name).write_bytes(content)
        text = name in (".linux", ".initrd")
        command.append(f"--{options[name]}={'' if text else '@' if name != '.uname' else ''}"
                       f"{tmp_path / name if name != '.uname' else content.decode()}")  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    theirs = (tmp_path / "theirs.efi").read_bytes()
    order = [section.name for section in parser.parse(theirs).sections[4:]]
    ours = build(STUB, [(name, dict(SECTIONS)[name]) for name in order])
    # ukify adds a line to .sbat, inside the room that the section has; all other bytes agree.
    place = parser.parse(ours).sections[2]
    size_at = parser.parse(ours).section_table_offset + 2 * 40 + 8
    spots = [(size_at, size_at + 4), (place.raw_offset, place.raw_offset + place.raw_size)]
    for start, end in spots:
        theirs = theirs[:start] + ours[start:end] + theirs[end:]
    assert theirs == ours
