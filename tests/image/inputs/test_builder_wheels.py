"""The builder's own wheels: the lock covers every supported machine, and a stranger needs one file and Python."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging import tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from pluto_image import cli, source_tree
from pluto_image.errors import UnavailableError
from pluto_image.inputs import builder_wheels, bundle
from pluto_image.inputs.builder_wheels import BuilderWheels
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store, default_root
from pluto_image.inputs.wheels import ensure_wheels
from pluto_image.lock.folder import write_evidence, write_lock
from pluto_image.lock.lockfile import Lock, Wheel
from pluto_measure.errors import FormatError
from simulators import tiny_definition
from simulators.debian_mirror import Signer
from simulators.debian_world import World, world

ROOT = Path(__file__).resolve().parents[3]
LOCKED = BuilderWheels.parse((ROOT / builder_wheels.PATH).read_bytes())
DOCUMENT: dict[str, Any] = json.loads(LOCKED.text)


@pytest.fixture
def locking(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program that makes the lock."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("requirements.lock_wheels")


def fitting(python: str, platforms: Iterable[str]) -> list[Wheel]:
    """The locked wheels that CPython of this version takes on these platforms, by another implementation."""
    version, names = tuple(map(int, python.split("."))), list(platforms)
    for match in filter(None, (re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", name) for name in platforms)):
        names += tags.mac_platforms((int(match[1]), int(match[2])), match[3])
    accepted = {*tags.cpython_tags(version, platforms=names), *tags.compatible_tags(version, platforms=names)}
    return [wheel for wheel in LOCKED.wheels if parse_wheel_filename(wheel.file)[3] & accepted]


class TestLock:
    def test_every_machine_finds_every_requirement_with_a_hash_of_run_txt(self, locking: ModuleType) -> None:
        text = (ROOT / "requirements/run.txt").read_text()
        assert set(LOCKED.pythons) == set(locking.PYTHONS) >= {"3.11", "3.12", "3.13", "3.14"}
        assert list(LOCKED.platforms) == list(locking.PLATFORMS)
        used = set()
        for python in LOCKED.pythons:
            for name, platform in locking.PLATFORMS.items():
                found = {wheel.name: wheel for wheel in fitting(python, DOCUMENT["platforms"][name])}
                used |= {wheel.file for wheel in found.values()}
                pip = found.pop("pip")
                assert (pip.file, pip.sha256) == (locking.WHEEL, locking.WHEEL_SHA256)
                wanted = {one.name: (one, hashes) for one, hashes in locking.applying(text, python, platform)}
                assert set(found) == set(wanted), (python, name)
                for one, hashes in wanted.values():
                    assert found[one.name].sha256 in hashes
                    assert str(one.specifier) == f"=={found[one.name].version}"
        assert used == {wheel.file for wheel in LOCKED.wheels}, "a wheel that nobody takes"

    def test_a_requirement_of_one_platform_is_asked_for_there_only(self, locking: ModuleType) -> None:
        a, b = (f" \\\n    --hash=sha256:{name * 64}\n" for name in "ab")
        text = f"a==1 ; sys_platform == 'win32'{a}b==2{b}"
        found = {
            name: [one.name for one, _ in locking.applying(text, "3.12", platform)]
            for name, platform in locking.PLATFORMS.items()
        }
        assert found.pop("windows-x86_64") == ["a", "b"]
        assert set(map(tuple, found.values())) == {("b",)}

    def test_names_versions_and_tags_are_those_of_the_file_names(self) -> None:
        for wheel in LOCKED.wheels:
            name, version, _, known = parse_wheel_filename(wheel.file)
            assert (wheel.name, wheel.version) == (canonicalize_name(name), str(version))
            asked = builder_wheels.target(wheel)
            assert {one.platform for one in known} == set(asked.platforms)
            assert {one.abi for one in known} == set(asked.abis)
            interpreters = {one.interpreter for one in known}
            assert interpreters & {f"{asked.implementation}{asked.python.replace('.', '')}", f"{asked.implementation}3"}

    def test_it_is_written_as_it_is_read(self, locking: ModuleType, tmp_path: Path) -> None:
        for wheel in LOCKED.wheels[:3]:
            (tmp_path / wheel.file).write_bytes(b"x")
        made = BuilderWheels.parse(locking.lock(tmp_path).encode())
        assert [replace(one, size=0, sha256="") for one in made.wheels] == [
            replace(one, size=0, sha256="") for one in LOCKED.wheels[:3]
        ]
        assert {(one.size, one.sha256) for one in made.wheels} == {(1, hashlib.sha256(b"x").hexdigest())}
        assert (made.pythons, made.platforms) == (LOCKED.pythons, LOCKED.platforms)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda d: d.update(version=2), "version 2"),
            (lambda d: d.update(more=1), "more"),
            (lambda d: d.pop("pythons"), "pythons"),
            (lambda d: d.update(pythons=["3.11", "3.11"]), "each once"),
            (lambda d: d.update(platforms={}), "platforms"),
            (lambda d: d["wheels"].reverse(), "not sorted"),
            (lambda d: d["wheels"].append(d["wheels"][-1]), "twice"),
            (lambda d: d["wheels"][0].update(size=0), "size 0"),
            (lambda d: d["wheels"][0].update(sha256="AB" * 32), "hex"),
            (lambda d: d["wheels"][0].update(name="a b"), "name or version"),
            (lambda d: d["wheels"][0].update(version="1 --index-url=x"), "name or version"),
            (lambda d: d["wheels"][0].update(file="../certifi-1-py3-none-any.whl"), "not the name of a wheel"),
            (lambda d: d["wheels"][0].update(file="certifi-1-py3-none.whl"), "not the name of a wheel"),
            (lambda d: d["wheels"][0].update(file="certifi-1-py3-none-any.zip"), "not the name of a wheel"),
        ],
    )
    def test_a_wrong_lock_is_refused_by_name(self, change: Callable[[dict[str, Any]], object], named: str) -> None:
        document = json.loads(LOCKED.text)
        change(document)
        with pytest.raises(FormatError, match=named):
            BuilderWheels.parse(json.dumps(document).encode())

    def test_the_nearest_project_decides(self, tmp_path: Path) -> None:
        definition = tmp_path / "image/tiny"
        definition.mkdir(parents=True)
        (tmp_path / "pyproject.toml").touch()
        assert builder_wheels.of_project(definition) is None
        (tmp_path / "requirements").mkdir()
        (tmp_path / builder_wheels.PATH).write_bytes(LOCKED.text)
        assert builder_wheels.of_project(definition) == LOCKED
        (tmp_path / "image/pyproject.toml").touch()
        assert builder_wheels.of_project(definition) is None


def made_wheel(name: str, tag: str) -> tuple[Wheel, bytes]:
    out, info = io.BytesIO(), f"{name}-1.0.dist-info"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), "x = 1\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    data = out.getvalue()
    return Wheel(name, "1.0", f"{name}-1.0-{tag}.whl", len(data), hashlib.sha256(data).hexdigest()), data


WHEEL, DATA = made_wheel("one", "py3-none-any")


@pytest.mark.slow
def test_pip_delivers_wheels_for_other_machines_and_a_batch_does_not_fall_with_one(tmp_path: Path) -> None:
    made = [
        made_wheel("one", "py3-none-any"),
        made_wheel("two", "cp314-cp314-macosx_11_0_arm64"),
        made_wheel("two", "cp312-cp312-win_amd64"),
        made_wheel("three", "cp311-abi3-manylinux2014_aarch64.manylinux_2_17_aarch64"),
        made_wheel("five", "py3-none-any"),
    ]
    for wheel, data in made:
        (tmp_path / wheel.file).write_bytes(data)
    options = ["--no-index", f"--find-links={tmp_path}", "--isolated"]
    store, good = Store(tmp_path / "store"), [wheel for wheel, _ in made]
    wrong = replace(good[0], name="four", file="four-1.0-py3-none-any.whl", sha256="ab" * 32)
    with pytest.raises(UnavailableError, match=r"delivered four 1\.0; tried four-1\.0-py3-none-any\.whl by pip"):
        ensure_wheels([*good, wrong], store, Sources(snapshot=""), pip_options=options, target=builder_wheels.target)
    assert [store.get(wheel.sha256) for wheel in good] == [data for _, data in made]


class TestCommand:
    """`pluto-image bundle` in a project that locks one wheel for the builder."""

    @pytest.fixture
    def tiny(self, tmp_path: Path, signer: Signer) -> Iterator[World]:
        with world(tmp_path, signer) as made:
            locked = made.lock()
            write_lock(made.folder, locked.lock)
            write_evidence(made.folder, locked.evidence.items())
            (tmp_path / "pyproject.toml").touch()
            (tmp_path / "requirements").mkdir()
            one = {name: getattr(WHEEL, name) for name in WHEEL.__slots__}
            (tmp_path / builder_wheels.PATH).write_text(json.dumps({**DOCUMENT, "wheels": [one]}))
            yield made

    @staticmethod
    def call(tiny: World, out: Path) -> int:
        words = ["bundle", tiny.folder, "--out", out, "--store", tiny.store.root, "--offline", "--json"]
        return cli.main(list(map(str, words)))

    def test_a_bundle_holds_the_wheels_and_their_names(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny.store.put(DATA)
        assert self.call(tiny, tmp_path / "in.tar") == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["files"], document["wheels"]) == (5, 1)
        with tarfile.open(tmp_path / "in.tar") as archive:
            names = archive.extractfile("wheels.json")
            content = archive.extractfile(f"sha256/{WHEEL.sha256[:2]}/{WHEEL.sha256}")
            assert names is not None
            assert content is not None
            assert names.read() == (tmp_path / builder_wheels.PATH).read_bytes()
            assert content.read() == DATA
        assert bundle.unpack(tmp_path / "in.tar", Store(tmp_path / "new"), {WHEEL.sha256}) == {WHEEL.sha256}
        before = (tmp_path / "in.tar").read_bytes()
        assert self.call(tiny, tmp_path / "again.tar") == 0
        assert (tmp_path / "again.tar").read_bytes() == before

    def test_a_wheel_that_nobody_has_is_named_and_nothing_is_written(
        self, tiny: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.call(tiny, tmp_path / "in.tar") == 6
        assert json.loads(capsys.readouterr().out)["error"]["missing"] == ["one 1.0"]
        assert not (tmp_path / "in.tar").exists()


def works(words: list[str]) -> bool:
    known = shutil.which(words[0]) is not None
    return known and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0


def alone(folder: Path, *words: str | Path) -> str:
    """Run a program with an empty home, and without a network as far as this user may leave it; its output."""
    prefix = next(filter(works, (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])), [])
    nowhere = "http://127.0.0.1:9/"
    proxies = {f"{scheme}_proxy": nowhere for scheme in ("http", "https")}
    (folder / "home").mkdir(exist_ok=True)
    env = {"HOME": str(folder / "home"), "PATH": os.defpath, "PIP_INDEX_URL": nowhere, **proxies}
    argv = [*prefix, *map(str, words)]
    done = subprocess.run(argv, cwd=folder / "a tree", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_stranger_needs_python_the_sources_and_one_file(tmp_path: Path) -> None:
    store, kept, mine = Store(tmp_path / "store"), Store(default_root()), {*tags.sys_tags()}
    for wheel in LOCKED.wheels:
        if parse_wheel_filename(wheel.file)[3] & mine:
            data = kept.get(wheel.sha256)
            if data is None:
                pytest.skip("the builder's wheels are not in the store")
            store.put(data)
    folder = tiny_definition.make(tmp_path / "project", store)
    lock, contents = Lock.parse((folder / "lock.json").read_bytes()), [path.name for path in store.root.glob("*/*/*")]
    bundle.write(tmp_path / "inputs.tar", lock, {}, contents, store, wheels=LOCKED.text)
    (tmp_path / "source.tar").write_bytes(source_tree.read(ROOT / "image/notary").tar(0))
    (tmp_path / "a tree").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "source.tar", "-C", tmp_path / "a tree"], check=True)

    python = getattr(sys, "_base_executable", sys.executable)
    alone(tmp_path, python, "requirements/bootstrap.py", "run", "--bundle", tmp_path / "inputs.tar")
    words = ["build", str(folder), "--offline", "--flavour", "release"]
    more = ["--out", str(tmp_path / "theirs"), "--bundle", str(tmp_path / "inputs.tar")]
    alone(tmp_path, ".venv/bin/pluto-image", *words, *more)

    assert cli.main([*words, "--out", str(tmp_path / "ours"), "--store", str(store.root)]) == 0
    assert (tmp_path / "theirs/SHA256SUMS").read_bytes() == (tmp_path / "ours/SHA256SUMS").read_bytes()
    assert (tmp_path / "a tree/.venv/bin/pip").exists()
