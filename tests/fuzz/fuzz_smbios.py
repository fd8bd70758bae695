"""Any bytes are an SMBIOS table that can be put together again and blanked in place, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats import smbios
from simulators.smbios_tables import END, machine, structure


def target(data: bytes) -> None:
    with suppress(FormatError):
        structures = smbios.parse(data)
        assert b"".join(structure.raw for structure in structures) == data
        measured = smbios.measured(data)
        assert len(measured) == len(data)
        assert all(old == new or new in b"\0 " for old, new in zip(data, measured, strict=True))
    with suppress(FormatError):
        assert smbios.parse(smbios.merge_qemu(data, smbios.ovmf_type0(vendor="", version="", date="")))


def seeds() -> list[bytes]:
    return [machine(), structure(11, b"\1", b"option") + structure(221, b"\1\2") + END, structure(0, b"\1", b"") + END]
