"""Evidence as it travels: the claims and the envelope. Pure; nothing here is verified yet.

The trust domain builds an envelope, the verifier parses it. Formats: docs/formats/evidence.md. The server's import
closure contains this module, so it stands on the standard library alone. `pluto_measure.binding` has the binding rule.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from pluto_measure.binding import (
    BANKS,
    NONCE_BYTES,
    PURPOSES,
    REGISTERS,
    TAG,
    VERSION,
    TpmQuote,
    binding,
    parse_nonce,
    tpm_extra_data,
)
from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.record import record

__all__ = [
    "BANKS",
    "ENVELOPE_LIMIT",
    "NONCE_BYTES",
    "PURPOSES",
    "REGISTERS",
    "TAG",
    "VERSION",
    "Claims",
    "Envelope",
    "Registers",
    "TdxEvidence",
    "TpmEvidence",
    "TpmQuote",
    "binding",
    "format_time",
    "parse_nonce",
    "parse_time",
    "tpm_extra_data",
]

Registers = Mapping[str, Mapping[str, bytes]]  # bank ("sha256") to register ("pcr4") to value
ENVELOPE_LIMIT: Final = 4 * 1024 * 1024  # bytes of JSON; a genuine one is about 100 KiB
_MOST_MEMBERS: Final = 4096  # a genuine one has less than a hundred


@record
class Claims:
    """What the machine says of itself for the purpose `node`. All but `build_id` enter the binding."""

    purpose: str
    nonce: bytes  # the caller's, 1 to 64 bytes
    config_digest: bytes  # SHA-256 of the run-time configuration's payload
    outer_key_digest: bytes  # SHA-256 of the SubjectPublicKeyInfo (DER) of the key that ends TLS
    build_id: bytes  # 32 bytes; repeated for people: the registers prove it

    def binding(self) -> bytes:
        """B over these claims, 64 bytes."""
        return binding(self.purpose, (self.nonce, self.config_digest, self.outer_key_digest))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the envelope's member `claims`. FormatError."""
        if (purpose := fields.take("purpose", str)) != "node":
            raise FormatError("claims", f"purpose {purpose!r} is not carried by an envelope of version {VERSION}")
        claims = cls(
            purpose=purpose,
            nonce=parse_nonce(fields.take("nonce", str)),
            config_digest=fields.hex("configDigest", 32),
            outer_key_digest=fields.hex("outerKeyDigest", 32),
            build_id=fields.hex("buildId", 32),
        )
        fields.end()
        return claims

    def to_json(self) -> dict[str, object]:
        return {
            "purpose": self.purpose,
            "nonce": self.nonce.hex(),
            "configDigest": self.config_digest.hex(),
            "outerKeyDigest": self.outer_key_digest.hex(),
            "buildId": self.build_id.hex(),
        }


@record
class TpmEvidence:
    """Evidence of type `tpm`: a quote, the key that signed it and who vouches for the key, and the TCG event log."""

    quote: TpmQuote
    ak_public: bytes  # TPMT_PUBLIC
    ak_certificates: tuple[bytes, ...]  # DER, the key's own first
    log: bytes  # as the kernel shows it

    @classmethod
    def parse(cls, evidence: Fields, logs: Fields) -> Self:
        certificates = evidence.take("akCertificates", list)
        if len(certificates) > 8:
            raise FormatError("evidence", f"{len(certificates)} certificates are more than 8")
        return cls(
            quote=_quote(evidence.sub("tpmQuote")),
            ak_public=_unbase64(evidence.take("akPublic", str), "akPublic"),
            ak_certificates=tuple(_unbase64(item, "akCertificates[]") for item in certificates),
            log=_unbase64(logs.take("tpm", str), "logs.tpm"),
        )

    def to_json(self) -> tuple[dict[str, object], dict[str, object]]:
        """The members `evidence` and `logs`."""
        registers = {
            bank: {name: value.hex() for name, value in values.items()} for bank, values in self.quote.registers.items()
        }
        quote = {"attest": _base64(self.quote.attest), "signature": _base64(self.quote.signature)}
        evidence: dict[str, object] = {
            "tpmQuote": {**quote, "registers": registers},
            "akPublic": _base64(self.ak_public),
            "akCertificates": [_base64(item) for item in self.ak_certificates],
        }
        return evidence, {"tpm": _base64(self.log)}


