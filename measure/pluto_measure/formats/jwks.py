"""Google's keys for tokens without a chain: a JSON Web Key set, and when it was fetched. Pure; nobody vouches for it.

RFC 7517 and RFC 7518 section 6.3.1. As a file for a verifier, who is not on the network:

    { "version": 1, "source": "https://…", "fetchedAt": "2026-11-20T12:00:00Z", "keys": [ key … ] }
    key = { "kty": "RSA", "alg": "RS256", "use": "sig", "kid": text, "n": base64url, "e": "AQAB" }

A service's own answer has `keys` alone, and whoever asked says when (`of_answer`). Keys of other kinds are left out:
one `kid` may stand for a key of each of several algorithms, so a key is found by both. Members that RFC 7517 lets one
ignore are ignored. Whoever gave the set is trusted: the keys come by web PKI, and nothing in them is signed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.jwt import ALGORITHM, unbase64url
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1
LARGEST: Final = 64 * 1024  # bytes of JSON; a genuine set of two keys has 1,000
GOOGLE_SOURCE: Final = (
    "https://www.googleapis.com/service_accounts/v1/metadata/jwk/signer@confidentialspace-sign.iam.gserviceaccount.com"
)
_MOST_KEYS: Final = 32
_LONGEST_TEXT: Final = 256
_EXPONENT: Final = "AQAB"  # 65537
_BITS: Final = range(2048, 4097)
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_WHAT: Final = "key set"


@dataclass(frozen=True, slots=True)
class RsaJwk:
    """A public key for RS256; its exponent is 65537."""

    key_id: str
    modulus: bytes  # big-endian, no leading zero

    def to_json(self) -> dict[str, str]:
        modulus = base64.urlsafe_b64encode(self.modulus).rstrip(b"=").decode()
        return {"kty": "RSA", "alg": ALGORITHM, "use": "sig", "kid": self.key_id, "n": modulus, "e": _EXPONENT}


@dataclass(frozen=True, slots=True)
class JwksDocument:
    """The keys for RS256 of a set, and when they were fetched."""

    source: str
    fetched_at: datetime
    keys: tuple[RsaJwk, ...]

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """The file. FormatError for anything but a set with its time."""
        fields = Fields(loads(text, what=_WHAT, limit=LARGEST), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        found = cls(
            source=_text(fields, "source"),
            fetched_at=parse_time(fields.take("fetchedAt", str), what=f"{_WHAT} fetchedAt"),
            keys=_keys(fields.take("keys", list)),
        )
        fields.end()
        return found

    @classmethod
    def of_answer(cls, text: bytes | str, *, source: str, fetched_at: datetime) -> Self:
        """A service's answer. FormatError."""
        fields = Fields(loads(text, what=_WHAT, limit=LARGEST), what=_WHAT)
        return cls(source, fetched_at, _keys(fields.take("keys", list)))

    def key(self, key_id: str) -> RsaJwk | None:
        """The key of that name; None where the set has none."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def to_text(self) -> str:
        """The file."""
        keys = [key.to_json() for key in self.keys]
        fetched_at = format_time(self.fetched_at)
        return pretty({"version": VERSION, "source": self.source, "fetchedAt": fetched_at, "keys": keys})


def _keys(values: list[Any]) -> tuple[RsaJwk, ...]:
    if len(values) > _MOST_KEYS:
        raise FormatError(_WHAT, f"{len(values)} keys are more than {_MOST_KEYS}")
    found = [key for i, value in enumerate(values) if (key := _key(value, f"{_WHAT} keys[{i}]")) is not None]
    if not found:
        raise FormatError(_WHAT, f"has no key for {ALGORITHM}")
    if len({key.key_id for key in found}) != len(found):
        raise FormatError(_WHAT, "has two keys of one name and algorithm")
    return tuple(found)


def _key(value: Any, what: str) -> RsaJwk | None:
    """None for a key that signs otherwise."""
    if isinstance(value, Mapping) and (secret := [name for name in _PRIVATE if name in value]):
        raise FormatError(what, f"has {secret[0]}: a private key, which is nobody else's to see")
    fields = Fields(value, what=what)
    kind, algorithm, use = fields.take("kty", str), fields.get("alg", "", str), fields.get("use", "sig", str)
    if (kind, algorithm, use) != ("RSA", ALGORITHM, "sig"):
        return None
    key_id, modulus = _text(fields, "kid"), unbase64url(fields.take("n", str), what=f"{what}.n")
    if (exponent := fields.take("e", str)) != _EXPONENT:
        raise FormatError(what, f"e is {exponent[:40]!r}, not {_EXPONENT}")
    bits = int.from_bytes(modulus).bit_length()
    if modulus[0] == 0 or bits not in _BITS or not modulus[-1] & 1:
        raise FormatError(what, f"n is no modulus of {_BITS[0]} to {_BITS[-1]} bits")
    return RsaJwk(key_id, modulus)


def _text(fields: Fields, name: str) -> str:
    text: str = fields.take(name, str)
    if not (0 < len(text) <= _LONGEST_TEXT and text.isascii() and text.isprintable()):
        raise FormatError(fields.what, f"{name} is not 1 to {_LONGEST_TEXT} printable ASCII characters")
    return text
