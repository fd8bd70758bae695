"""Protocol Buffers' binary form, as far as launch endorsements need it. For tests alone."""

from __future__ import annotations

Field = tuple[bytes, bytes]  # key, value


def varint(value: int) -> bytes:
    """Seven bits in each byte, the lowest first."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def number(field: int, value: int) -> Field:
    return varint(field << 3), varint(value)


def bytes_field(field: int, value: bytes) -> Field:
    return varint(field << 3 | 2), varint(len(value)) + value


def fixed32(field: int, value: int) -> Field:
    return varint(field << 3 | 5), value.to_bytes(4, "little")


def fixed64(field: int, value: int) -> Field:
    return varint(field << 3 | 1), value.to_bytes(8, "little")


def message(*fields: Field) -> bytes:
    """The fields in the order given."""
    return b"".join(key + value for key, value in fields)
