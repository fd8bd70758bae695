"""When a certificate is valid, read from its DER. Pure.

The host decides what this machine's clock says at boot, and a TLS library judges by that clock; so each certificate of
a verified chain is judged once more, by the trusted time. RFC 5280, section 4.1:

    Certificate    ::= SEQUENCE { tbsCertificate SEQUENCE { version [0]?, serialNumber INTEGER, signature SEQUENCE,
                                  issuer SEQUENCE, validity SEQUENCE { Time, Time }, ... } ... }
    Time           ::= UTCTime "YYMMDDHHMMSSZ" | GeneralizedTime "YYYYMMDDHHMMSSZ"
"""

from __future__ import annotations

import calendar

from pluto_measure.errors import FormatError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

_INTEGER, _SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x02, 0x30, 0xA0, 0x17, 0x18
_WHAT: Final = "certificate"


def validity(der: bytes) -> tuple[int, int]:
    """First and last second, in Unix time, at which this certificate is valid. Raises FormatError."""
    content, _ = _take(der, _SEQUENCE)
    content, _ = _take(content, _SEQUENCE)
    if content[:1] == bytes([_VERSION]):
        _, content = _take(content, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):
        _, content = _take(content, tag)
    content, _ = _take(content, _SEQUENCE)
    first, content = _time(content)
    last, content = _time(content)
    return first, last


def _take(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of an element with this tag, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise FormatError(_WHAT, f"no element with tag {tag:#04x}")
    size, start = data[1], 2
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if not 2 <= start <= 6 or len(data) < start + size:
        raise FormatError(_WHAT, "an element does not end where its length says")
    return data[start : start + size], data[start + size :]


def _time(data: bytes) -> tuple[int, bytes]:
    tag = _UTC_TIME if data[:1] == bytes([_UTC_TIME]) else _GENERALIZED_TIME
    value, rest = _take(data, tag)
    digits = value[:-1]
    if not digits.isdigit() or value[-1:] != b"Z" or len(digits) != (12 if tag == _UTC_TIME else 14):
        raise FormatError(_WHAT, "a time is not in the form of RFC 5280")
    if tag == _UTC_TIME:
        digits = (b"19" if digits[:2] >= b"50" else b"20") + digits
    year, rest_of_it = int(digits[:4]), [int(digits[at : at + 2]) for at in range(4, 14, 2)]
    month, day, hour, minute, second = rest_of_it
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        raise FormatError(_WHAT, "a time does not exist")
    return calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)), rest
