"""Any bytes are the report of an Azure machine's paravisor, as the verifier reads it, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats.hcl import LIMIT, HclReport
from simulators.azure_evidence import AzureMachine


def target(data: bytes) -> None:
    with suppress(FormatError):
        report = HclReport.parse(data)
        assert len(data) <= LIMIT
        assert report.runtime_data in data
        assert len(report.user_data) == 64
        assert report.user_data.hex() in report.runtime_data.decode().lower()
        assert len(report.td_report.report_data) == 64
        assert report.ak.modulus > 0 < report.ak.exponent
        assert HclReport.parse(data[: 1236 + len(report.runtime_data)]) == report, "zeros behind it mean nothing"


def seeds() -> list[bytes]:
    machine = AzureMachine()
    return [
        machine.hcl(bytes(range(64))),
        AzureMachine(settings={"ipmi-enabled": True}).hcl(bytes(64)),
        AzureMachine(report={"kind": 2}).hcl(bytes(64)),
        AzureMachine(keys=()).hcl(bytes(64)),
    ]
