"""A paravisor's report is one whose TD report covers its runtime data, or a FormatError."""

from __future__ import annotations

import contextlib
import hashlib

from pluto_measure.errors import FormatError
from pluto_notary.evidence.azure import HclReport
from simulators.notary.azure import hcl_report


def seeds() -> list[bytes]:
    return [hcl_report(bytes(64)), hcl_report(bytes(range(64))), hcl_report(bytes(64), kind=2)]


def target(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        report = HclReport.parse(data)
        assert report.td_report[128:160] == hashlib.sha256(report.runtime_data).digest()
        assert len(report.user_data) == 64
