"""`pluto-measure verify --reference RELEASE --trust FILE`: machines are judged by values that somebody signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.masked import Masked
from pluto_measure.publish.facts import Revoked
from pluto_measure.publish.folder import ReleaseMemory
from simulators import releases
from simulators.intel import NOW, world
from simulators.policies import TDX_TEXT, changed
from simulators.releases import ED25519, FACTS, FILES, OTHER, P256, SECP256K1, TCB, TD, sign, trust_text, write
from simulators.sigstore import PretendSigstore
from simulators.trust_domains import REFERENCE, TrustDomain
from simulators.verifier_files import Called, Files

OTHER_VALUES = replace(REFERENCE, build_id="ab" * 32, profiles=()).to_text().encode()
STRICT = changed(TDX_TEXT, allowUnsignedReference="false")


class Verifier(Files):
    """What accepts an honest trust domain by a signed release: no word is taken on trust but the trust file's."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self.capsys = capsys
        self.reference.unlink()
        self.policy.write_text(STRICT)
        self.trust = self.write("trust.toml", trust_text(ED25519, P256, SECP256K1, k=2))
        self.reference = self.release()

    def release(self, name: str = "release", **changes: object) -> Path:
        folder = write(self.folder / name, **changes)  # type: ignore[arg-type]
        sign(folder, ED25519)
        sign(folder, P256)
        return folder

    def call(self, *more: object, leave_out: tuple[str, ...] = ()) -> Called:
        return Called(self.capsys, *self.enveloped("--trust", self.trust, *more, leave_out=leave_out))


@pytest.fixture
def verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verifier:
    return Verifier(tmp_path, capsys)


def test_a_trust_domain_is_accepted_by_a_signed_release(verifier: Verifier) -> None:
    called = verifier.call()
    assert (called.code, called.refused, called.err) == (0, set(), "")
    found = called.findings["policy.reference_signature"]
    assert found["text"] == "notary release 5 (stable) vouches for the reference values: one, two"
    assert (found["verdict"], found["expected"], found["actual"]) == ("pass", "2 organisations", "one, two")
    assert called.findings["release.attributes"]["verdict"] == "pass"
    assert called.findings["release.xfam"]["verdict"] == "pass"
    assert "release.missing" not in called.findings, "no other file of the release is looked at"


def test_a_bare_quote_is_accepted_as_well(verifier: Verifier) -> None:
    verifier.policy.write_text(changed(STRICT, outerKeyDigest='"any"'))
    called = Called(verifier.capsys, *verifier.bare("--trust", verifier.trust))
    assert (called.code, called.refused) == (0, set())


def test_the_file_in_the_release_is_as_good_as_its_folder(verifier: Verifier) -> None:
    verifier.reference /= "measurements.json"
    assert verifier.call().code == 0


def test_another_file_of_a_release_is_a_mistake_of_the_caller(verifier: Verifier) -> None:
    verifier.reference = verifier.write("release/other.json", REFERENCE.to_text())
    called = verifier.call()
    assert called.code == 2
    assert "lies in a release, whose reference values are measurements.json" in called.err


def test_without_a_trust_file_a_release_is_as_good_as_any_file(verifier: Verifier) -> None:
    called = Called(verifier.capsys, *verifier.enveloped())
    assert (called.code, called.refused) == (5, {"policy.reference_signature"})
    verifier.policy.write_text(TDX_TEXT)
    assert Called(verifier.capsys, *verifier.enveloped()).code == 0


def test_values_beside_no_release_are_nobodys(verifier: Verifier) -> None:
    verifier.reference = verifier.write("alone.json", REFERENCE.to_text())
    called = verifier.call()
    assert (called.code, called.refused) == (5, {"policy.reference_signature"})
    assert f"no release.json lies beside {verifier.reference}, so nobody signed these values" in called.err


def test_several_releases_are_judged_each_by_itself(verifier: Verifier) -> None:
    """The machine runs the second one; that the first is signed by nobody is not its business."""
    other = write(verifier.folder / "other", {**FILES, "measurements.json": OTHER_VALUES})
    called = Called(verifier.capsys, *verifier.enveloped("--trust", verifier.trust, "--reference", other))
    assert (called.code, called.refused) == (0, set())
    verifier.reference, swapped = other, verifier.reference
    called = Called(verifier.capsys, *verifier.enveloped("--trust", verifier.trust, "--reference", swapped))
    assert (called.code, called.refused) == (0, set())


