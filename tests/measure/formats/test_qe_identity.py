"""The QE identity: what a writer wrote is read back, and what is no identity is refused with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import tcb_info as infos
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.quote import QeReport
from simulators.intel import ABSENT, QE_LEVELS, EnclaveReport, SvnLevel, compact, instant, qe_identity


def parse(text: str) -> QeIdentity:
    return QeIdentity.parse(text.encode())


def refused(text: str) -> str:
    with pytest.raises(FormatError) as caught:
        parse(text)
    return str(caught.value)


# Real documents


def test_every_real_document_is_read(vectors: Path) -> None:
    seen = 0
    for path in sorted((vectors / "quotes/derived/collateral").glob("*.json")):
        bundle = json.loads(path.read_text())
        identity, raw = parse(bundle["qe_identity"]), json.loads(bundle["qe_identity"])
        assert identity.evaluation_number == bundle["_qe_eval"]
        assert (instant(identity.issue_date), instant(identity.next_update)) == (raw["issueDate"], raw["nextUpdate"])
        assert identity.mr_signer.hex().upper() == raw["mrsigner"]
        assert (identity.misc_select, identity.misc_select_mask, identity.isv_prod_id) == (0, 0xFFFFFFFF, 2)
        assert [level.isv_svn for level in identity.levels] == [each["tcb"]["isvsvn"] for each in raw["tcbLevels"]]
        seen += 1
    assert seen > 15


@pytest.mark.parametrize("name", ["trustee/enclaveIdentity.json", "go-tdx-guest/sample_qeIdentity_response"])
def test_answers_of_intels_service_hold_a_document(vectors: Path, name: str) -> None:
    answer = json.loads((vectors / "quotes" / name).read_text())
    assert parse(compact(answer["enclaveIdentity"])).levels


def test_the_real_identity_of_the_sgx_enclave_is_refused(vectors: Path) -> None:
    bundle = json.loads((vectors / "quotes/dcap-qvl/sgx_quote_collateral.json").read_text())
    assert refused(bundle["qe_identity"]) == "QE identity: id is 'QE', not 'TD_QE'"


# Against the writer in tests/simulators

four, sixteen = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
dates = st.datetimes(datetime(2018, 1, 1), datetime(2099, 12, 31)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))
levels = st.builds(
    SvnLevel,
    isvsvn=st.integers(0, 0xFFFF),
    status=st.sampled_from(infos.COMPONENT_STATUSES),
    date=dates.map(instant),
    advisories=st.lists(st.sampled_from(["INTEL-SA-1", "INTEL-SA-2"]), max_size=2).map(tuple),
)


@settings(max_examples=80, deadline=None)
@given(
    written=st.lists(levels, min_size=1, max_size=5, unique_by=lambda level: level.isvsvn),
    times=st.tuples(dates, dates),
    misc=st.tuples(four, four),
    attributes=st.tuples(sixteen, sixteen),
    signer=st.binary(min_size=32, max_size=32),
    numbers=st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)),
)
def test_what_the_writer_wrote_is_read_back(
    written: list[SvnLevel],
    times: tuple[datetime, datetime],
    misc: tuple[bytes, bytes],
    attributes: tuple[bytes, bytes],
    signer: bytes,
    numbers: tuple[int, int],
) -> None:
    text = qe_identity(
        levels=written,
        issued=times[0],
        next_update=times[1],
        miscselect=misc[0],
        miscselect_mask=misc[1],
        attributes=attributes[0],
        attributes_mask=attributes[1],
        mrsigner=signer,
        isvprodid=numbers[0],
        evaluation=numbers[1],
    )
    identity = parse(text)
    assert (identity.issue_date, identity.next_update) == times
    assert (identity.attributes, identity.attributes_mask) == attributes
    assert (identity.mr_signer, identity.isv_prod_id, identity.evaluation_number) == (signer, *numbers)
    assert identity.misc_select.to_bytes(4, "little") == misc[0]
    assert identity.misc_select_mask.to_bytes(4, "little") == misc[1]
    read = [(level.isv_svn, level.status, instant(level.date), level.advisories) for level in identity.levels]
    expected = [(level.isvsvn, level.status, level.date, level.advisories) for level in written]
    assert read == sorted(expected, reverse=True)


def test_miscselect_has_the_byte_order_of_a_report() -> None:
    """Intel QVL reads both by the same function: the bytes of the hex are those of the report's field."""
    report = QeReport.parse(EnclaveReport(miscselect=0x04030201).encode())
    identity = parse(qe_identity(miscselect=report.raw[16:20], miscselect_mask=b"\xff\x00\x00\x00"))
    assert identity.misc_select == report.misc_select == 0x04030201
    assert report.misc_select & identity.misc_select_mask == 0x01


