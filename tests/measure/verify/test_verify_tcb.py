"""The TCB status: the whole matrix of levels against a second, table-like spelling of Intel's rules.

The reference here reads the JSON of the documents and shares nothing with the module under test. Its rules are those of
Intel QVL's EvaluateTcb and TDRelaunchCheck (4.1.2.5.18 to 4.1.2.5.20).
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import TcbInfo
from pluto_measure.verify.tcb import Tcb, evaluate_tcb, merge, relaunch
from simulators.intel import (
    MODULE,
    MODULE_LEVELS,
    PLATFORM,
    PLATFORM_LEVELS,
    QE,
    QE_LEVELS,
    TD10,
    TD15,
    TD15EX,
    TDX_MICROCODE,
    Machine,
    ModuleIdentity,
    SvnLevel,
    TcbLevel,
    qe_identity,
    sgx_extension,
    tcb_info,
    tee_tcb_svn,
    world,
)
from simulators.verdicts import refusals, verified

INFO, IDENTITY = tcb_info(), qe_identity()
# An out-of-date module or enclave: platform's status to the merged one.
BEHIND = {
    "UpToDate": "OutOfDate",
    "SWHardeningNeeded": "OutOfDate",
    "ConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "OutOfDateConfigurationNeeded",
    "OutOfDate": "OutOfDate",
    "OutOfDateConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "Revoked": "Revoked",
}
# Launch and current to the verdict; every other pair keeps the launch.
CONFIGURE = "TDRelaunchAdvisedConfigurationNeeded"
RELAUNCH = {
    ("OutOfDate", "UpToDate"): "TDRelaunchAdvised",
    ("OutOfDate", "SWHardeningNeeded"): "TDRelaunchAdvised",
    ("OutOfDate", "ConfigurationNeeded"): CONFIGURE,
    ("OutOfDate", "ConfigurationAndSWHardeningNeeded"): CONFIGURE,
    ("OutOfDateConfigurationNeeded", "UpToDate"): CONFIGURE,
    ("OutOfDateConfigurationNeeded", "SWHardeningNeeded"): CONFIGURE,
    ("OutOfDateConfigurationNeeded", "ConfigurationNeeded"): CONFIGURE,
    ("OutOfDateConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"): CONFIGURE,
}


def merged(platform: str, others: list[str]) -> str:
    if "Revoked" in others:
        return "Revoked"
    return BEHIND[platform] if "OutOfDate" in others else platform


def reference(info: str, identity: str, machine: Machine, qe_svn: int, tdx: bytes) -> dict[str, Any] | None:
    """One evaluation from JSON; None: not supported."""
    document = json.loads(info)

    def svns(level: dict[str, Any], kind: str) -> list[int]:
        return [component["svn"] for component in level["tcb"][kind]]

    def rank(level: dict[str, Any]) -> tuple[list[int], int, list[int]]:
        return svns(level, "sgxtcbcomponents"), level["tcb"]["pcesvn"], svns(level, "tdxtcbcomponents")

    skip = 2 if tdx[1] else 0
    have = [*machine.components, machine.pcesvn, *tdx[skip:]]
    found = []
    for level in sorted(document["tcbLevels"], key=rank, reverse=True):
        sgx, pce, wanted = rank(level)
        if not [1 for has, needs in zip(have, [*sgx, pce, *wanted[skip:]], strict=True) if has < needs]:
            found.append(level)
            break
    parts = [(json.loads(identity)["tcbLevels"], qe_svn)]
    if tdx[1]:
        names = [item for item in document["tdxModuleIdentities"] if int(item["id"][4:], 16) == tdx[1]]
        parts.append((names[0]["tcbLevels"] if names else [], tdx[0]))
    for levels, svn in parts:
        reached = [level for level in levels if level["tcb"]["isvsvn"] <= svn]
        found += sorted(reached, key=lambda level: -int(level["tcb"]["isvsvn"]))[:1]
    if len(found) != 1 + len(parts):
        return None
    return {
        "status": merged(found[0]["tcbStatus"], [level["tcbStatus"] for level in found[1:]]),
        "tcbDate": min(level["tcbDate"] for level in found),
        "advisories": sorted({name for level in found for name in level.get("advisoryIDs", [])}),
    }


def evaluated(
    tdx: bytes,
    now: bytes | None = None,
    *,
    machine: Machine | None = None,
    qe: int = QE["UpToDate"],
    info: str = INFO,
    identity: str = IDENTITY,
) -> Tcb:
    pck = PckExtension.parse(sgx_extension(machine or Machine()))
    return evaluate_tcb(TcbInfo.parse(info.encode()), QeIdentity.parse(identity.encode()), pck, qe, tdx, now)


def of_status(platform: str) -> Machine:
    return Machine(components=(PLATFORM[platform], *Machine().components[1:]))


def of_module(status: str | None) -> bytes:
    return tee_tcb_svn(version=0) if status is None else tee_tcb_svn(MODULE[status])


MATRIX = list(itertools.product(PLATFORM, QE, (None, *MODULE)))


@pytest.mark.parametrize(("platform", "qe", "module"), MATRIX)
def test_every_status_of_platform_enclave_and_module(platform: str, qe: str, module: str | None) -> None:
    report = None if module else {"tee_tcb_svn": tee_tcb_svn(version=0)}
    said = verified(world(platform=platform, qe=qe, module=module or "UpToDate", report=report)).tcb.to_json()
    levels: list[TcbLevel | SvnLevel] = [
        next(level for level in kind if level.status == status)
        for kind, status in ((PLATFORM_LEVELS, platform), (QE_LEVELS, qe), (MODULE_LEVELS, module))
        if status
    ]
    assert said == {
        "status": merged(platform, [status for status in (qe, module) if status]),
        "platform": platform,
        "module": module,
        "qe": qe,
        "launch": None,
        "current": None,
        "tcbDate": min(level.date for level in levels),
        "advisories": sorted({name for level in levels for name in level.advisories}),
    }


@pytest.mark.parametrize("qe", QE)
@pytest.mark.parametrize("platform", PLATFORM)
def test_every_launch_with_every_present_state(platform: str, qe: str) -> None:
    states = [tee_tcb_svn(svn, version, code) for svn in MODULE.values() for version in (0, 1) for code in (4, 5)]
    for launch, current in itertools.product(states, states):
        said = evaluated(launch, current, machine=of_status(platform), qe=QE[qe])
        then, now = (reference(INFO, IDENTITY, of_status(platform), QE[qe], tdx) for tdx in (launch, current))
        if then is None or now is None:
            assert said.status == "TCB_NOT_SUPPORTED"
            continue
        assert said.status == RELAUNCH.get((then["status"], now["status"]), then["status"])
        shown = said.to_json()
        assert (shown["launch"], shown["current"]) == (then["status"], now["status"])
        assert (shown["tcbDate"], shown["advisories"]) == (then["tcbDate"], then["advisories"])
        assert said.current is not None
        assert (f"{said.current.date:%Y-%m-%dT%H:%M:%SZ}", list(said.current.advisories)) == (
            now["tcbDate"],
            now["advisories"],
        )


@pytest.mark.parametrize("kind", [TD15, TD15EX])
@pytest.mark.parametrize(("launch", "current"), list(itertools.product(MODULE, MODULE)))
def test_a_quote_with_both_states(kind: int, launch: str, current: str) -> None:
    for platform in ("UpToDate", "ConfigurationNeeded", "OutOfDate"):
        said = verified(world(platform=platform, module=launch, module_now=current, kind=kind)).tcb
        then, now = merged(platform, [launch]), merged(platform, [current])
        assert said.status == RELAUNCH.get((then, now), then)
        assert (said.launch.status, said.current.status if said.current else None) == (then, now)


def test_merge_and_relaunch_of_all_statuses() -> None:
    for platform, first, second in itertools.product(PLATFORM, MODULE, QE):
        assert merge(platform, [first, second]) == merged(platform, [first, second])
    for launch, current in itertools.product(PLATFORM, PLATFORM):
        assert relaunch(launch, current) == RELAUNCH.get((launch, current), launch)


def test_a_quote_of_version_5_with_a_td_report_1_0_has_one_state() -> None:
    said = verified(world(version=5, kind=TD10)).tcb
    assert (said.status, said.current) == ("UpToDate", None)


small = st.integers(0, 3)


@st.composite
def platform_levels(draw: st.DrawFn) -> list[TcbLevel]:
    """Levels of which three SGX components, PCESVN and four TDX components matter; no two are the same."""
    shape = st.tuples(st.tuples(small, small, small), small, st.tuples(small, small, small, small))
    rows = draw(st.lists(shape, min_size=1, max_size=8, unique=True))
    return [
        TcbLevel(
            (*sgx, *bytes(12), pce), pce, (*tdx, *bytes(12)), draw(st.sampled_from(list(PLATFORM))),
            f"20{draw(st.integers(10, 30))}-01-01T00:00:00Z", tuple(draw(st.lists(st.sampled_from("abc"), max_size=2))),
        )
        for sgx, pce, tdx in rows
    ]  # fmt: skip


@st.composite
def svn_levels(draw: st.DrawFn) -> list[SvnLevel]:
    svns = draw(st.lists(small, min_size=1, max_size=3, unique=True))
    dates = st.integers(10, 30)
    return [
        SvnLevel(svn, draw(st.sampled_from(list(MODULE))), f"20{draw(dates)}-01-01T00:00:00Z", ("m",)) for svn in svns
    ]


@settings(max_examples=120, deadline=None)
@given(platform_levels(), svn_levels(), svn_levels(), st.binary(min_size=8, max_size=8), small)
def test_any_levels_in_any_order(
    levels: list[TcbLevel], module: list[SvnLevel], enclave: list[SvnLevel], have: bytes, qe: int
) -> None:
    svns = [byte % 5 for byte in have]
    machine = Machine(components=(*svns[:3], *bytes(12), svns[3]), pcesvn=svns[3])
    tdx = bytes([svns[4], svns[5] % 3, svns[6], svns[7]]) + bytes(12)
    info = tcb_info(levels=levels, modules=[ModuleIdentity(2, tuple(module)), ModuleIdentity(1, tuple(module))])
    identity = qe_identity(levels=enclave)
    wanted = reference(info, identity, machine, qe, tdx)
    said = evaluated(tdx, machine=machine, qe=qe, info=info, identity=identity).to_json()
    if wanted is None:
        assert (said["status"], said["tcbDate"]) == ("TCB_NOT_SUPPORTED", None)
    else:
        assert {name: said[name] for name in wanted} == wanted


def test_unsorted_levels_give_the_same_verdicts() -> None:
    mix = random.Random(4).sample
    info = tcb_info(
        levels=mix(PLATFORM_LEVELS, len(PLATFORM_LEVELS)),
        modules=[ModuleIdentity(1, tuple(mix(MODULE_LEVELS, len(MODULE_LEVELS))))],
    )
    identity = qe_identity(levels=QE_LEVELS[::-1])
    for platform, qe, module in MATRIX:
        machine, tdx = of_status(platform), of_module(module)
        assert evaluated(tdx, machine=machine, qe=QE[qe], info=info, identity=identity) == evaluated(
            tdx, machine=machine, qe=QE[qe]
        )


@pytest.mark.parametrize("index", range(16))
def test_one_sgx_component_below_is_not_enough(index: int) -> None:
    wanted = (2,) * 16
    info = tcb_info(levels=[TcbLevel(wanted, 2, (0,) * 16), TcbLevel((0,) * 16, 2, (0,) * 16, "OutOfDate")])
    for svn, status in ((1, "OutOfDate"), (2, "UpToDate"), (3, "UpToDate")):
        machine = Machine(components=(*wanted[:index], svn, *wanted[index + 1 :]), pcesvn=2)
        assert evaluated(tee_tcb_svn(), machine=machine, info=info).status == status


def test_a_pcesvn_below_is_not_enough() -> None:
    assert evaluated(tee_tcb_svn(), machine=Machine(pcesvn=12)).status == "TCB_NOT_SUPPORTED"
    assert evaluated(tee_tcb_svn(), machine=Machine(pcesvn=14)).status == "UpToDate"


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("index", range(16))
def test_tdx_components_0_and_1_count_only_for_a_module_of_version_0(index: int, version: int) -> None:
    wanted = [7] * 16
    wanted[1] = 0
    wanted[index] = 9  # more than the report has
    info = tcb_info(levels=[TcbLevel(tdx=tuple(wanted)), TcbLevel(tdx=(0,) * 16, status="OutOfDate")])
    said = evaluated(bytes([7, version] + [7] * 14), info=info)
    assert said.status == ("UpToDate" if version and index < 2 else "OutOfDate")


def test_an_sgx_match_without_a_tdx_match_goes_on() -> None:
    levels = [
        TcbLevel(),
        TcbLevel(sgx=(9, 9, 2, 2, 3, 1, 0, 4, *bytes(8)), tdx=(5, 0, 4, *bytes(13)), status="SWHardeningNeeded"),
        TcbLevel(sgx=(0,) * 16, tdx=(0,) * 16, status="Revoked"),
    ]
    assert evaluated(tee_tcb_svn(microcode=4), info=tcb_info(levels=levels)).status == "SWHardeningNeeded"
    assert evaluated(tee_tcb_svn(microcode=3), info=tcb_info(levels=levels)).status == "Revoked"


OLD_QE, OLD_MODULE = QE["Revoked"] - 1, tee_tcb_svn(MODULE["Revoked"] - 1)


@pytest.mark.parametrize(
    ("machine", "qe", "tdx", "missing"),
    [
        (of_status("Revoked"), QE["UpToDate"], tee_tcb_svn(microcode=TDX_MICROCODE - 2), {"platform"}),
        (Machine(), OLD_QE, tee_tcb_svn(), {"qe"}),
        (Machine(), QE["UpToDate"], OLD_MODULE, {"module"}),
        (Machine(), QE["UpToDate"], tee_tcb_svn(version=9), {"module"}),
        (Machine(pcesvn=0), OLD_QE, OLD_MODULE, {"platform", "module", "qe"}),
    ],
)
def test_no_level_is_an_error_of_intels_and_no_status(machine: Machine, qe: int, tdx: bytes, missing: set[str]) -> None:
    said = evaluated(tdx, machine=machine, qe=qe).to_json()
    assert (said["status"], said["tcbDate"]) == ("TCB_NOT_SUPPORTED", None)
    assert {name for name in ("platform", "module", "qe") if said[name] is None} == missing
    both = evaluated(tdx, tee_tcb_svn(), machine=machine, qe=qe)
    assert (both.status, both.launch.status) == ("TCB_NOT_SUPPORTED", "TCB_NOT_SUPPORTED")
    assert both.current is not None  # the present state is a fact of its own


@pytest.mark.parametrize("current", [OLD_MODULE, tee_tcb_svn(version=9), tee_tcb_svn(microcode=0)])
def test_no_level_for_the_present_state_alone_is_an_error_too(current: bytes) -> None:
    said = verified(world(module_now="UpToDate", report={"tee_tcb_svn2": current})).tcb
    assert (said.status, said.launch.status) == ("TCB_NOT_SUPPORTED", "UpToDate")
    assert said.to_json()["current"] == "TCB_NOT_SUPPORTED"


@pytest.mark.parametrize(("version", "name"), [(1, "tdx_01"), (10, "TDX_0a"), (10, "Tdx_0A"), (255, "tdx_ff")])
def test_the_id_of_a_module_in_any_case(version: int, name: str) -> None:
    module = ModuleIdentity(version, members={"id": name})
    said = verified(
        world(report={"tee_tcb_svn": tee_tcb_svn(version=version)}, collateral={"info": tcb_info(modules=[module])})
    )
    assert said.tcb.to_json()["module"] == "UpToDate"


def test_the_id_of_a_module_is_hex() -> None:
    given_info = tcb_info(modules=[ModuleIdentity(members={"id": "TDX_10"})])  # 16, not ten
    svn = {"tee_tcb_svn": tee_tcb_svn(version=10)}
    assert refusals(world(report=svn, collateral={"info": given_info})) == {"module.identity"}


def test_advisories_are_named_once_and_sorted() -> None:
    info = tcb_info(
        levels=[replace(PLATFORM_LEVELS[0], advisories=("B", "A"))],
        modules=[ModuleIdentity(1, (SvnLevel(1, "OutOfDate", advisories=("C", "A")),))],
    )
    said = evaluated(tee_tcb_svn(), info=info, identity=qe_identity(levels=[SvnLevel(1, advisories=("B",))]))
    assert said.advisories == ("A", "B", "C")
