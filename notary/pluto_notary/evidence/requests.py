"""What the notary may ask the evidence helper for: one closed type for each purpose. Pure.

    request = {"version":1, "purpose":P, fields}

    node      nonce, outerKeyDigest               channel   channelKey, epoch, outerKeyDigest
    session   ekm, nonce, channelKey              key       statementKey
    legacy    ekm                                 (Confidential Space alone: the token of the old protocol)

No request has a field for bytes to be quoted, nor for the configuration's digest: the helper reads that itself.
"""

from __future__ import annotations

from pluto_measure.binding import parse_nonce
from pluto_measure.claims import (
    ChannelClaims,
    Claims,
    KeyClaims,
    SessionClaims,
    parse_epoch,
    parse_statement_key,
)
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, loads
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Self

VERSION: Final = 1
LARGEST_REQUEST: Final = 1024  # bytes of body
_WHAT: Final = "evidence request"


@record
class NodeRequest:
    """Evidence of this node: the caller's nonce (1 to 64 bytes) and the outer certificate's key digest (SHA-256)."""

    nonce: bytes
    outer_key_digest: bytes
    purpose = "node"

    def claims(self, config_digest: bytes, build_id: bytes) -> Claims:
        return Claims("node", self.nonce, config_digest, self.outer_key_digest, build_id)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From a message's body. FormatError."""
        request = parse_request(body)
        if not isinstance(request, cls):
            raise FormatError(_WHAT, f"purpose {request.purpose!r} is not {cls.purpose!r}")
        return request

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(parse_nonce(fields.take("nonce", str)), fields.hex("outerKeyDigest", 32))

    def to_body(self) -> bytes:
        return _body(self.purpose, nonce=self.nonce.hex(), outerKeyDigest=self.outer_key_digest.hex())


@record
class ChannelRequest:
    """Evidence of an epoch's channel key (Ed25519, 32 bytes)."""

    channel_key: bytes
    epoch: int
    outer_key_digest: bytes
    purpose = "channel"

    def claims(self, config_digest: bytes, build_id: bytes) -> ChannelClaims:
        return ChannelClaims(self.channel_key, config_digest, self.epoch, self.outer_key_digest, build_id)

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(fields.hex("channelKey", 32), parse_epoch(fields), fields.hex("outerKeyDigest", 32))

    def to_body(self) -> bytes:
        key, outer = self.channel_key.hex(), self.outer_key_digest.hex()
        return _body(self.purpose, channelKey=key, epoch=self.epoch, outerKeyDigest=outer)


@record
class SessionRequest:
    """Fresh evidence for one inner TLS session: its EKM, the client's nonce (32 bytes each) and the channel key."""

    ekm: bytes
    nonce: bytes
    channel_key: bytes
    purpose = "session"

    def claims(self, config_digest: bytes, build_id: bytes) -> SessionClaims:
        return SessionClaims.of(self.ekm, self.nonce, self.channel_key, config_digest, build_id)

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(fields.hex("ekm", 32), fields.hex("nonce", 32), fields.hex("channelKey", 32))

    def to_body(self) -> bytes:
        return _body(self.purpose, ekm=self.ekm.hex(), nonce=self.nonce.hex(), channelKey=self.channel_key.hex())


@record
class KeyRequest:
    """Evidence of the key that signs statements (SEC1, compressed, 33 bytes)."""

    statement_key: bytes
    purpose = "key"

    def claims(self, config_digest: bytes, build_id: bytes) -> KeyClaims:
        return KeyClaims(self.statement_key, config_digest, build_id)

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(parse_statement_key(fields))

    def to_body(self) -> bytes:
        return _body(self.purpose, statementKey=self.statement_key.hex())


@record
class LegacyRequest:
    """The token of the old protocol (`TEETLS`): its one nonce is the EKM itself, its audience is its own."""

    ekm: bytes
    purpose = "legacy"

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(fields.hex("ekm", 32))

    def to_body(self) -> bytes:
        return _body(self.purpose, ekm=self.ekm.hex())


EvidenceRequest = NodeRequest | ChannelRequest | SessionRequest | KeyRequest

_KINDS: Final[Mapping[str, Callable[[Fields], EvidenceRequest | LegacyRequest]]] = {
    "node": NodeRequest.of,
    "channel": ChannelRequest.of,
    "session": SessionRequest.of,
    "key": KeyRequest.of,
    "legacy": LegacyRequest.of,
}


def parse_request(body: bytes) -> EvidenceRequest | LegacyRequest:
    """From a message's body, as the type of its purpose. FormatError."""
    fields = versioned(body, LARGEST_REQUEST, _WHAT)
    if (purpose := fields.take("purpose", str)) not in _KINDS:
        raise FormatError(_WHAT, f"purpose {purpose!r} is not known")
    request = _KINDS[purpose](fields)
    fields.end()
    return request


def versioned(body: bytes, limit: int, what: str) -> Fields:
    """A message's members, of our version, without `version`. FormatError."""
    fields = Fields(loads(body, what=what, limit=limit), what=what)
    if (version := fields.take("version", int)) != VERSION:
        raise FormatError(what, f"version {version} is not known")
    return fields


def _body(purpose: str, **fields: str | int) -> bytes:
    return canonical({"version": VERSION, "purpose": purpose, **fields})
