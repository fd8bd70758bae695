"""What `verify` prints of a shortfall: every fact of the explanation, in lines that a terminal shows whole."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.appraise.shortfall import explain
from pluto_measure.commands.verify_text import shortfall_lines
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import TcbInfo
from pluto_measure.verify.tcb import evaluate_tcb
from simulators.intel import (
    MODULE,
    PLATFORM_LEVELS,
    QE,
    Machine,
    TcbLevel,
    qe_identity,
    sgx_extension,
    tcb_info,
    tee_tcb_svn,
)
from simulators.intel import world as world_of
from simulators.trust_domains import TrustDomain
from simulators.verifier_files import Called, Files

GOOD = Machine().components


def shown(
    tdx: bytes = tee_tcb_svn(), now: bytes | None = None, *, qe: int = QE["UpToDate"], info: str = "", **machine: Any
) -> list[str]:
    documents = (TcbInfo.parse((info or tcb_info()).encode()), QeIdentity.parse(qe_identity().encode()))
    pck = PckExtension.parse(sgx_extension(Machine(**machine)))
    shortfall = explain(*documents, pck, qe, tdx, now)
    assert shortfall is not None
    advisories = evaluate_tcb(*documents, pck, qe, tdx, now).advisories
    return list(shortfall_lines(json.loads(json.dumps(shortfall.to_json())), advisories))


def test_each_part_has_its_level_and_a_line_for_each_component() -> None:
    lines = shown(tee_tcb_svn(MODULE["OutOfDate"]), qe=QE["OutOfDate"], components=(4, *GOOD[1:]), pcesvn=5)
    assert lines[:9] == [
        "  platform: no level; the lowest is Revoked (TCB of 2020-05-15)",
        "    SGX component 0 (BIOS: Early Microcode Update)  has 4, wants 9",
        "    PCESVN                                          has 5, needs 13 for any level",
        "  TDX module TDX_01: OutOfDate (TCB of 2024-03-15)",
        "    TDX module's ISVSVN  has 5, wants 7",
        "  quoting enclave: OutOfDate (TCB of 2023-02-15)",
        "    quoting enclave's ISVSVN  has 6, wants 8",
        "  to do, in this order",
        "    1 update the BIOS (platform firmware), from the machine's manufacturer",
    ]
    assert lines[-1] == "  that settles all of them"


def test_what_the_lowest_level_needs_and_the_best_one_wants() -> None:
    assert "    SGX component 0 (BIOS: Early Microcode Update)  has 2, needs 3 for any level, wants 9" in shown(
        components=(2, *GOOD[1:])
    )


def test_a_certificate_that_is_older_than_the_machine_comes_first() -> None:
    levels = [TcbLevel(sgx=(9, 5, *TcbLevel.sgx[2:])), TcbLevel(sgx=(1, 1, *TcbLevel.sgx[2:]), status="OutOfDate")]
    lines = shown(info=tcb_info(levels=levels), components=(4, 4, *GOOD[2:]))
    assert "    SGX component 1 (OS/VMM: SGX Late Microcode Update)  has 4 (now 5), wants 5" in lines
    at = lines.index("  to do, in this order; after the first only what is still too low")
    assert lines[at + 1].startswith("    1 fetch a new PCK certificate")
    lines = shown(info=tcb_info(levels=levels), components=(9, 4, *GOOD[2:]))
    assert "  to do, in this order" in lines, "nothing is left after the certificate"


def test_a_module_that_intel_does_not_know() -> None:
    assert shown(tee_tcb_svn(version=9))[:2] == [
        "  TDX module TDX_09: Intel's TCB info does not know this version, only TDX_01,",
        "    TDX_03",
    ]


def test_the_present_state_is_said_to_be_it() -> None:
    lines = shown(tee_tcb_svn(), tee_tcb_svn(MODULE["Revoked"] - 1))
    assert lines[0] == "  this is the present state; the TD was launched in a better one"


def test_advisories_that_stay_are_listed_and_nothing_is_to_be_done() -> None:
    names = tuple(f"INTEL-SA-0{number}" for number in range(1000, 1008))
    level = replace(PLATFORM_LEVELS[0], status="OutOfDate", advisories=names)
    lines = shown(info=tcb_info(levels=[replace(level, sgx=(1, *TcbLevel.sgx[1:]), status="Revoked"), level]))
    assert lines[:2] == [
        "  platform: OutOfDate (TCB of 2026-05-15)",
        "    Intel's TCB info has no better level than OutOfDate for it",
    ]
    assert lines[2].startswith("  these stay: INTEL-SA-01000, ")
    assert [name in " ".join(lines) for name in names] == [True] * 8
    assert len(lines) == 4, "the list is wrapped"


def test_advisories_that_go_are_named_where_others_stay() -> None:
    levels = [
        TcbLevel(status="SWHardeningNeeded", advisories=("INTEL-SA-00001",)),
        TcbLevel(sgx=(1, *TcbLevel.sgx[1:]), status="OutOfDate", advisories=("INTEL-SA-00001", "INTEL-SA-00002")),
    ]
    lines = shown(info=tcb_info(levels=levels), components=(5, *GOOD[1:]))
    assert lines[-2:] == ["  that settles INTEL-SA-00002", "  these stay: INTEL-SA-00001"]


@given(
    components=st.tuples(*[st.integers(0, 10)] * 16),
    tdx=st.tuples(*[st.integers(0, 9)] * 16),
    now=st.none() | st.tuples(*[st.integers(0, 9)] * 16),
    qe=st.integers(0, 10),
)
def test_no_fact_is_lost_and_no_line_is_long(
    components: tuple[int, ...], tdx: tuple[int, ...], now: tuple[int, ...] | None, qe: int
) -> None:
    documents = (TcbInfo.parse(tcb_info().encode()), QeIdentity.parse(qe_identity().encode()))
    pck = PckExtension.parse(sgx_extension(Machine(components=components)))
    shortfall = explain(*documents, pck, qe, bytes(tdx), None if now is None else bytes(now))
    if shortfall is None:
        return
    lines = list(shortfall_lines(shortfall.to_json(), shortfall.advisories_gone + shortfall.advisories_left))
    plain = [" ".join(line.split()) for line in lines]
    assert [str(gap) for gap in shortfall.gaps if str(gap) not in plain] == []
    assert all(len(line) <= 80 for line in lines if " has " not in line)


def test_a_verdict_without_a_level_has_no_date(tmp_path: Any, capsys: Any) -> None:
    files = Files(tmp_path)
    of = world_of(machine={"components": (2, *GOOD[1:])})
    files.envelope = files.write("evidence.json", TrustDomain(world=of).envelope().to_text())
    called = Called(capsys, *files.enveloped())
    (line,) = [line for line in called.out.splitlines() if line.startswith("TCB ")]
    assert line == "TCB TCB_NOT_SUPPORTED (module UpToDate, qe UpToDate)"
