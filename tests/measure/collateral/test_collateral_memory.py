"""The memory against rollback: which edition is newer, that it never forgets, and its one form as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.collateral.memory import LIMIT, Edition, Memory, Rollback, Seen, compare, issuing_ca, remember
from pluto_measure.errors import FormatError
from pluto_measure.formats.collateral import Collateral
from pluto_measure.verify.collateral import check_collateral
from simulators.intel import NOW, healthy, world
from simulators.intel.der import Machine

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


def edition(number: int, day: int) -> Edition:
    return Edition(number, START + day * DAY)


SEEN = Seen(Machine.fmspc, "platform", edition(19, 5), edition(18, 5), edition(1, 5), edition(1, 2))
MEMORY = remember(Memory(), SEEN)
DOCUMENTS = {"tcb_info": "TCB info", "qe_identity": "QE identity", "pck_crl": "PCK CRL", "root_crl": "root CRL"}


def changed(seen: Seen, changes: dict[str, Any]) -> Seen:
    return replace(seen, **changes)


editions = st.builds(edition, st.integers(-1, 3), st.integers(0, 3))
sights = st.builds(
    Seen, st.sampled_from([bytes(6), Machine.fmspc]), st.sampled_from(["platform", "processor"]),
    editions, editions, editions, editions,
)  # fmt: skip


@pytest.mark.parametrize("field", DOCUMENTS)
@pytest.mark.parametrize(
    ("number", "days", "older"),
    [(0, 0, False), (0, 1, False), (0, -1, True), (-1, 0, True), (-1, 30, True), (1, -30, False), (1, 1, False)],
)
def test_the_number_counts_first_and_then_the_date(field: str, number: int, days: int, older: bool) -> None:
    before: Edition = getattr(SEEN, field)
    other = Edition(before.number + number, before.date + days * DAY)
    rollbacks = compare(MEMORY, changed(SEEN, {field: other}))
    assert [(one.document, one.newest, one.given) for one in rollbacks] == (
        [(DOCUMENTS[field], before, other)] if older else []
    )


def test_a_rollback_says_what_is_older_than_what() -> None:
    (rollback,) = compare(MEMORY, replace(SEEN, tcb_info=edition(18, 9)))
    assert str(rollback) == ("TCB info is number 18 of 2026-11-10, seen: 19 of 2026-11-06")
    assert rollback.to_json() == {
        "document": "TCB info",
        "newest": {"number": 19, "date": "2026-11-06T00:00:00Z"},
        "given": {"number": 18, "date": "2026-11-10T00:00:00Z"},
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Edition(19, SEEN.tcb_info.date), "number 19 of 2026-11-06T00:00:00Z, seen: 20 of 2026-11-06T23:59:59Z"),
        (Edition(-1, SEEN.tcb_info.date - DAY), "of 2026-11-05, seen: 20 of 2026-11-06"),
    ],
)
def test_times_where_the_day_is_one_and_lists_without_a_number(given: Edition, words: str) -> None:
    newest = Edition(20, SEEN.tcb_info.date + DAY - timedelta(seconds=1))
    assert str(Rollback("root CRL", newest, given)) == f"root CRL is {words}"


def test_what_is_remembered_of_whom() -> None:
    old = {field: edition(-1, -9) for field in DOCUMENTS}
    other_family = replace(changed(SEEN, old), fmspc=bytes(6))
    assert [one.document for one in compare(MEMORY, other_family)] == ["PCK CRL", "root CRL"]
    assert [one.document for one in compare(MEMORY, replace(other_family, ca="processor"))] == ["root CRL"]
    assert compare(Memory(), SEEN) == ()


@given(st.lists(sights, max_size=6), sights)
def test_nothing_is_forgotten(before: list[Seen], last: Seen) -> None:
    memory = Memory()
    for seen in before:
        memory = remember(memory, seen)
    after = remember(memory, last)
    assert compare(after, last) == compare(memory, last), "what was older stays older, the rest is known now"
    for seen in before:
        assert {one.document for one in compare(memory, seen)} <= {one.document for one in compare(after, seen)}
    assert remember(after, last) == after
    assert Memory.parse(after.to_text().encode()) == after
    for seen in before:
        assert remember(after, seen) == after


def test_of_checked_collateral() -> None:
    for ca in ("platform", "processor"):
        made = world(ca=ca)
        checked = check_collateral(Collateral.parse(json.dumps(made.collateral).encode()), frozenset())
        assert Seen.of(checked) == Seen(
            Machine.fmspc,
            ca,
            Edition(20, NOW - 2 * DAY),
            Edition(20, NOW - 2 * DAY + timedelta(minutes=40)),
            Edition(1, NOW - DAY),
            Edition(1, NOW - DAY),
        )


def test_the_ca_of_a_list() -> None:
    authority = healthy().authority
    assert issuing_ca(authority.crl("processor")) == "processor"
    for der in (authority.crl("root"), authority.crl("platform", issuer_name="Intel SGX PCK Platform CA 2")):
        with pytest.raises(FormatError, match="was issued by"):
            issuing_ca(der)
    with pytest.raises(FormatError, match="is no revocation list"):
        issuing_ca(authority.root.certificate.public_bytes(Encoding.DER))


TEXT = json.loads(MEMORY.to_text())
EDITION = {"number": 1, "date": "2026-11-06T00:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "x"}, "format is 'x'"),
        ({"version": 2}, "version 2 is not known"),
        ({"more": 1}, "unknown member more"),
        ({"fmspcs": []}, "fmspcs must be dict"),
        ({"fmspcs": {"30A06F000000": {}}}, "'30A06F000000' is no FMSPC"),
        ({"fmspcs": {"30a06f000000": 1}}, "must be an object"),
        ({"fmspcs": {"30a06f000000": {"tcbInfo": EDITION}}}, "qeIdentity is missing"),
        ({"fmspcs": {"30a06f000000": {"tcbInfo": EDITION, "qeIdentity": EDITION, "x": 1}}}, "unknown member x"),
        ({"pckCrls": {"root": EDITION}}, "'root' is no FMSPC and no CA"),
        ({"pckCrls": {"platform": 1}}, "must be an object"),
        ({"rootCrl": {**EDITION, "number": -2}}, r"rootCrl\.number is -2"),
        ({"rootCrl": {**EDITION, "number": True}}, "number must be int"),
        ({"rootCrl": {**EDITION, "date": "2026-11-06"}}, "not a time such as"),
        ({"rootCrl": {**EDITION, "more": 1}}, "unknown member more"),
    ],
)
def test_a_damaged_memory_is_an_error(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Memory.parse(json.dumps({**TEXT, **changes}).encode())


def test_a_memory_has_one_form() -> None:
    assert Memory.parse(json.dumps({**TEXT, "rootCrl": None}).encode()).root_crl is None
    assert Memory.parse(MEMORY.to_text().encode()) == MEMORY
    for data in (b"", b"[]", b"{}", b"\xff", b" " * (LIMIT + 1), MEMORY.to_text().encode()[:-3]):
        with pytest.raises(FormatError):
            Memory.parse(data)
