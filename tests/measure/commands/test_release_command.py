"""`pluto-measure release`: a folder, a trust file and a memory; what is wrong is named, and nothing is written then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_measure.cli import main
from pluto_measure.errors import UsageError
from pluto_measure.publish import folder
from simulators.releases import (
    AT,
    ED25519,
    FACTS,
    FILES,
    OTHER,
    P256,
    SECP256K1,
    Called,
    provenance,
    sign,
    statement,
    trust_text,
    write,
)
from simulators.sigstore import GITHUB, PretendSigstore, workflow
from simulators.trust_domains import REFERENCE


class Verifier:
    """A verifier's folder: a release that two of three signed, their trust file, an empty state directory."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.release = write(root / "release")
        self.state = root / "state"
        self.trust = root / "trust.toml"
        self.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
        self.first, self.second = sign(self.release, ED25519), sign(self.release, P256)

    def call(self, *more: object, release: Path | None = None) -> Called:
        words = (release or self.release, "--trust", self.trust, "--at", AT, *more)
        return Called(self.capsys, *words)

    def remembered(self, *more: object, release: Path | None = None) -> Called:
        return self.call("--state", self.state, *more, release=release)

    def kept(self) -> dict[str, tuple[bytes, int, int]]:
        """All that the state directory holds, to the last bit and time."""
        files = sorted(path for path in self.state.rglob("*") if path.is_file())
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in files}


@pytest.fixture
def verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verifier:
    return Verifier(tmp_path, capsys)


def test_a_release_that_enough_signed_is_accepted(verifier: Verifier) -> None:
    called = verifier.remembered("--complete")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("accepted: notary 1.2.0 (release), stable release 5\n")
    assert "  signed by  one, two (2 wanted)\n" in called.out
    assert called.document["accepted"]
    assert called.document["signers"] == {
        "wanted": 2,
        "organisations": ["one", "two"],
        "trusted": ["one", "two", "three"],
    }
    assert [one["worth"] for one in called.document["signatures"]] == ["counts", "counts"]
    assert " ok " not in called.out
    assert "  ok   release.threshold: signed by one, two\n" in verifier.call("--verbose").out


def test_an_inputs_bundle_and_a_provenance_are_no_released_files(verifier: Verifier) -> None:
    (verifier.release / "inputs.tar").write_bytes(b"x" * 1000)
    (verifier.release / "provenance.json").write_text(provenance().to_text())
    called = verifier.call("--complete", "--verbose")
    assert called.code == 0
    assert "  ok   release.provenance: says, unsigned, that https://ci.example/build built commit" in called.out


def tampered(name: str, change: Callable[[bytes], bytes] = lambda data: data + b"\n") -> Callable[[Verifier], None]:
    def tamper(verifier: Verifier) -> None:
        path = verifier.release / name
        path.write_bytes(change(path.read_bytes()))

    return tamper


def bad_signatures(verifier: Verifier) -> None:
    for path in (verifier.first, verifier.second):
        path.write_text(path.read_text().replace('"payload": "ewog', '"payload": "ewoJ'))


def extra(verifier: Verifier) -> None:
    (verifier.release / "oci/run-me.sh").write_text("#!/bin/sh\n")


def one_signer(verifier: Verifier) -> None:
    verifier.second.unlink()


def odd_provenance(verifier: Verifier) -> None:
    (verifier.release / "provenance.json").write_text(provenance(files={"disk.raw": b"x"}).to_text())


def odd_measurements(verifier: Verifier) -> None:
    """A release whose statement was signed with other registers than its own measurements.json has."""
    again = write(verifier.root / "release", build_id="ab" * 32)
    sign(again, ED25519)
    sign(again, P256)


def debug(verifier: Verifier) -> None:
    values = REFERENCE.to_text().replace('"flavour": "release"', '"flavour": "debug"').encode()
    again = write(verifier.root / "release", {**FILES, "measurements.json": values}, flavour="debug")
    sign(again, ED25519)
    sign(again, P256)


