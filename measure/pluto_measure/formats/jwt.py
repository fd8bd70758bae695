"""JSON Web Tokens: the compact serialisation, signed with RS256, and nothing else. Pure; no signature is checked here.

RFC 7515 sections 3.1, 4.1 and 7.1, RFC 7519:

    token  = base64url(header) "." base64url(payload) "." base64url(signature)         no padding, one spelling each
    header = { "alg": "RS256", "typ": "JWT" (or absent), "kid": text, "x5c": [ certificate … ], … }

`x5c` holds base64 of DER, as the RFC says, or PEM, as Google wrote it in 2024. A header that says where to find a key
(`jku`, `x5u`), brings one (`jwk`), or changes what the bytes mean (`crit`, `b64`, `zip`) is refused; members that RFC
7515 lets one ignore are ignored. The algorithm is no choice of the token's: there is one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import split_pem
from pluto_measure.formats.strict_json import Fields, loads

ALGORITHM: Final = "RS256"
LARGEST: Final = 64 * 1024  # characters; a genuine token with its chain has 12,000
MOST_CERTIFICATES: Final = 8
_WHAT: Final = "token"
_REFUSED: Final = ("crit", "jku", "x5u", "jwk", "b64", "zip", "enc")
_KEY_ID: Final = re.compile(r"[!-~]{1,256}")
_PEM_BEGIN: Final = "-----BEGIN "


@dataclass(frozen=True, slots=True)
class Jwt:
    """A token, parsed. Nobody vouches for anything in it."""

    key_id: str | None
    certificates: tuple[bytes, ...] | None  # DER, the signer's first; None: the token has no chain
    payload: Mapping[str, Any]
    signed: bytes  # what the signature is over
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """FormatError for anything but one token with a header that we know how to take."""
        if len(text) > LARGEST:
            raise FormatError(_WHAT, f"{len(text)} characters are more than {LARGEST}")
        parts = text.split(".")
        if len(parts) != 3:
            raise FormatError(_WHAT, f"has {len(parts)} parts, not header, payload and signature")
        header, payload, signature = parts
        signature_bytes = unbase64url(signature, what="token.signature")
        head = Fields(_json(header, "token.header"), what="token.header")
        key_id, certificates = _header(head)
        claims = _json(payload, "token.payload")
        if not isinstance(claims, dict):
            raise FormatError("token.payload", f"must be an object, not {type(claims).__name__}")
        return cls(key_id, certificates, claims, f"{header}.{payload}".encode(), signature_bytes)


def unbase64url(text: str, *, what: str) -> bytes:
    """Bytes from base64url without padding, RFC 7515 section 2. FormatError, also for a second spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise FormatError(what, "is not base64url") from error
    if not data or base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise FormatError(what, "is empty, or not the one spelling of its base64url")
    return data


def _json(part: str, what: str) -> Any:
    value = loads(unbase64url(part, what=what), what=what, limit=LARGEST)
    _check_texts(value, what)
    return value


def _check_texts(value: Any, what: str) -> None:
    """FormatError for half a surrogate pair, which JSON can spell and no output can show."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise FormatError(what, "has a text that is no Unicode") from error


def _header(head: Fields) -> tuple[str | None, tuple[bytes, ...] | None]:
    """Key id and chain."""
    absent = object()
    if (refused := [name for name in _REFUSED if head.get(name, absent) is not absent]) != []:
        raise FormatError(head.what, f"{refused[0]} is not accepted")
    if (algorithm := head.take("alg", str)) != ALGORITHM:
        raise FormatError(head.what, f"alg is {algorithm[:40]!r}, not {ALGORITHM}")
    if (kind := head.get("typ", "JWT", str)) != "JWT":
        raise FormatError(head.what, f"typ is {kind[:40]!r}, not JWT")
    key_id = head.get("kid", None, str)
    if key_id is not None and not _KEY_ID.fullmatch(key_id):
        raise FormatError(head.what, "kid is not 1 to 256 printable ASCII characters")
    chain = head.get("x5c", None, list)
    if chain is None:
        return key_id, None
    if not 0 < len(chain) <= MOST_CERTIFICATES:
        raise FormatError(head.what, f"x5c has {len(chain)} certificates, not 1 to {MOST_CERTIFICATES}")
    return key_id, tuple(_certificate(item, f"{head.what}.x5c[{i}]") for i, item in enumerate(chain))


def _certificate(value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        raise FormatError(what, f"must be text, not {type(value).__name__}")
    if not value.isascii():
        raise FormatError(what, "is not ASCII")
    if value.startswith(_PEM_BEGIN):
        found = split_pem(value.encode(), what=what, exact=True)
        if len(found) != 1:
            raise FormatError(what, f"holds {len(found)} certificates, not one")
        return found[0]
    try:
        der = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(what, "is neither base64 nor PEM") from error
    if not der or base64.b64encode(der).decode() != value:
        raise FormatError(what, "is empty, or not the one spelling of its base64")
    return der
