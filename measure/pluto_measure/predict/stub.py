"""systemd-stub as the firmware starts it: what it measures of a UKI and what it hands to the kernel. Pure.

Version 257 only; every other is refused by name, because order and content of what is measured changed in almost
every release. 258 and later never measure the kernel; 262 makes the initrd's digest unpredictable.
Facts: systemd 257 `src/fundamental/uki.c` (order), `src/boot/stub.c`, `src/boot/cpio.c`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pluto_measure.errors import FormatError

VERSION: Final = "257"

# The order in which sections are measured, whatever their order in the file. `.pcrsig` is never measured.
MEASURED_SECTIONS: Final = (
    ".linux",
    ".osrel",
    ".cmdline",
    ".initrd",
    ".ucode",
    ".splash",
    ".dtb",
    ".uname",
    ".sbat",
    ".pcrpkey",
    ".profile",
    ".dtbauto",
    ".hwids",
)

# Sections that the kernel sees as files of generated cpio archives, in the order of the archives.
_EXTRA_FILES: Final = (
    (".pcrsig", "tpm2-pcr-signature.json"),
    (".pcrpkey", "tpm2-pcr-public-key.pem"),
    (".osrel", "os-release"),
    (".profile", "profile"),
)
_FORBIDDEN: Final = (".dtb", ".dtbauto", ".hwids", ".profile")  # chosen at run time, so nothing fixed to predict


def check_version(version: str) -> None:
    """FormatError unless `version` (such as "257.13-1~deb13u1") is the one whose behaviour is known."""
    major = version.partition(".")[0].partition("-")[0].partition("~")[0]
    if major != VERSION:
        raise FormatError("launch.json.stub", f"systemd-stub {version} is not known, only {VERSION} is")


def handed_initrd(sections: Mapping[str, bytes]) -> Iterator[bytes]:
    """The initrd as stub 257 hands it to the kernel, in chunks: its bytes are what PCR 9 (RTMR 2) measures.

    `.ucode`, `.initrd`, then one generated cpio per section that becomes a file below `.extra`; each part padded with
    zeros to a multiple of four, except that a single part is passed as it is. `sections` maps names to section_data.
    """
    parts = [sections[name] for name in (".ucode", ".initrd") if sections.get(name)]
    parts += [_cpio(file_name, sections[name]) for name, file_name in _EXTRA_FILES if sections.get(name)]
    if len(parts) == 1:
        yield parts[0]
        return
    for part in parts:
        yield part
        if padding := -len(part) % 4:
            yield bytes(padding)


def command_line(section: bytes) -> str:
    """The command line that the stub makes of `.cmdline`: control characters to blanks, ends trimmed."""
    try:
        text = section.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise FormatError("section .cmdline", "not UTF-8") from error
    return "".join(" " if ord(character) < 0x20 else character for character in text).strip()


def load_options(line: str) -> bytes:
    """LoadOptions as the stub hands them to the kernel: UTF-16LE with its NUL. Empty for an empty line."""
    return line.encode("utf-16-le") + b"\0\0" if line else b""


def check_sections(names: Mapping[str, int]) -> None:
    """FormatError unless every section's (name: VirtualSize) measurement is known and fixed."""
    for name, size in names.items():
        if name in _FORBIDDEN:
            raise FormatError("launch.json.sections", f"{name} is chosen at run time, so its boot cannot be predicted")
        if name not in MEASURED_SECTIONS and name != ".pcrsig":
            raise FormatError("launch.json.sections", f"{name} is not a section that systemd-stub {VERSION} knows")
        if size == 0:
            raise FormatError("launch.json.sections", f"{name} is empty")
    for name in (".linux", ".initrd"):
        if name not in names:
            raise FormatError("launch.json.sections", f"{name} is missing")


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
