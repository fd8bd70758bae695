"""What stub 257 hands to the kernel: read back by cpio, and by the sizes that a real boot had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.predict.stub import MEASURED_SECTIONS, command_line, handed_initrd, load_options
from simulators import recorded_boots


def handed(**sections: bytes) -> bytes:
    return b"".join(handed_initrd({f".{name}": data for name, data in sections.items()}))


def test_the_initrd_is_padded_and_the_os_release_archive_follows() -> None:
    data = handed(initrd=b"root!", osrel=b"ID=pluto\n", linux=b"kernel", cmdline=b"quiet")
    assert data.startswith(b"root!" + bytes(3) + b"070701")
    assert b".extra/os-release\0" in data
    assert b"kernel" not in data
    assert len(data) % 4 == 0


def test_a_single_part_is_passed_without_padding() -> None:
    assert handed(initrd=b"root!") == b"root!"
    assert handed(initrd=b"root!", osrel=b"") == b"root!"


def test_parts_come_in_the_stubs_order() -> None:
    data = handed(profile=b"p", osrel=b"o", pcrpkey=b"k", pcrsig=b"s", initrd=b"ii", ucode=b"uuu")
    assert data.startswith(b"uuu\0ii\0\0")
    names = [b"tpm2-pcr-signature.json", b"tpm2-pcr-public-key.pem", b"os-release", b"profile"]
    assert [data.index(name) for name in names] == sorted(data.index(name) for name in names)


def test_the_generated_archive_is_byte_for_byte_the_stubs() -> None:
    zero = "00000000"
    directory = "070701" + "00000001" + "0000416d" + zero * 2 + "00000001" + zero * 6 + "00000007" + zero
    file = "070701" + "00000002" + "00008124" + zero * 2 + "00000001" + zero + "00000003" + zero * 4 + "00000012" + zero
    trailer = "070701" + zero * 4 + "00000001" + zero * 6 + "0000000B" + zero
    wanted = directory.encode() + b".extra\0" + bytes(3)
    wanted += file.encode() + b".extra/os-release\0" + b"ID=\0"
    wanted += trailer.encode() + b"TRAILER!!!\0" + bytes(3)
    assert handed(initrd=b"root", osrel=b"ID=") == b"root" + wanted


def test_the_size_is_that_of_a_real_boot(vectors: Path) -> None:
    launch = recorded_boots.launch(vectors)
    sizes = {section.name: section.size for section in launch.sections}
    parts = handed_initrd({name: bytes(sizes[name]) for name in (".initrd", ".osrel")})
    assert sum(len(part) for part in parts) == launch.handed_initrd_size


@pytest.mark.interop
def test_cpio_reads_the_generated_archive(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    archive = handed(initrd=b"", osrel=b"ID=pluto\n", profile=b"ID=main\n")
    listing = subprocess.run(
        ["cpio", "--list", "--verbose", "--quiet"], input=archive, capture_output=True, check=True, timeout=30
    )
    lines = listing.stdout.decode().splitlines()
    assert [line.split()[0] + " " + line.split()[-1] for line in lines] == [
        "dr-xr-xr-x .extra",
        "-r--r--r-- .extra/os-release",
    ]


def test_the_measured_sections_are_those_of_stub_257_without_the_signature() -> None:
    assert len(set(MEASURED_SECTIONS)) == len(MEASURED_SECTIONS) == 13
    assert ".pcrsig" not in MEASURED_SECTIONS


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (b"console=ttyS0,115200", "console=ttyS0,115200"),
        (b" a b\n\0\0", "a b"),
        (b"a\tb\x01c", "a b c"),
        (b"\n", ""),
    ],
)
def test_the_command_line_is_trimmed_and_control_characters_become_blanks(section: bytes, line: str) -> None:
    assert command_line(section) == line


def test_a_command_line_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(FormatError, match="not UTF-8"):
        command_line(b"\xff")


def test_load_options_are_utf_16_with_a_nul_and_empty_for_an_empty_line() -> None:
    assert load_options("ab") == b"a\0b\0\0\0"
    assert load_options("") == b""


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from([".ucode", ".initrd", ".osrel", ".pcrpkey", ".linux"]), st.binary(max_size=30)))
def test_several_parts_are_each_aligned_to_four(sections: dict[str, bytes]) -> None:
    data = b"".join(handed_initrd(sections))
    parts = [name for name, content in sections.items() if content and name != ".linux"]
    assert len(parts) == 1 or len(data) % 4 == 0
    assert bool(data) == bool(parts)
