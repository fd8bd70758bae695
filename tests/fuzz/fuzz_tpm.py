"""Any bytes are one TPM structure in its one spelling, or a FormatError.

The three parsers that evidence reaches: TPMS_ATTEST, TPMT_SIGNATURE, TPMT_PUBLIC.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats import tpm

_PUBLIC = tpm.EccPublic("sha256", 0x50072, b"", tpm.Scheme(tpm.ALG_ECDSA, "sha256"), 3, b"\1" * 32, b"\2" * 32)
_RSA = tpm.RsaPublic("sha256", 0x50072, b"", tpm.Scheme(tpm.ALG_RSASSA, "sha256"), 2048, 0, b"\3" * 256)
_SELECTIONS = (tpm.PcrSelection("sha256", tuple(range(24))), tpm.PcrSelection("sha384", tuple(range(24))))
_ATTEST = tpm.Attest(b"\0\x0b" + b"\4" * 32, b"\5" * 32, 1, 2, 3, True, 4, _SELECTIONS, b"\6" * 32)


def target(data: bytes) -> None:
    for parse in (tpm.Attest.parse, tpm.parse_signature, tpm.parse_public):
        try:
            value = parse(data)
        except FormatError:
            continue
        assert value.marshal() == data


def seeds() -> list[bytes]:
    signatures = [
        tpm.EcdsaSignature("sha256", b"\7" * 32, b"\x08" * 32).marshal(),
        tpm.RsassaSignature("sha384", b"\x09" * 256).marshal(),
    ]
    return [_ATTEST.marshal(), _PUBLIC.marshal(), _RSA.marshal(), *signatures]
