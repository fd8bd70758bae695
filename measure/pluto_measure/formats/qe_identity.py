"""QE identity version 2 of the TD quoting enclave: which enclave may vouch for a quote, by Intel. Nothing is verified.

Intel PCS API v4, `/tdx/certification/v4/qe/identity`, member `enclaveIdentity`; Intel QVL `EnclaveIdentity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from pluto_measure.formats.intel_json import Taker, members
from pluto_measure.formats.tcb_info import IsvLevel, isv_levels

LIMIT: Final = 256 * 1024  # bytes of JSON; a genuine one has 500 bytes
_WHAT: Final = "QE identity"


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """One QE identity. Dates in UTC."""

    issue_date: datetime
    next_update: datetime
    evaluation_number: int
    misc_select: int
    misc_select_mask: int
    attributes: bytes  # 16
    attributes_mask: bytes  # 16
    mr_signer: bytes  # 32
    isv_prod_id: int
    levels: tuple[IsvLevel, ...]  # the highest first

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From the signed bytes of the member `enclaveIdentity`. FormatError."""
        take = Taker(members(text, what=_WHAT, limit=LIMIT), _WHAT)
        take.constant("id", "TD_QE")
        take.constant("version", 2)
        return cls(
            issue_date=take.date("issueDate"),
            next_update=take.date("nextUpdate"),
            evaluation_number=take.number("tcbEvaluationDataNumber"),
            # Bytes as they lie in a report, so little-endian (Intel QVL reads both by the same function).
            misc_select=int.from_bytes(take.hex("miscselect", 4), "little"),
            misc_select_mask=int.from_bytes(take.hex("miscselectMask", 4), "little"),
            attributes=take.hex("attributes", 16),
            attributes_mask=take.hex("attributesMask", 16),
            mr_signer=take.hex("mrsigner", 32),
            isv_prod_id=take.number("isvprodid", 0xFFFF),
            levels=isv_levels(take.array("tcbLevels"), _WHAT),
        )