@record
class TdxEvidence:
    """Evidence of type `tdx`: a quote, raw, and the CC event log."""

    quote: bytes
    log: bytes  # the area that the table CCEL points to, as the kernel shows it

    @classmethod
    def parse(cls, evidence: Fields, logs: Fields) -> Self:
        return cls(
            quote=_unbase64(evidence.take("tdQuote", str), "tdQuote"),
            log=_unbase64(logs.take("ccel", str), "logs.ccel"),
        )

    def to_json(self) -> tuple[dict[str, object], dict[str, object]]:
        """The members `evidence` and `logs`."""
        return {"tdQuote": _base64(self.quote)}, {"ccel": _base64(self.log)}


@record
class Envelope:
    """One piece of evidence with all that is needed to judge it. Parsed, not verified."""

    platform: str
    epoch: int
    issued_at: datetime  # the machine's word; the nonce is what proves freshness
    evidence: TpmEvidence | TdxEvidence
    claims: Claims

    @property
    def type(self) -> str:
        """The kind of evidence, as policies name it."""
        return "tpm" if isinstance(self.evidence, TpmEvidence) else "tdx"

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse the envelope's JSON. FormatError for anything unknown, missing or of the wrong kind."""
        commas = text.count(b",") if isinstance(text, bytes) else text.count(",")
        if commas > _MOST_MEMBERS:  # before JSON makes a value of each
            raise FormatError("evidence", f"has more than {_MOST_MEMBERS} members")
        top = Fields(loads(text, what="evidence", limit=ENVELOPE_LIMIT), what="evidence")
        if (kind := top.take("type", str)) not in _TYPES:
            raise FormatError("evidence", f"type {kind!r} is not known")
        if (version := top.take("version", int)) != VERSION:
            raise FormatError("evidence", f"version {version} is not known")
        freshness, evidence, logs = top.sub("freshness"), top.sub("evidence"), top.sub("logs")
        if (epoch := freshness.take("epoch", int)) < 0:
            raise FormatError("evidence.freshness", f"epoch {epoch} is negative")
        envelope = cls(
            platform=_label(top.take("platform", str)),
            epoch=epoch,
            issued_at=parse_time(freshness.take("issuedAt", str), what="issuedAt"),
            evidence=_TYPES[kind](evidence, logs),
            claims=Claims.parse(top.sub("claims")),
        )
        for fields in (top, freshness, evidence, logs):
            fields.end()
        return envelope

    def to_json(self) -> dict[str, object]:
        evidence, logs = self.evidence.to_json()
        return {
            "type": self.type,
            "version": VERSION,
            "platform": self.platform,
            "freshness": {"epoch": self.epoch, "issuedAt": format_time(self.issued_at)},
            "evidence": evidence,
            "logs": logs,
            "claims": self.claims.to_json(),
        }

    def to_text(self) -> str:
        return pretty(self.to_json())


_TYPES: Final[Mapping[str, Callable[[Fields, Fields], TpmEvidence | TdxEvidence]]] = {
    "tpm": TpmEvidence.parse,
    "tdx": TdxEvidence.parse,
}


def parse_time(text: str, *, what: str) -> datetime:
    """An RFC 3339 time in UTC, whole seconds, spelled with Z. FormatError for any other spelling."""
    try:
        value = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(what, "not a time such as 2026-11-20T12:00:00Z") from error
    if format_time(value) != text:
        raise FormatError(what, "not a time such as 2026-11-20T12:00:00Z")
    return value


def format_time(value: datetime) -> str:
    """The one spelling of a time: RFC 3339, UTC, whole seconds, Z."""
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _quote(fields: Fields) -> TpmQuote:
    banks = fields.sub("registers")
    quote = TpmQuote(
        attest=_unbase64(fields.take("attest", str), "attest"),
        signature=_unbase64(fields.take("signature", str), "signature"),
        registers={bank: _bank(banks.sub(bank), ALGORITHMS[bank][1]) for bank in BANKS},
    )
    banks.end()
    fields.end()
    return quote


def _bank(fields: Fields, size: int) -> dict[str, bytes]:
    values = {name: fields.hex(name, size) for name in REGISTERS}
    fields.end()
    return values


def _label(text: str) -> str:
    if not (0 < len(text) <= 40 and text.isascii() and text.replace("-", "").isalnum()):
        raise FormatError("evidence.platform", "must be a name such as qemu-vtpm")
    return text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: Any, what: str) -> bytes:
    if not isinstance(text, str):
        raise FormatError(what, f"must be text, not {type(text).__name__}")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(what, "not base64") from error
    if _base64(data) != text:
        raise FormatError(what, "not the one spelling of its base64")
    return data
