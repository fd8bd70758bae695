"""`pluto-image diff`: exit codes, the document and its schema, and what is refused before anything is believed."""

from __future__ import annotations

import json
import shlex
import shutil
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from pluto_image.cli import main
from pluto_image.difference.side import READ
from pluto_measure.publish import digest_list
from simulators import tiny_releases
from simulators.tiny_definition import DEFINITION
from simulators.tiny_releases import Version

SCHEMA = json.loads((resources.files("pluto_image") / "schemas/release-difference.json").read_text())
CHANGED = Version(
    text=DEFINITION.replace('"no-kvmclock",', '"no-kvmclock", "quiet",'),
    scripts={"init": {"postinst": b"#!/bin/sh\nexit 1\n"}},
)


@pytest.fixture(scope="module")
def after(make: object) -> Path:
    assert callable(make)
    found = make(CHANGED)
    assert isinstance(found, Path)
    return found


@pytest.fixture
def copy(before: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(before, tmp_path / "copy"))


def test_equal_releases_have_no_difference_wherever_they_lie(
    before: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "signatures").mkdir()
    (copy / "signatures/one.dsse.json").write_bytes(b"{}")
    assert main(["diff", str(before), str(copy)]) == 0
    out, err = capsys.readouterr()
    assert "no difference: all files have the same digests" in out
    assert err == ""
    assert main(["diff", str(before), str(copy), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert (document["equal"], document["artifacts"], document["profiles"]) == (True, [], [])


def test_a_difference_is_exit_code_5_and_the_document_keeps_to_its_schema(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    store = str(after.parent / "store")
    assert main(["diff", str(before), str(after), "--store", store, "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert [one["text"] for one in document["commandLine"]["added"]] == ["quiet"]
    (script,) = document["packages"][0]["scripts"]
    assert (script["before"], script["difference"][-1]) == (None, "+exit 1")
    assert {one["name"] for one in document["artifacts"]} >= {"pluto.efi", "disk.raw"}
    assert main(["diff", str(before), str(after), "--store", str(after.parent / "none"), "--json"]) == 5
    (script,) = json.loads(capsys.readouterr().out)["packages"][0]["scripts"]
    assert script["difference"] is None


def test_people_read_the_same_in_order(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(before), str(after), "--store", str(after.parent / "store")]) == 5
    out, _ = capsys.readouterr()
    titles = [line.partition(":")[0] for line in out.splitlines() if line and not line.startswith(" ")][1:]
    assert titles == [
        "What it was made of", "Packages", "Maintainer scripts", "Files", "Command line", "What boots",
        "Measured events", "Registers by machine", "Sources", "Published files",
    ]  # fmt: skip
    assert "    +exit 1\n" in out
    assert "added  quiet  the kernel says little" in out
    (line,) = [line for line in out.splitlines() if line.startswith("  RTMR[2]") and "LoadOptions" in line]
    assert "command line: with quiet" in line
    assert line.endswith("google")


def test_both_pages_are_written_and_the_page_names_its_command(
    before: Path, after: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, text = tmp_path / "a page.html", tmp_path / "text.md"
    store = str(after.parent / "store")
    words = ["diff", str(before), str(after), "--html", str(page), "--store", store]
    assert main([*words, "--markdown", str(text)]) == 5
    assert f"wrote {page}" in capsys.readouterr().err
    first = page.read_bytes()
    command = shlex.join(["pluto-image", *words])
    assert command.replace("'", "&#39;").encode() in first
    assert main(shlex.split(command)[1:]) == 5
    assert page.read_bytes() == first
    assert text.read_text().startswith("# Release\n\nDifferent: 1 package, ")


@pytest.mark.parametrize("option", ["--html", "--markdown"])
@pytest.mark.parametrize(("place", "said"), [(".", "is a directory"), ("no/where", "there is no folder")])
def test_a_page_that_has_no_place_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, place: str, said: str
) -> None:
    assert main(["diff", "nothing", "nothing", option, str(tmp_path / place)]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_release_is_a_usage_error(before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(before), str(tmp_path)]) == 2
    assert "holds no SHA256SUMS" in capsys.readouterr().err
    assert main(["diff", str(before), str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("name", [name for name in READ if name != "source.tar"])
def test_a_file_that_is_malformed_is_exit_code_3_and_leaves_no_page(
    before: Path, copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = copy.parent / "page.html"
    page.write_text("before")
    tiny_releases.put(copy, name, b"{" if name != "pluto.efi" else b"MZ")
    assert main(["diff", str(before), str(copy), "--html", str(page)]) == 3
    assert "error:" in capsys.readouterr().err
    assert page.read_text() == "before"


def test_other_malformed_releases_are_exit_code_3(before: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_releases.put(copy, "source.tar", b"x" * 700)
    assert main(["diff", str(copy), str(before)]) == 3
    sums = digest_list.parse_sums((before / digest_list.SUMS).read_bytes())
    shutil.copy(before / "source.tar", copy)
    tiny_releases.lay(copy, {}, {name: one for name, one in sums.items() if name != "lock.json"})
    assert main(["diff", str(before), str(copy)]) == 3
    assert "does not list lock.json" in capsys.readouterr().err
    tiny_releases.lay(copy, {}, sums)
    (copy / "lock.json").unlink()
    assert main(["diff", str(before), str(copy)]) == 3
    assert "holds no lock.json" in capsys.readouterr().err
    (copy / digest_list.SUMS).write_bytes(b"nonsense\n")
    assert main(["diff", str(before), str(copy)]) == 3


def test_what_is_not_as_its_own_list_says_is_exit_code_4(
    before: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "lock.json").write_bytes((copy / "lock.json").read_bytes() + b"\n")
    assert main(["diff", str(before), str(copy)]) == 4
    assert "lock.json in" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["measurements.json", "release.json", "launch.json", "files.json", "pluto.efi"])
def test_files_of_another_release_are_exit_code_4(before: Path, after: Path, copy: Path, name: str) -> None:
    tiny_releases.put(copy, name, (after / name).read_bytes())
    assert main(["diff", str(before), str(copy)]) == 4


def test_two_paths_of_one_name_in_the_sources_are_refused(before: Path, copy: Path) -> None:
    tar = (copy / "source.tar").read_bytes()
    size = int(tar[124:135], 8)
    first = tar[: 512 + size + -size % 512]
    tiny_releases.put(copy, "source.tar", first + tar)
    assert main(["diff", str(before), str(copy)]) == 3


def test_disks_and_archives_need_not_be_there(before: Path) -> None:
    assert not (before / "disk.raw").exists()