@pytest.mark.parametrize(
    ("change", "more", "refused", "code"),
    [
        (tampered("disk.raw"), (), {"release.artifact"}, 4),
        (tampered("oci/index.json"), (), {"release.artifact"}, 4),
        (tampered("measurements.json"), (), {"release.artifact"}, 4),
        (tampered("measurements.json", lambda data: data[:-9]), (), {"release.artifact", "release.measurements"}, 4),
        (
            tampered("release.json", lambda data: data.replace(b"1.2.0", b"1.2.1")),
            (),
            {"release.digest_list", "release.disagreement", "release.threshold"},
            4,
        ),
        (
            tampered("SHA256SUMS", lambda data: data.replace(b"disk.raw", b"disk.vhd")),
            (),
            {"release.digest_list"},
            4,
        ),
        (bad_signatures, (), {"release.signature", "release.threshold"}, 4),
        (extra, (), {"release.extra"}, 4),
        (odd_provenance, (), {"release.provenance"}, 4),
        (odd_measurements, (), {"release.measurements"}, 4),
        (one_signer, (), {"release.threshold"}, 5),
        (debug, (), {"release.flavour"}, 5),
        (lambda verifier: (verifier.release / "disk.raw").unlink(), ("--complete",), {"release.missing"}, 5),
        (lambda _: None, ("--minimum-sequence", "6"), {"release.sequence"}, 5),
        (lambda _: None, ("--at", "2027-11-01T00:00:01Z"), {"release.validity"}, 5),
        (lambda _: None, ("--at", "2026-10-31T23:59:59Z"), {"release.issued"}, 5),
    ],
    ids=range(16),
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    verifier: Verifier, change: Callable[[Verifier], None], more: tuple[object, ...], refused: set[str], code: int
) -> None:
    change(verifier)
    called = verifier.remembered(*more)
    assert (called.refused, called.code) == (refused, code)
    assert called.out.startswith("REFUSED: ")
    assert not called.document["accepted"]
    for name in refused:
        assert f"  FAIL {name}: " in called.out
    assert not verifier.state.exists(), "nothing is written, not even a folder"


def test_a_release_of_the_debug_flavour_where_it_is_allowed(verifier: Verifier) -> None:
    debug(verifier)
    assert verifier.call("--allow-debug").code == 0


class TestRollback:
    def release(self, verifier: Verifier, sequence: int, **changes: object) -> Path:
        values = {"sequence": sequence, "minimum_sequence": 1, "supersedes": None, **changes}
        folder = write(verifier.root / f"release-{sequence}-{len(changes)}", **values)  # type: ignore[arg-type]
        sign(folder, ED25519)
        sign(folder, P256)
        return folder

    def test_no_older_release_is_accepted_after_a_newer_one(self, verifier: Verifier) -> None:
        old, new = self.release(verifier, 4), self.release(verifier, 6)
        for release in (old, verifier.release, new, new):
            assert verifier.remembered(release=release).code == 0
        before = verifier.kept()
        for release in (old, verifier.release):
            called = verifier.remembered(release=release)
            assert (called.refused, called.code) == ({"release.rollback"}, 5)
            assert "         expected at least 6\n" in called.out
        assert verifier.kept() == before, "the state directory is as it was, to the last bit"
        assert verifier.call(release=old).code == 0, "without a memory nobody knows"

    def test_two_releases_with_one_number(self, verifier: Verifier) -> None:
        assert verifier.remembered().code == 0
        before = verifier.kept()
        again = self.release(verifier, 5, version="1.2.1")
        called = verifier.remembered(release=again)
        assert (called.refused, called.code) == ({"release.rollback"}, 5)
        assert "its publisher signed two" in called.out
        assert verifier.kept() == before

    def test_a_refused_release_is_not_remembered(self, verifier: Verifier) -> None:
        """Else whoever can send a forged one could lock out the genuine ones."""
        assert verifier.remembered().code == 0
        before = verifier.kept()
        forged = write(verifier.root / "forged", sequence=1000)
        sign(forged, OTHER)
        assert verifier.remembered(release=forged).code == 5
        assert verifier.kept() == before
        assert verifier.remembered().code == 0

    def test_a_damaged_memory_is_an_error_before_anything_is_accepted(self, verifier: Verifier) -> None:
        assert verifier.remembered().code == 0
        (verifier.state / "releases/releases.json").write_bytes(b"{}")
        called = verifier.remembered()
        assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")
        assert f"rm -r {verifier.state}/releases" in called.err