def tampered_values(verifier: Verifier) -> None:
    """An attacker's own build, put in place of the released one."""
    path = verifier.reference / "measurements.json"
    path.write_bytes(path.read_bytes() + b"\n")


def tampered_signature(verifier: Verifier) -> None:
    for path in (verifier.reference / "signatures").iterdir():
        path.write_text(path.read_text().replace('"payload": "ewog', '"payload": "ewoJ'))


def one_signer(verifier: Verifier) -> None:
    next((verifier.reference / "signatures").iterdir()).unlink()


def strangers(verifier: Verifier) -> None:
    verifier.trust.write_text(trust_text(OTHER, SECP256K1, k=1))


def expired(verifier: Verifier) -> None:
    verifier.release(issued_at=NOW.replace(year=2025), not_after=NOW.replace(day=1))


def unlisted(verifier: Verifier) -> None:
    """A statement that is about other files than the values."""
    folder = verifier.folder / "unlisted"
    write(folder, {"disk.raw": b"disk"})
    sign(folder, ED25519)
    sign(folder, P256)
    (folder / "measurements.json").write_bytes(FILES["measurements.json"])
    (folder / "SHA256SUMS").unlink()
    verifier.reference = folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (tampered_values, {"release.artifact"}),
        (tampered_signature, {"release.signature", "release.threshold"}),
        (one_signer, {"release.threshold"}),
        (strangers, {"release.threshold"}),
        (expired, {"release.validity"}),
        (unlisted, {"release.artifact", "release.extra"}),
    ],
)
def test_a_release_that_is_refused_vouches_for_nothing(
    verifier: Verifier, change: Callable[[Verifier], None], named: set[str]
) -> None:
    change(verifier)
    called = verifier.call()
    assert called.code == 5
    assert {name for name in called.refused if name.startswith("release.")} == named
    assert "policy.reference_signature" in called.refused
    text = called.findings["policy.reference_signature"]["text"]
    assert text.startswith("the release that the reference values come from is refused: ")
    verifier.policy.write_text(TDX_TEXT)
    assert verifier.call().code == 5, "that unsigned values would do does not make forged ones good"


class TestPolicy:
    def test_its_minimum_sequence(self, verifier: Verifier) -> None:
        verifier.policy.write_text(changed(STRICT, minimumSequence="5"))
        assert verifier.call().findings["policy.minimum_sequence"]["verdict"] == "pass"
        verifier.policy.write_text(changed(STRICT, minimumSequence="6"))
        called = verifier.call()
        assert (called.code, called.refused) == (5, {"policy.minimum_sequence"})
        assert called.findings["policy.minimum_sequence"]["expected"] == "at least 6"

    def test_a_minimum_sequence_refuses_values_that_belong_to_no_release(self, verifier: Verifier) -> None:
        verifier.policy.write_text(changed(TDX_TEXT, minimumSequence="1"))
        called = Called(verifier.capsys, *verifier.enveloped())
        assert (called.code, called.refused) == (5, {"policy.minimum_sequence"})

    def test_the_debug_flavour(self, verifier: Verifier) -> None:
        values = replace(REFERENCE, flavour="debug").to_text().encode()
        verifier.reference = verifier.release("debug", files={**FILES, "measurements.json": values}, flavour="debug")
        called = verifier.call()
        assert (called.code, called.refused) == (5, {"policy.debug"})
        verifier.policy.write_text(changed(STRICT, allowDebug="true"))
        assert verifier.call().code == 0


