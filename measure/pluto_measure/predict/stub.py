"""systemd-stub as the firmware starts it: what it measures of a UKI and what it hands to the kernel. Pure.

Almost every release changed order or content of what is measured, so all of it hangs on the version, and a version
that nobody looked at is refused by name. Facts: systemd 252.39, 254.26, 257.13 and 262 `src/fundamental/tpm-pcr.c`,
`uki.c` (order), `src/boot/stub.c`, `cpio.c`, `linux.c`, `util.c` and, for the releases between them, `NEWS` and the
pull requests named below. Point releases of one major version behave alike, but for the first few of 252, which left
blanks at the end of the command line (pull request 25857).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError

VERSION: Final = "257"  # the one that our images are built with
_OLDEST, _NEWEST = 252, 262

# Sections in the order in which they are measured, whatever their order in the file, with the first major version
# that knows them: its name with a NUL, then its VirtualSize bytes, both as EV_IPL. `.pcrsig` is never measured.
_SECTIONS: Final[Mapping[str, int]] = {
    ".linux": 252,
    ".osrel": 252,
    ".cmdline": 252,
    ".initrd": 252,
    ".ucode": 256,  # pull request 31872
    ".splash": 252,
    ".dtb": 252,
    ".uname": 254,  # pull request 27358
    ".sbat": 254,  # issue 27990
    ".pcrpkey": 252,
    ".profile": 257,  # pull request 34285
    ".dtbauto": 257,
    ".hwids": 257,
    ".efifw": 258,
}
_SIGNATURE: Final = ".pcrsig"
_WAKE_UP_TYPE: Final = 0x18  # offset in an SMBIOS structure of type 1

# What the initrd is made of: these sections as they are, then generated cpio archives that the kernel unpacks as files
# below .extra. In the order of the parts, each with the first major version that hands it over.
_RAW_PARTS: Final[Mapping[str, int]] = {".ucode": 256, ".initrd": 252}
_FILE_PARTS: Final[Mapping[str, tuple[str, int]]] = {
    ".pcrsig": ("tpm2-pcr-signature.json", 252),
    ".pcrpkey": ("tpm2-pcr-public-key.pem", 252),
    ".osrel": ("os-release", 257),
    ".profile": ("profile", 257),
}

# The stub's own code and what describes it: part of the image's Authenticode digest, not measured apart.
_OWN: Final = (
    ".text",
    ".rodata",
    ".data",
    ".sdmagic",
    ".reloc",
    ".dynamic",
    ".dynsym",
    ".dynstr",
    ".rela",
    ".eh_frame",
)

# Which of several is measured, or whether one is, depends on the machine.
_CHOSEN_AT_RUN_TIME: Final = (".dtb", ".dtbauto", ".hwids", ".efifw")

# Major version with "v", point release, pre-release and a distribution's revision: 257.13-1~deb13u1, 258~rc1-1, v257.
_TEXT: Final = re.compile(r"v?([0-9]{1,4})(?:[.~+^-][!-~]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StubVersion:
    """What one major version does. `version()` makes them.

    `extra_files`: section and name below `.extra`, in the order of the archives. CC stands for the firmware's
    EFI_CC_MEASUREMENT_PROTOCOL, which extends the RTMRs of a trust domain.
    """

    major: int
    measured_sections: tuple[str, ...]
    handed_sections: tuple[str, ...]
    extra_files: tuple[tuple[str, str], ...]
    # Since 255 (pull request 28909) blanks at the beginning of a command line go too, and DEL counts as one.
    trims_leading_blanks: bool
    # 255 and 256 read on behind the end of a command line of blanks alone.
    survives_blank_command_line: bool
    # Sections reach RTMR[2] since 256 (pull requests 30996, 31939), tagged events (addons, profile) since 261.
    measures_sections_to_cc: bool
    measures_tags_to_cc: bool
    # Up to 257 the firmware loads the kernel, and measures it unless Secure Boot is on: the stub's security override
    # then answers in its place. Since 258 (pull request 37372) the stub calls the kernel itself.
    kernel_is_measured_as_image: bool
    # Since 261 (pull request 41387) a command line without console= gets one for each console that the machine has.
    appends_console: bool
    # Since 261 (pull request 42233) SMBIOS structures of types 1, 2 and 11 go to PCR 1, since 262 (42851) to RTMR[0].
    measures_smbios_type1: bool
    measures_smbios_to_cc: bool
    # Since 261 (pull request 41217) the last part of the initrd is a secret of the machine, unless it has none.
    passes_boot_secret: bool

    @property
    def initrd_is_reproducible(self) -> bool:
        """Whether every boot of one UKI hands over the same initrd, wherever the UKI lies."""
        return not self.passes_boot_secret

    def initrd_is_reproducible_from(self, boot: str) -> bool:
        """The same for one way to boot: "uki-kernel" or "disk".

        The secret is derived from an EFI variable and from a file that the stub writes to the volume that the UKI came
        from, both at random. QEMU's `-kernel` has no such volume, so there is no secret; from a disk there is one,
        unless the disk is read-only.
        """
        return self.initrd_is_reproducible or boot == "uki-kernel"


def version(text: str) -> StubVersion:
    """What the stub of this version does; `text` such as "257.13-1~deb13u1". FormatError if it is not known."""
    match = _TEXT.fullmatch(text)
    stub = KNOWN.get(int(match[1])) if match else None
    if stub is None:
        problem = f"systemd-stub {text[:80]} is not known, only {_OLDEST} to {_NEWEST} are"
        raise FormatError("launch.json.stub", problem)
    return stub


def _stub(major: int) -> StubVersion:
    return StubVersion(
        major=major,
        measured_sections=tuple(name for name, since in _SECTIONS.items() if since <= major),
        handed_sections=tuple(name for name, since in _RAW_PARTS.items() if since <= major),
        extra_files=tuple((name, file) for name, (file, since) in _FILE_PARTS.items() if since <= major),
        trims_leading_blanks=major >= 255,
        survives_blank_command_line=major not in (255, 256),
        measures_sections_to_cc=major >= 256,
        measures_tags_to_cc=major >= 261,
        kernel_is_measured_as_image=major < 258,
        appends_console=major >= 261,
        measures_smbios_type1=major >= 261,
        measures_smbios_to_cc=major >= 262,
        passes_boot_secret=major >= 261,
    )


KNOWN: Final[Mapping[int, StubVersion]] = {major: _stub(major) for major in range(_OLDEST, _NEWEST + 1)}
BUILT: Final = version(VERSION)
MEASURED_SECTIONS: Final = BUILT.measured_sections


def check_version(text: str) -> None:
    """FormatError unless the behaviour of this version is known."""
    version(text)


def check_built(text: str) -> None:
    """FormatError unless this is the version that images are built with: one whose boots are reproducible."""
    if version(text) is not BUILT:
        raise FormatError("stub", f"images are built with systemd-stub {VERSION}, not with {text}")


def check_sections(names: Mapping[str, int], stub: StubVersion = BUILT) -> None:
    """FormatError unless every section's (name: VirtualSize) measurement is known and fixed.

    A section that a later version brought is allowed: an earlier one does not see it. One `.profile` is allowed: the
    stub takes the first profile unless told otherwise, so the sections before and behind it are in force together.
    """
    for name, size in names.items():
        if name in _OWN:
            continue
        if name in _CHOSEN_AT_RUN_TIME:
            raise FormatError("launch.json.sections", f"{name} is chosen at run time, so its boot cannot be predicted")
        if name not in _SECTIONS and name != _SIGNATURE:
            raise FormatError("launch.json.sections", f"{name} is not a section that systemd-stub {stub.major} knows")
        if size == 0:
            raise FormatError("launch.json.sections", f"{name} is empty")
    if ".linux" not in names:
        raise FormatError("launch.json.sections", ".linux is missing")


def check_command_line(line: str, names: Container[str], stub: StubVersion = BUILT) -> None:
    """FormatError unless the kernel gets exactly `line` (of `command_line`) from a UKI with the sections `names`."""
    if stub.appends_console and not re.search(r"(?:^| )console=", line):
        problem = f"has no console=, and systemd-stub {stub.major} adds one that depends on the machine"
        raise FormatError("launch.json.commandLine", problem)
    if not line and ".cmdline" in names and not stub.survives_blank_command_line:
        problem = f"is blank in a section .cmdline, which systemd-stub {stub.major} does not survive"
        raise FormatError("launch.json.commandLine", problem)


def handed_initrd(sections: Mapping[str, bytes], stub: StubVersion = BUILT) -> Iterator[bytes]:
    """The initrd as the stub hands it to the kernel, in chunks: its bytes are what PCR 9 (RTMR[2]) measures.

    Sections as they are, then one generated cpio per section that becomes a file below `.extra`; each part padded
    with zeros to a multiple of four, except that a single part is passed as it is. `sections` maps names to
    section_data. Without a boot secret, where the version passes one.
    """
    parts = [sections[name] for name in stub.handed_sections if sections.get(name)]
    parts += [_cpio(file_name, sections[name]) for name, file_name in stub.extra_files if sections.get(name)]
    if len(parts) == 1:
        yield parts[0]
        return
    for part in parts:
        yield part
        if padding := -len(part) % 4:
            yield bytes(padding)


def command_line(section: bytes, stub: StubVersion = BUILT) -> str:
    """The command line that the stub makes of `.cmdline`: up to a NUL, control characters to blanks, ends trimmed.

    FormatError where it is not UTF-8; characters that do not fit into 16 bits are left out, as in the stub.
    """
    try:
        text = section.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise FormatError("section .cmdline", "not UTF-8") from error
    text = "".join(character for character in text if ord(character) <= 0xFFFF)
    if not stub.trims_leading_blanks:
        return text.translate(dict.fromkeys(range(0x20), " ")).rstrip(" ")
    return text.translate(dict.fromkeys((*range(0x20), 0x7F), " ")).strip(" ")


def load_options(line: str, *, has_section: bool = False) -> bytes:
    """LoadOptions as the stub hands them to the kernel: UTF-16LE with its NUL. Empty for an empty line.

    `has_section`: the UKI has a `.cmdline`, so that a line of no characters is handed over too, as its NUL.
    """
    return line.encode("utf-16-le") + b"\0\0" if line or has_section else b""


def measured_smbios(structures: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Description and measured bytes of each event of `measures_smbios_type1`, in the order of the table.

    `structures`: formatted area and strings of each, its double NUL included. Of type 1 the wake-up type is zeroed,
    if the structure is long enough to have one. DMTF DSP0134 "System Information (Type 1)".
    """
    for structure in structures:
        kind, length = structure[:1], int.from_bytes(structure[1:2], "little")
        if kind == b"\x01" and length > _WAKE_UP_TYPE:
            yield "smbios:type1", structure[:_WAKE_UP_TYPE] + b"\0" + structure[_WAKE_UP_TYPE + 1 :]
        elif kind in (b"\x01", b"\x02", b"\x0b"):
            yield f"smbios:type{kind[0]}", structure


def _cpio(file_name: str, data: bytes) -> bytes:
    directory = _cpio_entry(".extra", inode=1, mode=0o040555, data=b"")
    file = _cpio_entry(f".extra/{file_name}", inode=2, mode=0o100444, data=data)
    # The trailer is a constant in the stub, and the only place where its hex is upper case.
    trailer = b"070701" + b"0" * 32 + b"00000001" + b"0" * 48 + b"0000000B" + b"0" * 8 + b"TRAILER!!!\0"
    return directory + file + _padded(trailer)


def _cpio_entry(name: str, *, inode: int, mode: int, data: bytes) -> bytes:
    # newc: inode, mode, uid, gid, nlink, mtime, size, device major and minor, rdev major and minor, name size, check
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
