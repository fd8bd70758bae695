"""release.toml: every fact is there, in order, and means one thing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.masked import Masked
from pluto_measure.publish.facts import Facts, Place, Revoked, Validity
from pluto_measure.publish.terms import STATUSES, TcbTerms, TdTerms
from simulators.policies import changed
from simulators.releases import FACTS, TCB, TD

NOTARY = Path(__file__).resolve().parents[3] / "image/notary/release.toml"
TEXT = """\
version = 1
channel = "stable"
sequence = 5
minimumSequence = 3
supersedes = 4
revokes = []
issuedAt = 2026-11-01T00:00:00Z
notAfter = 2027-11-01T00:00:00Z

[source]
repository = "https://git.example/notary"
repositoryId = "42"

[td]
attributes = { value = "0x10000000", mask = "0x7fffffffbfffffff" }
xfam = { value = "0x3", mask = "0xfffffffffff9241b" }
mrSeam = "any-signed-by-intel"
mrServiceTd = "zero"

[tcbPolicy]
acceptedStatuses = ["UpToDate"]
acceptedAdvisories = []
minimumEvaluationNumber = 20
graceDays = 0
maxCollateralAgeDays = 7
"""
NAMES = tuple(line.partition(" = ")[0] for line in TEXT.splitlines() if " = " in line)


def parse(**values: str) -> Facts:
    return Facts.parse(changed(TEXT, **values))


def refused(problem: str, **values: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        parse(**values)
    assert str(caught.value).startswith("release.toml")


def without(name: str) -> str:
    return "".join(f"{line}\n" for line in TEXT.splitlines() if not line.startswith(f"{name} = "))


def test_what_is_written_is_read() -> None:
    assert Facts.parse(TEXT) == FACTS == Facts.parse(TEXT.encode())


def test_the_notarys_own_file_is_one() -> None:
    facts = Facts.parse(NOTARY.read_bytes())
    assert facts.place.minimum_sequence <= facts.place.sequence
    assert facts.td.attributes.mask & 1, "the debug bit counts"
    assert not facts.td.attributes.value & 1, "and is not set"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "supersedes"])
def test_each_field_is_required(name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} is missing"):
        Facts.parse(without(name))


def test_the_first_release_of_a_channel_supersedes_none() -> None:
    assert Facts.parse(without("supersedes")).place.supersedes is None


@pytest.mark.parametrize("name", NAMES)
def test_each_field_has_its_kind(name: str) -> None:
    for value in ('{ a = "x" }', "1.5", "true"):
        refused("release.toml", **{name: value})


@pytest.mark.parametrize("place", ["", "[source]", "[td]", "[tcbPolicy]"])
def test_an_unknown_field_is_refused(place: str) -> None:
    text = f"{place}\nsequences = 7\n".lstrip() if place else "sequences = 7\n"
    with pytest.raises(FormatError, match="unknown member sequences"):
        Facts.parse(TEXT.replace(f"{place}\n", text) if place else text + TEXT)


@pytest.mark.parametrize("version", ["0", "2", "-1"])
def test_another_version(version: str) -> None:
    refused("version -?[0-9] is not known", version=version)


class TestPlace:
    @pytest.mark.parametrize("name", ["sequence", "minimumSequence"])
    @pytest.mark.parametrize("value", ["0", "-1", str(2**53)])
    def test_numbers_from_one_on(self, name: str, value: str) -> None:
        refused("is not between 1 and 2", **{name: value})

    def test_a_release_may_run_by_its_own_minimum(self) -> None:
        assert parse(minimumSequence="5").place.minimum_sequence == 5
        refused("minimumSequence 6 is above this release's own 5", minimumSequence="6")

    @pytest.mark.parametrize("value", ["5", "6", "0", "-4"])
    def test_it_supersedes_one_before_it(self, value: str) -> None:
        refused(f"supersedes {value} is not a sequence before 5", supersedes=value)

    def test_it_revokes_those_before_it_with_a_reason(self) -> None:
        found = parse(revokes='[{ sequence = 4, reason = "a key was lost" }, { sequence = 1, reason = "x" }]')
        assert found.place.revokes == (Revoked(4, "a key was lost"), Revoked(1, "x"))
        refused("revokes names a sequence that is not before 5", revokes='[{ sequence = 5, reason = "itself" }]')
        refused("revokes gives no reason for 4", revokes='[{ sequence = 4, reason = "" }]')
        refused("reason is missing", revokes="[{ sequence = 4 }]")
        refused("unknown member severity", revokes='[{ sequence = 4, reason = "x", severity = 9 }]')
        refused("reason is no short plain text", revokes='[{ sequence = 4, reason = "a\\u001b[2J" }]')
        refused("must be an object", revokes="[4]")
        refused("1001 revokes are more than 1000", revokes=f"[{', '.join(['4'] * 1001)}]")

    @pytest.mark.parametrize("value", ["", "Stable", "a b", "a/b", "-a", ".a", "é", "a" * 65, "a\\n"])
    def test_a_channel_is_a_plain_word(self, value: str) -> None:
        refused("channel .* is malformed", channel=f'"{value}"')

    def test_it_is_written_as_it_is_read(self) -> None:
        place = Place("stable", 9, 2, None, (Revoked(3, "x"),))
        assert Place.parse(Fields(place.to_json(), what="place")) == place


class TestValidity:
    def test_times_of_toml_and_of_text(self) -> None:
        whole = datetime(2026, 11, 1, tzinfo=UTC)
        for spelled in ('"2026-11-01T00:00:00Z"', "2026-11-01T01:00:00+01:00", "2026-11-01 00:00:00.5Z"):
            assert parse(issuedAt=spelled).validity.issued_at == whole

    @pytest.mark.parametrize(
        "value", ["2026-11-01T00:00:00", "2026-11-01", '"2026-11-01"', '"2026-11-01T00:00:00+00:00"']
    )
    def test_a_time_without_its_zone_or_in_another_spelling(self, value: str) -> None:
        refused("issuedAt", issuedAt=value)

    @pytest.mark.parametrize("value", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
    def test_a_year_that_is_none_in_utc(self, value: str) -> None:
        refused("issuedAt is no year from 1 to 9999 in UTC", issuedAt=value)

    def test_it_ends_after_it_began(self) -> None:
        refused("notAfter is not after issuedAt", notAfter="2026-11-01T00:00:00Z")
        refused("notAfter is not after issuedAt", notAfter="2026-10-31T23:59:59Z")
        validity = parse(notAfter="2026-11-01T00:00:01Z").validity
        assert Validity.parse(Fields(validity.to_json(), what="validity")) == validity


class TestTerms:
    def test_of_the_trust_domain(self) -> None:
        assert TdTerms.parse(Fields(TD.to_json(), what="td")) == TD
        assert parse(xfam='{ value = "0x0", mask = "0x0" }').td.xfam == Masked(0, 0)
        refused("value has bits outside mask", attributes='{ value = "0x3", mask = "0x1" }')
        refused("mrSeam is 'any', and only 'any-signed-by-intel' is known", mrSeam='"any"')
        refused("mrServiceTd is '00', and only 'zero' is known", mrServiceTd='"00"')

    def test_of_the_platform(self) -> None:
        assert TcbTerms.parse(Fields(TCB.to_json(), what="tcbPolicy")) == TCB
        every = "[" + ", ".join(f'"{status}"' for status in STATUSES) + "]"
        assert parse(acceptedStatuses=every).tcb.accepted_statuses == STATUSES
        refused("so the release could run nowhere", acceptedStatuses="[]")
        refused("must hold texts, each once", acceptedStatuses='["UpToDate", "UpToDate"]')
        refused("must hold texts, each once", acceptedAdvisories="[7]")
        refused("must hold texts, each once", acceptedAdvisories='[""]')

    @pytest.mark.parametrize("status", ["Revoked", "TCB_NOT_SUPPORTED", "uptodate", "UpToDate "])
    def test_a_status_that_nobody_can_accept(self, status: str) -> None:
        refused("is not one of Intel's that can be accepted", acceptedStatuses=f'["UpToDate", "{status}"]')

    @pytest.mark.parametrize("name", ["minimumEvaluationNumber", "graceDays", "maxCollateralAgeDays"])
    def test_numbers(self, name: str) -> None:
        assert parse(**{name: "0"})
        refused("out of range", **{name: "-1"})
        refused("out of range", **{name: str(2**31)})


@pytest.mark.parametrize("name", ["repository", "repositoryId"])
def test_where_the_sources_are_may_be_left_empty(name: str) -> None:
    assert parse(**{name: '""'})
    refused(f"{name} is no short plain text", **{name: f'"{"x" * 301}"'})
    refused(f"{name} is no short plain text", **{name: '" x"'})
    refused(f"{name} is no short plain text", **{name: '"a\\u009bb"'})


@pytest.mark.parametrize("text", [b"", b"\xff", b"{}", b"[" * 1000, b"version = 1\nversion = 1\n", b"x" * 65_537])
def test_text_that_is_no_such_file(text: bytes) -> None:
    with pytest.raises(FormatError):
        Facts.parse(text)


def test_nothing_in_the_file_is_anything_but_a_fact() -> None:
    assert len(NAMES) == 19
