"""Files with a Linux setup header, made field by field. For tests alone."""

from __future__ import annotations

from simulators.pe_images import patched

_FIELDS = {  # name: offset, size
    "setup_sectors": (0x1F1, 1),
    "video_mode": (0x1FA, 2),
    "protocol": (0x206, 2),
    "loader": (0x210, 1),
    "loadflags": (0x211, 1),
    "ramdisk_image": (0x218, 4),
    "ramdisk_size": (0x21C, 4),
    "heap_end": (0x224, 2),
    "command_line": (0x228, 4),
    "initrd_addr_max": (0x22C, 4),
    "xloadflags": (0x236, 2),
}
_DEFAULTS = {
    "setup_sectors": 3,
    "video_mode": 0xFFFF,
    "protocol": 0x20F,
    "loadflags": 1,
    "initrd_addr_max": 0x7FFFFFFF,
    "xloadflags": 0x7F,
}


def kernel(size: int = 0x2000, *, dos: bytes = b"MZ", magic: bytes = b"HdrS", **fields: int) -> bytes:
    """A bzImage of `size` bytes whose other bytes all differ from zero; `fields` are those of SetupHeader."""
    data = patched(dos + b"\xa5" * (size - len(dos)), 0x202, magic)
    for name, value in {**dict.fromkeys(_FIELDS, 0), **_DEFAULTS, **fields}.items():
        at, width = _FIELDS[name]
        data = patched(data, at, value.to_bytes(width, "little"))
    return data
