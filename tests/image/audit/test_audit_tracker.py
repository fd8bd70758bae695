"""The tracker's data: read strictly where it is asked for, whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.audit import tracker
from pluto_measure.errors import FormatError
from simulators import audited_builds as builds

WANTED = [("tool", "trixie")]


def parsed(issue: Any, name: str = "CVE-2026-0001") -> tracker.Tracker:
    return tracker.parse(json.dumps({"tool": {name: issue}}).encode(), WANTED)


def test_what_the_tracker_says_is_read() -> None:
    said = builds.issue(nodsa="Minor issue", nodsa_reason="postponed", urgency="medium**") | {"debianbug": 7}
    (issue,) = parsed(said | {"releases": said["releases"] | {"sid": "not looked at"}})["tool"]
    assert (issue.id, issue.description, issue.scope, issue.bug) == ("CVE-2026-0001", "A flaw.", "remote", 7)
    assert list(issue.releases) == ["trixie"]
    status = issue.releases["trixie"]
    assert (status.status, status.urgency, status.nodsa, status.reason) == (
        "open",
        "medium",
        "Minor issue",
        "postponed",
    )


def test_only_the_sources_that_are_asked_for_are_read() -> None:
    data = json.dumps({"other": {"CVE-2026-0001": "anything"}, "tool": {}}).encode()
    assert tracker.parse(data, WANTED) == {"tool": ()}
    assert tracker.parse(data, [("absent", "trixie")]) == {}


def test_a_vulnerability_without_a_name_of_its_own_yet_is_one() -> None:
    assert parsed(builds.issue(), "TEMP-0841856-B18BAF")["tool"][0].bug is None


def test_vulnerabilities_of_other_releases_are_none_of_this() -> None:
    (issue,) = parsed(builds.issue("bookworm"))["tool"]
    assert issue.releases == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "fixed"},
        {"status": None},
        {"urgency": "urgent"},
        {"urgency": None},
        {"urgency": "high***"},
        {"nodsa": 1},
        {"nodsa_reason": "forgotten"},
        {"fixed_version": 1},
        {"fixed_version": "1.0 or so"},
        {"repositories": ["1"]},
        {"repositories": {"trixie": 1}},
        {"repositories": {"trixie": ""}},
        {"repositories": None},
    ],
)
def test_a_status_that_is_not_known_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"security tracker: tool CVE-2026-0001 trixie"):
        parsed(builds.issue(**changes))


@pytest.mark.parametrize(
    "issue", [[], "open", {}, {"releases": []}, {"releases": {"trixie": []}}, {"releases": {}, "debianbug": "7"}]
)
def test_an_issue_of_another_form_is_an_error(issue: Any) -> None:
    with pytest.raises(FormatError, match="security tracker: tool CVE-2026-0001"):
        parsed(issue)


@pytest.mark.parametrize("name", ["CVE-26-1", "cve-2026-0001", "GHSA-1", "CVE-2026-0001\n", "TEMP-1", "CVE-٢٠٢٦-0001"])
def test_a_name_that_is_none_is_an_error(name: str) -> None:
    with pytest.raises(FormatError, match="not the name of a vulnerability"):
        parsed(builds.issue(), name)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "is not an object"),
        (b'{"tool": []}', "tool: is not an object"),
        (b'{"tool": {}} {}', "not JSON"),
        (b'{"tool": {}, "tool": {}}', "key occurs twice"),
        (b'{"tool": NaN}', "NaN is not JSON"),
        (b'{"tool": ' + b"[" * 100_000, "not JSON"),
        (b'{"tool": "\xff"}', "not JSON"),
        (builds.tracker({"tool": {"CVE-2026-0001": builds.issue()}})[:-1], "not JSON"),
    ],
)
def test_data_that_is_cut_or_hostile_is_an_error(data: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        tracker.parse(data, WANTED)


def test_data_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "LIMIT", 10)
    with pytest.raises(FormatError, match="are more than 10"):
        tracker.parse(b'{"tool": {}}', WANTED)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["releases", "trixie", "status", "urgency", "x"]), inner)
        ),
    )
)
def test_no_json_leads_to_another_error(value: Any) -> None:
    for document in (value, {"tool": value}, {"tool": {"CVE-2026-0001": value}}):
        try:
            tracker.parse(json.dumps(document).encode(), WANTED)
        except FormatError:
            continue
