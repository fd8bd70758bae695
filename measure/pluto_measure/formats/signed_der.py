"""What is signed in a certificate or a revocation list, and the names it stands between, as bytes. Pure.

RFC 5280 sections 4.1 and 5.1. Both are a sequence of what is signed, the algorithm of the signature, and the signature:

    TBSCertificate = [0] version (absent in version 1), serialNumber, signature, issuer, validity, subject, ...
    TBSCertList    = version (absent in version 1), signature, issuer, ...

    Name           = SEQUENCE OF SET OF SEQUENCE { identifier, value }

A library reads the rest. These parts are taken from the very bytes, since a signature is over them and not over what a
library would write anew, and names are the same where their bytes are.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from pluto_measure.errors import FormatError

_SEQUENCE, _INTEGER, _VERSION = 0x30, b"\x02", b"\xa0"
_COMMON_NAME: Final = bytes.fromhex("0603550403")  # the identifier 2.5.4.3
_TEXT: Final = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}  # UTF8String, PrintableString, IA5String
_LONGEST: Final = 4  # bytes of a length


class SignedDer(NamedTuple):
    """Parts of one certificate or list, DER with tag and length."""

    signed: bytes
    algorithm: bytes  # as it stands beside the signature
    signed_algorithm: bytes  # as it was signed
    issuer: bytes
    subject: bytes  # nothing in a list
    name: str  # the subject's common name

    @classmethod
    def certificate(cls, der: bytes) -> Self:
        """FormatError for bytes that are no certificate."""
        signed, algorithm, parts = _parts(der, "certificate", 6)
        if parts[0][:1] != _VERSION:
            parts = [b"", *parts]
        return cls(signed, algorithm, parts[2], parts[3], parts[5], common_name(parts[5]))

    @classmethod
    def revocation_list(cls, der: bytes) -> Self:
        """FormatError for bytes that are no revocation list."""
        signed, algorithm, parts = _parts(der, "revocation list", 3)
        if parts[0][:1] != _INTEGER:
            parts = [b"", *parts]
        return cls(signed, algorithm, parts[1], parts[2], b"", "")


def common_name(name: bytes) -> str:
    """The one common name in a Name; "" where there is none, more than one, or one that is no text. FormatError."""
    found: list[str] = []
    at, end = _content(name, 0, len(name), "name")
    while at < end:
        member, at = _content(name, at, end, "name")
        while member < at:
            begin, member = _content(name, member, at, "name")
            if name.startswith(_COMMON_NAME, begin):
                value = begin + len(_COMMON_NAME)
                text, stop = _content(name, value, member, "name")
                found.append(_text(name[value], name[text:stop]))
    return found[0] if len(found) == 1 else ""


def _text(tag: int, value: bytes) -> str:
    try:
        return value.decode(_TEXT[tag])
    except (KeyError, UnicodeDecodeError):
        return ""


def _parts(der: bytes, what: str, count: int) -> tuple[bytes, bytes, list[bytes]]:
    """What is signed, the algorithm beside the signature, and the first members of what is signed."""
    whole_begin, whole_end = _content(der, 0, len(der), what)
    begin, end = _content(der, whole_begin, whole_end, what)
    algorithm_end = _content(der, end, whole_end, what)[1]
    if der[0] != _SEQUENCE or der[whole_begin] != _SEQUENCE or whole_end != len(der):
        raise FormatError(what, "is not a sequence of what is signed and its signature", offset=0)
    parts = []
    for _ in range(count):
        stop = _content(der, begin, end, what)[1]
        parts.append(der[begin:stop])
        begin = stop
    return der[whole_begin:end], der[end:algorithm_end], parts


def _content(der: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends; it must end at or before `end`."""
    if at + 2 > end:
        raise FormatError(what, "an element is cut short", offset=at)
    length, begin = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= _LONGEST or begin + size > end:
            raise FormatError(what, f"an element has a length of {size} bytes", offset=at)
        length, begin = int.from_bytes(der[begin : begin + size], "big"), begin + size
    if length > end - begin:
        raise FormatError(what, f"an element needs {length} bytes, {end - begin} left", offset=at)
    return begin, begin + length
