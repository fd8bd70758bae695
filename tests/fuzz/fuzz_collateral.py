"""Any bytes are quote collateral that is written and read back as it is, or a FormatError."""

from __future__ import annotations

import json
from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats.collateral import Collateral
from simulators.intel import healthy

SMALL = {
    "pck_crl_issuer_chain": "",
    "root_ca_crl": "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    "pck_crl": "00Ff",
    "tcb_info_issuer_chain": "chain \u00e9",
    "tcb_info": '{"id":"TDX"}',
    "tcb_info_signature": "0a" * 64,
    "qe_identity_issuer_chain": "",
    "qe_identity": "{}",
    "qe_identity_signature": "B0" * 64,
    "pck_certificate_chain": None,
    "_remark": [{"a": 1.5}],
}


def target(data: bytes) -> None:
    with suppress(FormatError):
        collateral = Collateral.parse(data)
        assert len(collateral.tcb_info.signature) == len(collateral.qe_identity.signature) == 64
        value = json.loads(data)
        assert collateral.tcb_info.body.decode() == value["tcb_info"]
        assert collateral.qe_identity.body.decode() == value["qe_identity"]
        assert Collateral.parse(collateral.to_text().encode()) == collateral


def seeds() -> list[bytes]:
    values = (SMALL, healthy().collateral)
    return [json.dumps(value).encode() for value in values] + [json.dumps(SMALL, ensure_ascii=False, indent=1).encode()]
