"""The policy of an audit: every field required, unknown ones errors; what stands in the documents is what judges."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pluto_image.audit.model import STATES, URGENCIES
from pluto_image.audit.policy import STRICT, STRICT_TEXT, AuditPolicy
from pluto_measure.errors import FormatError
from simulators.audited_builds import POLICY

ROOT = Path(__file__).resolve().parents[3]
ENTRY = '{ cve = "CVE-2026-0001", source = "tool", reason = "why", until = 2027-01-01T00:00:00Z }'


def accepting(*entries: str) -> str:
    return POLICY.replace("accepted = []", f"accepted = [{', '.join(entries)}]")


def test_a_policy_is_read() -> None:
    policy = AuditPolicy.parse(accepting(ENTRY.replace("00:00:00Z", "02:00:00+02:00")))
    assert (policy.max_tracker_age, policy.clock_skew, policy.rebuilt_bad, policy.rebuilt_unknown) == (
        172800, 300, "refuse", "accept",
    )  # fmt: skip
    assert policy.refuse["noDsa"] == ("high",)
    assert policy.accepted[0].until == datetime(2027, 1, 1, tzinfo=UTC)
    assert set(policy.refuse) == set(STATES)


@pytest.mark.parametrize("line", [line for line in POLICY.splitlines() if "=" in line])
def test_every_field_is_required(line: str) -> None:
    with pytest.raises(FormatError, match=f"{line.partition(' ')[0]} is missing"):
        AuditPolicy.parse(POLICY.replace(line + "\n", ""))


@pytest.mark.parametrize("part", ["", "[refuse]\n", "[rebuilders]\n"])
def test_an_unknown_field_is_an_error(part: str) -> None:
    with pytest.raises(FormatError, match="unknown member sloppy"):
        AuditPolicy.parse(POLICY.replace(part, f"{part}sloppy = true\n", 1) if part else f"sloppy = true\n{POLICY}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 1", "version = 2", "version 2 is not known"),
        ("maxTrackerAge = 172800", 'maxTrackerAge = "never"', '"any" or a number'),
        ("maxTrackerAge = 172800", "maxTrackerAge = -1", "out of range"),
        ("maxTrackerAge = 172800", "maxTrackerAge = true", "must be int or str"),
        ("clockSkew = 300", "clockSkew = 99999999999", "out of range"),
        ('noDsa = ["high"]', 'noDsa = ["High"]', "'High', which is not one of"),
        ('noDsa = ["high"]', 'noDsa = ["high", "high"]', "names an urgency twice"),
        ('noDsa = ["high"]', "noDsa = [[]]", "which is not one of"),
        ('noDsa = ["high"]', 'noDsa = "high"', "must be list"),
        ('bad = "refuse"', 'bad = "deny"', 'neither "refuse" nor "accept"'),
        ("[rebuilders]", "[rebuilder]", "rebuilders is missing; there is rebuilder"),
        ("accepted = []", "accepted = {}", "must be list"),
    ],
)
def test_a_value_that_means_nothing_is_an_error(old: str, new: str, said: str) -> None:
    assert old in POLICY
    with pytest.raises(FormatError, match=said):
        AuditPolicy.parse(POLICY.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("CVE-2026-0001", "*", "cannot be a name"),
        ('"tool"', '"Tool"', "cannot be a name"),
        ('"why"', '"  "', "reason is empty"),
        ('"why"', '"a\\u001b[2J"', "cannot be printed"),
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00", "no time zone"),
        ("2027-01-01T00:00:00Z", '"2027-01-01T00:00:00Z"', "must be datetime"),
        ("2027-01-01T00:00:00Z", "2027-01-01", "must be datetime"),
        (", until = 2027-01-01T00:00:00Z", "", "until is missing"),
        ('reason = "why", ', "", "reason is missing"),
        ('reason = "why"', 'reason = "why", forever = true', "unknown member forever"),
    ],
)
def test_an_acceptance_has_a_reason_and_an_end(old: str, new: str, said: str) -> None:
    assert old in ENTRY
    with pytest.raises(FormatError, match=said):
        AuditPolicy.parse(accepting(ENTRY.replace(old, new)))


def test_two_acceptances_of_one_thing_are_an_error() -> None:
    with pytest.raises(FormatError, match="twice"):
        AuditPolicy.parse(accepting(ENTRY, ENTRY.replace('"why"', '"another"')))


def test_the_strict_policy_is_the_one_in_the_documents() -> None:
    page = (ROOT / "docs/formats/audit.md").read_text()
    assert f"```toml\n{STRICT_TEXT}```" in page
    assert AuditPolicy.parse(STRICT_TEXT) == STRICT
    assert all(set(names) >= set(URGENCIES) - {"unimportant"} for names in STRICT.refuse.values())


def test_the_example_and_the_policy_of_our_releases_are_policies() -> None:
    for path in ("docs/examples/audit-policy.toml", ".github/audit-policy.toml"):
        policy = AuditPolicy.parse((ROOT / path).read_bytes())
        assert set(policy.refuse["fixable"]) == set(URGENCIES), path
        assert policy.rebuilt_bad == "refuse"
