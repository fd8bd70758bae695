"""What a new lock changes, as the text of a pull request: versions, changed scripts, nothing hidden, never too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_image import cli
from pluto_image.inputs import options
from pluto_image.lock.difference import LARGEST, markdown
from pluto_image.lock.lockfile import Lock, Package
from simulators.debian_mirror import FakeDeb, Signer
from simulators.debian_world import World, app, lib, tool, world

EMPTY = Lock(1, "00" * 32, (), (), (), (), ())


def package(name: str, version: str = "1", **scripts: str) -> Package:
    digest = version.encode().hex().ljust(64, "0")[:64]
    return Package(name, version, "amd64", 10, digest, "00" * 20, "pool/x.deb", "main", name, version, scripts)


def locks(*scripts: str, name: str = "one") -> tuple[Lock, Lock]:
    """Two locks of one package, each of whose scripts changed."""
    old = replace(EMPTY, image=(package(name, "1", **dict.fromkeys(scripts, "00" * 32)),))
    return old, replace(EMPTY, image=(package(name, "2", **dict.fromkeys(scripts, "11" * 32)),))


class TestText:
    """The pure part."""

    def test_versions_that_moved_came_and_went_stand_in_tables_by_tree(self) -> None:
        old = replace(EMPTY, image=(package("a"), package("b")), tools=(package("t"),))
        new = replace(EMPTY, image=(package("b", "2"), package("c")), tools=(package("t"),))
        text = markdown(old, new, {}, {})
        rows = [line for line in text.splitlines() if line.startswith("| ") and "before" not in line]
        assert rows == ["| a | 1 | – | a 1 (main) |", "| b | 1 | 2 | b 2 (main) |", "| c | – | 1 | c 1 (main) |"]
        assert "## Packages of the image: 3 changes" in text
        assert "tools tree:" not in text
        assert "The image has 2 packages, 20 bytes (+0); the tools tree 1 package, 10 bytes." in text

    def test_the_same_lock_says_so(self) -> None:
        assert markdown(EMPTY, EMPTY, {}, {}) == "# Lock\n\nNothing changed.\n"

    def test_a_script_shows_its_difference(self) -> None:
        key = ("one", "postinst")
        text = markdown(*locks("postinst"), {key: b"#!/bin/sh\nexit 0\n"}, {key: b"#!/bin/sh\nrm -rf /\n"})
        assert "### one postinst: changed" in text
        assert "-exit 0\n+rm -rf /\n" in text

    def test_new_gone_and_lost_texts_are_told_apart(self) -> None:
        old = replace(EMPTY, image=(package("one", "1", prerm="00" * 32, config="00" * 32),))
        new = replace(EMPTY, image=(package("one", "2", postinst="11" * 32, config="11" * 32),))
        after = {("one", "postinst"): b"new\n", ("one", "config"): b"ask\n"}
        text = markdown(old, new, {("one", "prerm"): b"old\n"}, after)
        assert "### one postinst: new\n" in text
        assert "### one prerm: gone\n" in text
        assert "### one config: changed; the old text could not be had\n" in text

    def test_what_would_not_show_is_spelled_out(self) -> None:
        script = "exit 0 # \u202e\u200b\x1b[8m\r\n".encode() + b"\xff"
        text = markdown(*locks("postinst"), {}, {("one", "postinst"): script})
        assert r"+exit 0 # \u202e\u200b\u001b[8m\u000d" in text
        assert r"\xff" in text

    @given(st.text(alphabet="`~x\n #", max_size=200))
    def test_no_script_ends_its_own_fence(self, script: str) -> None:
        lines = markdown(*locks("postinst"), {}, {("one", "postinst"): script.encode()}).splitlines()
        at = next(number for number, line in enumerate(lines) if line.endswith("diff") and line.startswith("```"))
        fence = lines[at].removesuffix("diff")
        closing = [number for number, line in enumerate(lines) if line.strip() == fence and number > at]
        assert closing == [len(lines) - 1]

    @given(st.lists(st.integers(0, 40_000), max_size=6), st.integers(300, LARGEST))
    def test_no_text_is_longer_than_its_limit_and_a_cut_is_said(self, sizes: list[int], limit: int) -> None:
        kinds = ("preinst", "postinst", "prerm", "postrm", "config", "triggers")[: len(sizes)]
        after = {("one", kind): b"x" * size for kind, size in zip(kinds, sizes, strict=True)}
        text = markdown(*locks(*kinds), {}, after, limit=limit)
        assert len(text) <= limit
        assert all(f"one {kind}" in text for kind in kinds) or "Cut here" in text


class TestCommand:
    """pluto-image lock --update --difference, against archives that the test signs."""

    @pytest.fixture
    def tiny(self, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        original = options.sources_from
        monkeypatch.setattr(options, "sources_from", lambda *given: replace(original(*given), snapshot=""))
        with world(tmp_path, signer) as made:
            made.main[0] = app(scripts={"postinst": b"exit 0\n"})
            made.publish(datetime.now(UTC) - timedelta(days=1))
            assert self.update(made, tmp_path) == 0
            yield made

    @staticmethod
    def update(tiny: World, folder: Path, *more: str) -> int:
        words = ["lock", str(tiny.folder), "--update", "--difference", str(folder / "new/difference.md")]
        return cli.main([*words, "--store", str(tiny.store.root), "--mirror", tiny.mirror.url, *more])

    def test_the_text_holds_versions_and_changed_scripts(self, tiny: World, tmp_path: Path) -> None:
        tiny.main = [app("1.1", scripts={"postinst": b"exit 1\n"}), lib(), tool("1.1"), FakeDeb("shell", "5")]
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        assert self.update(tiny, tmp_path) == 5
        assert self.update(tiny, tmp_path, "--acknowledge", "all") == 0
        text = (tmp_path / "new/difference.md").read_text()
        assert "| app | 1.0 | 1.1 | app 1.1 (main) |" in text
        assert "| tool | 1.0 | 1.1 | tools 0.9 (main) |" in text
        assert "-exit 0\n+exit 1\n" in text

    def test_an_old_package_that_nobody_has_is_said(self, tiny: World, tmp_path: Path) -> None:
        old = Lock.parse((tiny.folder / "lock.json").read_bytes()).package("app")
        tiny.store.path(old.sha256).unlink()
        tiny.main[0] = app("1.1", scripts={"postinst": b"exit 1\n"})
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        assert self.update(tiny, tmp_path, "--acknowledge", "app") == 0
        text = (tmp_path / "new/difference.md").read_text()
        assert "### app postinst: changed; the old text could not be had" in text
        assert "+exit 1" in text

    def test_newer_indexes_of_the_same_files_leave_lock_and_evidence_alone(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = [tiny.folder / "lock.json", *(tiny.folder / "evidence").iterdir()]
        before = [path.read_bytes() for path in files]
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        capsys.readouterr()
        assert self.update(tiny, tmp_path, "--json") == 0
        assert json.loads(capsys.readouterr().out)["changed"] is False
        assert [path.read_bytes() for path in files] == before
        assert (tmp_path / "new/difference.md").read_text() == "# Lock\n\nNothing changed.\n"

    def test_a_lock_that_lost_its_evidence_is_made_anew(self, tiny: World, tmp_path: Path) -> None:
        before = (tiny.folder / "lock.json").read_bytes()
        (tiny.folder / "evidence/main.InRelease").unlink()
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        assert self.update(tiny, tmp_path) == 0
        assert (tiny.folder / "lock.json").read_bytes() != before
        words = ["lock", str(tiny.folder), "--store", str(tiny.store.root), "--offline"]
        assert cli.main([*words, "--difference", str(tmp_path / "none.md")]) == 0
        assert (tmp_path / "none.md").read_text() == "# Lock\n\nNothing changed.\n"
