"""systemd-stub by version: what it measures, what it hands over; held against cpio and the sizes of a real boot."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.predict import stub as stubs
from pluto_measure.predict.stub import (
    BUILT,
    KNOWN,
    MEASURED_SECTIONS,
    command_line,
    handed_initrd,
    load_options,
    measured_smbios,
    version,
)
from simulators import recorded_boots

OURS = (".linux", ".osrel", ".cmdline", ".initrd")
FILES = {
    "pcrsig": b"tpm2-pcr-signature.json",
    "pcrpkey": b"tpm2-pcr-public-key.pem",
    "osrel": b"os-release",
    "profile": b"profile",
}


def handed(major: int = 257, **sections: bytes) -> bytes:
    return b"".join(handed_initrd({f".{name}": data for name, data in sections.items()}, KNOWN[major]))


def sizes(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


# Versions.


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ("257.13-1~deb13u1", 257),
        ("252.39-1~deb12u2", 252),
        ("254.26-1~bpo12+1", 254),
        ("255.4-1ubuntu8.4", 255),
        ("258~rc1-1", 258),
        ("258-rc1", 258),
        ("v257", 257),
        ("260^20260301", 260),
        ("262", 262),
    ],
)
def test_the_major_version_decides(text: str, major: int) -> None:
    assert version(text) is KNOWN[major]
    assert version(text).major == major
    stubs.check_version(text)


@pytest.mark.parametrize("text", ["251.3", "263", "1", "", "v", "2570", "25", "257 ", "257a", "x257", "257.1\n", "²57"])
def test_a_version_that_nobody_looked_at_is_refused_by_name(text: str) -> None:
    with pytest.raises(FormatError, match="is not known, only 252 to 262 are"):
        version(text)
    with pytest.raises(FormatError):
        stubs.check_version(text)


def test_images_are_built_with_257_alone() -> None:
    stubs.check_built("257.13-1~deb13u1")
    for text in ("256.9", "262.1-1", "263"):
        with pytest.raises(FormatError):
            stubs.check_built(text)
    assert BUILT.initrd_is_reproducible


@pytest.mark.parametrize(
    ("major", "names"),
    [
        (252, ".linux .osrel .cmdline .initrd .splash .dtb .pcrpkey"),
        (253, ".linux .osrel .cmdline .initrd .splash .dtb .pcrpkey"),
        (254, ".linux .osrel .cmdline .initrd .splash .dtb .uname .sbat .pcrpkey"),
        (255, ".linux .osrel .cmdline .initrd .splash .dtb .uname .sbat .pcrpkey"),
        (256, ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey"),
        (257, ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey .profile .dtbauto .hwids"),
        (
            262,
            ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey .profile .dtbauto .hwids .efifw",
        ),
    ],
)
def test_sections_are_measured_in_the_order_of_the_version(major: int, names: str) -> None:
    assert KNOWN[major].measured_sections == tuple(names.split())


def test_a_version_only_ever_adds_to_what_the_one_before_measures() -> None:
    assert list(KNOWN) == list(range(252, 263))
    for earlier, later in pairwise(KNOWN.values()):
        kept = tuple(name for name in later.measured_sections if name in earlier.measured_sections)
        assert kept == earlier.measured_sections
        assert ".pcrsig" not in later.measured_sections
    assert KNOWN[258].measured_sections == KNOWN[262].measured_sections
    assert KNOWN[257].measured_sections == MEASURED_SECTIONS


@pytest.mark.parametrize(
    ("what", "since"),
    [
        ("trims_leading_blanks", 255),
        ("measures_sections_to_cc", 256),
        ("measures_tags_to_cc", 261),
        ("appends_console", 261),
        ("measures_smbios_type1", 261),
        ("passes_boot_secret", 261),
        ("measures_smbios_to_cc", 262),
    ],
)
def test_what_came_with_a_version_stayed(what: str, since: int) -> None:
    assert {major for major, stub in KNOWN.items() if getattr(stub, what)} == set(range(since, 263))


def test_the_firmware_measures_the_kernel_up_to_257() -> None:
    assert [major for major, stub in KNOWN.items() if stub.kernel_is_measured_as_image] == list(range(252, 258))


def test_a_boot_secret_makes_the_initrd_of_a_disk_another_one_at_every_boot() -> None:
    assert [major for major, stub in KNOWN.items() if not stub.initrd_is_reproducible] == [261, 262]
    assert [major for major, stub in KNOWN.items() if not stub.initrd_is_reproducible_from("disk")] == [261, 262]
    assert all(stub.initrd_is_reproducible_from("uki-kernel") for stub in KNOWN.values())


# Sections.


def test_an_image_may_have_code_of_its_own_and_no_initrd() -> None:
    stubs.check_sections({".linux": 1, ".text": 1, ".sdmagic": 1})


@pytest.mark.parametrize("major", [252, 257, 262])
@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((*OURS, ".dtb"), r"\.dtb is chosen at run time"),
        ((*OURS, ".dtbauto"), r"\.dtbauto is chosen at run time"),
        ((*OURS, ".hwids"), r"\.hwids is chosen at run time"),
        ((*OURS, ".efifw"), r"\.efifw is chosen at run time"),
        ((*OURS, ".txt"), r"\.txt is not a section that systemd-stub 2[0-9]+ knows"),
        ((".initrd",), r"\.linux is missing"),
    ],
)
def test_sections_whose_measurement_is_not_fixed_are_refused(major: int, names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        stubs.check_sections(sizes(*names), KNOWN[major])


def test_an_empty_section_is_refused() -> None:
    with pytest.raises(FormatError, match=r"\.osrel is empty"):
        stubs.check_sections({**sizes(*OURS), ".osrel": 0})


@pytest.mark.parametrize("major", list(KNOWN))
def test_sections_of_a_later_version_and_one_profile_are_allowed(major: int) -> None:
    stubs.check_sections(sizes(*OURS, ".uname", ".sbat", ".ucode", ".pcrsig", ".pcrpkey", ".profile"), KNOWN[major])


# The initrd.


def test_the_initrd_is_padded_and_the_os_release_archive_follows() -> None:
    data = handed(initrd=b"root!", osrel=b"ID=pluto\n", linux=b"kernel", cmdline=b"quiet")
    assert data.startswith(b"root!" + bytes(3) + b"070701")
    assert b".extra/os-release\0" in data
    assert b"kernel" not in data
    assert len(data) % 4 == 0


@pytest.mark.parametrize("major", list(KNOWN))
def test_a_single_part_is_passed_without_padding(major: int) -> None:
    assert handed(major, initrd=b"root!") == b"root!"
    assert handed(major, initrd=b"root!", pcrpkey=b"") == b"root!"


@pytest.mark.parametrize("major", [252, 253, 254, 255, 256])
def test_up_to_256_the_os_release_is_no_part_of_the_initrd(major: int) -> None:
    assert handed(major, initrd=b"root!", osrel=b"ID=pluto\n", profile=b"ID=main\n") == b"root!"


def test_microcode_is_handed_over_since_256_and_padded() -> None:
    assert handed(255, initrd=b"root!", ucode=b"u") == b"root!"
    assert handed(256, initrd=b"root!", ucode=b"u") == b"u\0\0\0root!\0\0\0"


@pytest.mark.parametrize("major", list(KNOWN))
def test_parts_come_in_the_stubs_order(major: int) -> None:
    data = handed(major, profile=b"p", osrel=b"o", pcrpkey=b"k", pcrsig=b"s", initrd=b"ii", ucode=b"uuu")
    assert data.startswith(b"uuu\0ii\0\0" if major >= 256 else b"ii" + bytes(2) + b"070701")
    names = [name for section, name in FILES.items() if major >= 257 or section.startswith("pcr")]
    found = [data.index(b".extra/" + name) for name in names]
    assert found == sorted(found)
    assert data.count(b"TRAILER!!!") == len(names)


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
    lengths = {section.name: section.size for section in launch.sections}
    parts = handed_initrd({name: bytes(lengths[name]) for name in (".initrd", ".osrel")})
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


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(KNOWN.values())),
    st.dictionaries(
        st.sampled_from([".ucode", ".initrd", ".osrel", ".pcrpkey", ".pcrsig", ".profile", ".linux"]),
        st.binary(max_size=30),
    ),
)
def test_several_parts_are_each_aligned_to_four(stub: stubs.StubVersion, sections: dict[str, bytes]) -> None:
    data = b"".join(handed_initrd(sections, stub))
    handed_over = {*stub.handed_sections, *(name for name, _ in stub.extra_files)}
    parts = [name for name, content in sections.items() if content and name in handed_over]
    assert len(parts) == 1 or len(data) % 4 == 0
    assert bool(data) == bool(parts)
    if ".initrd" in parts:
        assert sections[".initrd"] in data


# The command line.


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (b"console=ttyS0,115200", "console=ttyS0,115200"),
        (b" a b\n\0\0", "a b"),
        (b"a\tb\x01c\x7fd", "a b c d"),
        (b"a\0 and what a NUL hides", "a"),
        (b"\n", ""),
        ("\u00a0a\u2003".encode(), "\u00a0a\u2003"),
        ("a\U0001f600b".encode(), "ab"),
    ],
)
def test_the_command_line_is_trimmed_and_control_characters_become_blanks(section: bytes, line: str) -> None:
    assert command_line(section) == line


def test_up_to_254_the_beginning_of_a_command_line_stays_and_del_is_a_character() -> None:
    section = b"\t a\nb\x7f \n"
    assert {command_line(section, KNOWN[major]) for major in (252, 253, 254)} == {"  a b\x7f"}
    assert {command_line(section, KNOWN[major]) for major in range(255, 263)} == {"a b"}


def test_a_command_line_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(FormatError, match="not UTF-8"):
        command_line(b"\xff")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(list(KNOWN.values())))
def test_a_command_line_has_no_control_characters_and_survives_a_second_time(
    section: bytes, stub: stubs.StubVersion
) -> None:
    try:
        line = command_line(section, stub)
    except FormatError:
        return
    assert all(ord(character) >= 0x20 for character in line)
    assert not line.endswith(" ")
    assert command_line(line.encode(), stub) == line
    assert len(load_options(line, has_section=True)) == 2 * len(line) + 2


def test_load_options_are_utf_16_with_a_nul_and_empty_for_an_empty_line() -> None:
    assert load_options("ab") == load_options("ab", has_section=True) == b"a\0b\0\0\0"
    assert load_options("") == b""
    assert load_options("", has_section=True) == b"\0\0"


@pytest.mark.parametrize("major", list(KNOWN))
def test_a_command_line_is_fixed_unless_the_stub_adds_a_console(major: int) -> None:
    stub = KNOWN[major]
    for line in ("console=ttyS0", "quiet console=ttyS0"):
        stubs.check_command_line(line, OURS, stub)
    for line in ("quiet", "xconsole=1", "earlycon=x,console"):
        if stub.appends_console:
            with pytest.raises(FormatError, match=r"has no console=, and systemd-stub 26[12] adds one"):
                stubs.check_command_line(line, OURS, stub)
        else:
            stubs.check_command_line(line, OURS, stub)


def test_a_blank_command_line_ends_the_boot_of_255_and_256() -> None:
    for major in (252, 253, 254, 257, 258, 259, 260):
        stubs.check_command_line("", OURS, KNOWN[major])
    for major in (255, 256):
        stubs.check_command_line("", (".linux", ".initrd"), KNOWN[major])
        with pytest.raises(FormatError, match="does not survive"):
            stubs.check_command_line("", OURS, KNOWN[major])


# SMBIOS.


def test_the_wake_up_type_is_zeroed_and_only_three_types_are_measured() -> None:
    system = b"\x01\x1b\0\1" + bytes(range(0x10, 0x10 + 0x17)) + b"a\0\0"
    board, chassis, texts = b"\x02\x08\0\2abcd\0\0", b"\x03\x05\0\3x\0\0", b"\x0b\x05\0\4\1io.systemd.x=y\0\0"
    found = dict(measured_smbios([chassis, system, board, texts]))
    assert found == {
        "smbios:type1": system[:0x18] + b"\0" + system[0x19:],
        "smbios:type2": board,
        "smbios:type11": texts,
    }


def test_system_information_that_ends_before_the_wake_up_type_is_measured_as_it_is() -> None:
    old = b"\x01\x08\0\1" + b"\1\2\3\4" + b"a" * 40 + b"\0\0"
    assert list(measured_smbios([old])) == [("smbios:type1", old)]
    assert list(measured_smbios([b"", b"\x01", b"\x7f\x04\0\0\0\0"])) == [("smbios:type1", b"\x01")]