class TestKeyless:
    """Two keys and a workflow; the rules for certificates: `test_keyless*.py`, `test_certificate_identity.py`."""

    here = PretendSigstore("release command")

    def prepared(self, verifier: Verifier, san: str = "pluto/pluto/.github/workflows/release.yml") -> None:
        identity = f'issuer = "{GITHUB}", san = "https://github.com/{san}", repositoryId = "4711", ref = "any-tag"'
        verifier.trust.write_text(trust_text(ED25519, k=2, identities=f"{{ {identity} }}"))
        verifier.second.unlink()
        bundle = self.here.sign((verifier.release / "release.json").read_bytes(), workflow())
        (verifier.release / "signatures/ci.sigstore.json").write_bytes(bundle)
        (verifier.root / "root.json").write_bytes(self.here.root())

    def test_a_workflow_counts_like_a_key(self, verifier: Verifier) -> None:
        self.prepared(verifier)
        called = verifier.call("--sigstore-root", verifier.root / "root.json")
        assert called.code == 0
        (found,) = (one for one in called.document["signatures"] if one["file"] == "signatures/ci.sigstore.json")
        assert (found["worth"], found["organisation"], found["signedAt"]) == ("counts", "two", AT)
        assert found["signer"] == "https://github.com/pluto/pluto/.github/workflows/release.yml@refs/tags/v1.0.0"

    @pytest.mark.parametrize(
        "san", ["pluto/pluto/.github/workflows/release.ym", "pluto/plut", "pluto/pluto/.github/workflows/release.yml2"]
    )
    def test_an_identity_that_only_shares_a_prefix(self, verifier: Verifier, san: str) -> None:
        self.prepared(verifier, san)
        called = verifier.call("--sigstore-root", verifier.root / "root.json")
        assert (called.refused, called.code) == ({"release.threshold"}, 5)
        assert "signatures/ci.sigstore.json: the signer is not in the trust file: san" in called.out

    def test_a_tampered_log_entry(self, verifier: Verifier) -> None:
        self.prepared(verifier)
        path = verifier.release / "signatures/ci.sigstore.json"
        path.write_text(path.read_text().replace('"treeSize": "', '"treeSize": "1'))
        called = verifier.call("--sigstore-root", verifier.root / "root.json")
        assert (called.refused, called.code) == ({"release.signature", "release.threshold"}, 4)

    def test_a_root_that_is_none(self, verifier: Verifier) -> None:
        self.prepared(verifier)
        called = verifier.call("--sigstore-root", verifier.trust)
        assert called.code == 3
        assert f"Sigstore root {verifier.trust}" in called.err


