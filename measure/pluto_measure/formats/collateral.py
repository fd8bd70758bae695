"""Quote collateral: Intel's signed documents for one platform family, as they were signed. Pure; nothing is verified.

The common quote-collateral JSON (Intel's `sgx_ql_qve_collateral_t` as tools write it) has eight or nine members:

    pck_crl_issuer_chain      PEM text; may be empty, null or missing: the quote carries the same certificates
    root_ca_crl, pck_crl      DER in hex
    tcb_info_issuer_chain     PEM text
    tcb_info                  the member `tcbInfo` as text, byte for byte as it was signed
    tcb_info_signature        r and s in hex
    qe_identity_issuer_chain, qe_identity, qe_identity_signature    likewise, the member `enclaveIdentity`
    pck_certificate_chain     PEM text; some tools add it. The quote's own chain counts, so it is not looked at

A member that begins with `_` is a remark and is ignored; any other is an error.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

LIMIT: Final = 1024 * 1024  # bytes of JSON; a genuine one has 20 KiB
_MOST_MEMBERS: Final = 16384  # with those of the documents in it; a genuine one has about 700
_WHAT: Final = "collateral"
_PEM_CRL: Final = re.compile(r"\A\s*-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----\s*\Z")


@dataclass(frozen=True, slots=True)
class Signed:
    """A document, its signature (r and s, 64 bytes) and the PEM text of the chain that is said to have signed it."""

    body: bytes
    signature: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class Collateral:
    """What a quote of one FMSPC and one PCK CA is judged by."""

    tcb_info: Signed
    qe_identity: Signed
    root_crl: bytes  # DER
    pck_crl: bytes  # DER
    pck_crl_chain: bytes  # PEM text, or nothing

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From the common JSON. FormatError."""
        if text.count(b",") > _MOST_MEMBERS:  # before JSON makes a value of each
            raise FormatError(_WHAT, f"has more than {_MOST_MEMBERS} members")
        value = loads(text, what=_WHAT, limit=LIMIT)
        if not isinstance(value, dict):
            raise FormatError(_WHAT, f"must be an object, not {type(value).__name__}")
        fields = Fields({name: item for name, item in value.items() if not name.startswith("_")}, what=_WHAT)
        fields.get("pck_certificate_chain", "", str, type(None))
        collateral = cls(
            tcb_info=_signed(fields, "tcb_info"),
            qe_identity=_signed(fields, "qe_identity"),
            root_crl=_crl(fields, "root_ca_crl"),
            pck_crl=_crl(fields, "pck_crl"),
            pck_crl_chain=_encoded(
                fields.get("pck_crl_issuer_chain", "", str, type(None)) or "", "pck_crl_issuer_chain"
            ),
        )
        fields.end()
        return collateral

    def to_json(self) -> dict[str, object]:
        """The common JSON's members."""
        return {
            "pck_crl_issuer_chain": self.pck_crl_chain.decode(),
            "root_ca_crl": self.root_crl.hex(),
            "pck_crl": self.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_info.chain.decode(),
            "tcb_info": self.tcb_info.body.decode(),
            "tcb_info_signature": self.tcb_info.signature.hex(),
            "qe_identity_issuer_chain": self.qe_identity.chain.decode(),
            "qe_identity": self.qe_identity.body.decode(),
            "qe_identity_signature": self.qe_identity.signature.hex(),
        }

    def to_text(self) -> str:
        return pretty(self.to_json())


def _signed(fields: Fields, name: str) -> Signed:
    signature = _unhex(fields.take(f"{name}_signature", str), f"{name}_signature")
    if len(signature) != 64:
        raise FormatError(_WHAT, f"{name}_signature has {len(signature)} bytes, not 64")
    return Signed(_text(fields, name), signature, _text(fields, f"{name}_issuer_chain"))


def _text(fields: Fields, name: str) -> bytes:
    return _encoded(fields.take(name, str), name)


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can spell
        raise FormatError(_WHAT, f"{name} is not text") from error


def _crl(fields: Fields, name: str) -> bytes:
    text = fields.take(name, str)
    if match := _PEM_CRL.match(text):
        try:
            return base64.b64decode(match[1].encode().translate(None, b" \t\n\r\v\f"), validate=True)
        except ValueError as error:  # of base64, or half of a surrogate pair
            raise FormatError(_WHAT, f"{name} is not base64 within its PEM block") from error
    return _unhex(text, name)


def _unhex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise FormatError(_WHAT, f"{name} is not hex") from error
