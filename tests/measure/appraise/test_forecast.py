"""What Intel's early set foretells: a worse status, more reasons for the same one, or nothing."""

from __future__ import annotations

from pluto_measure.appraise.forecast import forecast
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import TcbInfo
from pluto_measure.verify.tcb import Tcb, evaluate_tcb
from simulators.intel import (
    EARLY_LEVELS,
    MODULE,
    QE,
    Machine,
    ModuleIdentity,
    qe_identity,
    sgx_extension,
    tcb_info,
    tee_tcb_svn,
)

PCK = PckExtension.parse(sgx_extension(Machine()))
IDENTITY = QeIdentity.parse(qe_identity().encode())


def judged(info: str, tdx: bytes = tee_tcb_svn(), qe: int = QE["UpToDate"]) -> Tcb:
    return evaluate_tcb(TcbInfo.parse(info.encode()), IDENTITY, PCK, qe, tdx, None)


STANDARD, EARLY = tcb_info(), tcb_info(levels=EARLY_LEVELS)


def test_a_forecast_of_worse() -> None:
    assert forecast(judged(STANDARD), judged(EARLY)) == (
        "Intel's early set says OutOfDate (TCB of 2026-03-15), the standard one UpToDate (TCB of 2026-03-15);"
        " new advisories: INTEL-SA-09110; Intel will make the early set the standard one"
    )
    lost = judged(tcb_info(modules=[ModuleIdentity(3)]))
    assert forecast(judged(STANDARD), lost) == (
        "Intel's early set says TCB_NOT_SUPPORTED (no TCB date), the standard one UpToDate (TCB of 2026-03-15);"
        " Intel will make the early set the standard one"
    )


def test_a_forecast_of_the_same_or_better() -> None:
    assert forecast(judged(STANDARD), judged(STANDARD)) is None
    assert forecast(judged(EARLY), judged(STANDARD)) is None


def test_a_forecast_of_the_same_status_for_more_reasons() -> None:
    old = tee_tcb_svn(MODULE["OutOfDate"])
    assert forecast(judged(STANDARD, old), judged(EARLY, old)) == (
        "Intel's early set says OutOfDate (TCB of 2024-03-15) as the standard one does, but with new advisories:"
        " INTEL-SA-09110; Intel will make the early set the standard one"
    )
