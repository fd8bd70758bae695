"""Any bytes are an image of firmware volumes that is read to its end, or a FormatError."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats import firmware_volume
from simulators import firmware_volumes as made


def target(data: bytes) -> None:
    try:
        firmware = firmware_volume.parse(data)
    except FormatError:
        return
    assert firmware.volumes
    assert firmware.generation is None or 200002 <= firmware.generation <= 209911
    for volume in firmware.volumes:
        assert all(volume.file(file.guid) for file in volume.files)


def seeds() -> list[bytes]:
    files = [
        made.file(b"a" * 16, made.sections(made.section(0x10, b"code"), made.named("a"))),
        made.file(b"b" * 16, b""),
    ]
    text = made.section(0x10, "2025.02-1\0".encode("utf-16-le"))
    return [
        made.volume(files, name=b"n" * 16),
        made.ovmf(files, pei=[made.file(b"c" * 16, text, large=True)]),
        made.volume([made.file(b"d" * 16, made.guided(made.CRC32, made.sections(text, text), attributes=0))], erased=0),
    ]
