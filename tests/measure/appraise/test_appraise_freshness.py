"""Dates, evaluation number and memory, to the second: which certificates and collateral the policy accepts when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.appraise import Appraisal, TdxInputs, verify_evidence
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.verify.quote import verify_quote
from simulators.intel import NOW, World, healthy, qe_identity, tcb_info, world
from simulators.trust_domains import TrustDomain, appraised, failed, policy, rules, verdicts

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
SKEW = 60  # of the strict policy
INTEL = healthy().authority


def of(given: World, **changes: Any) -> Appraisal:
    return appraised(TrustDomain(world=given), **changes)


def text(appraisal: Appraisal, check: str) -> str:
    return next(finding.text for finding in appraisal.findings if finding.id == check)


def with_pck(**changes: Any) -> World:
    return healthy().with_pck(INTEL.pck(**changes))


def with_crl(issuer: Any, **changes: Any) -> World:
    member = "root_ca_crl" if issuer == "root" else "pck_crl"
    return healthy().with_members(**{member: INTEL.crl(issuer, **changes).hex()})


# certificates


@pytest.mark.parametrize(("late", "accepted"), [(-1, True), (0, True), (SKEW, True), (SKEW + 1, False)])
def test_a_pck_certificate_that_begins_now(late: int, accepted: bool) -> None:
    appraisal = of(with_pck(not_before=NOW + timedelta(seconds=late)))
    assert failed(appraisal) == ([] if accepted else ["certificates.not_before"])
    if not accepted:
        assert text(appraisal, "certificates.not_before") == "not yet valid: PCK certificate (2026-11-20T12:01:01Z)"


def test_a_certificate_from_the_future_is_a_warning_where_the_policy_says_any() -> None:
    appraisal = of(with_pck(not_before=NOW + DAY), policy=rules(not_before="any"))
    assert failed(appraisal) == []
    assert verdicts(appraisal)["certificates.not_before"] == "warning"
    assert verdicts(appraised(policy=rules(not_before="any")))["certificates.not_before"] == "pass"


@pytest.mark.parametrize(("left", "accepted"), [(1, True), (0, True), (-1, False)])
def test_a_pck_certificate_that_ends_now(left: int, accepted: bool) -> None:
    appraisal = of(with_pck(not_after=NOW + timedelta(seconds=left)))
    assert failed(appraisal) == ([] if accepted else ["certificates.not_after"])


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("root", ["Intel's root"]),
        ("platform", ["PCK CA"]),
        ("tcb_signing", ["TCB info's signer", "QE identity's signer"]),
    ],
)
@pytest.mark.parametrize("end", [True, False])
def test_every_other_certificate_has_its_dates_looked_at(role: Any, names: list[str], end: bool) -> None:
    dates: dict[str, Any] = {"not_after": NOW - SECOND} if end else {"not_before": NOW + DAY}
    given = world(authority=INTEL.with_certificate(role, **dates))
    root = hashlib.sha256(given.authority.root_der).digest()
    appraisal = of(given, policy=rules(insecure_roots=(root,)))
    check = "certificates.not_after" if end else "certificates.not_before"
    assert failed(appraisal) == [check]
    assert all(name in text(appraisal, check) for name in names)


# documents: issued, due, age


def tcb(issued: datetime, due: datetime | None = None) -> World:
    return healthy().with_collateral(info=tcb_info(issued=issued, next_update=due))


def qe(issued: datetime, due: datetime | None = None) -> World:
    return healthy().with_collateral(identity=qe_identity(issued=issued, next_update=due))


def crl(issuer: str) -> Any:
    return lambda issued, due=None: with_crl(issuer, this_update=issued, next_update=due or issued + 30 * DAY)


DOCUMENTS = {"TCB info": tcb, "QE identity": qe, "root CRL": crl("root"), "PCK CRL": crl("platform")}


@pytest.mark.parametrize("what", DOCUMENTS)
@pytest.mark.parametrize(("late", "accepted"), [(0, True), (SKEW, True), (SKEW + 1, False)])
def test_a_document_from_the_future(what: str, late: int, accepted: bool) -> None:
    appraisal = of(DOCUMENTS[what](NOW + timedelta(seconds=late)))
    assert failed(appraisal) == ([] if accepted else ["collateral.issued"])
    if not accepted:
        assert text(appraisal, "collateral.issued") == f"from the future: {what} (2026-11-20T12:01:01Z)"


def test_the_policys_skew_is_what_counts() -> None:
    assert failed(of(tcb(NOW + SECOND), policy=policy(clock_skew=0))) == ["collateral.issued"]
    assert failed(of(tcb(NOW + DAY), policy=policy(clock_skew=86400))) == []


@pytest.mark.parametrize("what", DOCUMENTS)
@pytest.mark.parametrize(
    ("over", "grace", "verdict"),
    [(-1, 0, "pass"), (0, 0, "pass"), (1, 0, "fail"), (1, 1, "warning"), (3600, 3600, "warning"), (3601, 3600, "fail")],
)
def test_a_document_that_is_due(what: str, over: int, grace: int, verdict: str) -> None:
    given = DOCUMENTS[what](NOW - DAY, NOW - timedelta(seconds=over))
    appraisal = of(given, policy=rules(collateral_grace=grace))
    assert verdicts(appraisal)["collateral.expired"] == verdict
    assert failed(appraisal) == (["collateral.expired"] if verdict == "fail" else [])
    assert (what in text(appraisal, "collateral.expired")) is (verdict != "pass")


def test_one_document_beyond_the_grace_is_enough() -> None:
    info = tcb_info(issued=NOW - DAY, next_update=NOW - timedelta(seconds=5))
    identity = qe_identity(issued=NOW - DAY, next_update=NOW - timedelta(seconds=50))
    appraisal = of(healthy().with_collateral(info=info, identity=identity), policy=rules(collateral_grace=10))
    assert failed(appraisal) == ["collateral.expired"]


@pytest.mark.parametrize("what", ["TCB info", "QE identity"])
@pytest.mark.parametrize(("age", "accepted"), [(99, True), (100, True), (101, False)])
def test_the_age_of_tcb_info_and_qe_identity(what: str, age: int, accepted: bool) -> None:
    both = {"info": tcb_info(issued=NOW), "identity": qe_identity(issued=NOW)}
    old = NOW - timedelta(seconds=age)
    changed = {"info": tcb_info(issued=old)} if what == "TCB info" else {"identity": qe_identity(issued=old)}
    appraisal = of(healthy().with_collateral(**{**both, **changed}), policy=rules(max_collateral_age=100))
    assert failed(appraisal) == ([] if accepted else ["collateral.age"])
    if not accepted:
        assert text(appraisal, "collateral.age") == f"the {what} was issued 101 seconds ago"


def shown(appraisal: Appraisal, check: str) -> tuple[object, object]:
    return next((finding.expected, finding.actual) for finding in appraisal.findings if finding.id == check)


def test_ages_in_words_of_people() -> None:
    """In whole days, but never so that what is refused looks as if it were accepted."""
    cases = {105 * DAY + 7 * SECOND: "105 days", 30 * DAY + SECOND: "30 days 1 second", 30 * DAY: "30 days"}
    for age, words in cases.items():
        appraisal = of(tcb(NOW - age, NOW + DAY))
        assert shown(appraisal, "collateral.age") == ("at most 30 days", words)
        refused = f"the TCB info was issued {words} ago"
        assert (text(appraisal, "collateral.age") == refused) is (age > 30 * DAY)
    future = of(healthy().with_collateral(info=tcb_info(issued=NOW + DAY), identity=qe_identity(issued=NOW + DAY)))
    assert shown(future, "collateral.age") == ("at most 30 days", "0 seconds")


def test_what_is_due_is_shown_with_its_date() -> None:
    given = tcb(NOW - DAY, NOW - timedelta(hours=3))
    assert shown(of(given), "collateral.expired") == (
        "an update due after 2026-11-20T12:00:00Z",
        "TCB info 2026-11-20T09:00:00Z",
    )
    graced = of(given, policy=rules(collateral_grace=2 * 86400))
    expected = "an update due after 2026-11-20T12:00:00Z, or at most 2 days before"
    assert shown(graced, "collateral.expired") == (expected, "TCB info 2026-11-20T09:00:00Z")


def test_revocation_lists_count_until_they_are_due_however_old() -> None:
    """Intel issues the root's once a year."""
    old = with_crl("root", this_update=NOW - 300 * DAY, next_update=NOW + 60 * DAY)
    assert failed(of(old)) == []


