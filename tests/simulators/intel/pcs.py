"""What Intel's PCS (API v4) and a PCCS answer: headers and body for each document. For tests alone.

Issuer chains travel URL-encoded in a header. The JSON bodies wrap the signed text, untouched, next to its signature.
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote as url_encoded

Kind = Literal["tcb", "qe_identity", "pck_crl", "root_crl"]
Response = tuple[dict[str, str], bytes]  # headers, body

PATHS: dict[Kind, str] = {
    "tcb": "/tdx/certification/v4/tcb",
    "qe_identity": "/tdx/certification/v4/qe/identity",
    "pck_crl": "/sgx/certification/v4/pckcrl",
    "root_crl": "/IntelSGXRootCA.der",
}
CHAIN_HEADERS: dict[Kind, str] = {
    "tcb": "TCB-Info-Issuer-Chain",
    "qe_identity": "SGX-Enclave-Identity-Issuer-Chain",
    "pck_crl": "SGX-PCK-CRL-Issuer-Chain",
}
OLD_TCB_HEADER = "SGX-TCB-Info-Issuer-Chain"  # older PCCS


def crl_body(der_hex: str, form: str) -> bytes:
    if form == "hex":
        return der_hex.encode()
    der = bytes.fromhex(der_hex)
    if form == "der":
        return der
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN X509 CRL-----\n{lines}\n-----END X509 CRL-----\n".encode()


def pcs_response(
    kind: Kind,
    collateral: Mapping[str, Any],
    *,
    crl_form: Literal["der", "hex", "pem"] = "der",
    old_header: bool = False,
) -> Response:
    """The answer for one document of `collateral`; a PCCS gives CRLs in hex or PEM too, and older header names."""
    if kind in ("pck_crl", "root_crl"):
        member = "pck_crl" if kind == "pck_crl" else "root_ca_crl"
        content = "application/pkix-crl" if crl_form == "der" else "text/plain"
        body = crl_body(collateral[member], crl_form)
    else:
        text, wrapper = ("tcb_info", "tcbInfo") if kind == "tcb" else ("qe_identity", "enclaveIdentity")
        content = "application/json"
        body = f'{{"{wrapper}":{collateral[text]},"signature":"{collateral[f"{text}_signature"]}"}}'.encode()
    headers = {"Content-Type": content, "Content-Length": str(len(body))}
    if kind == "root_crl":
        return headers, body
    name = OLD_TCB_HEADER if old_header and kind == "tcb" else CHAIN_HEADERS[kind]
    chain = {"tcb": "tcb_info_issuer_chain", "qe_identity": "qe_identity_issuer_chain"}.get(
        kind, "pck_crl_issuer_chain"
    )
    return {**headers, name: url_encoded(collateral[chain], safe="")}, body
