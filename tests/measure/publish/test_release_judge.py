"""Whether a release is accepted: every check by its finding, k of n, and that no file more can do harm."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.publish.dsse import signed
from pluto_measure.publish.facts import Revoked
from pluto_measure.publish.judge import NOT_AUTHENTIC, Judgement
from pluto_measure.publish.keys import pem_of
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.trust import Trust
from simulators.launches import LAUNCH
from simulators.releases import (
    ED25519,
    FACTS,
    FILES,
    OTHER,
    P256,
    SECP256K1,
    TEXT,
    THREE,
    dsse,
    failed,
    judged,
    provenance,
    received,
    release,
    statement,
)
from simulators.trust_domains import GOOGLE, REFERENCE

SECOND = timedelta(seconds=1)
EMPTY = Memory({})


def text_of(found: Judgement, check: str, verdict: str = "fail") -> str:
    (text,) = (one.text for one in found.findings if (one.id, one.verdict) == (check, verdict))
    return text


def refused(check: str, code: int, text: str, **changes: Any) -> None:
    found = judged(**changes)
    assert (failed(found), found.exit_code, found.accepted) == ([check], code, False)
    assert text_of(found, check) == text


def test_an_honest_release_passes_every_check() -> None:
    found = judged(memory=EMPTY, minimum_sequence=5, complete=True, provenance=provenance().to_text().encode())
    assert (found.accepted, found.exit_code) == (True, 0)
    assert [one.id for one in found.findings] == [
        "release.signature",
        "release.threshold",
        "release.artifact",
        "release.digest_list",
        "release.measurements",
        "release.provenance",
        "release.issued",
        "release.validity",
        "release.freshness",
        "release.flavour",
        "release.sequence",
        "release.rollback",
    ]
    assert {one.verdict for one in found.findings} == {"pass"}


def test_what_is_kept_beside_the_reference_values() -> None:
    found = judged()
    kept = found.vouched()
    assert (kept.name, kept.channel, kept.sequence) == ("notary", "stable", 5)
    assert (kept.statement, kept.organisations, kept.wanted) == (found.statement, ("one",), 1)
    assert (kept.td, kept.tcb, kept.findings) == (FACTS.td, FACTS.tcb, found.findings)


class TestArtifacts:
    @pytest.mark.parametrize("name", sorted(FILES))
    def test_a_changed_file_is_named(self, name: str) -> None:
        digests = {**received().digests, name: Digests.of(b"tampered")}
        refused("release.artifact", 4, f"{name} is not the file that the release is about", digests=digests)

    def test_a_wrong_subject_at_index_1(self) -> None:
        """The statement is signed as it stands, and says something else of its second file."""
        document = json.loads(TEXT)
        document["subject"][1]["digest"] = Digests.of(b"other").to_json()
        name = document["subject"][1]["name"]
        text = json.dumps(document).encode()
        refused("release.artifact", 4, f"{name} is not the file that the release is about", statement=text, sums=None)

    @pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
    def test_both_digests_count(self, algorithm: str) -> None:
        right, other = received().digests["disk.raw"].to_json(), Digests.of(b"x").to_json()
        wrong = Digests.from_json({**right, algorithm: other[algorithm]}, what="digest")
        digests = {**received().digests, "disk.raw": wrong}
        refused("release.artifact", 4, "disk.raw is not the file that the release is about", digests=digests)

    def test_every_changed_file_is_named(self) -> None:
        digests = {name: Digests.of(b"tampered") for name in FILES}
        found = judged(digests=digests)
        assert failed(found) == ["release.artifact"] * len(FILES)

    def test_a_file_too_many(self) -> None:
        digests = {**received().digests, "run-me.sh": Digests.of(b"#!/bin/sh")}
        refused("release.extra", 4, "run-me.sh is not part of the release", digests=digests)

    def test_a_file_of_another_case_is_another_file(self) -> None:
        digests = dict(received().digests)
        digests["Disk.raw"] = digests.pop("disk.raw")
        found = judged(digests=digests)
        assert failed(found) == ["release.extra"]
        assert "such as disk.raw" in text_of(found, "release.missing", "warning")

    def test_a_file_that_is_not_here_is_said_and_refused_where_all_are_asked_for(self) -> None:
        digests = {name: of for name, of in received().digests.items() if name != "disk.raw"}
        text = "1 of 4 files are not here and were not looked at, such as disk.raw"
        found = judged(digests=digests)
        assert found.accepted
        assert text_of(found, "release.missing", "warning") == text
        refused("release.missing", 5, text, digests=digests, complete=True)
        assert "release.missing" not in {one.id for one in judged(digests=digests, complete=None).findings}

    def test_a_folder_without_any_released_file_is_no_release(self) -> None:
        text = "none of the released files is here, so nothing was compared"
        refused("release.artifact", 4, text, digests={}, measurements=None)


class TestDigestList:
    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"disk.raw": "00" * 32}, "disk.raw"),
            ({"release.json": "00" * 32}, "release.json"),
            ({"added": "00" * 32}, "added"),
            ({"disk.raw": None}, "disk.raw"),
            ({"release.json": None}, "release.json"),
        ],
    )
    def test_one_that_says_something_else(self, change: dict[str, str | None], name: str) -> None:
        sums = {**(received().sums or {}), **change}
        kept = {one: digest for one, digest in sums.items() if digest is not None}
        text = f"SHA256SUMS says something else of {name} than the statement"
        refused("release.digest_list", 4, text, sums=kept)

    def test_it_need_not_be_there(self) -> None:
        assert judged(sums=None).accepted


class TestMeasurements:
    def refused(self, values: Measurements | bytes, where: str, **changes: Any) -> None:
        """With these values as a released file, whose digest holds."""
        data = values if isinstance(values, bytes) else values.to_text().encode()
        files = {**FILES, "measurements.json": data}
        found = judged(files=files, **changes)
        assert (failed(found), found.exit_code) == (["release.measurements"], 4)
        assert where in text_of(found, "release.measurements")

    def test_the_statement_says_what_they_say(self) -> None:
        differ = "the statement and measurements.json differ: "
        profile = REFERENCE.profiles[0]
        self.refused(replace(REFERENCE, build_id="ab" * 32), f"{differ}/buildId differs")
        self.refused(replace(REFERENCE, flavour="debug"), f"{differ}/flavour differs")
        self.refused(replace(REFERENCE, profiles=()), f"{differ}/platforms differs")
        renamed = replace(REFERENCE, profiles=(replace(profile, id="other"),))
        self.refused(renamed, f"{differ}/platforms/other/id differs")
        self.refused(measure(LAUNCH, GOOGLE), f"{differ}/platforms/")

    @pytest.mark.parametrize("register", ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"])
    def test_every_register_is_compared(self, register: str) -> None:
        (platform,) = release().platforms
        rule = {"match": "zero", "values": [], "source": "observed"}
        lying = {**platform, "registers": {**platform["registers"], register: rule}}
        self.refused(REFERENCE, f"/registers/{register}/", platforms=(lying,))

    def test_a_software_tpm_never_enters_a_release(self) -> None:
        software = measure(LAUNCH, Platform())
        for platforms in ((), release().platforms):
            self.refused(software, "is a qemu-vtpm, which no release vouches for", platforms=platforms)
        mixed = replace(REFERENCE, profiles=(*REFERENCE.profiles, *software.profiles))
        self.refused(mixed, "is a qemu-vtpm, which no release vouches for")

    @pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, FILES["measurements.json"][:-3]])
    def test_values_that_cannot_be_read_are_named(self, data: bytes) -> None:
        self.refused(data, "measurements.json")

    def test_values_nested_without_end(self) -> None:
        """What is nested as deeply as JSON may be is no bug of ours, and not equal."""
        deep = f'"devices": {"[" * 700}{"]" * 700}, '
        values = REFERENCE.to_text().replace('"vmm":', f'{deep}"vmm":', 1)
        whole = TEXT.decode().replace('"vmm":', f'{deep}"vmm":', 1)
        assert Measurements.parse(values)
        found = judged(statement=whole.encode(), measurements=values.encode(), sums=None)
        assert text_of(found, "release.measurements").endswith("they are nested too deeply to be compared")


class TestTimes:
    begin, end = FACTS.validity.issued_at, FACTS.validity.not_after

    @pytest.mark.parametrize("at", [begin, begin + SECOND, end - SECOND, end])
    def test_both_ends_count(self, at: datetime) -> None:
        assert judged(at=at).accepted

    def test_before_and_after(self) -> None:
        early, late = self.begin - SECOND, self.end + SECOND
        refused("release.issued", 5, "the release is dated into the future", at=early)
        text = "the release is no longer valid: look for a newer one"
        refused("release.validity", 5, text, at=late)
        refused("release.validity", 5, text, at=datetime.max.replace(tzinfo=UTC))


class TestPlace:
    def test_a_debug_build_is_refused_unless_it_is_allowed(self) -> None:
        debug = replace(REFERENCE, flavour="debug")
        files = {**FILES, "measurements.json": debug.to_text().encode()}
        text = "this is a debug build, whose machine its owner can look into"
        refused("release.flavour", 5, text, files=files, flavour="debug")
        assert judged(files=files, flavour="debug", allow_debug=True).accepted

    def test_a_release_below_the_sequence_that_was_asked_for(self) -> None:
        refused("release.sequence", 5, "the release is older than was asked for", minimum_sequence=6)
        assert judged(minimum_sequence=5).accepted
        assert judged(minimum_sequence=-1).accepted

    def test_a_release_with_a_lower_sequence_than_was_seen(self) -> None:
        newer = EMPTY.remembering(release(sequence=6), "aa" * 32)
        refused("release.rollback", 5, "a newer release of this channel was accepted before", memory=newer)

    def test_another_release_with_the_same_sequence(self) -> None:
        other = EMPTY.remembering(release(), "aa" * 32)
        text = "another release with this sequence was accepted before: its publisher signed two"
        refused("release.rollback", 5, text, memory=other)
        assert judged(memory=EMPTY.remembering(release(), judged().statement)).accepted

    def test_a_release_that_was_revoked(self) -> None:
        newer = EMPTY.remembering(release(sequence=6, revokes=(Revoked(5, "x"),)), "aa" * 32)
        text = "this release was revoked, by one that was accepted before or by a revocation that was seen"
        refused("release.rollback", 5, text, memory=newer)
        refused("release.rollback", 5, text, memory=EMPTY.revoking(release()))

    def test_without_a_memory_that_is_said(self) -> None:
        text = text_of(judged(), "release.rollback", "warning")
        assert text.startswith("the memory of releases was not asked")


class TestSigners:
    def test_nobody_signed(self) -> None:
        refused(
            "release.threshold", 5, "too few of the trusted organisations signed this release: nobody", signatures=()
        )

    @pytest.mark.parametrize("keys", [(ED25519, P256), (P256, SECP256K1), (ED25519, SECP256K1, P256)])
    def test_two_of_three(self, keys: tuple[Any, ...]) -> None:
        found = judged(trust=THREE, signatures=dsse(*keys))
        assert found.accepted
        assert len(found.organisations) == len(keys)

    def test_one_of_them_does_not_suffice_however_often_it_signs(self) -> None:
        text = "too few of the trusted organisations signed this release: two"
        (signature,) = dsse(P256)
        copies = tuple((f"signatures/{number}.json", signed(TEXT, P256).to_text().encode()) for number in range(5))
        for signatures in ((signature,), copies, (signature, signature)):
            refused("release.threshold", 5, text, trust=THREE, signatures=signatures)

    def test_an_organisation_with_two_keys_counts_once(self) -> None:
        keys = ", ".join(f'"""\n{pem_of(key.public_key())}"""' for key in (ED25519, OTHER))
        lists = f'name = "one"\nidentities = []\nkeys = [{keys}]\n'
        other = f'name = "two"\nidentities = []\nkeys = ["""\n{pem_of(P256.public_key())}"""]\n'
        head = 'version = 2\nk = 2\nmaxConfirmationAge = "any"\n'
        trust = Trust.parse(f"{head}[[organisations]]\n{lists}[[organisations]]\n{other}")
        both = dsse(ED25519, OTHER)
        refused(
            "release.threshold",
            5,
            "too few of the trusted organisations signed this release: one",
            trust=trust,
            signatures=both,
        )
        assert judged(trust=trust, signatures=(*both, *dsse(P256))).organisations == ("one", "two")

    def test_a_tampered_one_is_named_though_enough_others_signed(self) -> None:
        ((name, data),) = dsse(SECP256K1)
        broken = (name, data.replace(b'"sig": "M', b'"sig": "N'))
        found = judged(trust=THREE, signatures=(*dsse(ED25519, P256), broken))
        assert found.accepted
        assert name in text_of(found, "release.signature", "warning")

    def test_a_tampered_one_without_enough_others_is_not_authentic(self) -> None:
        ((name, data),) = dsse(P256)
        broken = (name, data.replace(b'"sig": "M', b'"sig": "N'))
        found = judged(trust=THREE, signatures=(*dsse(ED25519), broken))
        assert (failed(found), found.exit_code) == (["release.signature", "release.threshold"], 4)
        assert name in text_of(found, "release.signature")

    def test_disagreement_is_named_though_enough_others_signed(self) -> None:
        other = statement(build_id="ab" * 32).to_text().encode()
        dissent = dsse(SECP256K1, payload=other)
        found = judged(trust=THREE, signatures=(*dsse(ED25519, P256), *dissent))
        assert found.accepted
        text = text_of(found, "release.disagreement", "warning")
        assert text == f"{dissent[0][0]}: three signed other bytes for this release: /predicate/buildId differs"
        found = judged(trust=THREE, signatures=(*dsse(ED25519), *dissent))
        assert (failed(found), found.exit_code) == (["release.disagreement", "release.threshold"], 4)

    def test_a_stranger_is_named_and_changes_nothing(self) -> None:
        found = judged(signatures=(*dsse(OTHER), *dsse(ED25519)))
        assert found.accepted
        assert "the key is not in the trust file" in text_of(found, "release.signature", "warning")
        assert judged(signatures=dsse(OTHER)).exit_code == 5, "nothing is forged: somebody else signed"

    def test_every_file_has_a_finding(self) -> None:
        files = (*dsse(ED25519, OTHER), ("signatures/x", b"garbage"))
        assert len([one for one in judged(signatures=files).findings if one.id == "release.signature"]) == 3


GOOD = dict(zip(("one", "two", "three"), dsse(ED25519, P256, SECP256K1), strict=True))
BAD = (
    ("signatures/tampered", signed(TEXT, P256).to_text().replace('"sig": "M', '"sig": "N').encode()),
    ("signatures/dissent", signed(statement(build_id="ab" * 32).to_text().encode(), ED25519).to_text().encode()),
    ("signatures/other", signed(statement(sequence=9).to_text().encode(), SECP256K1).to_text().encode()),
    ("signatures/stranger", signed(TEXT, OTHER).to_text().encode()),
    ("signatures/garbage", b"\0garbage"),
    ("signatures/again", GOOD["one"][1]),
)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_deleting_a_signature_only_lowers_trust_and_adding_any_file_never_does(k: int) -> None:
    """Over all subsets: accepted is exactly who signed, whatever else lies there."""
    trust = replace(THREE, k=k)
    files = [*GOOD.values(), *BAD]
    accepted: dict[frozenset[str], bool] = {}
    for size in range(len(files) + 1):
        for chosen in combinations(files, size):
            names = frozenset(name for name, _ in chosen)
            found = judged(trust=trust, signatures=chosen, measurements=None)
            signers = {who for who, (name, _) in GOOD.items() if name in names}
            signers |= {"one"} if "signatures/again" in names else set()
            assert set(found.organisations) == signers
            assert found.accepted == (len(signers) >= k)
            accepted[names] = found.accepted
    assert len(accepted) == 2**9
    for names, was in accepted.items():
        assert not was or all(accepted[names | {name}] for name, _ in files)


def test_the_exit_code_tells_forged_from_refused() -> None:
    tampered = {**received().digests, "disk.raw": Digests.of(b"x")}
    assert judged(digests=tampered, at=FACTS.validity.not_after + SECOND).exit_code == 4
    assert judged(at=FACTS.validity.not_after + SECOND).exit_code == 5
    assert "release.threshold" not in NOT_AUTHENTIC


@pytest.mark.parametrize("data", [b"", b"{}", TEXT[:-5], provenance().to_text().encode()], ids=range(4))
def test_a_statement_that_is_none_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"release\.json"):
        judged(statement=data)


def test_no_file_can_write_on_the_terminal() -> None:
    odd = json.dumps({"\x1b[2J": 1}).encode()
    found = judged(measurements=odd, provenance=odd, signatures=(("signatures/x", odd),))
    assert failed(found)[0] == "release.signature"
    assert all(one.text.isprintable() for one in found.findings)
