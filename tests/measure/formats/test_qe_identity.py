"""The QE identity, and the rules for JSON that it shares with TCB info: each holds for both documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import qe_identity as identities
from pluto_measure.formats import tcb_info as infos
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.quote import QeReport
from simulators.intel import ABSENT, QE_LEVELS, EnclaveReport, SvnLevel, compact, instant, qe_identity, tcb_info


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


# JSON as such, of both documents


class Document(NamedTuple):
    name: str
    honest: str
    read: Callable[[bytes], object]
    limit: int
    id: str

    def parse(self, text: str | bytes) -> object:
        return self.read(text if isinstance(text, bytes) else text.encode())

    def refused(self, text: str | bytes) -> str:
        with pytest.raises(FormatError) as caught:
            self.parse(text)
        return str(caught.value)


BOTH = [
    Document("TCB info", tcb_info(), infos.TcbInfo.parse, infos.LIMIT, "TDX"),
    Document("QE identity", qe_identity(), QeIdentity.parse, identities.LIMIT, "TD_QE"),
]
both = pytest.mark.parametrize("document", BOTH, ids=lambda document: document.id)


def nested(depth: int, kind: str) -> str:
    """A value that is nested so deep."""
    first, last = {"array": ("[", "]"), "object": ('{"a":', "}")}[kind]
    return first * (depth - 1) + ("[]" if kind == "array" else "{}") + last * (depth - 1)


@both
@pytest.mark.parametrize("kind", ["array", "object"])
def test_nesting_of_32_is_read_and_of_33_refused(document: Document, kind: str) -> None:
    in_whole = document.honest[:-1].replace("%", "%%") + ',"added":%s}'
    in_level = document.honest[:-1].replace('"tcbStatus"', '"added":%s,"tcbStatus"', 1) + "}"
    deep = 2 if document.id == "TD_QE" else 4  # TCB info's first is a level of a module's identity
    honest = document.parse(document.honest)
    assert document.parse(in_whole % nested(31, kind)) == honest
    assert document.parse(in_level % nested(31 - deep, kind)) == honest
    for text in (in_whole % nested(32, kind), in_whole % nested(400, kind), in_level % nested(32 - deep, kind)):
        assert document.refused(text) == f"{document.name}: is nested more than 32 deep"
    assert "not JSON" in document.refused(in_whole % nested(100_000 // len(kind), kind))


@both
def test_brackets_in_text_are_no_nesting(document: Document) -> None:
    text = document.honest[:-1] + ',"added":"' + "[{" * 100 + '\\"\\\\"}'
    assert document.parse(text) == document.parse(document.honest)


VERSION = '"version":'


@both
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"id"', '{"id":"other","id"', "key occurs twice"),
        ('{"id"', '{"\\u0069d":"other","id"', "key occurs twice"),
        ('{"isvsvn"', '{"isvsvn":0,"isvsvn"', "key occurs twice"),
        ('{"id"', '{"added":{"x":1,"x":1},"id"', "key occurs twice"),
        (VERSION, '"added":NaN,"version":', "NaN is not JSON"),
        (VERSION, '"added":Infinity,"version":', "Infinity is not JSON"),
        (VERSION, '"added":[-Infinity],"version":', "-Infinity is not JSON"),
        (VERSION, '"version":0', "not JSON"),
        (VERSION, ',"version":', "not JSON"),
        (VERSION, '"version":' + "3" * 5000, "not JSON"),
        (VERSION, "'version':", "not JSON"),
        (VERSION, '"added":"\t","version":', "not JSON"),
        (VERSION, '"added":"\\x","version":', "not JSON"),
        ('{"id"', '\ufeff{"id"', "not JSON"),
        ('{"id"', '{"added":"\\ud800","id"', "holds half of a surrogate pair"),
        ('{"id"', '{"\\udfff":1,"id"', "holds half of a surrogate pair"),
        ('{"id"', '{"added":["\\ude00\\ud83d"],"id"', "holds half of a surrogate pair"),
    ],
)  # fmt: skip
def test_json_is_read_strictly(document: Document, old: str, new: str, message: str) -> None:
    assert document.refused(document.honest.replace(old, new, 1)).startswith(f"{document.name}: {message}")


@both
def test_text_is_utf_8_and_one_object_of_limited_size(document: Document) -> None:
    honest, read = document.honest.encode(), document.parse(document.honest)
    fill = b" " * (document.limit - len(honest))
    assert document.parse(fill + honest) == read
    assert document.parse(b"\r\n\t " + honest + b"\n") == read
    assert f"{document.limit + 1} bytes are more than {document.limit}" in document.refused(fill + b" " + honest)
    for text in (
        document.honest.encode("utf-16"),
        honest[:-1] + b',"added":"\xed\xa0\x80"}',
        honest + b"{}",
        b"",
        b"\0",
    ):
        assert document.refused(text).startswith(f"{document.name}: not JSON")
    assert document.refused(b"[" + honest + b"]") == f"{document.name}: must be an object, not list"
    assert document.refused(b"null") == f"{document.name}: must be an object, not NoneType"


@both
def test_escapes_that_are_text_are_read_and_unknown_members_ignored(document: Document) -> None:
    added = '{"\\u0069d":"T\\u0044' + document.id[2:] + '","added":"\\ud83d\\ude00\\n"'
    assert document.parse(document.honest.replace(f'{{"id":"{document.id}"', added, 1)) == document.parse(
        document.honest
    )
    text = compact(json.loads(document.honest, object_hook=lambda value: {**value, "added": [{"later": 1.5e3}]}))
    assert document.parse(text) == document.parse(document.honest)


@both
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 700), st.booleans())
def test_any_bytes_are_a_document_or_a_format_error(document: Document, data: bytes, at: int, alone: bool) -> None:
    honest = document.honest.encode()
    text = data if alone else honest[:at] + data[:4] + honest[at + len(data[:2]) :]
    with suppress(FormatError):
        document.parse(text)


@both
def test_every_truncation_is_refused(document: Document) -> None:
    honest = document.honest.encode()
    for size in range(0, len(honest), 1 if len(honest) < 2000 else 7):
        document.refused(honest[:size])
