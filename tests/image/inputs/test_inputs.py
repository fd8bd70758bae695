"""Inputs of a run: a vanished file leads to a new lock in a build folder, which is named and never silent."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pluto_image.commands import bundle as bundle_command
from pluto_image.commands import fetch as fetch_command
from pluto_image.commands import lock as lock_command
from pluto_image.definition import Definition
from pluto_image.errors import UnavailableError
from pluto_image.inputs import fetch, options
from pluto_image.inputs.relock import Inputs, all_inputs, relock_if_vanished
from pluto_image.inputs.store import Store
from pluto_image.lock.folder import load_lock, read_evidence, write_evidence, write_lock
from pluto_image.lock.lockfile import Derived, Lock, with_derived
from pluto_measure import command
from pluto_measure.errors import FormatError, UsageError
from simulators.debian_mirror import Signer
from simulators.debian_world import NOW, World, app, lib, world


@pytest.fixture
def tiny(tmp_path: Path, signer: Signer) -> Iterator[World]:
    """A world whose definition is locked, and whose store is empty again."""
    with world(tmp_path, signer) as made:
        locked = made.lock()
        write_lock(made.folder, locked.lock)
        write_evidence(made.folder, locked.evidence.items())
        made.store = Store(tmp_path / "fresh")
        yield made


def run(tiny: World, into: Path | None, *, offline: bool = False) -> Inputs:
    return relock_if_vanished(tiny.folder, tiny.store, tiny.sources, into=into, at=NOW, offline=offline)


def test_nothing_is_relocked_while_all_files_are_there(tiny: World, tmp_path: Path) -> None:
    found = run(tiny, tmp_path / "relock")
    assert found.moved == ()
    assert found.lock_path == tiny.folder / "lock.json"
    assert fetch.missing(all_inputs(found.lock), tiny.store) == []
    assert not (tmp_path / "relock").exists()


def test_a_vanished_file_leads_to_a_new_lock_that_names_what_moved(tiny: World, tmp_path: Path) -> None:
    committed = (tiny.folder / "lock.json").read_bytes()
    tiny.main[1] = lib("1.1", scripts={"postinst": b"new"})
    tiny.publish()
    found = run(tiny, tmp_path / "relock")
    assert list(map(str, found.moved)) == ["lib 1.0 -> 1.1"]
    assert found.lock_path == tmp_path / "relock/lock.json"
    assert Lock.parse(found.lock_path.read_bytes()) == found.lock
    assert (tmp_path / "relock/evidence/main.InRelease").is_file()
    assert (tiny.folder / "lock.json").read_bytes() == committed


def test_the_new_lock_is_used_again_while_it_serves(tiny: World, tmp_path: Path) -> None:
    tiny.main[1] = lib("1.1")
    tiny.publish()
    first = run(tiny, tmp_path / "relock")
    tiny.main[0] = app("1.7")
    tiny.publish()
    assert run(tiny, tmp_path / "relock").lock == first.lock
    tiny.store = Store(tmp_path / "fresher")
    assert [one.name for one in run(tiny, tmp_path / "relock").moved] == ["app", "lib"]


def test_evidence_of_another_lock_is_refused_with_what_helps(tiny: World) -> None:
    lock = Lock.parse((tiny.folder / "lock.json").read_bytes())
    assert sorted(read_evidence(tiny.folder, lock)) == ["main", "security"]
    with (tiny.folder / "evidence/main.InRelease").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(FormatError, match=r"main\.InRelease: is not the file that was locked") as refused:
        read_evidence(tiny.folder, lock)
    assert refused.value.hint == "run 'pluto-image lock DIR --update'"
    (tiny.folder / "evidence/main.InRelease").unlink()
    with pytest.raises(UsageError, match=r"main\.InRelease does not exist"):
        read_evidence(tiny.folder, lock)


def test_packages_that_come_and_go_are_named(tiny: World, tmp_path: Path) -> None:
    tiny.main[:2] = [replace(app("1.1"), fields={"Depends": "gui"}), replace(lib(), name="gui")]
    tiny.publish()
    found = run(tiny, tmp_path / "relock")
    assert list(map(str, found.moved)) == ["app 1.0 -> 1.1", "gui (new) -> 1.0", "lib 1.0 -> (gone)"]


def test_a_new_lock_is_made_only_where_it_is_allowed(tiny: World, tmp_path: Path) -> None:
    tiny.main[1] = lib("1.1")
    tiny.publish()
    with pytest.raises(UnavailableError, match=r"lib 1\.0"):
        run(tiny, None)
    with pytest.raises(UnavailableError):
        run(tiny, tmp_path / "relock", offline=True)
    assert not (tmp_path / "relock").exists()


def test_when_nobody_answers_the_first_error_is_reported(tiny: World, tmp_path: Path) -> None:
    tiny.mirror.files = {}
    with pytest.raises(UnavailableError, match="no source delivered"):
        run(tiny, tmp_path / "relock")


def test_a_relocked_definition_gets_its_derived_inputs_once(tiny: World, tmp_path: Path) -> None:
    made = []

    def derive(definition: Definition, lock: Lock) -> Lock:
        made.append(definition.name)
        return with_derived(lock, [Derived("code", 1, "ab" * 32, "cd" * 32)])

    tiny.main[1] = lib("1.1")
    tiny.publish()
    for _ in range(2):
        found = relock_if_vanished(
            tiny.folder, tiny.store, tiny.sources, into=tmp_path / "relock", at=NOW, derive=derive
        )
        assert [one.name for one in found.lock.derived] == ["code"]
    assert made == ["tiny"]


def test_a_lock_of_another_definition_is_a_usage_error(tiny: World) -> None:
    path = tiny.folder / "image.toml"
    path.write_text(path.read_text().replace('install = ["app"]', 'install = ["lib"]'))
    with pytest.raises(UsageError, match="made for other packages"):
        load_lock(tiny.folder, tiny.definition)
    (tiny.folder / "lock.json").unlink()
    with pytest.raises(UsageError, match=r"holds no lock\.json"):
        load_lock(tiny.folder, tiny.definition)


class TestCommands:
    """The commands, from their arguments to their exit codes."""

    @staticmethod
    def call(*words: str | Path) -> int:
        top = command.parser("pluto-image", "test")
        commands = top.add_subparsers(required=True)
        for module in (lock_command, fetch_command, bundle_command):
            module.add(commands)
        return command.run(top, [str(word) for word in words])

    @staticmethod
    def options(tiny: World, tmp_path: Path) -> list[str | Path]:
        return ["--store", tmp_path / "cli", "--mirror", tiny.mirror.url, "--json"]

    @pytest.fixture(autouse=True)
    def no_snapshot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = options.sources_from

        def sources(arguments: argparse.Namespace, definition: Definition) -> fetch.Sources:
            return replace(original(arguments, definition), snapshot="")

        monkeypatch.setattr(options, "sources_from", sources)

    def test_lock_proves_the_lock_that_is_there(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.call("lock", tiny.folder, *self.options(tiny, tmp_path)) == 0
        assert json.loads(capsys.readouterr().out)["proven"] == 3

    def test_lock_update_names_what_moved_and_wants_scripts_acknowledged(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny.main[1] = lib("1.1", scripts={"postinst": b"new"})
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        before = (tiny.folder / "lock.json").read_bytes()
        words: list[str | Path] = ["lock", tiny.folder, "--update", *self.options(tiny, tmp_path)]
        assert self.call(*words) == 5
        assert json.loads(capsys.readouterr().out)["error"]["changes"] == ["lib postinst"]
        assert (tiny.folder / "lock.json").read_bytes() == before
        assert self.call(*words, "--acknowledge", "lib") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["moved"] == [{"name": "lib", "old": "1.0", "new": "1.1"}]
        assert document["scripts"] == [{"package": "lib", "script": "postinst"}]
        assert self.call("lock", tiny.folder, *self.options(tiny, tmp_path)) == 0

    def test_a_bundle_replaces_the_network(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "inputs.tar"
        assert self.call("bundle", tiny.folder, "--out", out, *self.options(tiny, tmp_path)) == 0
        assert json.loads(capsys.readouterr().out)["files"] == 5
        tiny.mirror.files = {}
        words: list[str | Path] = ["fetch", tiny.folder, "--store", tmp_path / "new", "--offline"]
        assert self.call(*words) == 6
        assert self.call(*words, "--bundle", out) == 0

    def test_fetch_says_what_moved(self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tiny.main[1] = lib("1.1")
        tiny.publish(datetime.now(UTC) - timedelta(hours=1))
        words = ["fetch", tiny.folder, "--relock", tmp_path / "relock", *self.options(tiny, tmp_path)]
        assert self.call(*words) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["moved"] == [{"name": "lib", "old": "1.0", "new": "1.1"}]
        assert "a new lock was made: lib 1.0 -> 1.1" in err

    @pytest.mark.parametrize(
        "words",
        [
            ["lock", "nowhere"],
            ["fetch", "DIR", "--mirror", "ftp://x"],
            ["fetch", "DIR", "--bundle", "nowhere.tar"],
            ["fetch", "DIR", "--store", "a", "--store", "b"],
            ["bundle", "DIR"],
        ],
    )
    def test_mistakes_are_usage_errors(self, words: list[str], tiny: World) -> None:
        assert self.call(*(str(tiny.folder) if word == "DIR" else word for word in words)) == 2
