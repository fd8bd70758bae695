"""DSSE envelopes: a payload, its type, and one signature over both. Pure; read strictly.

Specification: Dead Simple Signing Envelope v1.0.2, "protocol" (PAE) and "envelope". An envelope here holds exactly one
signature: with several, readers disagree about which of them counts.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.publish.keys import PrivateKey, key_id, sign
from pluto_measure.publish.statement import LIMIT, PAYLOAD_TYPE

_WHAT: Final = "envelope"
_LONGEST_SIGNATURE: Final = 256  # bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """`keyid` says which key to try and is nobody's word; see `pluto_measure.publish.keys.key_id`."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes

    @property
    def message(self) -> bytes:
        """What the signature is over."""
        return pae(self.payload_type, self.payload)

    def to_json(self) -> dict[str, object]:
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode()}],
        }

    def to_text(self) -> str:
        return pretty(self.to_json())

    @classmethod
    def parse(cls, text: bytes | str, *, what: str = _WHAT) -> Self:
        """FormatError for anything unknown, missing, doubled or too large, and for more than one signature."""
        return cls.from_json(loads(text, what=what, limit=2 * LIMIT), what=what)

    @classmethod
    def from_json(cls, value: Any, *, what: str = _WHAT) -> Self:
        """The same, from JSON that was read already."""
        fields = Fields(value, what=what)
        payload, payload_type = fields.take("payload", str), fields.take("payloadType", str)
        signatures = fields.take("signatures", list)
        fields.end()
        if payload_type != PAYLOAD_TYPE:
            raise FormatError(what, f"payloadType {payload_type[:80]!r} is not {PAYLOAD_TYPE}")
        if len(signatures) != 1:
            raise FormatError(what, f"holds {len(signatures)} signatures, not one")
        one = Fields(signatures[0], what=f"{what}.signatures[0]")
        keyid, signature = one.take("keyid", str), unbase64(one.take("sig", str), f"{what}.signatures[0].sig")
        one.end()
        if len(signature) > _LONGEST_SIGNATURE or len(keyid) > 100:
            raise FormatError(what, "signature or keyid is too long")
        return cls(payload_type, unbase64(payload, f"{what}.payload"), keyid, signature)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: "DSSEv1", and length and bytes of type and payload, each after a blank."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def signed(payload: bytes, key: PrivateKey) -> Envelope:
    """An envelope around a statement."""
    return Envelope(PAYLOAD_TYPE, payload, key_id(key.public_key()), sign(key, pae(PAYLOAD_TYPE, payload)))


def unbase64(text: str, what: str) -> bytes:
    """Standard base64 with padding, in its one spelling. FormatError."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(what, "is not base64") from error
    if base64.b64encode(value).decode() != text:
        raise FormatError(what, "is not base64 in its one spelling")
    return value
