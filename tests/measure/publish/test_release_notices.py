"""Confirmations and revocations: what they say, who they are believed from, when a release is stale, what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.publish import keyless, notices
from pluto_measure.publish.judge import Demands, Judgement, judge_release
from pluto_measure.publish.memory import Memory, Seen
from pluto_measure.publish.notices import CONFIRMATION, REVOCATION, Confirmation
from pluto_measure.publish.signature import Signature
from pluto_measure.publish.signers import duration
from pluto_measure.publish.statement import Statement
from pluto_measure.publish.trust import Trust
from simulators import releases
from simulators.releases import (
    ED25519,
    FACTS,
    NOW,
    OTHER,
    P256,
    SECP256K1,
    TEXT,
    THREE,
    dsse,
    failed,
    judged,
    one_change_each,
    release,
    statement,
)
from simulators.sigstore import GITHUB, PretendSigstore, workflow

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SUBJECT = Digests.of(TEXT)
ISSUED = FACTS.validity.issued_at
MONTH = replace(THREE, max_confirmation_age=30 * 86400)
Files = tuple[tuple[str, bytes], ...]


def confirmed(*keys: Any, at: datetime, until: datetime | None = None, payload: bytes = TEXT) -> Files:
    """Confirmations, named apart from signatures and from each other."""
    said = notices.confirmation(release(), at, until or at + 7 * DAY).statement(Digests.of(payload))
    files = dsse(*keys, payload=said.to_text().encode())
    return tuple((f"{name}.{at.date()}", data) for name, data in files)


def revoked(*keys: Any, reason: str = "a key was lost") -> Files:
    return dsse(*keys, payload=notices.revocation(release(), SUBJECT, NOW, reason).to_text().encode())


def text_of(found: Judgement, check: str) -> str:
    (text,) = (one.text for one in found.findings if one.id == check)
    return text


class TestConfirmation:
    def test_it_is_what_was_said(self) -> None:
        said = notices.confirmation(release(), NOW, NOW + DAY)
        assert said == Confirmation("notary", "stable", 5, NOW, NOW + DAY)
        text = said.statement(SUBJECT)
        assert Confirmation.parse(Statement.parse(text.to_text())) == said
        assert text.predicate_type == CONFIRMATION

    @pytest.mark.parametrize(
        ("at", "until", "problem"),
        [
            (NOW, NOW, "is not after now"),
            (NOW, NOW - SECOND, "is not after now"),
            (ISSUED - SECOND, NOW, "the release is dated 2026-11-01T00:00:00Z"),
            (NOW, FACTS.validity.not_after + SECOND, "the release itself is valid until 2027-11-01T00:00:00Z"),
        ],
    )
    def test_what_would_say_nothing_or_too_much_is_not_made(self, at: datetime, until: datetime, problem: str) -> None:
        with pytest.raises(FormatError, match=problem):
            notices.confirmation(release(), at, until)

    def test_every_change_of_it_is_refused_or_says_something_else(self) -> None:
        said = notices.confirmation(release(), NOW, NOW + DAY)
        document = said.statement(SUBJECT).to_json()
        for where, changed in one_change_each(document):
            try:
                parsed = Statement.parse(json.dumps(changed))
                again = Confirmation.parse(parsed)
            except FormatError:
                continue
            assert again != said or not notices.confirms(parsed, SUBJECT), where

    def test_one_about_more_than_the_release_is_none(self) -> None:
        said = notices.confirmation(release(), NOW, NOW + DAY).statement(SUBJECT)
        more = replace(said, subjects=(*said.subjects, replace(said.subjects[0], name="z")))
        assert not notices.confirms(more, SUBJECT)
        (one,) = judged(signatures=dsse(ED25519, payload=more.to_text().encode())).signatures
        assert one.worth == "other"


class TestFreshness:
    """The release is of 2026-11-01; two of three must have said within 30 days that it is good."""

    def test_the_day_of_the_release_is_when_its_signers_said_so_first(self) -> None:
        signed = dsse(ED25519, P256)
        assert judged(trust=MONTH, signatures=signed, at=ISSUED + 30 * DAY).accepted
        found = judged(trust=MONTH, signatures=signed, at=ISSUED + 30 * DAY + SECOND)
        assert (failed(found), found.exit_code) == (["release.freshness"], 5)
        assert text_of(found, "release.freshness") == (
            "the release is stale: 2 must have confirmed it within 30 days, and nobody did; "
            "look for a newer release, or for newer signatures"
        )

    def test_as_many_as_must_sign_must_confirm(self) -> None:
        late = ISSUED + 50 * DAY
        signed = dsse(ED25519, P256, SECP256K1)
        one = confirmed(ED25519, at=late - DAY)
        found = judged(trust=MONTH, signatures=(*signed, *one), at=late)
        assert failed(found) == ["release.freshness"]
        assert "and one did" in text_of(found, "release.freshness")
        both = (*one, *confirmed(P256, at=late - 2 * DAY))
        fresh = judged(trust=MONTH, signatures=(*signed, *both), at=late)
        assert fresh.accepted
        assert text_of(fresh, "release.freshness") == "lately confirmed by one, two"
        assert fresh.confirmed == {"one": late - DAY, "two": late - 2 * DAY, "three": ISSUED}

    def test_one_who_confirms_twice_is_one(self) -> None:
        late = ISSUED + 50 * DAY
        twice = (*confirmed(ED25519, at=late - DAY), *confirmed(ED25519, at=late - 2 * DAY))
        assert failed(judged(trust=MONTH, signatures=(*dsse(ED25519, P256), *twice), at=late)) == ["release.freshness"]

    def test_confirming_is_no_signature_of_the_release(self) -> None:
        late = ISSUED + 50 * DAY
        files = (*dsse(ED25519), *confirmed(ED25519, P256, SECP256K1, at=late - DAY))
        found = judged(trust=MONTH, signatures=files, at=late)
        assert failed(found) == ["release.threshold", "release.freshness"]
        assert found.organisations == ("one",)

    @pytest.mark.parametrize("keys", [(OTHER,), (OTHER, SECP256K1)])
    def test_a_stranger_or_one_who_did_not_sign_confirms_nothing(self, keys: tuple[Any, ...]) -> None:
        late = ISSUED + 50 * DAY
        files = (*dsse(ED25519, P256), *confirmed(*keys, at=late - DAY))
        assert failed(judged(trust=MONTH, signatures=files, at=late)) == ["release.freshness"]

    def test_its_own_limit_counts_though_it_is_young(self) -> None:
        said = ISSUED + 40 * DAY
        files = (*dsse(ED25519, P256), *confirmed(ED25519, P256, at=said, until=said + DAY))
        assert judged(trust=MONTH, signatures=files, at=said + DAY).accepted
        assert failed(judged(trust=MONTH, signatures=files, at=said + DAY + SECOND)) == ["release.freshness"]

    def test_one_from_the_future_does_not_count_yet(self) -> None:
        said = ISSUED + 40 * DAY
        files = (*dsse(ED25519, P256), *confirmed(ED25519, P256, at=said))
        assert failed(judged(trust=MONTH, signatures=files, at=said - SECOND)) == ["release.freshness"]
        assert judged(trust=MONTH, signatures=files, at=said).accepted

    def test_one_of_another_release_does_not_count(self) -> None:
        late = ISSUED + 50 * DAY
        other = statement(sequence=9).to_text().encode()
        files = (*dsse(ED25519, P256), *confirmed(ED25519, P256, at=late - DAY, payload=other))
        found = judged(trust=MONTH, signatures=files, at=late)
        assert failed(found) == ["release.freshness"]
        assert [one.worth for one in found.signatures].count("other") == 2

    def test_any_age_is_said_to_be_what_the_trust_file_wants(self) -> None:
        found = judged(at=FACTS.validity.not_after)
        assert found.accepted
        assert text_of(found, "release.freshness") == "the trust file accepts confirmations of any age"

    def test_no_confirmation_outlives_the_release(self) -> None:
        end = FACTS.validity.not_after
        files = (*dsse(ED25519, P256), *confirmed(ED25519, P256, at=end - DAY, until=end))
        assert failed(judged(trust=MONTH, signatures=files, at=end + SECOND)) == [
            "release.validity",
            "release.freshness",
        ]

    def test_the_clock_s_ends(self) -> None:
        for at in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
            assert "release.freshness" in failed(judged(trust=MONTH, signatures=dsse(ED25519, P256), at=at))

    def test_deleting_any_file_but_a_revocation_only_lowers_trust(self) -> None:
        """Over all subsets of signatures, confirmations old and new, and a dissent's place-holder."""
        late = ISSUED + 50 * DAY
        files = [
            *dsse(ED25519, P256, SECP256K1),
            *confirmed(ED25519, P256, at=late - DAY),
            *confirmed(ED25519, at=late - 40 * DAY),
            *confirmed(OTHER, at=late - DAY),
        ]
        accepted: dict[frozenset[str], bool] = {}
        for size in range(len(files) + 1):
            for chosen in combinations(files, size):
                names = frozenset(name for name, _ in chosen)
                accepted[names] = judged(trust=MONTH, signatures=chosen, measurements=None, at=late).accepted
        assert True in accepted.values()
        for names, was in accepted.items():
            assert not was or all(accepted[names | {name}] for name, _ in files)


