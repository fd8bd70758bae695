"""What the evidence helper answers: its part of an envelope, one closed type for each kind of evidence. Pure.

    response = {"version":1, "type":T, "configDigest":hex, parts}  |  {"version":1, "error":code}

    tpm                  attest, signature, registers {bank: {pcrN: hex}}, akPublic, akCertificates [hex], log
    tdx                  tdQuote, log
    azure                hclReport, tdQuote, attest, signature, registers {"sha256": {…}}, akCertificate, log
    confidential-space   token (text)

Bytes are hex. The notary reads it as strictly as the helper reads requests.
"""

from __future__ import annotations

from pluto_measure.binding import BANKS, REGISTERS, TpmQuote
from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, unhex
from pluto_measure.record import record
from pluto_notary.errors import EVIDENCE_CODES, EvidenceError
from pluto_notary.evidence.requests import VERSION, versioned

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Self

LARGEST_RESPONSE: Final = 4 * 1024 * 1024
LARGEST_TOKEN: Final = 64 * 1024  # characters; a genuine one has about 6,000
AZURE_BANKS: Final = ("sha256",)  # the one bank that an Azure machine's TPM is quoted over
_WHAT: Final = "evidence response"


@record
class TpmParts:
    """A quote by a key of this TPM."""

    quote: TpmQuote
    ak_public: bytes  # TPMT_PUBLIC
    ak_certificates: tuple[bytes, ...]
    log: bytes
    config_digest: bytes
    type = "tpm"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From a response's body. EvidenceError if the helper refused, FormatError if it spoke nonsense."""
        parts = parse_parts(body)
        if not isinstance(parts, cls):
            raise FormatError(_WHAT, f"type {parts.type!r} is not {cls.type!r}")
        return parts

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(
            quote=_quote(fields, BANKS),
            ak_public=_bytes(fields, "akPublic"),
            ak_certificates=tuple(_any_hex(item, "akCertificates[]") for item in fields.take("akCertificates", list)),
            log=_bytes(fields, "log"),
            config_digest=fields.hex("configDigest", 32),
        )

    def to_body(self) -> bytes:
        return _body(
            self,
            **_quote_json(self.quote),
            akPublic=self.ak_public.hex(),
            akCertificates=[item.hex() for item in self.ak_certificates],
            log=self.log.hex(),
        )


@record
class TdxParts:
    """A TDX quote, raw, and the CC event log."""

    quote: bytes
    log: bytes
    config_digest: bytes
    type = "tdx"

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(_bytes(fields, "tdQuote"), _bytes(fields, "log"), fields.hex("configDigest", 32))

    def to_body(self) -> bytes:
        return _body(self, tdQuote=self.quote.hex(), log=self.log.hex())


@record
class AzureParts:
    """What an Azure TDX machine has: the paravisor's report, the quote over it, and a quote of the paravisor's TPM."""

    hcl_report: bytes  # as NV index 0x01400001 holds it
    td_quote: bytes
    quote: TpmQuote  # the bank sha256 alone
    ak_certificate: bytes  # DER; empty if the machine has none
    log: bytes  # the TPM's
    config_digest: bytes
    type = "azure"

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(
            hcl_report=_bytes(fields, "hclReport"),
            td_quote=_bytes(fields, "tdQuote"),
            quote=_quote(fields, AZURE_BANKS),
            ak_certificate=_bytes(fields, "akCertificate"),
            log=_bytes(fields, "log"),
            config_digest=fields.hex("configDigest", 32),
        )

    def to_body(self) -> bytes:
        return _body(
            self,
            **_quote_json(self.quote),
            hclReport=self.hcl_report.hex(),
            tdQuote=self.td_quote.hex(),
            akCertificate=self.ak_certificate.hex(),
            log=self.log.hex(),
        )


@record
class TokenParts:
    """A token of Confidential Space, as the launcher gave it."""

    token: str
    config_digest: bytes
    type = "confidential-space"

    @classmethod
    def of(cls, fields: Fields) -> Self:
        return cls(check_token(fields.take("token", str)), fields.hex("configDigest", 32))

    def to_body(self) -> bytes:
        return _body(self, token=self.token)


Parts = TpmParts | TdxParts | AzureParts | TokenParts

_KINDS: Final[Mapping[str, Callable[[Fields], Parts]]] = {
    "tpm": TpmParts.of,
    "tdx": TdxParts.of,
    "azure": AzureParts.of,
    "confidential-space": TokenParts.of,
}
_TOKEN_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def parse_parts(body: bytes) -> Parts:
    """From a response's body. EvidenceError if the helper refused, FormatError if it spoke nonsense."""
    fields = versioned(body, LARGEST_RESPONSE, _WHAT)
    if (code := fields.get("error", None, str)) is not None:
        raise EvidenceError(code if code in EVIDENCE_CODES else "unavailable", "the evidence helper refused")
    if (kind := fields.take("type", str)) not in _KINDS:
        raise FormatError(_WHAT, f"type {kind!r} is not known")
    parts = _KINDS[kind](fields)
    fields.end()
    return parts


def check_token(token: str) -> str:
    """The same text, if it is a JSON Web Token by its letters: three parts between dots, base64url. FormatError."""
    if not (token.count(".") == 2 and len(token) <= LARGEST_TOKEN and _TOKEN_LETTERS.issuperset(token)):
        raise FormatError(_WHAT, "not a token")
    if not all(token.split(".")):
        raise FormatError(_WHAT, "not a signed token")
    return token


def error_body(code: str) -> bytes:
    """A refusal; `code` is one of EVIDENCE_CODES."""
    assert code in EVIDENCE_CODES
    return canonical({"version": VERSION, "error": code})


def _body(parts: Parts, **members: object) -> bytes:
    head = {"version": VERSION, "type": parts.type, "configDigest": parts.config_digest.hex()}
    return canonical({**head, **members})


def _quote(fields: Fields, banks: tuple[str, ...]) -> TpmQuote:
    given = fields.sub("registers")
    registers = {bank: _bank(given.sub(bank), ALGORITHMS[bank][1]) for bank in banks}
    given.end()
    return TpmQuote(_bytes(fields, "attest"), _bytes(fields, "signature"), registers)


def _quote_json(quote: TpmQuote) -> dict[str, object]:
    registers = {
        bank: {name: value.hex() for name, value in values.items()} for bank, values in quote.registers.items()
    }
    return {"attest": quote.attest.hex(), "signature": quote.signature.hex(), "registers": registers}


def _bank(fields: Fields, size: int) -> dict[str, bytes]:
    values = {name: fields.hex(name, size) for name in REGISTERS}
    fields.end()
    return values


def _bytes(fields: Fields, name: str) -> bytes:
    return _any_hex(fields.take(name, str), name)


def _any_hex(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise FormatError(name, "must be hex text")
    return unhex(text, len(text) // 2, what=name)
