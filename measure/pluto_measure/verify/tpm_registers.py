"""What a TPM's quote says of registers and binding, against what lies beside it: every kind of TPM evidence. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pluto_measure.evidence import REGISTERS, Registers
from pluto_measure.findings import Finding, judge
from pluto_measure.formats import tpm


def selection_finding(attest: tpm.Attest, banks: Sequence[str]) -> Finding:
    """Whether the quote covers exactly these banks, and all registers of each."""
    wanted = tuple(tpm.PcrSelection(bank, tuple(range(tpm.PCR_COUNT))) for bank in banks)
    several = len(banks) > 1
    names = f"the {'banks' if several else 'bank'} {' and '.join(banks)} with {tpm.PCR_COUNT} registers"
    return judge(
        "tpm.selection",
        attest.selections == wanted,
        f"the quote covers all registers of {'both banks' if several else 'the one bank'}",
        otherwise=f"the quote does not cover exactly {names}{' each' if several else ''}",
        expected=_spell(wanted),
        actual=_spell(attest.selections),
    )


def digest_finding(attest: tpm.Attest, algorithm: str, registers: Registers, banks: Sequence[str]) -> Finding:
    """Whether the register values are those that were quoted. `algorithm` is the signature's hash."""
    values = b"".join(registers[bank][name] for bank in banks for name in REGISTERS)
    digest = hashlib.new(algorithm, values).digest()
    return judge(
        "tpm.pcr_digest",
        attest.pcr_digest == digest,
        "the quote's digest is that of the given register values",
        otherwise="the given register values are not those that were quoted",
        expected=digest.hex(),
        actual=attest.pcr_digest.hex(),
    )


def extra_data_finding(attest: tpm.Attest, expected: bytes) -> Finding:
    """Whether the quote was made for the claims beside it."""
    return judge(
        "binding.extra_data",
        attest.extra_data == expected,
        "the quote is bound to the claims",
        otherwise="the quote was made for other claims than those beside it",
        expected=expected.hex(),
        actual=attest.extra_data.hex(),
    )


def _spell(selections: Sequence[tpm.PcrSelection]) -> str:
    return " ".join(f"{item.algorithm}:{','.join(map(str, item.registers))}" for item in selections)
