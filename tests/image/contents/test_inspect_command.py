"""`pluto-image inspect`: says what is in a DIST in three forms, and writes no page that it cannot vouch for."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pluto_image import artifact
from pluto_image.cli import main
from simulators import small_dist

# What the document had before it had more: others read these.
KEPT = {
    "buildId", "flavour", "digest", "stub", "ukiSize", "commandLine", "sections", "packages", "paths", "rootSize",
    "origins",
}  # fmt: skip


def lay(folder: Path, made: dict[str, bytes]) -> Path:
    """A DIST of these files; what `inspect` does not read is there and means nothing."""
    whole = dict.fromkeys(artifact.NAMES, b"not read") | made | {"disk.raw": bytes(1 << 20)}
    artifact.write(folder, whole, {})
    return folder


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return lay(tmp_path / "dist", small_dist.files(container=True))


def test_the_text_says_the_most_important_things(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(dist)]) == 0
    out, err = capsys.readouterr()
    assert "build id      " + "ab" * 32 in out
    assert "1 service, exposure tool " in out
    assert "network       8443 (tool.socket)" in out
    assert "all files as listed" in out
    assert err == ""


def test_the_document_keeps_its_members_and_has_the_facts(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(dist), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) > KEPT
    assert document["packages"] == len([one for one in document["packageList"] if one["kind"] == "package"]) == 2
    tool = next(one for one in document["packageList"] if one["name"] == "tool")
    assert (tool["scriptsNotRun"], tool["byteCodeSize"], tool["why"]) == (["postinst"], 900, ["what it is for"])
    assert "scripts" not in tool
    assert document["rootSize"] == sum(document["origins"].values())
    assert sum(one["size"] for one in document["parts"] if one["kind"] != "kernel") == document["rootSize"]
    unit = next(one for one in document["units"] if one["name"] == "tool.service")
    assert unit["score"]["level"] == "exposed"
    assert {"setting": "PrivateTmp=", "exposure": "0.2"} in unit["score"]["costs"]
    assert "PrivateNetwork=" not in {cost["setting"] for cost in unit["score"]["costs"]}, "a drop-in sets it"
    assert [one["why"] for one in document["modules"]] == ["quotes", "the network card"]
    assert [one["loaded"] for one in document["modules"]] == ["at boot", "by its device"]
    assert [(one["address"], one["reach"]) for one in document["listeners"]] == [
        ("8443", "network"), ("/run/tool", "machine"),
    ]  # fmt: skip
    assert document["containerPorts"] == ["8443/tcp"]
    assert document["maskedUnits"] == [{"name": "debug-shell.service", "why": "no shell"}]
    assert [one["name"] for one in document["users"]] == ["root", "tool"]
    chain = {step["title"]: step for step in document["bootChain"]}
    assert chain["section .cmdline"]["td"] == ["RTMR[2]"]
    assert chain["section .cmdline"]["tpm"] == ["PCR 11"]
    assert document["commandLineTokens"][0]["text"] == "console=ttyS0"


def test_the_page_is_written_and_names_its_command(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = dist.parent / "a page.html"
    assert main(["inspect", str(dist), "--html", str(page), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["flavour"] == "release"
    assert f"wrote {page}" in err
    first = page.read_bytes()
    command = shlex.join(["pluto-image", "inspect", str(dist), "--html", str(page)])
    assert command.replace("'", "&#39;").encode() in first
    assert main(shlex.split(command)[1:]) == 0
    assert page.read_bytes() == first
    assert [path.name for path in dist.parent.iterdir() if path.suffix == ".html"] == ["a page.html"]


@pytest.mark.parametrize(("place", "said"), [("dist", "is a directory"), ("no/where.html", "there is no folder")])
def test_a_page_that_has_no_place_is_refused_first(
    dist: Path, capsys: pytest.CaptureFixture[str], place: str, said: str
) -> None:
    (dist / "pluto.efi").unlink()  # nothing was read yet
    assert main(["inspect", str(dist), "--html", str(dist.parent / place)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("files.json", b"[]", 4, "files.json does not say what the root"),
        ("files.json", b"{", 3, "not JSON"),
        ("measurements.json", b"{}", 3, "measurements.json"),
        ("lock.json", b"{}", 3, "lock.json"),
        ("source.tar", b"x" * 700, 3, "source.tar"),
    ],
)
def test_a_dist_that_is_wrong_in_itself_leaves_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, code: int, said: str
) -> None:
    dist = lay(tmp_path / "dist", {**small_dist.files(), name: content})
    page = tmp_path / "page.html"
    page.write_text("before")
    assert main(["inspect", str(dist), "--html", str(page)]) == code
    assert said in capsys.readouterr().err
    assert page.read_text() == "before"


def test_a_changed_file_is_found_before_it_is_read(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "lock.json").write_bytes(b"{}")
    assert main(["inspect", str(dist)]) == 4
    assert "lock.json does not have the digest" in capsys.readouterr().err


def test_a_container_without_its_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {name: data for name, data in small_dist.files(container=True).items() if not name.startswith("oci/")}
    assert main(["inspect", str(lay(tmp_path / "dist", made))]) == 3
    assert "names a container whose configuration" in capsys.readouterr().err
