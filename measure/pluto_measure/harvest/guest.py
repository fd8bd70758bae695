"""The guest of `acpi harvest`: reads what QEMU made for this machine, says it on QEMU's debug port, and powers off.

`pluto-image tools` lays this file into a small initrd as it is, where the image's Python runs it as process 1: so it
stands alone, imports nothing of the project, and does on import nothing. What it says: transcript.py.

- fw_cfg (QEMU docs/specs/fw_cfg.rst) is read through its I/O ports, as firmware without DMA does. The first read of an
  ACPI item after power-on, which was the firmware's, fixed its bytes: what is read here is what was measured.
- The debug port is a device without a trace in ACPI; a serial port or a virtio port would change what is harvested.
- Python has no port I/O. Three functions of a few bytes of machine code do it, each spelled out where it stands.
"""

# Not pathlib, which would be most of what the guest has to import:
# ruff: noqa: PTH103, PTH110, PTH123, PTH208

from __future__ import annotations

import ctypes
import os
from binascii import b2a_base64
from zlib import compress

TYPE_CHECKING = False  # neither `typing` nor `collections` is imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = b"pluto-harvest 1"
PORT = 0x402  # isa-debugcon's

# The items that firmware measures. NUMBERED is one as well, and has no file name.
FILES = (
    "etc/table-loader",
    "etc/acpi/rsdp",
    "etc/acpi/tables",
    "etc/tpm/log",
    "etc/extra-pci-roots",
    "etc/boot-menu-wait",
    "etc/reserved-memory-end",
    "opt/ovmf/X-PciMmio64Mb",
    "bootorder",
)
NUMBERED = "BootMenu"
_SELECT, _DATA = 0x510, 0x511
_DIRECTORY, _BOOT_MENU = 0x19, 0x0E
_ENTRY = 64  # u32 size, u16 key, u16 reserved, all big-endian; char name[56]

_MODULE = "/efivarfs.ko.xz"
_GLOBAL_VARIABLE = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_MOUNTS = (("sysfs", "/sys"), ("securityfs", "/sys/kernel/security"))
_EFI = "/efivarfs"
_SMBIOS = "/sys/firmware/dmi/tables/DMI"
_TPM_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"

_FINIT_MODULE, _COMPRESSED = 313, 4  # system call of x86-64, its flag for a file that is still packed
_POWER_OFF = 0x4321FEDC
_PAGE = 4096
_READ_WRITE_EXECUTE, _PRIVATE_ANONYMOUS = 7, 0x22


def item(name: str, content: bytes) -> bytes:
    """One line of the transcript."""
    return b"item %s %d %s\n" % (name.encode(), len(content), b2a_base64(compress(content, 9), newline=False))


class Ports:
    """I/O ports, for process 1 alone."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.call("iopl", 3)
        self._code = self._libc.mmap(None, _PAGE, _READ_WRITE_EXECUTE, _PRIVATE_ANONYMOUS, -1, 0)
        # Arguments as the System V calling convention passes them: rdi address, rsi count, rdx port.
        self._out = self._function(0, "4889f1 4889fe f36e c3")  # mov rcx,rsi; mov rsi,rdi; rep outsb; ret
        self._in = self._function(64, "4889f1 f36c c3")  # mov rcx,rsi; rep insb; ret
        self._select = self._function(128, "89f0 66ef c3")  # mov eax,esi; out dx,ax; ret

    def call(self, name: str, *arguments: object) -> None:
        """A function of the C library that answers with a negative number when it fails."""
        if getattr(self._libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), f"{name}{arguments}")

    def say(self, line: bytes) -> None:
        """Write to the debug port."""
        buffer = ctypes.create_string_buffer(line, len(line))
        self._out(ctypes.addressof(buffer), len(line), PORT)

    def fw_cfg(self, key: int, size: int) -> bytes:
        """The first `size` bytes of an item."""
        buffer = ctypes.create_string_buffer(size)
        self._select(None, key, _SELECT)
        self._in(ctypes.addressof(buffer), size, _DATA)
        return buffer.raw

    def _function(self, offset: int, code: str) -> ctypes._CFunctionType:
        raw = bytes.fromhex(code)
        ctypes.memmove(self._code + offset, raw, len(raw))
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint16)
        return prototype(self._code + offset)


def fw_cfg_items(ports: Ports) -> Iterator[tuple[str, bytes]]:
    """The items of FILES that are there, in the order of the directory, and BootMenu."""
    count = int.from_bytes(ports.fw_cfg(_DIRECTORY, 4), "big")
    directory = ports.fw_cfg(_DIRECTORY, 4 + count * _ENTRY)[4:]
    for at in range(0, len(directory), _ENTRY):
        entry = directory[at : at + _ENTRY]
        size, key = int.from_bytes(entry[:4], "big"), int.from_bytes(entry[4:6], "big")
        name = entry[8:].partition(b"\0")[0].decode()
        if name in FILES:
            yield f"fw_cfg:{name}", ports.fw_cfg(key, size) if size else b""
    yield f"fw_cfg:{NUMBERED}", ports.fw_cfg(_BOOT_MENU, 2)


def file_items(ports: Ports) -> Iterator[tuple[str, bytes]]:
    """What the kernel shows: boot variables (with their four bytes of attributes), SMBIOS, the TPM's log."""
    for kind, place in _MOUNTS:
        _mount(ports, kind, place)
    module = os.open(_MODULE, os.O_RDONLY)
    ports.call("syscall", _FINIT_MODULE, module, b"", _COMPRESSED)
    _mount(ports, "efivarfs", _EFI)
    for name in sorted(os.listdir(_EFI)):
        if name.startswith("Boot") and name.endswith(_GLOBAL_VARIABLE):
            yield f"efi:{name.removesuffix(_GLOBAL_VARIABLE)}", _read(f"{_EFI}/{name}")
    yield "smbios", _read(_SMBIOS)
    if os.path.exists(_TPM_LOG):
        yield "tpm-log", _read(_TPM_LOG)


def main() -> None:
    """Say everything, or why not; then switch the machine off."""
    ports = Ports()
    try:
        ports.say(HEADER + b"\n")
        count = 0
        for source in (fw_cfg_items, file_items):
            for name, content in source(ports):
                ports.say(item(name, content))
                count += 1
        ports.say(b"end %d\n" % count)
    except BaseException as error:  # noqa: BLE001  nobody else is there to say it
        ports.say(f"failed {type(error).__name__}: {error}\n".encode())
    finally:
        ports.call("reboot", _POWER_OFF)


def _mount(ports: Ports, kind: str, place: str) -> None:
    os.makedirs(place, exist_ok=True)
    ports.call("mount", kind.encode(), place.encode(), kind.encode(), 0, None)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    if os.getpid() != 1:
        raise SystemExit("this program switches its machine off: it is for the guest of 'acpi harvest' alone")
    main()
