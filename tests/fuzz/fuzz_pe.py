"""Any bytes are a PE image whose sections can be read and whose digest is defined, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats import pe
from simulators.pe_images import image


def target(data: bytes) -> None:
    with suppress(FormatError):
        pe.authenticode(data)
    with suppress(FormatError):
        for section in pe.parse(data).sections:
            with suppress(FormatError):
                assert len(pe.section_data(data, section)) == section.virtual_size


def seeds() -> list[bytes]:
    return [
        image(),
        image([(".osrel", b"ID=pluto\n")]),
        image([], trailing=b"overlay!"),
        image(certificates=b"\x10\0\0\0\0\2\2\0certific"),
    ]