class TestFolder:
    def test_a_link_may_lead_anywhere(self, verifier: Verifier) -> None:
        disk = verifier.release / "disk.raw"
        disk.rename(verifier.root / "elsewhere")
        disk.symlink_to(verifier.root / "elsewhere")
        called = verifier.call()
        assert (called.code, "disk.raw is a link" in called.err) == (3, True)
        disk.unlink()
        (verifier.root / "folder").mkdir()
        (verifier.release / "more").symlink_to(verifier.root / "folder")
        assert "more is a link" in verifier.call().err

    def test_what_is_neither_file_nor_folder_is_not_waited_for(self, verifier: Verifier) -> None:
        (verifier.release / "disk.raw").unlink()
        os.mkfifo(verifier.release / "disk.raw")
        called = verifier.call()
        assert (called.code, "disk.raw is neither a file nor a folder" in called.err) == (3, True)

    def test_a_name_that_a_terminal_would_obey(self, verifier: Verifier) -> None:
        (verifier.release / "signatures/\x1b[2Jx").write_bytes(b"")
        called = verifier.call()
        assert (called.code, "\x1b" in called.err) == (3, False)
        assert "is no printable name" in called.err

    def test_a_folder_that_holds_no_release(self, verifier: Verifier, tmp_path: Path) -> None:
        called = verifier.call(release=tmp_path)
        assert called.code == 2
        assert "holds no release.json" in called.err
        assert verifier.call(release=verifier.trust).code == 2

    @pytest.mark.parametrize(
        "text", ["x", "00  disk.raw\n", f"{'0' * 64} disk.raw\n", f"{'0' * 64}  ../x\n", f"{'0' * 64}  a\n" * 2, "\xff"]
    )
    def test_a_digest_list_that_is_none(self, verifier: Verifier, text: str) -> None:
        (verifier.release / "SHA256SUMS").write_bytes(text.encode("latin-1"))
        called = verifier.call()
        assert (called.code, called.document["error"]["what"]) == (3, "SHA256SUMS")

    def test_too_many_signatures(self, verifier: Verifier) -> None:
        for number in range(255):
            (verifier.release / f"signatures/{number}").write_bytes(b"")
        called = verifier.call()
        assert (called.code, "257 files in signatures are more than 256" in called.err) == (3, True)

    @pytest.mark.parametrize(("name", "mebibytes"), [("release.json", 16), ("provenance.json", 16)])
    def test_a_file_that_is_too_large_is_not_read(self, verifier: Verifier, name: str, mebibytes: int) -> None:
        with (verifier.release / name).open("wb") as file:
            file.truncate((mebibytes << 20) + 1)
        called = verifier.call()
        assert (called.code, f"is larger than {mebibytes << 20} bytes" in called.err) == (3, True)

    def test_a_signature_that_is_too_large_counts_for_nothing_and_blocks_nothing(self, verifier: Verifier) -> None:
        with (verifier.release / "signatures/x").open("wb") as file:
            file.truncate(300 << 20)
        called = verifier.call()
        assert called.code == 0
        assert {one["file"]: one["worth"] for one in called.document["signatures"]}["signatures/x"] == "invalid"

    def test_a_file_that_goes_away_meanwhile(self, verifier: Verifier) -> None:
        with pytest.raises(UsageError, match="cannot be read"):
            folder.signatures(verifier.release, ["signatures/gone"])

    def test_a_statement_that_is_none(self, verifier: Verifier) -> None:
        for text in ("", "{}", statement().to_text().replace('"_type"', '"_type": 1, "_type"')):
            (verifier.release / "release.json").write_text(text)
            called = verifier.remembered()
            assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")
            assert "release.json" in called.err
        assert not verifier.state.exists()


class TestTrust:
    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("k = 2", "k = 0", "k is 0, and there are 3 organisations"),
            ("k = 2", "k = 4", "k is 4, and there are 3 organisations"),
            ("version = 2", "version = 3", "version 3 is not known"),
            ("version = 2", "version = 1", "version 1 does not say how old a confirmation may be"),
            ('maxConfirmationAge = "any"\n', "", "maxConfirmationAge is missing"),
            ('"any"', '"30d"', 'maxConfirmationAge must be "any" or a number of seconds'),
            ('"any"', "0", 'maxConfirmationAge must be "any" or a number of seconds'),
            ('name = "two"', 'name = "one"', "an organisation's name occurs twice"),
            ("identities = []", 'identities = [{ san = "x" }]', "issuer is missing"),
        ],
    )
    def test_a_bad_one_is_named(self, verifier: Verifier, old: str, new: str, problem: str) -> None:
        verifier.trust.write_text(verifier.trust.read_text().replace(old, new))
        called = verifier.call()
        assert called.code == 3
        assert f"trust {verifier.trust}" in called.err
        assert problem in called.err

    def test_one_is_required(self, verifier: Verifier) -> None:
        assert main(["release", str(verifier.release)]) == 2
        assert "--trust" in verifier.capsys.readouterr().err
        verifier.trust.unlink()
        assert verifier.call().code == 2


def test_mistakes_in_the_call(verifier: Verifier) -> None:
    assert "--at: not a time" in verifier.call("--at", "today").err
    assert verifier.call("--minimum-sequence", "x").code == 2
    assert FACTS.place.sequence == 5


def test_plain_keys_need_no_library_of_sigstores(verifier: Verifier) -> None:
    words = ["release", str(verifier.release), "--trust", str(verifier.trust), "--at", AT]
    program = f"import sys; from pluto_measure.cli import main; code = main({words!r}); "
    program += "sys.exit(code or 'sigstore' in sys.modules or 'urllib.request' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
