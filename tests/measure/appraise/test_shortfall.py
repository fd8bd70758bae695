"""What falls short of an up-to-date platform: components, updates and advisories, in words and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.appraise.shortfall import Shortfall, explain
from pluto_measure.appraise.updates import UPDATES, advice, in_order, late_microcode, named
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.formats.tcb_info import Component, TcbInfo
from pluto_measure.verify.intel_pki import INTEL_ROOTS, pck_chain
from pluto_measure.verify.tcb import evaluate_tcb
from simulators.intel import (
    MODULE,
    PLATFORM,
    PLATFORM_LEVELS,
    QE,
    TDX_MICROCODE,
    Machine,
    ModuleIdentity,
    SvnLevel,
    TcbLevel,
    qe_identity,
    sgx_extension,
    tcb_info,
    tee_tcb_svn,
)

GOOD = Machine().components
MICROCODE_OUTDATED = replace(PLATFORM_LEVELS[0], sgx=(8, 8, *TcbLevel.sgx[2:]), status="OutOfDate")


def parts(machine: Machine, info: str, identity: str) -> tuple[TcbInfo, QeIdentity, PckExtension]:
    pck = PckExtension.parse(sgx_extension(machine))
    return TcbInfo.parse(info.encode()), QeIdentity.parse(identity.encode()), pck


def short(
    tdx: bytes = tee_tcb_svn(),
    now: bytes | None = None,
    *,
    qe: int = QE["UpToDate"],
    info: str | None = None,
    identity: str | None = None,
    **machine: Any,
) -> Shortfall | None:
    documents = parts(Machine(**machine), info or tcb_info(), identity or qe_identity())
    return explain(*documents, qe, tdx, now)


def found(*given: Any, **changes: Any) -> Shortfall:
    shortfall = short(*given, **changes)
    assert shortfall is not None
    return shortfall


def components(**svns: int) -> tuple[int, ...]:
    return tuple(svns.get(f"c{index}", svn) for index, svn in enumerate(GOOD))


def test_nothing_falls_short_of_a_platform_that_is_up_to_date() -> None:
    assert short() is None
    assert short(tee_tcb_svn(), tee_tcb_svn()) is None


def test_an_outdated_platform() -> None:
    shortfall = found(components=components(c0=PLATFORM["OutOfDate"]))
    assert shortfall.sentences() == (
        "platform: OutOfDate (TCB of 2022-05-15); SGX component 0 (BIOS: Early Microcode Update) has 5, wants 9",
        "update: BIOS, then fetch a new PCK certificate",
        "that settles INTEL-SA-09104",
    )


def test_the_facts_for_programs() -> None:
    document = found(components=components(c0=PLATFORM["OutOfDate"])).to_json()
    assert json.loads(json.dumps(document)) == document
    up_to_date = {"status": "UpToDate", "tcbDate": "2026-04-15T00:00:00Z", "advisories": []}
    assert (document["status"], document["half"]) == ("OutOfDate", "launch")
    assert document["module"] == {
        "name": "TDX module TDX_01",
        "matched": up_to_date,
        "wanted": up_to_date,
        "lowest": None,
        "known": [],
    }
    assert document["components"] == [
        {
            "id": "sgx0",
            "name": "SGX component 0 (BIOS: Early Microcode Update)",
            "has": 5,
            "now": None,
            "wanted": 9,
            "lowest": None,
            "update": "bios",
        }
    ]
    assert (document["advisoriesGone"], document["advisoriesLeft"]) == (["INTEL-SA-09104"], [])
    assert document["updates"] == [{"id": item, "text": UPDATES[item][1]} for item in ("bios", "pckCertificate")]


def test_an_outdated_module_is_updated_and_the_td_launched_again() -> None:
    shortfall = found(tee_tcb_svn(MODULE["OutOfDate"]))
    assert shortfall.sentences() == (
        "TDX module TDX_01: OutOfDate (TCB of 2024-03-15); TDX module's ISVSVN has 5, wants 7",
        "update: TDX module, launch the TD again",
        "that settles INTEL-SA-09201",
    )


def test_a_module_that_was_updated_since_the_launch_needs_a_launch_alone() -> None:
    shortfall = found(tee_tcb_svn(MODULE["OutOfDate"]), tee_tcb_svn())
    assert shortfall.sentences()[:2] == (
        "TDX module TDX_01: OutOfDate (TCB of 2024-03-15); TDX module's ISVSVN has 5 (now 7), wants 7",
        "update: launch the TD again",
    )
    assert shortfall.half == "launch"


@pytest.mark.parametrize(
    ("now", "updates"),
    [
        (tee_tcb_svn(version=3), ("relaunch",)),  # of another version: its number says nothing, its status does
        (tee_tcb_svn(MODULE["OutOfDate"] + 1), ("tdxModule", "relaunch")),
        (tee_tcb_svn(MODULE["OutOfDate"], version=3), ("tdxModule", "relaunch")),
    ],
)
def test_a_module_at_present(now: bytes, updates: tuple[str, ...]) -> None:
    shortfall = found(tee_tcb_svn(MODULE["OutOfDate"]), now)
    assert shortfall.updates == updates
    assert [gap.now for gap in shortfall.gaps] == [now[0] if now[1] == 1 else None]


def test_microcode_that_was_updated_since_the_launch() -> None:
    info = tcb_info(levels=[TcbLevel(), TcbLevel(tdx=(5, 0, 4, *bytes(13)), status="OutOfDate")])
    shortfall = found(tee_tcb_svn(microcode=4), tee_tcb_svn(), info=info)
    assert shortfall.sentences() == (
        "platform: OutOfDate (TCB of 2026-05-15);"
        " TDX component 2 (OS/VMM: TDX Late Microcode Update) has 4 (now 5), wants 5",
        "update: launch the TD again",
    )
    assert found(tee_tcb_svn(microcode=4), tee_tcb_svn(microcode=4), info=info).updates == ("microcode", "relaunch")


def test_an_outdated_quoting_enclave() -> None:
    assert found(qe=QE["OutOfDate"]).sentences() == (
        "quoting enclave: OutOfDate (TCB of 2023-02-15); quoting enclave's ISVSVN has 6, wants 8",
        "update: quoting enclave",
        "that settles INTEL-SA-09301",
    )


def test_every_kind_of_component_is_updated_once_and_in_order() -> None:
    old = TcbLevel(sgx=(8, 8, 1, 1, 1, 1, 0, 1, *bytes(8)), pcesvn=5, tdx=(3, 0, 4, *bytes(13)), status="OutOfDate")
    wanted = TcbLevel(sgx=(9, 9, 2, 2, 3, 1, 4, 5, *bytes(8)))
    machine = {"components": old.sgx, "pcesvn": 5}
    shortfall = found(tee_tcb_svn(4, 0, microcode=4), qe=6, info=tcb_info(levels=[wanted, old]), **machine)
    assert shortfall.module is None
    assert shortfall.to_json()["module"] is None
    assert {gap.id: gap.update for gap in shortfall.gaps} == {
        "sgx0": "bios",
        "sgx1": "microcode",
        "sgx2": "sinit",
        "sgx3": "bios",
        "sgx4": "bios",
        "sgx6": "unnamed",
        "sgx7": "seamLoader",
        "pceSvn": "pce",
        "tdx0": "tdxModule",
        "tdx2": "microcode",
        "qeIsvSvn": "quotingEnclave",
    }
    assert shortfall.sentences()[2] == (
        "update: BIOS, microcode, SINIT module, SEAM loader, TDX module, quoting enclave, PCE, the components that"
        " Intel does not name, then fetch a new PCK certificate, launch the TD again"
    )
    assert shortfall.updates == tuple(item for item in UPDATES if item not in ("configuration", "softwareHardening"))


def test_microcode_that_the_td_report_has_and_the_certificate_has_not() -> None:
    levels = [
        TcbLevel(sgx=(9, TDX_MICROCODE, *TcbLevel.sgx[2:])),
        TcbLevel(sgx=(1, 1, *TcbLevel.sgx[2:]), status="OutOfDate"),
    ]
    info = tcb_info(levels=levels)
    shortfall = found(info=info, components=components(c1=4))
    assert shortfall.sentences() == (
        "platform: OutOfDate (TCB of 2026-05-15); SGX component 1 (OS/VMM: SGX Late Microcode Update) has 4 (now 5),"
        " wants 5",
        "fetch a new PCK certificate (the present one is older than the machine)",
    )
    shortfall = found(info=info, components=components(c0=4, c1=4))
    assert shortfall.sentences()[1] == (
        "fetch a new PCK certificate (the present one is older than the machine),"
        " then update what is still too low: BIOS"
    )


def test_a_platform_without_a_level() -> None:
    shortfall = found(components=components(c0=2, c4=2))
    assert shortfall.status == "TCB_NOT_SUPPORTED"
    assert shortfall.sentences() == (
        "platform: no level; the lowest is Revoked (TCB of 2020-05-15);"
        " SGX component 0 (BIOS: Early Microcode Update) has 2, needs 3 for any level, wants 9;"
        " SGX component 4 (BIOS) has 2, needs 3 for any level",
        "update: BIOS, then fetch a new PCK certificate",
    )
    assert [(gap.wanted, gap.lowest) for gap in shortfall.gaps] == [(9, 3), (3, 3)]
    platform = shortfall.to_json()["platform"]
    assert isinstance(platform, dict)
    assert (platform["matched"], platform["lowest"]["status"]) == (None, "Revoked")


def test_a_component_that_is_enough_for_the_lowest_level() -> None:
    shortfall = found(tee_tcb_svn(microcode=3), components=components(c0=4))
    assert "has 4, wants 9; TDX component 2" in shortfall.sentences()[0]
    assert shortfall.sentences()[0].endswith("has 3, needs 4 for any level, wants 5")


@pytest.mark.parametrize(("known", "words"), [((3, 1), "TDX_01, TDX_03"), ((), "none")])
def test_a_module_of_a_version_that_intel_does_not_know(known: tuple[int, ...], words: str) -> None:
    info = json.loads(tcb_info(modules=[ModuleIdentity(version) for version in known]))
    if not known:  # an old document, of before modules had identities
        del info["tdxModuleIdentities"]
    shortfall = found(tee_tcb_svn(version=9), info=json.dumps(info))
    assert shortfall.sentences() == (
        f"TDX module TDX_09: Intel's TCB info does not know this version, only {words}",
        "update: TDX module, launch the TD again",
    )
    module = shortfall.to_json()["module"]
    assert isinstance(module, dict)
    assert (module["wanted"], module["known"]) == (None, [f"TDX_{version:02X}" for version in sorted(known)])


def test_a_module_and_an_enclave_without_a_level() -> None:
    shortfall = found(tee_tcb_svn(MODULE["Revoked"] - 1), qe=QE["Revoked"] - 1)
    assert shortfall.sentences()[:2] == (
        "TDX module TDX_01: no level; the lowest is Revoked (TCB of 2022-03-15);"
        " TDX module's ISVSVN has 2, needs 3 for any level, wants 7",
        "quoting enclave: no level; the lowest is Revoked (TCB of 2021-02-15);"
        " quoting enclave's ISVSVN has 3, needs 4 for any level, wants 8",
    )


def test_a_present_state_without_a_level_is_what_is_explained() -> None:
    shortfall = found(tee_tcb_svn(), tee_tcb_svn(MODULE["Revoked"] - 1))
    assert (shortfall.half, shortfall.status) == ("current", "TCB_NOT_SUPPORTED")
    assert shortfall.sentences()[0] == "this is the present state; the TD was launched in a better one"
    assert [gap.has for gap in shortfall.gaps] == [2]


@pytest.mark.parametrize(
    ("status", "updates"),
    [
        ("SWHardeningNeeded", ("softwareHardening",)),
        ("ConfigurationNeeded", ("configuration",)),
        ("ConfigurationAndSWHardeningNeeded", ("configuration", "softwareHardening")),
        ("OutOfDateConfigurationNeeded", ("configuration",)),
        ("OutOfDate", ()),
    ],
)
def test_a_best_level_that_is_not_up_to_date(status: str, updates: tuple[str, ...]) -> None:
    level = replace(PLATFORM_LEVELS[0], status=status, advisories=("INTEL-SA-09999",))
    worse = replace(PLATFORM_LEVELS[0], sgx=(1, *TcbLevel.sgx[1:]), status="Revoked")
    shortfall = found(info=tcb_info(levels=[worse, level]))
    assert shortfall.updates == updates
    assert shortfall.advisories_left == ("INTEL-SA-09999",)
    sentences = shortfall.sentences()
    assert sentences[0] == (
        f"platform: {status} (TCB of 2026-05-15); Intel's TCB info has no better level than {status} for it"
    )
    assert sentences[-1] == "these stay: INTEL-SA-09999"
    assert len(sentences) == 2 + bool(updates)


def test_of_several_levels_the_nearest_then_the_newest_is_wanted() -> None:
    far = TcbLevel(sgx=(20, 20, *TcbLevel.sgx[2:]), date="2026-09-01T00:00:00Z")
    near = TcbLevel(sgx=(12, *TcbLevel.sgx[1:]), date="2025-01-01T00:00:00Z")
    newer = TcbLevel(sgx=(11, *TcbLevel.sgx[1:]), date="2025-02-01T00:00:00Z")
    old = TcbLevel(sgx=(1, 1, *TcbLevel.sgx[2:]), status="OutOfDate")
    assert [gap.wanted for gap in found(info=tcb_info(levels=[far, near, newer, old])).gaps] == [11]
    identity = qe_identity(levels=[SvnLevel(9), SvnLevel(10, date="2024-01-01T00:00:00Z"), SvnLevel(1, "OutOfDate")])
    assert [gap.wanted for gap in found(identity=identity).gaps] == [9]


@given(
    components=st.tuples(*[st.integers(0, 10)] * 16),
    pcesvn=st.integers(0, 14),
    tdx=st.tuples(*[st.integers(0, 9)] * 16),
    now=st.none() | st.tuples(*[st.integers(0, 9)] * 16),
    qe=st.integers(0, 10),
)
def test_it_explains_all_that_is_not_up_to_date(
    components: tuple[int, ...], pcesvn: int, tdx: tuple[int, ...], now: tuple[int, ...] | None, qe: int
) -> None:
    documents = parts(Machine(components=components, pcesvn=pcesvn), tcb_info(), qe_identity())
    launch, present = bytes(tdx), None if now is None else bytes(now)
    tcb = evaluate_tcb(*documents, qe, launch, present)
    shortfall = explain(*documents, qe, launch, present)
    assert (shortfall is None) == (tcb.status == "UpToDate")
    if shortfall is not None:
        assert shortfall.sentences()
        assert all(gap.has < max(gap.wanted, gap.lowest or 0) for gap in shortfall.gaps)
        assert len(set(shortfall.updates)) == len(shortfall.updates) > 0
        assert not set(shortfall.advisories_gone) & set(shortfall.advisories_left)


@pytest.mark.parametrize(
    ("component", "name", "update"),
    [
        (Component("", ""), "TDX component 3", "unnamed"),
        (Component("OS/VMM", ""), "TDX component 3 (OS/VMM)", "unnamed"),
        (Component("OS/VMM", "Something New"), "TDX component 3 (OS/VMM: Something New)", "unnamed"),
        (Component("BIOS", "Something New"), "TDX component 3 (BIOS: Something New)", "bios"),
    ],
)
def test_names_of_components(component: Component, name: str, update: str) -> None:
    assert named("TDX", 3, component) == ("tdx3", name, update)


def test_where_intel_names_no_microcode_nothing_is_concluded_from_it() -> None:
    assert late_microcode([Component("", "")] * 16) is None
    document = json.loads(tcb_info(levels=[TcbLevel(), MICROCODE_OUTDATED]))
    for item in document["tcbLevels"][0]["tcb"]["tdxtcbcomponents"]:
        item.pop("type", None)
    shortfall = found(info=json.dumps(document), components=components(c1=8))
    assert [gap.now for gap in shortfall.gaps] == [None]


def test_advice_names_each_update_once() -> None:
    updates = in_order(["pce", "bios", "pce"], is_certified=True, is_launched=False, statuses=["UpToDate"])
    assert updates == ("bios", "pce", "pckCertificate")
    assert advice(updates) == "update: BIOS, PCE, then fetch a new PCK certificate"


def real(vectors: Path) -> list[tuple[dict[str, Any], Shortfall | None]]:
    folder, explained = vectors / "quotes", []
    for row in json.loads((folder / "derived/expectations.json").read_text()):
        quote = Quote.parse(unwrap((folder / row["quote"]).read_bytes()))
        given = Collateral.parse((folder / f"derived/collateral/{row['collateral']}.json").read_bytes())
        pck, report = pck_chain(quote.certificates, INTEL_ROOTS).extension, quote.report
        info, identity = TcbInfo.parse(given.tcb_info.body), QeIdentity.parse(given.qe_identity.body)
        svns = (quote.qe_report.isv_svn, report.tee_tcb_svn, report.tee_tcb_svn_2)
        explained.append((row, explain(info, identity, pck, *svns)))
    return explained


def test_real_platforms(vectors: Path) -> None:
    explained = real(vectors)
    assert len(explained) == 69
    for row, shortfall in explained:
        assert (shortfall is None) == (row["status"] == "UpToDate"), row["quote"]
        if shortfall is None:
            continue
        assert shortfall.updates, row["quote"]
        if row["status"] == "REJECT:TCB_NOT_SUPPORTED":
            assert shortfall.status == "TCB_NOT_SUPPORTED"
            assert any(gap.lowest is not None and gap.has < gap.lowest for gap in shortfall.gaps)
        else:
            advisories = sorted({*shortfall.advisories_gone, *shortfall.advisories_left})
            assert advisories == row["advisories"], row["quote"]
        if row["status"] == "TDRelaunchAdvised":
            assert shortfall.updates == ("relaunch",), row["quote"]


def test_a_real_platform_in_words(vectors: Path) -> None:
    [words] = {
        shortfall.sentences()
        for row, shortfall in real(vectors)
        if shortfall and row["quote"].endswith("tdx_quote_outdated")
    }
    assert words == (
        "platform: no level; the lowest is OutOfDate (TCB of 2018-01-04);"
        " SGX component 7 (OS/VMM: SEAMLDR ACM) has 3, needs 5 for any level",
        "update: SEAM loader, then fetch a new PCK certificate",
    )
