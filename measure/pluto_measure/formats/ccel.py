"""The ACPI table CCEL: where a trust domain's firmware keeps its event log, and how large that area is. Pure.

Format: ACPI 6.5, "CC Event Log ACPI Table"; Linux shows it as `/sys/firmware/acpi/tables/CCEL` and the area as
`/sys/firmware/acpi/tables/data/CCEL`. All integers little-endian.

    Table   "CCEL", u32 length (56), u8 revision, u8 checksum, OEM[26], u8 type, u8 subtype, u16 reserved,
            u64 LAML, u64 LASA
    type    1 SEV, 2 TDX
    LAML    log area minimum length in bytes
    LASA    log area start address (physical)

The sum of all bytes is 0 modulo 256. The host wrote neither table nor log, the firmware did; no register covers the
table, so it tells how much there is to read and proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

SIZE: Final = 56
TDX: Final = 2

_WHAT: Final = "CCEL table"
_TYPES: Final = {1: "SEV", 2: "TDX"}


@dataclass(frozen=True, slots=True)
class Table:
    """Kind of machine, and the log area: size in bytes, physical address."""

    type: int
    subtype: int
    log_size: int
    log_address: int

    @property
    def type_name(self) -> str:
        """ "TDX", "SEV", or the number."""
        return _TYPES.get(self.type, f"type {self.type}")


def parse(data: bytes) -> Table:
    """The table that fills `data` exactly. FormatError."""
    r = Reader(data, what=_WHAT)
    if r.take(4, "signature") != b"CCEL":
        raise r.error("signature is not CCEL")
    length = r.uint(4, "length")
    if length != SIZE or len(data) != SIZE:
        raise r.error(f"{len(data)} bytes with a length of {length} are not {SIZE}")
    if sum(data) % 256:
        raise r.error("checksum is wrong")
    r.take(28, "revision, checksum and OEM fields")
    kind, subtype = r.uint(1, "type"), r.uint(1, "subtype")
    r.take(2, "reserved")
    size, address = r.uint(8, "LAML"), r.uint(8, "LASA")
    if not (size and address):
        raise r.error(f"log area of {size} bytes at {address:#x} is not there")
    return Table(kind, subtype, size, address)


def check_size(table: Table, size: int) -> None:
    """FormatError where a log of `size` bytes cannot be the content of the table's area.

    A shorter log is fine: tools drop the padding. A longer one holds bytes that no firmware wrote there, or belongs to
    another boot or machine.
    """
    if size > table.log_size:
        raise FormatError(
            "event log",
            f"{size} bytes are more than the {table.log_size} of the log area that the CCEL table names: "
            "log and table are not of the same boot, or something was appended to the log",
            offset=table.log_size,
        )
