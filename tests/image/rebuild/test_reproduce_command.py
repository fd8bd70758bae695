"""pluto-image reproduce and attest: a release is rebuilt from itself alone; what was tampered with is named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image.rebuild.worlds import Made, Tamper, consistent, make, put
from pluto_image import artifact, cli, source_tree, sparse
from pluto_image.rebuild import again
from pluto_image.rebuild.published import Published
from pluto_measure.formats.strict_json import pretty
from pluto_measure.publish import digest_list
from pluto_measure.publish.dsse import Envelope
from pluto_measure.publish.listing import names
from pluto_measure.publish.statement import Statement

UKI = "pluto.efi"
PAGE = Path(__file__).resolve().parents[3] / "docs/reproducibility.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def release(made: Made, tmp_path: Path) -> Path:
    """A copy whose files can be replaced; they are links to those of `made`."""
    for name in names(made.release):
        target = tmp_path / "release" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(made.release / name, target)
    return tmp_path / "release"


@pytest.fixture
def quick(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build is not done again: for tampering that it does not see."""
    monkeypatch.setattr(again, "rebuilt", lambda *_: made.rebuilt)


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(made: Made, capsys: pytest.CaptureFixture[str]) -> Run:
    def reproduce(release: Path, *more: str, command: str = "reproduce") -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        options = [] if "--store" in more else ["--store", str(made.store.root)]
        code = cli.main([command, str(release), "--offline", "--json", *options, *more])
        return code, json.loads(capsys.readouterr().out)

    return reproduce


def flip(name: str, at: int) -> Tamper:
    """Change one byte of a file."""

    def tamper(release: Path) -> None:
        view = Published.open(release).views[name]
        chunks = [(begin, view.fetch(begin, end - begin)) for begin, end in view.extents]
        sparse.write_sparse(release / name, chunks, view.size)  # a new file, not the one that the name was a link to
        with (release / name).open("r+b") as file:
            file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0xFF]))

    return tamper


def edit(name: str, old: str, new: str) -> Tamper:
    def tamper(release: Path) -> None:
        text = (release / name).read_text()
        assert old in text
        put(release, name, text.replace(old, new).encode())

    return tamper


@pytest.mark.slow
def test_weakness_19_a_release_is_rebuilt_from_itself_alone(
    made: Made, release: Path, run: Run, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in release.rglob("*")}
    code, found = run(release, "--store", str(tmp_path / "empty"), "--out", str(tmp_path / "again"))
    assert (code, found["equal"], found["differences"], found["causes"]) == (0, True, [], [])
    assert set(found["files"]) == set(names(made.release)) - {"inputs.tar"}
    assert set(found["files"].values()) == {"equal"}
    assert (found["notRebuilt"], found["flavour"]) == (["inputs.tar"], "release")
    assert found["buildId"] == made.rebuilt.build_id
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*")} == before, "nothing is written there"
    again_sums = (tmp_path / "again" / digest_list.SUMS).read_bytes()
    assert again_sums == (made.release / digest_list.SUMS).read_bytes()