@pytest.mark.parametrize(
    ("logged", "said", "counts"), [(-40, -1, False), (-1, -40, False), (-1, -2, True), (None, -1, True)]
)
def test_a_time_of_a_log_or_an_authority_bounds_what_its_signer_says(
    logged: int | None, said: int, counts: bool
) -> None:
    """With a plain key there is the signer's word alone."""
    late = ISSUED + 50 * DAY
    confirmation = Confirmation("notary", "stable", 5, late + said * DAY, late + DAY)
    at = None if logged is None else late + logged * DAY
    one = Signature("f", "confirms", "s", "one", "", at, confirmation)
    when = one.confirmed_at(ISSUED, late)
    assert when is not None
    assert (late - when <= 30 * DAY) is counts


def test_a_logged_signature_confirms_on_the_day_of_the_log() -> None:
    logged = ISSUED + 20 * DAY
    assert Signature("f", "counts", "s", "one", "", logged).confirmed_at(ISSUED, NOW) == logged
    assert Signature("f", "counts", "s", "one", "").confirmed_at(ISSUED, NOW) == ISSUED
    assert Signature("f", "disagrees", "s", "one", "", logged).confirmed_at(ISSUED, NOW) is None


class TestLogged:
    """Workflows sign with the time of a log (Rekor 1) or of an RFC 3161 authority (Rekor 2): nobody's own clock."""

    here = PretendSigstore("notices")
    identity = f'{{ issuer = "{GITHUB}", san = "{workflow().san}", repositoryId = "4711", ref = "any-tag" }}'
    trust = Trust.parse(releases.trust_text(identities=identity, age="2592000"))

    def judged(self, late: datetime, *bundles: bytes) -> Judgement:
        files = tuple((f"signatures/{number}.json", data) for number, data in enumerate(bundles))
        demands = Demands(late, self.trust, None, allow_debug=False, complete=None, memory=None)
        opener = keyless.opener(self.here.root())
        return judge_release(releases.received(signatures=files), demands, opener)

    @pytest.mark.parametrize("generation", [1, 2])
    def test_signing_again_keeps_a_release_fresh(self, generation: int) -> None:
        logged = ISSUED + 60 * DAY
        first = self.here.sign(TEXT, workflow(), ISSUED + DAY, generation=generation)
        again = self.here.sign(TEXT, workflow(), logged, generation=generation)
        late = logged + 30 * DAY
        assert failed(self.judged(late, first)) == ["release.freshness"]
        found = self.judged(late, first, again)
        assert found.accepted
        assert found.confirmed == {"one": logged}
        assert failed(self.judged(late + SECOND, first, again)) == ["release.freshness"]

    @pytest.mark.parametrize("generation", [1, 2])
    def test_a_confirmation_is_no_younger_than_its_log_says(self, generation: int) -> None:
        logged, late = ISSUED + 20 * DAY, ISSUED + 60 * DAY
        first = self.here.sign(TEXT, workflow(), ISSUED + DAY, generation=generation)
        said = notices.confirmation(release(), late - DAY, late + DAY).statement(SUBJECT).to_text().encode()
        dated_forward = self.here.sign(said, workflow(), logged, generation=generation)
        found = self.judged(late, first, dated_forward)
        assert (failed(found), found.confirmed) == (["release.freshness"], {"one": logged})
        honest = self.here.sign(said, workflow(), late - DAY, generation=generation)
        assert self.judged(late, first, honest).accepted