class TestTerms:
    """What the publisher asks for on top of the policy."""

    def with_terms(self, verifier: Verifier, **terms: object) -> Called:
        facts = replace(FACTS, **terms)  # type: ignore[arg-type]
        verifier.reference = verifier.release("terms", facts=facts)
        return verifier.call()

    def test_attributes(self, verifier: Verifier) -> None:
        called = self.with_terms(verifier, td=replace(TD, attributes=Masked(0, 2**64 - 1)))
        assert (called.code, called.refused) == (5, {"release.attributes"})
        found = called.findings["release.attributes"]
        assert (found["expected"], found["actual"]) == ("0x0 under 0xffffffffffffffff", "0x10000000")

    def test_xfam(self, verifier: Verifier) -> None:
        called = self.with_terms(verifier, td=replace(TD, xfam=Masked(0x3, 2**64 - 1)))
        assert (called.code, called.refused) == (5, {"release.xfam"})

    def test_a_status_of_the_platform_is_a_warning(self, verifier: Verifier) -> None:
        called = self.with_terms(verifier, tcb=replace(TCB, accepted_statuses=("OutOfDate",)))
        assert (called.code, called.refused) == (0, set())
        found = called.findings["release.tcb_status"]
        assert (found["verdict"], found["expected"], found["actual"]) == ("warning", "OutOfDate", "UpToDate")

    def test_they_cannot_ask_for_less_than_the_policy(self, verifier: Verifier) -> None:
        statuses = ("UpToDate", "OutOfDate")
        odd = TrustDomain(world=world(platform="OutOfDate"))
        verifier.envelope.write_text(odd.envelope().to_text())
        verifier.collateral.write_text(json.dumps(odd.world.collateral))
        called = self.with_terms(verifier, tcb=replace(TCB, accepted_statuses=statuses))
        assert called.code == 5
        assert "tcb.status" in called.refused


class TestMemory:
    def state(self, verifier: Verifier) -> Path:
        return verifier.folder / "state"

    def test_an_older_release_than_was_once_accepted(self, verifier: Verifier) -> None:
        state = self.state(verifier)
        assert verifier.call("--state", state).findings.get("release.rollback") is None
        newer = releases.release(sequence=6, revokes=(Revoked(5, "x"),))
        ReleaseMemory(state).remember(newer, "aa" * 32)
        kept = (state / "releases/releases.json").read_bytes()
        called = verifier.call("--state", state)
        assert (called.code, called.refused) == (5, {"policy.reference_signature", "release.rollback"})
        assert (state / "releases/releases.json").read_bytes() == kept
        assert "release.rollback" in verifier.call().findings, "a warning where nobody remembers"

    def test_a_release_by_which_evidence_was_accepted_is_remembered(self, verifier: Verifier) -> None:
        assert verifier.call("--state", self.state(verifier)).code == 0
        seen = ReleaseMemory(self.state(verifier)).load().channels["notary/stable"]
        assert seen.sequence == releases.FACTS.place.sequence

    def test_a_damaged_memory_is_an_error(self, verifier: Verifier) -> None:
        ReleaseMemory(self.state(verifier)).remember(releases.release(), "aa" * 32)
        (self.state(verifier) / "releases/releases.json").write_text("{}")
        called = verifier.call("--state", self.state(verifier))
        assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")


class TestBadFiles:
    def test_a_statement_that_is_none(self, verifier: Verifier) -> None:
        (verifier.reference / "release.json").write_text("{}")
        called = verifier.call()
        assert (called.code, "release.json" in called.err) == (3, True)

    def test_values_that_are_none(self, verifier: Verifier) -> None:
        (verifier.reference / "measurements.json").write_text("{}")
        called = verifier.call()
        assert (called.code, f"reference {verifier.reference}/measurements.json" in called.err) == (3, True)
        (verifier.reference / "measurements.json").unlink()
        assert verifier.call().code == 2

    def test_a_trust_file_that_is_none(self, verifier: Verifier) -> None:
        verifier.trust.write_text("k = 0")
        assert verifier.call().code == 3


def test_the_page_tells_who_vouches_and_how_it_is_made_again(verifier: Verifier) -> None:
    page = verifier.folder / "page.html"
    root = verifier.write("root.json", PretendSigstore("references").root())
    called = verifier.call("--html", page, "--sigstore-root", root)
    assert called.code == 0
    assert "notary release 5 (stable) vouches for the reference values: one, two" in page.read_text()
    for option in (f"--trust {verifier.trust}", f"--sigstore-root {root}"):
        assert option in page.read_text()
