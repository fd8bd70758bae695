"""Any bytes, as the metadata of an image or as an image: sections that can be measured soon, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import ORDERS, mrtd
from pluto_measure.predict import hob
from simulators import tdvf_images
from simulators.tdvf_images import DESCRIPTOR_BACK, SIZE, Entry

IMAGE = tdvf_images.image()
METADATA = IMAGE[-DESCRIPTOR_BACK : 16 + 32 * 8 - DESCRIPTOR_BACK]
TABLE = IMAGE[-256:]


def target(data: bytes) -> None:
    for image in (data, tdvf_images.laid(IMAGE, [(-DESCRIPTOR_BACK, data[:DESCRIPTOR_BACK])]), IMAGE + data):
        with suppress(FormatError):
            check(image)


def check(image: bytes) -> None:
    sections = tdvf.parse(image)
    memory = [section for section in sections if section.attributes != tdvf.AUGMENT]
    assert sum(section.memory_size for section in memory) <= 256 << 20
    assert all(len(tdvf.content(image, section)) == section.raw_size for section in sections)
    assert all(section.raw_size <= section.memory_size or not section.memory_size for section in sections)
    if sum(section.memory_size for section in memory) < 16 << 20:  # otherwise it takes seconds
        assert all(len(mrtd(image, sections, order)) == 48 for order in ORDERS)
    for writer in hob.WRITERS.values():
        with suppress(FormatError):
            assert len(writer(sections, 4 << 30)) % 48 == 56 % 48


def seeds() -> list[bytes]:
    sections = [*tdvf_images.ovmf(), Entry(0x9000, 0x1000, 0, 0, tdvf_images.TD_INFO, 0)]
    return [METADATA, tdvf_images.descriptor(sections), IMAGE[-SIZE // 2 :], TABLE, tdvf_images.td_shim()[-4096:]]