class TestRevocation:
    def test_one_organisation_suffices_and_its_reason_is_told(self) -> None:
        for keys in ((ED25519,), (SECP256K1,), (ED25519, P256)):
            found = judged(trust=THREE, signatures=(*dsse(ED25519, P256), *revoked(*keys)))
            assert (set(failed(found)), found.exit_code, found.revoked) == ({"release.revocation"}, 5, True)
            assert all(
                one.text.endswith("revoked this release: a key was lost")
                for one in found.findings
                if one.id == "release.revocation"
            )

    def test_a_stranger_s_or_a_tampered_one_revokes_nothing(self) -> None:
        good = dsse(ED25519, P256)
        assert judged(trust=THREE, signatures=(*good, *revoked(OTHER))).accepted
        ((name, data),) = revoked(SECP256K1)
        broken = (name, data.replace(b'"sig": "M', b'"sig": "N'))
        assert judged(trust=THREE, signatures=(*good, broken)).accepted

    def test_one_of_another_release_revokes_nothing(self) -> None:
        other = Digests.of(statement(sequence=9).to_text().encode())
        payload = notices.revocation(release(sequence=9), other, NOW, "x").to_text().encode()
        found = judged(trust=THREE, signatures=(*dsse(ED25519, P256), *dsse(SECP256K1, payload=payload)))
        assert found.accepted

    def test_one_of_a_later_version_or_an_odd_form_revokes_all_the_same(self) -> None:
        document: dict[str, Any] = notices.revocation(release(), SUBJECT, NOW, "x").to_json()
        later = REVOCATION.replace("v1", "v2")
        subject = document["subject"]
        for changed in (
            {**document, "predicateType": later},
            {**document, "predicate": {}},
            {**document, "predicate": None},
            {**document, "more": 1},
            {**document, "subject": [1, *subject]},
        ):
            payload = json.dumps(changed).encode()
            found = judged(trust=THREE, signatures=(*dsse(ED25519, P256), *dsse(SECP256K1, payload=payload)))
            assert failed(found) == ["release.revocation"], changed

    @pytest.mark.parametrize("reason", ["", "two\nlines", " x", "\x1b[2J", "x" * 301])
    def test_a_reason_is_a_line_that_people_can_read(self, reason: str) -> None:
        with pytest.raises(FormatError, match="reason"):
            notices.revocation(release(), SUBJECT, NOW, reason)

    def test_what_is_not_fit_for_a_terminal_is_spelled(self) -> None:
        document: dict[str, Any] = notices.revocation(release(), SUBJECT, NOW, "x").to_json()
        document["predicate"] = {**document["predicate"], "reason": "\x1b[2J"}
        found = judged(signatures=(*dsse(ED25519), *dsse(P256, payload=json.dumps(document).encode())), trust=THREE)
        assert all(one.text.isprintable() for one in found.findings)