@settings(max_examples=20, deadline=None)
@given(st.permutations(QE_LEVELS))
def test_the_order_of_levels_does_not_matter(order: list[SvnLevel]) -> None:
    assert parse(qe_identity(levels=order)) == parse(qe_identity())


# What is refused


def with_members(**changes: Any) -> str:
    return qe_identity(members=changes)


def with_level(**changes: Any) -> str:
    return qe_identity(levels=[replace(QE_LEVELS[0], members=changes)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "QE identity: id is missing"),
        (with_members(id="QE"), "QE identity: id is 'QE', not 'TD_QE'"),
        (with_members(id=None), "QE identity: id must be str, not NoneType"),
        (with_members(version=1), "QE identity: version is 1, not 2"),
        (with_members(version=True), "QE identity: version must be int, not bool"),
        (with_members(issueDate="2025-08-13T00:00Z"), "QE identity: issueDate is not a time such as"),
        (with_members(nextUpdate=1755043200), "QE identity: nextUpdate must be str, not int"),
        (with_members(tcbEvaluationDataNumber=2**32), "tcbEvaluationDataNumber is 4294967296, not 0 to 4294967295"),
        (with_members(miscselect="0000000"), "QE identity: miscselect is not hex"),
        (with_members(miscselect="000000"), "QE identity: miscselect must be 8 hex digits"),
        (with_members(miscselectMask="FF FF FF FF"), "QE identity: miscselectMask must be 8 hex digits"),
        (with_members(attributes="00" * 15), "QE identity: attributes must be 32 hex digits"),
        (with_members(attributesMask="00" * 17), "QE identity: attributesMask must be 32 hex digits"),
        (with_members(mrsigner="00" * 48), "QE identity: mrsigner must be 64 hex digits"),
        (with_members(isvprodid=65536), "QE identity: isvprodid is 65536, not 0 to 65535"),
        (with_members(isvprodid="2"), "QE identity: isvprodid must be int, not str"),
        (with_members(tcbLevels=[]), "QE identity: tcbLevels has 0 members, not 1 to 1024"),
        (qe_identity(levels=[QE_LEVELS[0], QE_LEVELS[0]]), "QE identity: has the same TCB level twice"),
        (with_level(tcb={"isvsvn": -1}), "QE identity.tcbLevels[].tcb: isvsvn is -1, not 0 to 65535"),
        (with_level(tcb=[]), "QE identity.tcbLevels[]: tcb must be dict, not list"),
        (with_level(tcbStatus="ConfigurationNeeded"), "is not one of UpToDate, OutOfDate, Revoked"),
        (with_level(advisoryIDs="INTEL-SA-1"), "QE identity.tcbLevels[]: advisoryIDs must be list, not str"),
        *((with_members(**{name: ABSENT}), f"QE identity: {name} is missing") for name in json.loads(qe_identity())),
    ],
    ids=lambda each: each[-50:],
)  # fmt: skip
def test_what_is_no_identity_is_refused_with_its_reason(text: str, message: str) -> None:
    assert message in refused(text)
