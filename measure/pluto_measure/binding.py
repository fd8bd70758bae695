"""What evidence is bound to, and what a quote is made of: the part of evidence that whoever makes it needs. Pure.

The evidence helper starts with this and `pluto_measure.claims`; the envelope is in `pluto_measure.evidence`, which
gives these names to everybody else.
"""

from __future__ import annotations

import hashlib

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import unhex
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

TAG: Final = b"pluto-tee/v2"
VERSION: Final = 1
BANKS: Final = ("sha256", "sha384")  # the banks that a quote covers, in the order of its selection
REGISTERS: Final = tuple(f"pcr{index}" for index in range(24))
NONCE_BYTES: Final = range(1, 65)
# Whom Confidential Space's tokens are for: those that are evidence, and those that open a channel of version 1.
SPACE_AUDIENCE: Final = "pluto-notary/2"
LEGACY_SPACE_AUDIENCE: Final = "pluto-tee/v1"

# What evidence is for, and the fields that its binding hashes, in order. `session-signature` is no evidence: a channel
# key signs it for one session, and the same rule keeps it apart from all else.
PURPOSES: Final[dict[str, tuple[str, ...]]] = {
    "channel": ("channelKey", "configDigest", "epoch", "outerKeyDigest"),
    "session": ("ekm", "nonce", "channelKey", "configDigest"),
    "session-signature": ("ekm", "nonce", "sessionId", "manifestDigest"),
    "key": ("statementKey", "configDigest"),
    "node": ("nonce", "configDigest", "outerKeyDigest"),
    "cluster": ("ekm", "clientNonce", "serverNonce", "clientRole", "serverRole", "configDigest"),
}


def binding(purpose: str, fields: Sequence[bytes]) -> bytes:
    """B: 64 bytes that tie evidence to its purpose. ValueError if the purpose or the number of fields is not ours.

    SHA-512(TAG, u32 big-endian length and purpose, u32 big-endian length and field for each field).
    """
    if len(fields) != len(PURPOSES.get(purpose, ())) or not fields:
        raise ValueError(f"purpose {purpose!r} does not have {len(fields)} fields")
    parts = [purpose.encode(), *fields]
    return hashlib.sha512(TAG + b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def tpm_extra_data(bound: bytes) -> bytes:
    """What a TPM quote carries in extraData for a binding B: SHA-256(B), 32 bytes."""
    return hashlib.sha256(bound).digest()


@record
class TpmQuote:
    """TPMS_ATTEST, TPMT_SIGNATURE as bytes, and the register values that the quote's digest is said to cover."""

    attest: bytes
    signature: bytes
    registers: Mapping[str, Mapping[str, bytes]]  # bank ("sha256") to register ("pcr4") to value


def parse_nonce(text: str) -> bytes:
    """A caller's nonce: 1 to 64 bytes in lower-case hex. FormatError."""
    if len(text) // 2 not in NONCE_BYTES:
        raise FormatError("nonce", f"must be {NONCE_BYTES[0]} to {NONCE_BYTES[-1]} bytes in hex")
    return unhex(text, len(text) // 2, what="nonce")