def test_any_age_is_accepted_until_the_collateral_is_due() -> None:
    old = tcb(NOW - 400 * DAY, NOW + DAY)
    assert failed(of(old)) == ["collateral.age"]
    appraisal = of(old, policy=rules(max_collateral_age="any"))
    assert (failed(appraisal), verdicts(appraisal)["collateral.age"]) == ([], "pass")


@pytest.mark.parametrize(("minimum", "accepted"), [(0, True), (19, True), (20, True), (21, False)])
def test_the_evaluation_number_of_the_tcb_info(minimum: int, accepted: bool) -> None:
    appraisal = appraised(policy=rules(minimum_evaluation_number=minimum))
    assert failed(appraisal) == ([] if accepted else ["collateral.evaluation_number"])


def test_the_qe_identity_may_have_a_lower_evaluation_number() -> None:
    """A real bundle has 20 and 19."""
    given = healthy().with_collateral(identity=qe_identity(evaluation=19))
    assert failed(of(given, policy=rules(minimum_evaluation_number=20))) == []


# memory


@pytest.mark.parametrize(
    ("rollbacks", "memory", "verdict"),
    [
        (None, "any", "warning"),
        (None, "required", "fail"),
        ((), "any", "pass"),
        ((), "required", "pass"),
        (("TCB info of May", "PCK CRL 3"), "any", "fail"),
        (("TCB info of May", "PCK CRL 3"), "required", "fail"),
    ],
)
def test_older_collateral_than_once_seen(rollbacks: tuple[str, ...] | None, memory: str, verdict: str) -> None:
    appraisal = appraised(policy=rules(collateral_memory=memory), rollbacks=rollbacks)
    assert verdicts(appraisal)["collateral.rollback"] == verdict
    assert failed(appraisal) == (["collateral.rollback"] if verdict == "fail" else [])
    if rollbacks:
        assert text(appraisal, "collateral.rollback") == "older than once seen: TCB info of May; PCK CRL 3"


