"""NTPv4 packets with extension fields, as NTS uses them. RFC 5905, section 7.3; RFC 7822; RFC 8915, section 5. Pure.

packet = header (48 bytes) ‖ field…        field = u16 type, u16 length with these four bytes, body; a multiple of 4
request  = header, unique identifier, cookie, cookie placeholder…, authenticator
response = header, unique identifier, authenticator [new cookies, encrypted]
authenticator = u16 length of nonce, u16 length of ciphertext, nonce, ciphertext, each padded to a multiple of 4
"""

from __future__ import annotations

from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_measure.record import record
from pluto_notary.trusted_time.siv import NONCE_BYTES, seal, unseal

HEADER_BYTES: Final = 48
LARGEST_PACKET: Final = 8 * 1024  # an answer must fit one datagram, and no honest one is near this
UNIQUE_IDENTIFIER, COOKIE, PLACEHOLDER, AUTHENTICATOR = 0x0104, 0x0204, 0x0304, 0x0404
IDENTIFIER_BYTES: Final = 32
VERSION, CLIENT, SERVER = 4, 3, 4
UNKNOWN_LEAP: Final = 3  # "not synchronised"
_SMALLEST_FIELD: Final = 16  # RFC 7822, section 3
_UNIX_IN_NTP: Final = 2_208_988_800  # 1970-01-01 in seconds since 1900-01-01
_ERA: Final = 1 << 32  # seconds


@record
class Header:
    """The fixed part. Timestamps are the 64 bits as they are: seconds in an unnamed era, and 2^-32 of seconds."""

    leap: int
    version: int
    mode: int
    stratum: int
    precision: float  # seconds
    root_delay: float  # seconds
    root_dispersion: float  # seconds
    reference: bytes  # four bytes: with stratum 0 a kiss code
    origin: int
    receive: int
    transmit: int


@record
class Field:
    """One extension field, and where in the packet it begins."""

    kind: int
    body: bytes
    start: int


def parse(packet: bytes) -> tuple[Header, tuple[Field, ...]]:
    """Header and extension fields up to the authenticator, which covers nothing behind itself. FormatError."""
    if len(packet) > LARGEST_PACKET:
        raise FormatError("NTP packet", f"more than {LARGEST_PACKET} bytes")
    reader = Reader(packet, what="NTP packet", order="big")
    first, stratum = reader.uint(1, "mode"), reader.uint(1, "stratum")
    reader.uint(1, "poll")
    precision = int.from_bytes(reader.take(1, "precision"), "big", signed=True)
    delay, dispersion = reader.uint(4, "root delay"), reader.uint(4, "root dispersion")
    reference = reader.take(4, "reference")
    reader.uint(8, "reference timestamp")
    origin, receive, transmit = (reader.uint(8, name) for name in ("origin", "receive", "transmit"))
    header = Header(
        first >> 6, first >> 3 & 7, first & 7, stratum, 2.0**precision, delay / 65536, dispersion / 65536,
        reference, origin, receive, transmit,
    )  # fmt: skip
    return header, tuple(_fields(reader))


def _fields(reader: Reader) -> list[Field]:
    found: list[Field] = []
    while reader.left and not (found and found[-1].kind == AUTHENTICATOR):
        start = reader.offset
        kind, length = reader.uint(2, "type"), reader.uint(2, "length")
        if length < _SMALLEST_FIELD or length % 4:
            raise reader.error(f"a field of {length} bytes")
        found.append(Field(kind, reader.take(length - 4, "field"), start))
    return found


def field(kind: int, body: bytes) -> bytes:
    """The bytes of an extension field; the body is padded with zeros."""
    body = body.ljust(max(_SMALLEST_FIELD - 4, -(-len(body) // 4) * 4), b"\0")
    return kind.to_bytes(2, "big") + (len(body) + 4).to_bytes(2, "big") + body


def client_header(transmit: int) -> bytes:
    """A request that tells nothing of the client: everything is zero but version, mode and a random `transmit`."""
    return bytes([VERSION << 3 | CLIENT]) + bytes(39) + transmit.to_bytes(8, "big")


def sealed(packet: bytes, key: bytes, nonce: bytes, plaintext: bytes = b"") -> bytes:
    """The packet with an authenticator over all of it, which carries `plaintext` encrypted."""
    assert len(nonce) == NONCE_BYTES
    ciphertext = seal(key, nonce, plaintext, packet)
    lengths = len(nonce).to_bytes(2, "big") + len(ciphertext).to_bytes(2, "big")
    return packet + field(AUTHENTICATOR, lengths + nonce + ciphertext)


def opened(packet: bytes, authenticator: Field, key: bytes) -> tuple[Field, ...]:
    """The encrypted extension fields. VerificationError if the packet is not authentic, FormatError."""
    reader = Reader(authenticator.body, what="authenticator", order="big")
    nonce_size, size = reader.uint(2, "nonce length"), reader.uint(2, "ciphertext length")
    nonce = reader.take(nonce_size, "nonce")
    reader.take(-nonce_size % 4, "padding")
    ciphertext = reader.take(size, "ciphertext")
    if not nonce:
        raise reader.error("no nonce")
    plaintext = unseal(key, nonce, ciphertext, packet[: authenticator.start])
    return tuple(_fields(Reader(plaintext, what="encrypted fields", order="big")))


def unix_seconds(timestamp: int, near: int) -> float:
    """Unix seconds of an NTP timestamp, in the era that brings it within 68 years of `near` (Unix seconds)."""
    seconds, fraction = timestamp >> 32, timestamp & _ERA - 1
    whole = seconds - _UNIX_IN_NTP
    whole += -(-(near - _ERA // 2 - whole) // _ERA) * _ERA
    return whole + fraction / _ERA


def ntp_timestamp(seconds: float) -> int:
    """The NTP timestamp of Unix seconds: the inverse of `unix_seconds`, but for the era."""
    return round((seconds + _UNIX_IN_NTP) * _ERA) & (1 << 64) - 1
