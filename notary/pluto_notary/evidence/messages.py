"""What notary and evidence helper say to each other over their socket. Pure.

    message  = u32 length (big-endian, bytes of body) ‖ body        one request and one response in a connection
    request  = {"version":1, "purpose":"node", "nonce":hex, "outerKeyDigest":hex}
    response = {"version":1, "configDigest":hex, "attest":hex, "signature":hex, "registers":{bank:{pcrN:hex}},
                "akPublic":hex, "akCertificates":[hex], "log":hex}  |  {"version":1, "error":code}

Both sides read strictly: the helper serves a process that the network may have taken over.
"""

from __future__ import annotations

from pluto_measure.binding import BANKS, REGISTERS, TpmQuote, parse_nonce
from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, loads, unhex
from pluto_measure.record import record
from pluto_notary.errors import EVIDENCE_CODES, EvidenceError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final, Self

VERSION: Final = 1
LENGTH_BYTES: Final = 4
LARGEST_REQUEST: Final = 1024  # bytes of body
LARGEST_RESPONSE: Final = 4 * 1024 * 1024


@record
class NodeRequest:
    """Evidence of this node: the caller's nonce (1 to 64 bytes) and the outer certificate's key digest (SHA-256)."""

    nonce: bytes
    outer_key_digest: bytes

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From a message's body. FormatError."""
        fields = _versioned(body, LARGEST_REQUEST, "evidence request")
        if (purpose := fields.take("purpose", str)) != "node":
            raise FormatError("evidence request", f"purpose {purpose!r} is not known")
        request = cls(parse_nonce(fields.take("nonce", str)), fields.hex("outerKeyDigest", 32))
        fields.end()
        return request

    def to_body(self) -> bytes:
        return canonical(
            {
                "version": VERSION,
                "purpose": "node",
                "nonce": self.nonce.hex(),
                "outerKeyDigest": self.outer_key_digest.hex(),
            }
        )


@record
class TpmParts:
    """What the helper contributes to an envelope."""

    quote: TpmQuote
    ak_public: bytes  # TPMT_PUBLIC
    ak_certificates: tuple[bytes, ...]
    log: bytes
    config_digest: bytes

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From a response's body. EvidenceError if the helper refused, FormatError if it spoke nonsense."""
        fields = _versioned(body, LARGEST_RESPONSE, "evidence response")
        if (code := fields.get("error", None, str)) is not None:
            raise EvidenceError(code if code in EVIDENCE_CODES else "unavailable", "the evidence helper refused")
        banks = fields.sub("registers")
        registers = {bank: _bank(banks.sub(bank), ALGORITHMS[bank][1]) for bank in BANKS}
        banks.end()
        parts = cls(
            quote=TpmQuote(_bytes(fields, "attest"), _bytes(fields, "signature"), registers),
            ak_public=_bytes(fields, "akPublic"),
            ak_certificates=tuple(_any_hex(item, "akCertificates[]") for item in fields.take("akCertificates", list)),
            log=_bytes(fields, "log"),
            config_digest=fields.hex("configDigest", 32),
        )
        fields.end()
        return parts

    def to_body(self) -> bytes:
        registers = {
            bank: {name: value.hex() for name, value in values.items()} for bank, values in self.quote.registers.items()
        }
        return canonical(
            {
                "version": VERSION,
                "attest": self.quote.attest.hex(),
                "signature": self.quote.signature.hex(),
                "registers": registers,
                "akPublic": self.ak_public.hex(),
                "akCertificates": [item.hex() for item in self.ak_certificates],
                "log": self.log.hex(),
                "configDigest": self.config_digest.hex(),
            }
        )


def error_body(code: str) -> bytes:
    """A refusal; `code` is one of EVIDENCE_CODES."""
    assert code in EVIDENCE_CODES
    return canonical({"version": VERSION, "error": code})


def frame(body: bytes) -> bytes:
    """The message that carries `body`."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes, limit: int) -> int:
    """The length that the first LENGTH_BYTES of a message announce. FormatError beyond `limit`."""
    if (length := int.from_bytes(head, "big")) > limit:
        raise FormatError("message", f"{length} bytes are more than {limit}")
    return length


def _versioned(body: bytes, limit: int, what: str) -> Fields:
    fields = Fields(loads(body, what=what, limit=limit), what=what)
    if (version := fields.take("version", int)) != VERSION:
        raise FormatError(what, f"version {version} is not known")
    return fields


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