def test_dates_say_nothing_of_authenticity() -> None:
    appraisal = appraised(at=NOW + 4000 * DAY)
    assert (appraisal.authentic, appraisal.exit_code) == (True, 5)
    wrong = ["policy.evidence_age", "certificates.not_after", "collateral.expired", "collateral.age"]
    assert failed(appraisal) == wrong
    early = appraised(at=NOW - 4000 * DAY)
    wrong = ["policy.evidence_age", "certificates.not_before", "collateral.issued"]
    assert failed(early) == wrong


# real quotes


def rows(vectors: Path) -> Iterator[tuple[dict[str, Any], bytes, Collateral]]:
    quotes = vectors / "quotes"
    for row in json.loads((quotes / "derived/expectations.json").read_text()):
        collateral = Collateral.parse((quotes / f"derived/collateral/{row['collateral']}.json").read_bytes())
        yield row, (quotes / row["quote"]).read_bytes(), collateral


def of_real(raw: bytes, collateral: Collateral, at: datetime) -> set[str]:
    appraisal = verify_evidence(raw, (), None, at, None, None, TdxInputs(collateral=collateral))
    assert appraisal.authentic
    dated = {check for check in failed(appraisal) if check.startswith(("certificates.", "collateral."))}
    return dated - {"collateral.age"}  # a real PCK CRL and TCB info may be issued a few weeks apart


def test_real_certificates_that_have_not_begun(vectors: Path) -> None:
    """Intel's library does not look at notBefore; the expectations say where that matters."""
    noted = 0
    for row, raw, collateral in rows(vectors):
        late = "notBefore" in row.get("note", "")
        noted += late
        found = of_real(raw, collateral, datetime.fromtimestamp(row["time"], UTC))
        assert found == ({"certificates.not_before"} if late else set()), (row["quote"], row["collateral"])
    assert noted >= 4


def test_real_collateral_at_the_edges_of_its_time(vectors: Path) -> None:
    for row, raw, collateral in rows(vectors):
        if "note" in row:
            continue
        windows = verify_quote(Quote.parse(unwrap(raw)), collateral).windows
        begin = max(window.begin for window in windows if window.kind == "document") - timedelta(seconds=SKEW)
        end = min(window.end for window in windows if window.kind == "document")
        assert "collateral.issued" not in of_real(raw, collateral, begin)
        assert "collateral.issued" in of_real(raw, collateral, begin - SECOND)
        assert "collateral.expired" not in of_real(raw, collateral, end)
        assert "collateral.expired" in of_real(raw, collateral, end + SECOND)


def test_the_finding_shows_the_time_it_was_judged_at() -> None:
    actual = {finding.id: finding.actual for finding in appraised().findings}
    assert actual["certificates.not_after"] == actual["collateral.expired"] == "2026-11-20T12:00:00Z"
