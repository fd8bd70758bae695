"""What collateral services answer with, taken apart: Intel's PCS API v4 and PCCS. Pure; nothing is verified.

TCB info, QE identity   {"tcbInfo": {...}, "signature": "128 hex digits"}, the other with "enclaveIdentity"
revocation list         DER, or the same as hex text (PCCS) or PEM
issuer chain            PEM text, URL-encoded (RFC 3986, section 2.1), in a header
"""

from __future__ import annotations

import base64
import binascii
import re
from json import JSONDecoder
from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

DOCUMENT_LIMIT: Final = 1024 * 1024  # bytes of TCB info, QE identity or their like; genuine ones have 7 KiB
_PEM: Final = re.compile(rb"\A\s*-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----\s*\Z")
_HEX: Final = re.compile(rb"\A\s*(?:[0-9A-Fa-f]{2})+\s*\Z")
_SIGNATURE: Final = re.compile(r"[0-9A-Fa-f]{128}", re.ASCII)
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_ENCODED: Final = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def wrapped(body: bytes, member: str, *, what: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """The member's bytes as they stand, the signature (64 bytes), and the member as JSON. FormatError."""
    value = loads(body, what=what, limit=DOCUMENT_LIMIT)
    if not isinstance(value, dict) or set(value) != {member, "signature"}:
        raise FormatError(what, f"is not an object of {member} and signature")
    if not isinstance(value[member], dict):
        raise FormatError(what, f"{member} must be an object")
    signature = value["signature"]
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise FormatError(what, "signature must be 128 hex digits")
    return _span(body.decode(), member).encode(), bytes.fromhex(signature), value[member]


def wrap(text: bytes, signature: bytes, member: str) -> bytes:
    """What a service would answer: the inverse of `wrapped` for text that is one JSON object."""
    return b'{"%s":%s,"signature":"%s"}' % (member.encode(), text, signature.hex().encode())


def crl(body: bytes, *, what: str) -> bytes:
    """The DER of a revocation list, from any of its forms. FormatError."""
    der = body
    if match := _PEM.match(body):
        try:
            der = base64.b64decode(b"".join(match[1].split()), validate=True)
        except binascii.Error as error:
            raise FormatError(what, "is not base64 within its PEM block") from error
    elif _HEX.match(body):
        der = bytes.fromhex(body.decode())
    if not _is_one_sequence(der):
        raise FormatError(what, "is no revocation list: neither DER, nor hex text nor PEM of it")
    return der


def percent_decoded(text: str, *, what: str) -> bytes:
    """ASCII text from its URL-encoded form; "+" stands for itself. FormatError for a bad escape or anything else."""
    if not _ENCODED.fullmatch(text):
        raise FormatError(what, "is not URL-encoded")
    data = re.sub(b"%(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    if not data.isascii():
        raise FormatError(what, "is not ASCII text")
    return data


def percent_encoded(data: bytes) -> str:
    """The inverse: everything but letters, digits and `-._~` is escaped."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)


def _span(text: str, member: str) -> str:
    """The member's value as it is spelled, from text that is known to be an object of two members."""
    decoder = JSONDecoder()

    def past(at: int) -> int:
        match = _SPACE.match(text, at)
        return at if match is None else match.end()

    at = past(0) + 1  # {
    while True:
        key, at = decoder.raw_decode(text, past(at))
        start = past(past(at) + 1)  # :
        _, end = decoder.raw_decode(text, start)
        if key == member:
            return text[start:end]
        at = past(end) + 1  # ,


def _is_one_sequence(der: bytes) -> bool:
    """Whether the bytes are one DER sequence, from the first to the last."""
    if len(der) < 2 or der[0] != 0x30:
        return False
    if der[1] < 0x80:
        return len(der) == 2 + der[1]
    size = der[1] & 0x7F
    return 1 <= size <= 4 and len(der) == 2 + size + int.from_bytes(der[2 : 2 + size], "big")
