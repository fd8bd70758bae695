"""Any bytes are a FAT32 volume whose files lie in it, few enough to be listed, or a FormatError."""

from __future__ import annotations

from struct import pack

from pluto_image.rebuild.explain.esp import Volume
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError

_SECTOR, _RESERVED, _CLUSTERS = 512, 2, 16
_MOST = 1000  # of files and folders; a few more than a volume of ours has
_LAST = 0x0FFF_FFFF


def target(data: bytes) -> None:
    try:
        volume = Volume.read(View.of(data))
    except FormatError:
        return
    assert volume.nodes[0].path == ""
    assert volume.nodes[0].folder
    assert len(volume.nodes) <= _MOST
    for node in volume.nodes:
        try:
            content = volume.content(node)
        except FormatError:
            continue
        assert len(content) == node.size <= len(data)
        for cluster in node.clusters[:3]:
            assert volume.owner(volume.data + (cluster - 2) * volume.cluster)


def entry(name: bytes, cluster: int, *, size: int = 0, attributes: int = 0x20) -> bytes:
    """A folder's entry (§6)."""
    return pack("<11sB8xH4xHI", name, attributes, cluster >> 16, cluster & 0xFFFF, size)


def folder(name: bytes, cluster: int) -> bytes:
    return entry(name, cluster, attributes=0x10)


def long_name(text: str) -> bytes:
    """One entry of a long name (§7)."""
    raw = (text.encode("utf-16-le") + b"\0\0").ljust(26, b"\xff")
    return b"\x41" + raw[:10] + b"\x0f\0\0" + raw[10:22] + b"\0\0" + raw[22:]


def volume(clusters: dict[int, bytes], chains: dict[int, int] | None = None) -> bytes:
    """Clusters of one sector by their numbers; each ends its chain but where `chains` says what follows. Root: 2."""
    table = [_LAST, _LAST, *(_LAST if number in clusters else 0 for number in range(2, _CLUSTERS))]
    for number, following in (chains or {}).items():
        table[number] = following
    total = _RESERVED + 1 + _CLUSTERS
    boot = pack("<11sHBHB15xII4xI", b"\xeb\x58\x90FAT", _SECTOR, 1, _RESERVED, 1, total, 1, 2)
    parts = [boot.ljust(_SECTOR * _RESERVED, b"\0"), pack(f"<{_CLUSTERS}I", *table).ljust(_SECTOR, b"\0")]
    parts += [clusters.get(number, b"").ljust(_SECTOR, b"\0") for number in range(2, _CLUSTERS + 2)]
    return b"".join(parts)


def seeds() -> list[bytes]:
    file, below = entry(b"A       TXT", 4, size=600), folder(b"EFI        ", 3)
    inside = long_name("bootx64.efi") + entry(b"BOOTX64 EFI", 6, size=5)
    usual = {2: below + file, 3: inside, 4: b"a" * _SECTOR, 5: b"a" * 88, 6: b"uki!!"}
    circle = {2: folder(b"EFI        ", 2)}
    ladder = {number: folder(b"D          ", number + 1) * 16 for number in (2, 3, 4)}
    return [volume(usual, {4: 5}), volume(usual, {4: 5, 5: 4}), volume(circle), volume({**ladder, 5: b""})]