@pytest.mark.usefixtures("quick")
def test_people_read_what_was_found(release: Path, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["reproduce", str(release), "--offline", "--store", str(made.store.root)]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert "reproduced, " in out
    assert "files equal byte by byte" in out
    assert "source.tar holds no builder" in err
    flip("disk.raw", 512 + 56)(release)
    assert cli.main(argv) == 4
    out, _ = capsys.readouterr()
    assert "not reproduced, 1 of " in out
    assert "  GPT header: DiskGUID: another field of the GPT header\n    published  " in out
    assert "likely cause: not as the release's own SHA256SUMS lists them: disk.raw\n" in out


def extra(release: Path) -> None:
    put(release, "notes.txt", b"hello")


TAMPERED: list[tuple[str, Tamper, str, str]] = [
    ("a byte of the UKI's DOS header", flip(UKI, 30), UKI, "DOS header"),
    ("the firmware", flip("firmware.fd", 9), "firmware.fd", ""),
    ("a GUID of the disk", flip("disk.raw", 512 + 56), "disk.raw", "GPT header: DiskGUID"),
    ("free space of the disk", flip("disk.raw", 900 << 20), "disk.raw", "ESP: a cluster that no file uses"),
    ("the last sector of the VHD", flip("disk.vhd", -512 + 24), "disk.vhd", "footer: TimeStamp"),
    ("the archive's time", flip("gcp.tar.gz", 4), "gcp.tar.gz", "gzip header: MTIME"),
    ("a mode in files.json", edit("files.json", '"0755"', '"0777"'), "files.json", "[path="),
    ("the version in the statement", edit("release.json", '"sequence": 2', '"sequence": 3'), "release.json",
     "/predicate/sequence"),
    ("the spelling of launch.json", edit("launch.json", '"flavour": ', '"flavour":'), "launch.json", ""),
    ("a port of the container", edit("oci/index.json", '"schemaVersion":2', '"schemaVersion":3'), "oci/index.json",
     "/schemaVersion"),
    ("a file too many", extra, "notes.txt", ""),
    ("a missing launch.json", lambda release: (release / "launch.json").unlink(), "launch.json", ""),
    ("a missing file", lambda release: (release / "sbom.spdx.json").unlink(), "sbom.spdx.json", ""),
]  # fmt: skip


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("listed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "listed anew"])
@pytest.mark.parametrize(("tamper", "name", "where"), [t[1:] for t in TAMPERED], ids=[t[0] for t in TAMPERED])
def test_what_was_tampered_with_is_named(
    tamper: Tamper, name: str, where: str, listed: bool, release: Path, run: Run
) -> None:
    (consistent(tamper) if listed else tamper)(release)
    code, found = run(release)
    assert (code, found["equal"]) == (4, False)
    wrong = {file for file, verdict in found["files"].items() if verdict != "equal"}
    assert wrong == ({name, digest_list.SUMS} if listed else {name})
    places = [one["where"] for one in found["differences"] if one["file"] == name and one["where"] != "SHA-256"]
    assert places
    assert all(place.startswith(where) for place in places[:1])
    causes = [cause["id"] for cause in found["causes"]]
    late = not listed and found["files"][name] == "different"
    assert causes == (["changed-afterwards"] if late else ["published-files"])


@pytest.mark.usefixtures("quick")
def test_a_digest_list_that_is_wrong_for_equal_files_is_named(release: Path, run: Run) -> None:
    digest = artifact.file_digest(release / UKI)
    edit(digest_list.SUMS, digest, "0" * 64)(release)
    code, found = run(release)
    assert code == 4
    (one,) = found["differences"]
    assert (one["file"], one["where"], one["published"]) == (digest_list.SUMS, UKI, "0" * 64)
    assert one["meaning"] == "the file is what was rebuilt, and the list has another digest for it"


def sources(made: Made) -> dict[str, bytes]:
    tar = (made.release / "source.tar").read_bytes()
    return dict(again.ingredients(tar, (made.release / "lock.json").read_bytes(), *_said(made)).source.files)


def _said(made: Made) -> tuple[bytes, bytes]:
    return (made.release / "launch.json").read_bytes(), (made.release / "release.json").read_bytes()


@pytest.mark.slow
def test_an_image_of_other_sources_than_those_published_is_named_to_the_file(
    made: Made, release: Path, run: Run
) -> None:
    files = sources(made) | {"notary/pluto_notary/__init__.py": b'"""Harmless."""\n'}
    consistent(lambda folder: put(folder, "source.tar", source_tree.tar(files, 1_700_000_000)))(release)
    code, found = run(release)
    assert code == 4
    one = next(one for one in found["differences"] if one["file"] == UKI and "__init__" in one["where"])
    place = "section .initrd: usr/lib/python3/dist-packages/pluto_notary/__init__.py: line 1"
    assert (one["where"], one["published"], one["rebuilt"]) == (place, '"""The workload."""', '"""Harmless."""')
    assert one["meaning"] == "other content (source notary/pluto_notary)"
    assert {cause["id"] for cause in found["causes"]} == {"other-sources", "other-build"}


@pytest.mark.slow
def test_a_debug_build_of_a_dirty_tree_reproduces_too(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_tree, "_dirty", lambda *_: ("image/tiny/image.toml",))
    dirty = make(tmp_path, "debug")
    monkeypatch.undo()
    code, found = run(dirty.release, "--store", str(dirty.store.root))
    assert (code, found["flavour"]) == (0, "debug")


@pytest.mark.slow
def test_no_code_of_the_release_runs_and_another_builder_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = b"raise SystemExit(99)\n"
    other = make(tmp_path, more={"image/pluto_image/build.py": trap, "image/pluto_image/__init__.py": trap})
    argv = ["reproduce", str(other.release), "--offline", "--store", str(other.store.root), "--json"]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert "image/pluto_image/build.py" in json.loads(out)["builder"]
    assert "the installed builder is not the one in source.tar" in err


def test_a_release_that_is_malformed_or_lacks_its_inputs_is_refused(release: Path, run: Run, tmp_path: Path) -> None:
    assert run(tmp_path)[0] == 2
    flip("source.tar", 3)(release)
    code, found = run(release)
    assert (code, found["error"]["what"]) == (3, "source.tar")
    (release / "lock.json").unlink()
    assert run(release)[0] == 3


def test_a_lock_that_names_what_nobody_has_is_not_authentic_or_has_no_source(release: Path, run: Run) -> None:
    digest = json.loads((release / "lock.json").read_text())["image"][0]["sha256"]
    edit("lock.json", digest, "0" * 64)(release)
    code, found = run(release)
    assert code == 4
    assert found["error"]["message"].startswith("lock.json is not what SHA256SUMS of the release lists")
    consistent(lambda _: None)(release)
    assert run(release)[0] == 6, "consistent, so it may be a release of other packages"


def test_a_lock_of_another_definition_is_not_authentic(release: Path, run: Run) -> None:
    document = json.loads((release / "lock.json").read_text()) | {"definition": "0" * 64}
    consistent(lambda folder: put(folder, "lock.json", pretty(document).encode()))(release)
    code, found = run(release)
    assert (code, found["error"]["kind"]) == (4, "VerificationError")


def test_the_page_shows_commands_that_work(release: Path, made: Made, key: Path, quick: None) -> None:
    lines = [line for title in ("Reproduce a release", "Sign what was reproduced") for line in shown(title)]
    assert [line.split()[1] for line in lines] == ["reproduce", "attest"]
    for line in lines:
        words = line.replace("RELEASE", str(release)).replace("KEY.pem", str(key)).split()
        assert cli.main([*words[1:], "--store", str(made.store.root), "--offline"]) == 0


def shown(title: str) -> list[str]:
    """The commands below a heading of docs/reproducibility.md."""
    section = PAGE.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\$ (pluto-image .+)$", section, re.MULTILINE)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    path.chmod(0o600)
    return path


@pytest.mark.usefixtures("quick")
def test_what_was_reproduced_is_signed(release: Path, run: Run, key: Path) -> None:
    code, found = run(release, "--key", str(key), command="attest")
    assert (code, found["equal"]) == (0, True)
    envelope = json.loads(Path(found["signature"]).read_text())
    assert Path(found["signature"]).parent == release / "signatures"
    import base64

    assert base64.b64decode(envelope["payload"]) == (release / "release.json").read_bytes()
    code, found = run(release, "--key", str(key), command="attest")
    assert code == 0, "a signature beside the files is no difference"
    assert found["notRebuilt"][0] == "inputs.tar"


@pytest.mark.usefixtures("quick")
def test_what_differs_is_not_signed(release: Path, run: Run, key: Path, tmp_path: Path) -> None:
    edit("release.json", '"sequence": 2', '"sequence": 3')(release)
    out = tmp_path / "signature.json"
    code, found = run(release, "--key", str(key), "--out", str(out), command="attest")
    assert (code, found["signature"], out.exists()) == (4, None, False)
    assert not (release / "signatures").exists()


@pytest.mark.usefixtures("quick")
def test_what_differs_is_signed_as_a_dissent_where_that_is_asked_for(release: Path, run: Run, key: Path) -> None:
    edit("release.json", '"sequence": 2', '"sequence": 3')(release)
    published = (release / "release.json").read_bytes()
    code, found = run(release, "--key", str(key), "--dissent", command="attest")
    assert (code, found["equal"], found["dissent"]) == (4, False, True)
    path = Path(found["signature"])
    assert (path.parent, path.name.partition(".")[2]) == (release / "signatures", "dissent.dsse.json")
    said = Statement.parse(Envelope.parse(path.read_bytes()).payload)
    assert said.predicate_type == "https://pluto-tee.org/dissent/v1"
    assert said.predicate["sequence"] == 2, "what was got, not what was published"
    assert said.predicate["statement"] == {"sha256": hashlib.sha256(published).hexdigest()}


@pytest.mark.usefixtures("quick")
def test_files_that_are_not_those_of_the_statement_are_nothing_to_dissent_from(
    release: Path, run: Run, key: Path, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was rebuilt is what the release states: its own files are damaged, which it does not sign either."""
    flip(UKI, 30)(release)
    code, found = run(release, "--key", str(key), "--dissent", command="attest")
    assert (code, found["signature"], found["dissent"]) == (4, None, False)
    assert not (release / "signatures").exists()
    words = ["attest", str(release), "--key", str(key), "--dissent", "--offline", "--store", str(made.store.root)]
    assert cli.main(words) == 4
    assert "release.json is what was rebuilt: the files beside it are not those" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_release_that_is_rebuilt_is_signed_and_not_dissented_from(release: Path, run: Run, key: Path) -> None:
    code, found = run(release, "--key", str(key), "--dissent", command="attest")
    assert (code, found["dissent"], found["signature"].endswith("dissent.dsse.json")) == (0, False, False)


def test_a_key_that_does_not_open_is_said_before_the_build(
    release: Path, run: Run, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "rebuilt", lambda *_: pytest.fail("was built"))
    key.write_bytes(b"no key")
    assert run(release, "--key", str(key), command="attest")[0] == 3
    assert run(release, "--key", str(key.with_name("none")), command="attest")[0] == 2
    assert run(release, command="attest")[0] == 2
