"""A dissent: what a rebuilder got whose bytes differ. It names files and registers, and never counts for anything."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import measure
from pluto_measure.publish.dissent import DISSENT, Disagreement, between, dissent, sources
from pluto_measure.publish.platforms import described
from pluto_measure.publish.signature import Signature
from pluto_measure.publish.statement import Statement
from simulators.launches import LAUNCH
from simulators.releases import (
    ED25519,
    FILES,
    P256,
    SECP256K1,
    TEXT,
    THREE,
    dsse,
    failed,
    judged,
    release,
    statement,
)

OURS = json.loads(TEXT)
(PLATFORM,) = release().platforms
PROFILE = PLATFORM["id"]


def registers(**changes: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The platforms of a release in which registers have other rules."""
    return ({**PLATFORM, "registers": {**PLATFORM["registers"], **changes}},)


def rule(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {**PLATFORM["registers"][name], **changes}
    return found


def got(files: dict[str, bytes] | None = None, **changes: Any) -> bytes:
    """release.json as a rebuilder got it."""
    return statement({**FILES, **(files or {})}, **changes).to_text().encode()


def seen(payload: bytes, published: bytes = TEXT) -> Signature:
    """What a verifier makes of a third organisation's dissent beside two good signatures."""
    files = (*dsse(ED25519, P256), *dsse(SECP256K1, payload=dissent(published, payload).to_text().encode()))
    return next(one for one in judged(trust=THREE, signatures=files).signatures if one.organisation == "three")


def found(payload: bytes) -> Disagreement:
    disagreement = seen(payload).disagreement
    assert disagreement is not None
    return disagreement


def test_it_lists_what_was_got_and_of_the_registers_what_a_rebuild_computes() -> None:
    said = dissent(TEXT, got({"disk.raw": b"mine"}))
    assert said.predicate_type == DISSENT
    assert Statement.parse(said.to_text()) == said
    assert [one.name for one in said.subjects] == sorted(FILES)
    (platform,) = said.predicate["platforms"]
    by_source = sources(release().platforms)[PROFILE]
    assert list(platform["registers"]) == by_source["computed"]
    assert by_source["computed"], "or nothing would be compared"


@pytest.mark.parametrize(
    ("kind", "computed", "observed", "endorsed"),
    [
        ("gcp-tdx", {"rtmr1", "rtmr2", "rtmr3"}, {"rtmr0"}, {"mrtd"}),
        ("azure-tdx", {"pcr4", "pcr9", "pcr11"}, {"pcr0", "pcr1", "pcr7", "mrtd"}, set()),
    ],
)
def test_what_a_cloud_decides_is_told_from_what_a_rebuild_computes(
    kind: str, computed: set[str], observed: set[str], endorsed: set[str]
) -> None:
    """What was seen on its machines, or endorsed, is copied by whoever rebuilds, and no dissent speaks of it."""
    profiles = [described(one) for one in measure(LAUNCH, Platform.default(kind)).profiles]
    ((name, by_source),) = sources(profiles).items()
    assert computed <= set(by_source["computed"])
    assert observed <= set(by_source["observed"])
    assert endorsed == set(by_source["endorsed"])
    said = dissent(TEXT, got(platforms=tuple(profiles)))
    (listed,) = said.predicate["platforms"]
    assert (listed["id"], list(listed["registers"])) == (name, by_source["computed"])


def test_equal_bytes_are_no_dissent_and_what_is_no_release_is_none() -> None:
    with pytest.raises(FormatError, match="nothing to dissent from"):
        dissent(TEXT, TEXT)
    for data in (b"", b"{}", TEXT[:-9]):
        with pytest.raises(FormatError, match=r"release\.json"):
            dissent(TEXT, data)


class TestWhatAVerifierSees:
    def test_each_file_that_differs_is_named_with_both_digests(self) -> None:
        one = seen(got({"disk.raw": b"mine", "pluto.efi": b"mine"}))
        assert one.worth == "disagrees"
        assert one.text == "three rebuilt this release and got other bytes: files disk.raw, pluto.efi"
        assert one.disagreement is not None
        names = {each.what: (each.expected, each.actual) for each in one.disagreement.artifacts}
        theirs = statement({**FILES, "disk.raw": b"mine", "pluto.efi": b"mine"})
        for name in ("disk.raw", "pluto.efi"):
            ours, other = (side.subject(name) for side in (statement(), theirs))
            assert ours is not None
            assert other is not None
            assert names[name] == (ours.digests.sha256.hex(), other.digests.sha256.hex())

    def test_a_file_that_only_one_has(self) -> None:
        (more,) = found(got({"notes.txt": b""})).artifacts
        assert (more.what, more.expected) == ("notes.txt", "")
        less = {name: data for name, data in FILES.items() if name != "disk.raw"}
        payload = statement(less).to_text().encode()
        (gone,) = found(payload).artifacts
        assert (gone.what, gone.actual) == ("disk.raw", "")

    def test_a_computed_register_that_differs_is_named(self) -> None:
        name = sources(release().platforms)[PROFILE]["computed"][0]
        other = rule(name, match="exact", values=[{"sha384": "ab" * 48}])
        one = seen(got(platforms=registers(**{name: other})))
        assert one.text.endswith(f"got other bytes: register {PROFILE}/{name}")
        assert one.disagreement is not None
        (differing,) = one.disagreement.registers
        assert differing.actual == f"sha384:{'ab' * 48}"
        assert one.disagreement.apart == ()

    def test_what_one_computes_and_the_other_only_observed_is_compared(self) -> None:
        """Or a publisher could take a register out of every comparison by calling it observed."""
        name = sources(release().platforms)[PROFILE]["computed"][0]
        ours = registers(**{name: rule(name, source="observed")})
        theirs = json.loads(got())
        assert [one.what for one in between(theirs, json.loads(got(platforms=ours))).registers] == [f"{PROFILE}/{name}"]

    def test_observed_and_endorsed_values_stand_apart(self) -> None:
        for source in ("observed", "endorsed"):
            name = sources(release().platforms)[PROFILE]["computed"][0]
            sides = [
                json.loads(got(platforms=registers(**{name: rule(name, match="oneOf", source=source, values=values)})))
                for values in ([{"sha384": "ab" * 48}], [{"sha384": "cd" * 48}])
            ]
            differing = between(*sides)
            assert (differing.artifacts, differing.registers) == ((), ())
            assert [one.what for one in differing.apart] == [f"{PROFILE}/{name}"]
            assert not differing.to_text()

    def test_other_terms_alone_are_the_statement_s_own(self) -> None:
        one = seen(got(minimum_sequence=2))
        assert (one.worth, one.text) == (
            "disagrees",
            "three rebuilt this release and got other bytes: release.json alone",
        )

    def test_it_never_counts_however_many_sign_the_same(self) -> None:
        other = got({"disk.raw": b"mine"})
        payload = dissent(TEXT, other).to_text().encode()
        files = dsse(ED25519, P256, SECP256K1, payload=payload)
        for text in (TEXT, other):  # neither for the release, nor for what they got
            judgement = judged(statement=text, trust=THREE, signatures=files, sums=None)
            assert judgement.organisations == ()
            assert "release.threshold" in failed(judgement)

    def test_one_about_another_release_says_nothing_of_this_one(self) -> None:
        payload = dissent(got(sequence=9), got({"disk.raw": b"mine"}, sequence=9)).to_text().encode()
        (one,) = judged(trust=THREE, signatures=dsse(SECP256K1, payload=payload)).signatures
        assert one.worth == "other"

    def test_one_who_got_this_release_from_a_forged_one_does_not_disagree_with_it(self) -> None:
        forged = got({"disk.raw": b"forged"})
        payload = dissent(forged, TEXT).to_text().encode()
        (one,) = judged(trust=THREE, signatures=dsse(SECP256K1, payload=payload)).signatures
        assert one.worth == "other"

    def test_one_of_a_later_version_disagrees_all_the_same(self) -> None:
        document = dissent(TEXT, got({"disk.raw": b"mine"})).to_json()
        document["predicateType"] = "https://pluto-tee.org/dissent/v2"
        document["predicate"] = {**document["predicate"], "new": 1, "platforms": "?"}  # type: ignore[dict-item]
        payload = json.dumps(document).encode()
        (one,) = judged(trust=THREE, signatures=dsse(SECP256K1, payload=payload)).signatures
        assert one.worth == "disagrees"
        assert one.disagreement is not None
        assert [each.what for each in one.disagreement.artifacts] == ["disk.raw"]


@pytest.mark.parametrize("odd", [None, [], 7, "x", {}, {"subject": 1}, {"subject": [1, {"name": 1, "digest": []}]},
                                 {"predicate": {"platforms": [1, {"id": 1, "registers": {"mrtd": 1}}]}}])  # fmt: skip
def test_whatever_a_statement_holds_is_a_difference_and_no_error(odd: Any) -> None:
    assert len(between(odd, OURS).artifacts) >= len(FILES)


def test_names_of_others_are_fit_for_a_terminal() -> None:
    document = json.loads(TEXT)
    document["subject"].append({"name": "\x1b[2J" + "x" * 1000, "digest": {"sha256": "\x07"}})
    differing = between(document, OURS)
    assert all(one.what.isprintable() and len(one.what) < 250 for one in differing.artifacts)
    assert all(one.actual.isprintable() for one in differing.artifacts)


def test_it_is_told_loudly_also_where_enough_others_signed() -> None:
    payload = dissent(TEXT, got({"disk.raw": b"mine"})).to_text().encode()
    third = dsse(SECP256K1, payload=payload)
    reached = judged(trust=THREE, signatures=(*dsse(ED25519, P256), *third))
    assert reached.accepted
    assert next((one.id, one.verdict) for one in reached.findings if one.verdict != "pass") == (
        "release.disagreement",
        "warning",
    )
    few = judged(trust=replace(THREE, k=2), signatures=(*dsse(ED25519), *third))
    assert (failed(few), few.exit_code) == (["release.disagreement", "release.threshold"], 4)
