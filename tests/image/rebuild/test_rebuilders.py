"""Three organisations and one release: two more rebuild it elsewhere, two of three are believed, one who is led astray
says so and is named, a stale and a revoked release are refused. Every step is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from image.rebuild.worlds import Made, consistent, make, put
from pluto_image import source_tree
from pluto_image.rebuild import again

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is absent"),
]
# What must not matter: each has a home, a zone of the clock, a language, a mask and an order of hashes of their own.
PLACES = {
    "publisher": ({"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}, 0o022),
    "north": (
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "SOURCE_DATE_EPOCH": "1"},
        0o077,
    ),
    "south": ({"TZ": "America/Adak", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "3", "PYTHONUTF8": "0"}, 0o002),
}


@dataclass(frozen=True)
class Organisation:
    """A folder with nothing of the others' in it."""

    name: str
    home: Path

    @property
    def key(self) -> Path:
        return self.home / "key.pem"

    def run(self, program: str, *words: object) -> subprocess.CompletedProcess[str]:
        """One of our programs, in this place."""
        env, mask = PLACES[self.name]
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", f"{program.replace('-', '_')}.cli", *map(str, words)],
            cwd=self.home, env={**inherited, **env, "HOME": str(self.home)}, umask=mask,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def document(self, program: str, *words: object) -> tuple[int, Any]:
        done = self.run(program, *words, "--json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def fetches(self, release: Path, name: str = "fetched") -> Path:
        """A copy of a release; its files are links, which nobody writes to."""
        copy = self.home / name
        shutil.copytree(release, copy, copy_function=os.link)
        return copy

    def attests(self, release: Path, *more: object) -> tuple[int, Any]:
        words = ("attest", release, "--key", self.key, "--store", self.home / "store", "--offline", *more)
        return self.document("pluto_image", *words)


@dataclass(frozen=True)
class Stage:
    """The publisher's release with the signatures of all three, and what a verifier has."""

    made: Made
    organisations: dict[str, Organisation]
    signatures: dict[str, Path]
    root: Path

    def release(self, where: Path, *signers: str) -> Path:
        """The release with the signatures of these alone, without disks: a GiB to be hashed in every test."""
        left = shutil.ignore_patterns("signatures", "disk.*")
        shutil.copytree(self.made.release, where, copy_function=os.link, ignore=left)
        (where / "signatures").mkdir()
        for name in signers:
            shutil.copy(self.signatures[name], where / "signatures")
        return where

    def judged(self, release: Path, trust: str = "trust.toml", *more: object) -> tuple[int, Any, str]:
        words: list[object] = ["release", release, "--trust", self.root / trust, *more]
        done = self.organisations["publisher"].run("pluto_measure", *words, "--json")
        return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("rebuilders")
    made = make(root / "made")
    found = {}
    for name in PLACES:
        found[name] = Organisation(name, root / f"{name}'s own place")
        found[name].home.mkdir()
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", found[name].key], check=True)
        found[name].key.chmod(0o600)
        public = ["openssl", "pkey", "-in", str(found[name].key), "-pubout", "-out", str(root / f"{name}.pub")]
        subprocess.run(public, check=True)
    signatures = {}
    code, said = found["publisher"].document(
        "pluto_measure", "sign", made.release / "release.json", "--key", found["publisher"].key
    )
    assert code == 0
    signatures["publisher"] = Path(said["signature"])
    for name in ("north", "south"):
        code, said = found[name].attests(found[name].fetches(made.release))
        assert (code, said["equal"], said["dissent"]) == (0, True, False)
        signatures[name] = Path(said["signature"])
    keys = [word for name in PLACES for word in ("--key", f"{name}={root / f'{name}.pub'}")]
    for file, age in (("trust.toml", "any"), ("lately.toml", str(30 * 86400))):
        done = found["publisher"].run("pluto_measure", "trust", *keys, "-k", 2, "--max-confirmation-age", age)
        (root / file).write_text(done.stdout)
    yield Stage(made, found, signatures, root)
    shutil.rmtree(root)  # disks of a GiB, nearly all zeros


def test_weakness_19_three_places_sign_the_same_bytes(stage: Stage, tmp_path: Path) -> None:
    code, verdict, err = stage.judged(stage.release(tmp_path / "r", *PLACES))
    assert (code, verdict["signers"]["organisations"], verdict["disagreements"]) == (0, sorted(PLACES), [])
    assert err == ""


@pytest.mark.parametrize("away", PLACES)
def test_any_two_of_three_are_enough_and_one_is_not(stage: Stage, tmp_path: Path, away: str) -> None:
    others = [name for name in PLACES if name != away]
    code, verdict, _ = stage.judged(stage.release(tmp_path / "two", *others))
    assert (code, verdict["accepted"]) == (0, True)
    code, verdict, _ = stage.judged(stage.release(tmp_path / "one", away))
    assert (code, verdict["accepted"]) == (5, False)


def test_a_tampered_signature_is_named_and_the_other_two_are_believed(stage: Stage, tmp_path: Path) -> None:
    release = stage.release(tmp_path / "r", *PLACES)
    file = release / "signatures" / stage.signatures["north"].name
    envelope = json.loads(file.read_text())
    envelope["signatures"][0]["sig"] = "A" * 86 + "=="
    file.write_text(json.dumps(envelope))
    code, verdict, _ = stage.judged(release)
    assert (code, verdict["signers"]["organisations"]) == (0, ["publisher", "south"])
    (bad,) = [one for one in verdict["signatures"] if one["worth"] == "invalid"]
    assert (bad["file"], bad["organisation"]) == (f"signatures/{file.name}", "north")


def test_a_tampered_file_is_named(stage: Stage, tmp_path: Path) -> None:
    release = stage.release(tmp_path / "r", *PLACES)
    put(release, "pluto.efi", b"MZ other")
    code, verdict, _ = stage.judged(release)
    assert code == 4
    failed = [one for one in verdict["findings"] if one["verdict"] == "fail"]
    assert [one["text"] for one in failed] == ["pluto.efi is not the file that the release is about"]


def misled(stage: Stage, release: Path) -> None:
    """The release as a bad mirror gives it to one rebuilder: other sources, and a digest list that fits them."""
    files = dict(sources(stage.made)) | {"notary/pluto_notary/__init__.py": b'"""Another workload."""\n'}
    consistent(lambda folder: put(folder, "source.tar", source_tree.tar(files, 1_700_000_000)))(release)


def sources(made: Made) -> dict[str, bytes]:
    read = ((made.release / name).read_bytes() for name in ("source.tar", "lock.json", "launch.json", "release.json"))
    return dict(again.ingredients(*read).source.files)


def test_a_rebuilder_who_got_other_bytes_says_so_and_is_named_with_each_file(stage: Stage, tmp_path: Path) -> None:
    """Registers: tests/measure/publish/test_release_dissent.py, since the tiny definition is for no machine."""
    south = stage.organisations["south"]
    fetched = south.fetches(stage.made.release, "misled")
    shutil.rmtree(fetched / "signatures")
    misled(stage, fetched)
    code, said = south.attests(fetched, "--dissent")
    assert (code, said["dissent"], said["equal"]) == (4, True, False)
    dissent = Path(said["signature"])
    assert dissent.name.endswith(".dissent.dsse.json")

    release = stage.release(tmp_path / "r", "publisher", "north")
    shutil.copy(dissent, release / "signatures")
    code, verdict, err = stage.judged(release, "trust.toml", "--html", tmp_path / "page.html")
    assert (code, verdict["accepted"]) == (0, True)
    (one,) = verdict["disagreements"]
    assert one["organisation"] == "south"
    assert {"pluto.efi", "disk.raw", "source.tar"} <= {each["what"] for each in one["artifacts"]}
    assert "DISAGREEMENT" in err
    assert "south disagrees" in (tmp_path / "page.html").read_text()
    (release / "signatures" / stage.signatures["north"].name).unlink()
    code, verdict, _ = stage.judged(release)
    assert (code, [one["id"] for one in verdict["findings"] if one["verdict"] == "fail"]) == (
        4,
        ["release.disagreement", "release.threshold"],
    )


def test_a_stale_release_is_refused_until_two_confirm_it_and_a_revoked_one_for_good(
    stage: Stage, tmp_path: Path
) -> None:
    """The tiny release is of 2023."""
    release = stage.release(tmp_path / "r", *PLACES)
    code, verdict, _ = stage.judged(release, "lately.toml")
    assert (code, [one["id"] for one in verdict["findings"] if one["verdict"] == "fail"]) == (5, ["release.freshness"])
    for name in ("publisher", "north"):
        words = ("reattest", release, "--key", stage.organisations[name].key, "--until", "2033-01-01T00:00:00Z")
        assert stage.organisations[name].document("pluto_measure", *words)[0] == 0
        code, verdict, _ = stage.judged(release, "lately.toml")
    assert (code, sorted(verdict["confirmation"]["organisations"])) == (0, sorted(PLACES))
    words = ("revoke", release, "--key", stage.organisations["south"].key, "--reason", "the disk is not encrypted")
    assert stage.organisations["south"].document("pluto_measure", *words)[0] == 0
    code, verdict, _ = stage.judged(release, "lately.toml")
    (why,) = [one for one in verdict["findings"] if one["verdict"] == "fail"]
    assert (code, why["id"]) == (5, "release.revocation")
    assert why["text"].endswith("south revoked this release: the disk is not encrypted")
