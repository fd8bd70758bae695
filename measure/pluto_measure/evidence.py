"""Evidence as it travels: the envelope. Pure; nothing here is verified yet.

The trust domain builds an envelope, the verifier parses it. Formats: docs/formats/evidence.md. The server imports this,
so it stands on the standard library. Names of `pluto_measure.binding` and `pluto_measure.claims` are found here too.
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
from pluto_measure.claims import AnyClaims, ChannelClaims, Claims, KeyClaims, SessionClaims, parse_claims
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
    "AnyClaims",
    "AnyEvidence",
    "AzureEvidence",
    "ChannelClaims",
    "Claims",
    "Envelope",
    "KeyClaims",
    "Registers",
    "SessionClaims",
    "TdxEvidence",
    "TokenEvidence",
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
AZURE_BANKS: Final = ("sha256",)  # the bank that an Azure machine's TPM is quoted over
_MOST_MEMBERS: Final = 4096  # a genuine one has less than a hundred
_TOKEN_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@record
class TpmEvidence:
    """Evidence of type `tpm`: a quote, the key that signed it and who vouches for the key, and the TCG event log."""

    quote: TpmQuote
    ak_public: bytes  # TPMT_PUBLIC
    ak_certificates: tuple[bytes, ...]  # DER, the key's own first
    log: bytes  # as the kernel shows it

    @classmethod
    def parse(cls, evidence: Fields, logs: Fields) -> Self:
        return cls(
            quote=_quote(evidence.sub("tpmQuote"), BANKS),
            ak_public=_unbase64(evidence.take("akPublic", str), "akPublic"),
            ak_certificates=_certificates(evidence),
            log=_unbase64(logs.take("tpm", str), "logs.tpm"),
        )

    def to_json(self) -> tuple[dict[str, object], dict[str, object]]:
        """The members `evidence` and `logs`."""
        evidence: dict[str, object] = {
            "tpmQuote": _quote_json(self.quote),
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
class AzureEvidence:
    """Evidence of type `azure`: the paravisor's report, Intel's quote over it, and a quote of the paravisor's TPM."""

    hcl_report: bytes  # as the TPM's NV index 0x01400001 holds it
    td_quote: bytes
    quote: TpmQuote  # of the bank sha256 alone
    ak_certificates: tuple[bytes, ...]  # DER
    log: bytes  # the TPM's

    @classmethod
    def parse(cls, evidence: Fields, logs: Fields) -> Self:
        return cls(
            hcl_report=_unbase64(evidence.take("hclReport", str), "hclReport"),
            td_quote=_unbase64(evidence.take("tdQuote", str), "tdQuote"),
            quote=_quote(evidence.sub("tpmQuote"), AZURE_BANKS),
            ak_certificates=_certificates(evidence),
            log=_unbase64(logs.take("tpm", str), "logs.tpm"),
        )

    def to_json(self) -> tuple[dict[str, object], dict[str, object]]:
        """The members `evidence` and `logs`."""
        evidence: dict[str, object] = {
            "hclReport": _base64(self.hcl_report),
            "tdQuote": _base64(self.td_quote),
            "tpmQuote": _quote_json(self.quote),
            "akCertificates": [_base64(item) for item in self.ak_certificates],
        }
        return evidence, {"tpm": _base64(self.log)}


@record
class TokenEvidence:
    """Evidence of type `confidential-space`: Google's token, a JSON Web Token as the launcher gave it."""

    token: str

    @classmethod
    def parse(cls, evidence: Fields, logs: Fields) -> Self:
        token = evidence.take("token", str)
        if not (token.count(".") == 2 and all(token.split(".")) and _TOKEN_LETTERS.issuperset(token)):
            raise FormatError("evidence.token", "not a signed JSON Web Token")
        return cls(token)

    def to_json(self) -> tuple[dict[str, object], dict[str, object]]:
        """The members `evidence` and `logs`."""
        return {"token": self.token}, {}


AnyEvidence = TpmEvidence | TdxEvidence | AzureEvidence | TokenEvidence


@record
class Envelope:
    """One piece of evidence with all that is needed to judge it. Parsed, not verified."""

    platform: str
    epoch: int
    issued_at: datetime  # the machine's word; the nonce is what proves freshness
    evidence: AnyEvidence
    claims: AnyClaims

    @property
    def type(self) -> str:
        """The kind of evidence, as policies name it."""
        return next(name for name, (kind, _) in _TYPES.items() if isinstance(self.evidence, kind))

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
            evidence=_TYPES[kind][1](evidence, logs),
            claims=parse_claims(top.sub("claims")),
        )
        if isinstance(envelope.claims, ChannelClaims) and envelope.claims.epoch != epoch:
            raise FormatError("evidence.freshness", f"epoch {epoch} is not that of the claims")
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


_TYPES: Final[Mapping[str, tuple[type[AnyEvidence], Callable[[Fields, Fields], AnyEvidence]]]] = {
    "tpm": (TpmEvidence, TpmEvidence.parse),
    "tdx": (TdxEvidence, TdxEvidence.parse),
    "azure": (AzureEvidence, AzureEvidence.parse),
    "confidential-space": (TokenEvidence, TokenEvidence.parse),
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


def _certificates(evidence: Fields) -> tuple[bytes, ...]:
    certificates = evidence.take("akCertificates", list)
    if len(certificates) > 8:
        raise FormatError("evidence", f"{len(certificates)} certificates are more than 8")
    return tuple(_unbase64(item, "akCertificates[]") for item in certificates)


def _quote_json(quote: TpmQuote) -> dict[str, object]:
    registers = {
        bank: {name: value.hex() for name, value in values.items()} for bank, values in quote.registers.items()
    }
    return {"attest": _base64(quote.attest), "signature": _base64(quote.signature), "registers": registers}


def _quote(fields: Fields, wanted: tuple[str, ...]) -> TpmQuote:
    banks = fields.sub("registers")
    quote = TpmQuote(
        attest=_unbase64(fields.take("attest", str), "attest"),
        signature=_unbase64(fields.take("signature", str), "signature"),
        registers={bank: _bank(banks.sub(bank), ALGORITHMS[bank][1]) for bank in wanted},
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
