"""What a machine says of itself, one closed type for each purpose, and the binding over it. Pure.

All but `build_id` enters the binding; `build_id` is repeated for people, the registers prove the build. The evidence
helper's import closure contains this module. Formats: docs/formats/evidence.md.
"""

from __future__ import annotations

import hashlib

from pluto_measure.binding import VERSION, binding, parse_nonce
from pluto_measure.errors import FormatError
from pluto_measure.record import record, replace

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Self

    from pluto_measure.formats.strict_json import Fields

LARGEST_EPOCH: Final = 2**53 - 1  # what JSON can spell; the binding has 8 bytes
STATEMENT_KEY_BYTES: Final = 33  # SEC1, compressed


@record
class Claims:
    """Purpose `node`: this machine answers a caller's nonce."""

    purpose: str
    nonce: bytes  # the caller's, 1 to 64 bytes
    config_digest: bytes  # SHA-256 of the run-time configuration's payload
    outer_key_digest: bytes  # SHA-256 of the SubjectPublicKeyInfo (DER) of the key that ends TLS
    build_id: bytes  # 32 bytes

    def binding(self) -> bytes:
        """B over these claims, 64 bytes."""
        return binding("node", (self.nonce, self.config_digest, self.outer_key_digest))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the members beside `purpose`. FormatError."""
        return cls(
            purpose="node",
            nonce=parse_nonce(fields.take("nonce", str)),
            config_digest=fields.hex("configDigest", 32),
            outer_key_digest=fields.hex("outerKeyDigest", 32),
            build_id=fields.hex("buildId", 32),
        )

    def to_json(self) -> dict[str, object]:
        return {
            "purpose": self.purpose,
            "nonce": self.nonce.hex(),
            "configDigest": self.config_digest.hex(),
            "outerKeyDigest": self.outer_key_digest.hex(),
            "buildId": self.build_id.hex(),
        }


@record
class ChannelClaims:
    """Purpose `channel`: the Ed25519 key that signs the sessions of one epoch of this machine."""

    channel_key: bytes  # 32 bytes, raw
    config_digest: bytes
    epoch: int
    outer_key_digest: bytes
    build_id: bytes
    purpose = "channel"

    def binding(self) -> bytes:
        """B over these claims, 64 bytes."""
        epoch = self.epoch.to_bytes(8, "big")
        return binding("channel", (self.channel_key, self.config_digest, epoch, self.outer_key_digest))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the members beside `purpose`. FormatError."""
        return cls(
            channel_key=fields.hex("channelKey", 32),
            config_digest=fields.hex("configDigest", 32),
            epoch=parse_epoch(fields),
            outer_key_digest=fields.hex("outerKeyDigest", 32),
            build_id=fields.hex("buildId", 32),
        )

    def to_json(self) -> dict[str, object]:
        return {
            "purpose": self.purpose,
            "channelKey": self.channel_key.hex(),
            "configDigest": self.config_digest.hex(),
            "epoch": self.epoch,
            "outerKeyDigest": self.outer_key_digest.hex(),
            "buildId": self.build_id.hex(),
        }


@record
class SessionClaims:
    """Purpose `session`: fresh evidence for one inner TLS session.

    The binding hashes the session's exported keying material (EKM) itself; the envelope names its SHA-256 alone. Who
    has the EKM opens the claims with it, nobody else can check them: a client that forgets to compare its own EKM
    cannot find such evidence genuine.
    """

    ekm_digest: bytes  # SHA-256 of the EKM
    nonce: bytes  # the client's, 32 bytes
    channel_key: bytes
    config_digest: bytes
    build_id: bytes
    ekm: bytes | None = None  # 32 bytes; None: not opened
    purpose = "session"

    @classmethod
    def of(cls, ekm: bytes, nonce: bytes, channel_key: bytes, config_digest: bytes, build_id: bytes) -> Self:
        """The claims of the session with this EKM, opened."""
        return cls(hashlib.sha256(ekm).digest(), nonce, channel_key, config_digest, build_id, ekm)

    def opened(self, ekm: bytes) -> Self:
        """The same claims, opened. ValueError where they are another session's."""
        return replace(self, ekm=ekm)

    def __post_init__(self) -> None:
        if self.ekm is not None and hashlib.sha256(self.ekm).digest() != self.ekm_digest:
            raise ValueError("the digest is another EKM's")

    def binding(self) -> bytes:
        """B over these claims, 64 bytes. ValueError unless they are opened."""
        if self.ekm is None:
            raise ValueError("the EKM is not known")
        return binding("session", (self.ekm, self.nonce, self.channel_key, self.config_digest))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the members beside `purpose`, not opened. FormatError."""
        return cls(
            ekm_digest=fields.hex("ekmDigest", 32),
            nonce=fields.hex("nonce", 32),
            channel_key=fields.hex("channelKey", 32),
            config_digest=fields.hex("configDigest", 32),
            build_id=fields.hex("buildId", 32),
        )

    def to_json(self) -> dict[str, object]:
        return {
            "purpose": self.purpose,
            "ekmDigest": self.ekm_digest.hex(),
            "nonce": self.nonce.hex(),
            "channelKey": self.channel_key.hex(),
            "configDigest": self.config_digest.hex(),
            "buildId": self.build_id.hex(),
        }


@record
class KeyClaims:
    """Purpose `key`: the secp256k1 key that signs this machine's statements."""

    statement_key: bytes  # SEC1, compressed, 33 bytes
    config_digest: bytes
    build_id: bytes
    purpose = "key"

    def binding(self) -> bytes:
        """B over these claims, 64 bytes."""
        return binding("key", (self.statement_key, self.config_digest))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the members beside `purpose`. FormatError."""
        return cls(
            statement_key=parse_statement_key(fields),
            config_digest=fields.hex("configDigest", 32),
            build_id=fields.hex("buildId", 32),
        )

    def to_json(self) -> dict[str, object]:
        return {
            "purpose": self.purpose,
            "statementKey": self.statement_key.hex(),
            "configDigest": self.config_digest.hex(),
            "buildId": self.build_id.hex(),
        }


AnyClaims = Claims | ChannelClaims | SessionClaims | KeyClaims

_TYPES: Final[Mapping[str, Callable[[Fields], AnyClaims]]] = {
    "node": Claims.parse,
    "channel": ChannelClaims.parse,
    "session": SessionClaims.parse,
    "key": KeyClaims.parse,
}


def parse_claims(fields: Fields) -> AnyClaims:
    """The envelope's member `claims`, as the type of its purpose. FormatError."""
    if (purpose := fields.take("purpose", str)) not in _TYPES:
        raise FormatError("claims", f"purpose {purpose!r} is not carried by an envelope of version {VERSION}")
    claims = _TYPES[purpose](fields)
    fields.end()
    return claims


def parse_epoch(fields: Fields) -> int:
    """The required member `epoch`. FormatError."""
    epoch: int = fields.take("epoch", int)
    if not 0 <= epoch <= LARGEST_EPOCH:
        raise FormatError(fields.what, f"epoch must be 0 to {LARGEST_EPOCH}")
    return epoch


def parse_statement_key(fields: Fields) -> bytes:
    """The required member `statementKey`: a compressed point by its form. FormatError."""
    key = fields.hex("statementKey", STATEMENT_KEY_BYTES)
    if key[0] not in (2, 3):
        raise FormatError(fields.what, "statementKey must be a compressed SEC1 point")
    return key