class TestMemory:
    def test_a_revoked_release_stays_refused_where_the_revocation_is_gone(self) -> None:
        memory = Memory({}).revoking(release())
        assert memory.channels == {"notary/stable": Seen(0, "00" * 32, 0, frozenset({5}))}
        assert Memory.parse(memory.to_text()) == memory
        assert memory.forbids(release())
        assert failed(judged(memory=memory)) == ["release.rollback"]

    def test_others_of_the_channel_may_follow_and_it_is_kept_with_them(self) -> None:
        memory = Memory({}).revoking(release())
        assert memory.finding(release(sequence=6), "aa" * 32).verdict == "pass"
        after = memory.remembering(release(sequence=6), "aa" * 32)
        assert after.channels["notary/stable"].revoked == {5}
        assert after.revoking(release(sequence=6)).channels["notary/stable"] == Seen(6, "aa" * 32, 3, frozenset({5, 6}))

    @pytest.mark.parametrize("odd", [Seen(0, "00" * 32, 0, frozenset()), Seen(0, "aa" * 32, 0, frozenset({1})),
                                     Seen(0, "00" * 32, 1, frozenset({1})), Seen(0, "00" * 32, 0, frozenset({0})),
                                     Seen(1, "00" * 32, 0, frozenset({1}))])  # fmt: skip
    def test_no_other_zeros_are_read(self, odd: Seen) -> None:
        with pytest.raises(FormatError, match="from 1 on"):
            Memory.parse(Memory({"notary/stable": odd}).to_text())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (5400, "90 minutes"),
        (86400, "1 day"),
        (90000, "25 hours"),
    ],
)
def test_a_duration_is_told_in_the_largest_unit_that_is_exact(seconds: int, words: str) -> None:
    assert duration(seconds) == words
