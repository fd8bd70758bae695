"""TCB info: what Intel publishes is read, levels are sorted as Intel's library sorts them, all else is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.tcb_info import (
    COMPONENT_STATUSES,
    PLATFORM_STATUSES,
    Component,
    TcbInfo,
)
from simulators.intel import ABSENT, PLATFORM_LEVELS, ModuleIdentity, SvnLevel, TcbLevel, compact, instant, tcb_info

LEVEL, MODULE_LEVEL = TcbLevel(), SvnLevel(3)


def parse(text: str) -> TcbInfo:
    return TcbInfo.parse(text.encode())


def refused(text: str | bytes) -> str:
    with pytest.raises(FormatError) as caught:
        TcbInfo.parse(text if isinstance(text, bytes) else text.encode())
    return str(caught.value)


# Real documents


def documents(folder: Path) -> list[dict[str, Any]]:
    names = sorted((folder / "quotes/derived/collateral").glob("*.json"))
    return [json.loads(path.read_text()) for path in names]


def test_every_real_document_is_read_and_says_what_its_name_says(vectors: Path) -> None:
    seen = 0
    for bundle in documents(vectors):
        info, raw = parse(bundle["tcb_info"]), json.loads(bundle["tcb_info"])
        assert info.fmspc.hex() == bundle["_fmspc"].lower()
        assert info.evaluation_number == bundle["_tcb_eval"]
        assert instant(info.issue_date) == raw["issueDate"]
        assert instant(info.next_update) == raw["nextUpdate"]
        assert info.issue_date.tzinfo is UTC
        assert [level.status for level in info.levels] == [level["tcbStatus"] for level in raw["tcbLevels"]]
        assert [identity.id for identity in info.identities] == [
            each["id"] for each in raw.get("tdxModuleIdentities", [])
        ]
        assert info.sgx_components[0] == Component("BIOS", "Early Microcode Update")
        assert [component.type for component in info.tdx_components[:3]] == ["TDX Module"] * 2 + [
            "TDX Late Microcode Update"
        ]
        seen += 1
    assert seen > 15


@pytest.mark.parametrize(
    "name", ["trustee/tcbInfo.json", "go-tdx-guest/sample_tcbInfo_response", "go-tdx-guest/sample_tcbinfo_response_v5"]
)
def test_answers_of_intels_service_hold_a_document(vectors: Path, name: str) -> None:
    answer = json.loads((vectors / "quotes" / name).read_text())
    assert parse(compact(answer["tcbInfo"])).levels
    assert "id is missing" in refused(compact(answer)), "the wrapper is not part of what is signed"


def test_a_real_document_for_sgx_is_refused(vectors: Path) -> None:
    bundle = json.loads((vectors / "quotes/dcap-qvl/sgx_quote_collateral.json").read_text())
    assert refused(bundle["tcb_info"]) == "TCB info: id is 'SGX', not 'TDX'"


# Against the writer in tests/simulators


svns = st.tuples(*[st.integers(0, 255)] * 16)
dates = st.datetimes(datetime(2018, 1, 1), datetime(2099, 12, 31)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))
advisories = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=3).map(tuple)
levels = st.builds(
    TcbLevel,
    sgx=svns,
    tdx=svns,
    pcesvn=st.integers(0, 0xFFFF),
    status=st.sampled_from(PLATFORM_STATUSES),
    date=dates.map(instant),
    advisories=advisories,
)
svn_levels = st.builds(
    SvnLevel,
    isvsvn=st.integers(0, 0xFFFF),
    status=st.sampled_from(COMPONENT_STATUSES),
    date=dates.map(instant),
    advisories=advisories,
)
eight, signer = st.binary(min_size=8, max_size=8), st.binary(min_size=48, max_size=48)
identities = st.builds(
    ModuleIdentity,
    version=st.integers(1, 255),
    levels=st.lists(svn_levels, min_size=1, max_size=4, unique_by=lambda level: level.isvsvn).map(tuple),
    mrsigner=signer,
    attributes=eight,
    attributes_mask=eight,
)


def key(level: TcbLevel) -> Any:
    return level.sgx, level.pcesvn, level.tdx


@settings(max_examples=60, deadline=None)
@given(
    written=st.lists(levels, min_size=1, max_size=5, unique_by=key),
    modules=st.lists(identities, min_size=1, max_size=3, unique_by=lambda module: module.version),
    times=st.tuples(dates, dates),
    platform=st.tuples(st.binary(min_size=6, max_size=6), st.binary(min_size=2, max_size=2)),
    evaluation=st.integers(0, 2**32 - 1),
    seam=st.tuples(signer, eight),
)
def test_what_the_writer_wrote_is_read_back(
    written: list[TcbLevel],
    modules: list[ModuleIdentity],
    times: tuple[datetime, datetime],
    platform: tuple[bytes, bytes],
    evaluation: int,
    seam: tuple[bytes, bytes],
) -> None:
    text = tcb_info(
        levels=written,
        modules=modules,
        fmspc=platform[0],
        pceid=platform[1],
        issued=times[0],
        next_update=times[1],
        evaluation=evaluation,
        mrsignerseam=seam[0],
        seam_attributes_mask=seam[1],
    )
    info = parse(text)
    assert (info.fmspc, info.pce_id, info.evaluation_number) == (*platform, evaluation)
    assert (info.issue_date, info.next_update) == times
    assert (info.module.id, info.module.mr_signer, info.module.attributes_mask) == ("", *seam)
    assert (info.module.attributes, info.module.levels) == (bytes(8), ())
    assert [(tuple(level.sgx), level.pce_svn, tuple(level.tdx)) for level in info.levels] == sorted(
        map(key, written), reverse=True
    )
    for mine, level in zip(sorted(written, key=key, reverse=True), info.levels, strict=True):
        assert (level.status, instant(level.date), level.advisories) == (mine.status, mine.date, mine.advisories)
    for module, identity in zip(modules, info.identities, strict=True):
        assert info.identity(module.version) is identity
        assert (identity.mr_signer, identity.attributes) == (module.mrsigner, module.attributes)
        assert identity.attributes_mask == module.attributes_mask
        read = [(level.isv_svn, level.status, instant(level.date), level.advisories) for level in identity.levels]
        mine_ = [(level.isvsvn, level.status, level.date, level.advisories) for level in module.levels]
        assert read == sorted(mine_, reverse=True)
    absent = next(number for number in range(1, 256) if number not in {module.version for module in modules})
    assert info.identity(absent) is None


@settings(max_examples=30, deadline=None)
@given(st.permutations(PLATFORM_LEVELS), st.permutations(ModuleIdentity().levels))
def test_the_order_of_levels_and_members_does_not_matter(platform: list[TcbLevel], module: list[SvnLevel]) -> None:
    text = tcb_info(levels=platform, modules=[ModuleIdentity(1, tuple(module))])
    info, honest = parse(text), parse(tcb_info(modules=[ModuleIdentity(1)]))
    assert info == honest
    assert parse(json.dumps(json.loads(text), sort_keys=True, indent=2)) == honest


def test_levels_are_sorted_by_sgx_components_then_pcesvn_then_tdx_components() -> None:
    low, high = (1, *[0] * 15), (2, *[0] * 15)
    expected = [(high, 1, low), (low, 2, low), (low, 1, high), (low, 1, low)]
    for order in (expected, expected[::-1], [expected[index] for index in (2, 0, 3, 1)]):
        info = parse(tcb_info(levels=[TcbLevel(sgx=sgx, pcesvn=pce, tdx=tdx) for sgx, pce, tdx in order]))
        assert [(tuple(level.sgx), level.pce_svn, tuple(level.tdx)) for level in info.levels] == expected


def test_names_of_components_come_from_the_first_level_as_it_is_written() -> None:
    info = parse(tcb_info())
    assert info.sgx_components[0] == Component("BIOS", "Early Microcode Update")
    assert info.sgx_components[3] == Component("BIOS", "")
    assert info.sgx_components[15] == info.tdx_components[15] == Component("", "")
    assert len(info.sgx_components) == len(info.tdx_components) == 16
    plain = [{"svn": 1, "category": 7, "type": None}] * 16
    odd = parse(tcb_info(levels=[replace(LEVEL, tcb={"sgxtcbcomponents": plain})]))
    assert odd.sgx_components == (Component("7", "None"),) * 16


# Any text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 8000), st.booleans())
def test_any_bytes_are_tcb_info_or_a_format_error(data: bytes, at: int, alone: bool) -> None:
    honest = tcb_info().encode()
    text = data if alone else honest[:at] + data[:4] + honest[at + len(data[:2]) :]
    with suppress(FormatError):
        assert TcbInfo.parse(text).levels


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tcb", "svn", "isvsvn"]), inner),
    max_leaves=8,
)
WRONG_SVNS: list[list[Any]] = [
    [], [{"svn": 1}] * 2, [{"svn": 256}], [{"svn": -1}], [{"svn": 1.0}], [{"svn": True}], [{"svn": "1"}],
    [{"svn": None}], [{}], [1], ["svn"], [None], [[{"svn": 1}]],
]  # fmt: skip
PATHS: list[tuple[str | int, ...]] = [
    (),
    *((name,) for name in json.loads(tcb_info())),
    ("tdxModule", "mrsigner"),
    *(("tdxModuleIdentities", 0, name) for name in ("id", "mrsigner", "attributes", "attributesMask", "tcbLevels")),
    *(("tdxModuleIdentities", 0, "tcbLevels", 0, name) for name in ("tcb", "tcbDate", "tcbStatus", "advisoryIDs")),
    ("tdxModuleIdentities", 0, "tcbLevels", 0, "tcb", "isvsvn"),
    *(("tcbLevels", 0, name) for name in ("tcb", "tcbDate", "tcbStatus", "advisoryIDs")),
    *(("tcbLevels", 0, "tcb", name) for name in ("sgxtcbcomponents", "pcesvn", "tdxtcbcomponents")),
    ("tcbLevels", 0, "tcb", "sgxtcbcomponents", 3),
    ("tcbLevels", 0, "tcb", "tdxtcbcomponents", 0, "svn"),
]


def with_value(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATHS), values)
def test_any_value_in_any_place_is_read_or_a_format_error(path: tuple[str | int, ...], value: object) -> None:
    with suppress(FormatError):
        parse(json.dumps(with_value(json.loads(tcb_info()), path, value)))


# What is refused


def with_members(**changes: Any) -> str:
    return tcb_info(members=changes)


def with_level(members: Mapping[str, Any] | None = None, **tcb: Any) -> str:
    return tcb_info(levels=[replace(LEVEL, members=members or {}, tcb=tcb)])


def with_module(**changes: Any) -> str:
    return tcb_info(modules=[ModuleIdentity(members=changes)])


def with_module_level(**changes: Any) -> str:
    return tcb_info(modules=[ModuleIdentity(levels=(replace(MODULE_LEVEL, members=changes),))])


SVNS = [{"svn": 1}] * 16
COMPONENTS = "TCB info.tcbLevels[].tcb: must have 16 components with an svn of 0 to 255"
A_TIME = "is not a time such as 2025-08-13T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "TCB info: must be an object, not list"),
        ("{}", "TCB info: id is missing"),
        ("", "TCB info: not JSON"),
        (tcb_info() + "x", "TCB info: not JSON"),
        (with_members(id="SGX"), "TCB info: id is 'SGX', not 'TDX'"),
        (with_members(id=1), "TCB info: id must be str, not int"),
        (with_members(version=2), "TCB info: version is 2, not 3"),
        (with_members(version="3"), "TCB info: version must be int, not str"),
        (with_members(version=3.0), "TCB info: version must be int, not float"),
        (with_members(tcbType=1), "TCB info: tcbType is 1, not 0"),
        (with_members(tcbType=False), "TCB info: tcbType must be int, not bool"),
        (with_members(tcbEvaluationDataNumber=True), "tcbEvaluationDataNumber must be int, not bool"),
        (with_members(tcbEvaluationDataNumber=-1), "tcbEvaluationDataNumber is -1, not 0 to 4294967295"),
        (with_members(tcbEvaluationDataNumber=2**32), "tcbEvaluationDataNumber is 4294967296, not 0 to"),
        (with_members(fmspc="00806F05000"), "TCB info: fmspc is not hex"),
        (with_members(fmspc="00806F0500"), "TCB info: fmspc must be 12 hex digits"),
        (with_members(fmspc="0080 6F05 0000"), "TCB info: fmspc must be 12 hex digits"),
        (with_members(fmspc="00806F05000g"), "TCB info: fmspc is not hex"),
        (with_members(fmspc="\u0660" * 12), "TCB info: fmspc is not hex"),
        (with_members(pceId=0), "TCB info: pceId must be str, not int"),
        (with_members(tdxModule=ABSENT), "TCB info: tdxModule is missing"),
        (with_members(tdxModule=[]), "TCB info: tdxModule must be dict, not list"),
        (with_members(tdxModule={}), "TCB info.tdxModule: mrsigner is missing"),
        (with_members(tdxModuleIdentities=[]), "tdxModuleIdentities has 0 members, not 1 to 1024"),
        (with_members(tdxModuleIdentities={}), "tdxModuleIdentities must be list, not dict"),
        (with_members(tdxModuleIdentities=[1]), "TCB info.tdxModuleIdentities[]: must be an object, not int"),
        (with_members(tcbLevels=[]), "TCB info: tcbLevels has 0 members, not 1 to 1024"),
        (with_members(tcbLevels=[{}] * 1025), "TCB info: tcbLevels has 1025 members, not 1 to 1024"),
        (with_members(tcbLevels=ABSENT), "TCB info: tcbLevels is missing"),
        (with_members(tcbLevels=[None]), "TCB info.tcbLevels[]: must be an object, not NoneType"),
        (tcb_info(levels=[LEVEL, replace(LEVEL, status="Revoked")]), "TCB info: has the same TCB level twice"),
        (tcb_info(modules=[ModuleIdentity(1), ModuleIdentity(1)]), "TCB info: has the same TDX module identity twice"),
        (
            tcb_info(modules=[ModuleIdentity(10), ModuleIdentity(11, members={"id": "tdx_0a"})]),
            "TCB info: has the same TDX module identity twice",
        ),
        (with_level({"tcb": ABSENT}), "TCB info.tcbLevels[]: tcb is missing"),
        (with_level({"tcb": 1}), "TCB info.tcbLevels[]: tcb must be dict, not int"),
        (with_level({"tcbDate": ABSENT}), "TCB info.tcbLevels[]: tcbDate is missing"),
        (with_level({"tcbStatus": "Uptodate"}), "tcbStatus 'Uptodate' is not one of UpToDate, SWHardeningNeeded"),
        (with_level({"tcbStatus": ["UpToDate"]}), "tcbStatus must be str, not list"),
        (with_level({"advisoryIDs": None}), "advisoryIDs must be list, not NoneType"),
        (with_level({"advisoryIDs": ["INTEL-SA-1", 2]}), "TCB info.tcbLevels[]: advisoryIDs must hold text"),
        (with_level(pcesvn=65536), "TCB info.tcbLevels[].tcb: pcesvn is 65536, not 0 to 65535"),
        (with_level(pcesvn=ABSENT), "TCB info.tcbLevels[].tcb: pcesvn is missing"),
        (with_level(sgxtcbcomponents=ABSENT), "TCB info.tcbLevels[].tcb: sgxtcbcomponents is missing"),
        (with_level(tdxtcbcomponents=ABSENT), "TCB info.tcbLevels[].tcb: tdxtcbcomponents is missing"),
        *((with_level(sgxtcbcomponents=SVNS[1:] + wrong), COMPONENTS) for wrong in WRONG_SVNS),
        (with_level(tdxtcbcomponents=SVNS[1:]), COMPONENTS),
        (with_module(id=ABSENT), "TCB info.tdxModuleIdentities[]: id is missing"),
        (with_module(id=1), "TCB info.tdxModuleIdentities[]: id must be str, not int"),
        (with_module(mrsigner="00" * 47), "TCB info.tdxModuleIdentities[]: mrsigner must be 96 hex digits"),
        (with_module(attributes="00" * 9), "TCB info.tdxModuleIdentities[]: attributes must be 16 hex digits"),
        (with_module(attributesMask=""), "TCB info.tdxModuleIdentities[]: attributesMask must be 16 hex digits"),
        (with_module(tcbLevels=[]), "TCB info.tdxModuleIdentities[]: tcbLevels has 0 members, not 1 to 1024"),
        (tcb_info(modules=[ModuleIdentity(levels=(MODULE_LEVEL, MODULE_LEVEL))]), "has the same TCB level twice"),
        (with_module_level(tcb={"isvsvn": 65536}), "isvsvn is 65536, not 0 to 65535"),
        (with_module_level(tcb={"isvsvn": True}), "isvsvn must be int, not bool"),
        (with_module_level(tcb={}), "TCB info.tdxModuleIdentities[].tcbLevels[].tcb: isvsvn is missing"),
        (with_module_level(tcbStatus="SWHardeningNeeded"), "is not one of UpToDate, OutOfDate, Revoked"),
    ],
    ids=lambda each: each[-60:],
)  # fmt: skip
def test_what_is_no_tcb_info_is_refused_with_its_reason(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    "time",
    [
        "2025-08-13", "2025-08-13T00:00:00", "2025-08-13t00:00:00z", "2025-08-13 00:00:00Z", "2025-08-13T00:00:00ZZ",
        "2025-08-13T00:00:00+00:00", "2025-08-13T00:00:00.000Z", "20250813T000000Z", "2025-W33-3T00:00:00Z",
        "2025-08-13T12+05:00Z", "2025-08-13T12:00+05Z", "2025-08-13T000000.1Z", "2025-08-13T24:00:00Z",
        "2025-08-13T23:59:60Z", "2025-02-30T00:00:00Z", "2025-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "",
        "\u0662\u0660\u0662\u0665-08-13T00:00:00Z", "2025-08-13T00:00:00Z\n", " 2025-08-13T00:00:00Z",
    ],
)  # fmt: skip
def test_a_time_has_one_spelling(time: str) -> None:
    assert refused(with_members(issueDate=time)) == f"TCB info: issueDate {A_TIME}"
    assert refused(with_members(nextUpdate=time)) == f"TCB info: nextUpdate {A_TIME}"
    assert refused(with_level({"tcbDate": time})) == f"TCB info.tcbLevels[]: tcbDate {A_TIME}"


def test_the_first_and_the_last_second_of_a_day_are_times() -> None:
    info = parse(with_members(issueDate="2024-02-29T00:00:00Z", nextUpdate="2024-02-29T23:59:59Z"))
    assert info.next_update - info.issue_date == timedelta(hours=23, minutes=59, seconds=59)


# What is accepted


def test_hex_is_upper_or_lower_case() -> None:
    honest = tcb_info(mrsignerseam=b"\xab" * 48, fmspc=b"\xcd" * 6)
    assert parse(honest.replace("ABABAB", "abAbaB").replace("CDCD", "cdCd")) == parse(honest)


def test_a_module_is_found_whatever_the_case_of_its_id() -> None:
    info = parse(tcb_info(modules=[ModuleIdentity(0xAB, members={"id": "tdx_aB"})]))
    identity = info.identity(0xAB)
    assert identity is not None
    assert identity.id == "TDX_AB"


def test_before_2024_there_were_no_module_identities() -> None:
    info = parse(with_members(tdxModuleIdentities=ABSENT))
    assert info.identities == ()
    assert info.identity(1) is None


def test_a_level_may_have_an_empty_list_of_advisories_or_none() -> None:
    assert parse(with_level({"advisoryIDs": []})).levels == parse(with_level({"advisoryIDs": ABSENT})).levels


def test_unknown_members_are_ignored_wherever_they_are() -> None:
    text = compact(json.loads(tcb_info(), object_hook=lambda value: {**value, "added": [{"later": 1.5e3}]}))
    assert parse(text) == parse(tcb_info())
