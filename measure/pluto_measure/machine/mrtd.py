"""MRTD: what the TDX module measures while a VMM builds a trust domain from a firmware image. Pure.

Intel TDX Module Base Architecture Specification, "Measurement"; ABI of TDH.MEM.PAGE.ADD and TDH.MR.EXTEND. MRTD is
one SHA-384 over a stream of records, each of 128 bytes:

    MEM.PAGE.ADD   "MEM.PAGE.ADD", zeros to 16, u64 address of a page of 4096 bytes, zeros to 128
    MR.EXTEND      "MR.EXTEND", zeros to 16, u64 address of a chunk of 256 bytes, zeros to 128; the chunk follows

Sections come in the order of the metadata. A page without PAGE.AUG is added; where MR.EXTEND is set its 16 chunks are
extended. Memory size, number of vCPUs, ATTRIBUTES, XFAM and MRCONFIGID are not part of MRTD.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.formats.tdvf import AUGMENT, EXTEND, PAGE, Section

# The order of the records, and who adds pages so. Nobody adds all pages of all sections first.
ORDERS: Final[Mapping[str, str]] = {
    "interleaved": "each page is extended as it is added: Linux KVM_TDX_INIT_MEM_REGION, so QEMU 10.1 and later, "
    "QEMU 9.x forks, Cloud Hypervisor; Google",
    "sectioned": "all pages of a section are added, then extended: QEMU 8.x forks (Ubuntu 24.04), dstack and Kata on "
    "these",
}
DEFAULT_ORDER: Final = "interleaved"

_CHUNK: Final = 256
_ADD: Final = Struct("<16sQ104x")
# One call for all chunks of a page: a hash of many small pieces costs more than their bytes.
_EXTENDS: Final = Struct("<" + "16sQ104x256s" * (PAGE // _CHUNK))
_CHUNKS: Final = Struct("256s" * (PAGE // _CHUNK))


def mrtd(firmware: bytes, sections: Sequence[Section], order: str = DEFAULT_ORDER) -> bytes:
    """The 48 bytes of MRTD. `sections` are `tdvf.parse(firmware)`; `order` is a key of ORDERS. FormatError."""
    if order not in ORDERS:
        raise FormatError("MRTD", f"page order {order!r} is not one of {', '.join(ORDERS)}")
    state = hashlib.sha384()
    for section in sections:
        for record in _records(firmware, section, interleaved=order == "interleaved"):
            state.update(record)
    return state.digest()


def order_of_qemu(version: tuple[int, ...]) -> str:
    """The order of a QEMU by its version, such as (10, 1): the forks of 8.x add a section's pages before extending."""
    return "sectioned" if (8,) <= version < (9,) else "interleaved"


def _records(firmware: bytes, section: Section, *, interleaved: bool) -> Iterator[bytes]:
    """The records of one section, those of one page's chunks together."""
    added, extended = not section.attributes & AUGMENT, bool(section.attributes & EXTEND)
    pages = range(section.address, section.end, PAGE)
    if added and not (extended and interleaved):
        for page in pages:
            yield _ADD.pack(b"MEM.PAGE.ADD", page)
    if not extended:
        return
    content = tdvf.content(firmware, section)
    fields: list[bytes | int] = [b"MR.EXTEND", 0, b""] * (PAGE // _CHUNK)
    for page in pages:
        if added and interleaved:
            yield _ADD.pack(b"MEM.PAGE.ADD", page)
        start = page - section.address
        fields[1::3] = range(page, page + PAGE, _CHUNK)
        fields[2::3] = _CHUNKS.unpack(content[start : start + PAGE].ljust(PAGE, b"\0"))
        yield _EXTENDS.pack(*fields)
