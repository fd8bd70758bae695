"""Any bytes are a kernel that QEMU would start, rewritten in its header alone, or a FormatError."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats import linux
from simulators import bzimages


def target(data: bytes) -> None:
    try:
        result = linux.rewrite_for_qemu(
            data, memory=1 << 31, initrd_size=12345, command_line=data[-20:].decode("utf-8", "surrogateescape")
        )
    except FormatError:
        return
    assert len(result) == len(data)
    assert (result[:0x1FA], result[0x22C:]) == (data[:0x1FA], data[0x22C:])
    assert linux.parse_setup_header(result).ramdisk_size == 12345


def seeds() -> list[bytes]:
    return [bzimages.kernel(), bzimages.kernel(0x800, protocol=0x203) + b" vga=0x317", bzimages.kernel(magic=bytes(4))]
