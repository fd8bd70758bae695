"""Any bytes are an endorsement whose parts have their sizes, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats import endorsement
from simulators.endorsements import bytes_field, fixed32, fixed64, message, number


def target(data: bytes) -> None:
    with suppress(FormatError):
        parsed = endorsement.parse(data)
        assert parsed.mrtds
        assert all(len(item.mrtd) == 48 and 0 <= item.ram_gib < 1 << 64 for item in parsed.mrtds)
        assert len(parsed.firmware_digest) == 48
        assert parsed.golden in data
        assert set(parsed.of_memory(16 << 30)) <= {item.mrtd for item in parsed.mrtds}


def seeds() -> list[bytes]:
    mrtds = [
        message(bytes_field(3, b"m" * 48)),
        message(number(1, 16), number(2, 1), bytes_field(3, b"n" * 48), fixed32(9, 1), fixed64(10, 1)),
    ]
    tdx = message(number(1, 2), *(bytes_field(2, item) for item in mrtds))
    made = message(number(1, 1_700_000_000), number(2, 5))
    golden = message(
        bytes_field(1, made),
        bytes_field(6, b"pem"),
        number(2, 1 << 40),
        bytes_field(4, b"c"),
        bytes_field(5, b"d" * 48),
        bytes_field(8, tdx),
    )
    return [message(bytes_field(1, golden), bytes_field(2, b"signature")), golden, tdx, *mrtds]
