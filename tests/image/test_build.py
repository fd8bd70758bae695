"""The build: golden digests of a tiny definition, the same bytes under any circumstances, refusals by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from image.worlds import build_command, image_of
from pluto_image import build
from pluto_image.inputs import bundle
from pluto_image.inputs.store import Store
from pluto_image.lint import LintError
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, PlutoError, RefusedError, SourceError
from pluto_measure.formats import pe
from pluto_measure.publish import digest_list
from simulators import tiny_definition

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests/vectors/build"
# Everything that must not matter. The clock is moved by a module that every interpreter imports at start.
CIRCUMSTANCES: dict[str, dict[str, str]] = {
    "another time zone and language": {"TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "LC_ALL": "C.UTF-8"},
    "another hash seed": {"PYTHONHASHSEED": "4242"},
    "a clock in 2040": {"PLUTO_TEST_CLOCK": "2208988800"},
    "optimised byte code": {"PYTHONOPTIMIZE": "2"},
    "no user and no home": {"HOME": "/nonexistent", "USER": "", "LOGNAME": "nobody", "HOSTNAME": "elsewhere"},
}
CLOCK = """
import os, time
if "PLUTO_TEST_CLOCK" in os.environ:
    moved = float(os.environ["PLUTO_TEST_CLOCK"])
    time.time = lambda: moved
    time.time_ns = lambda: int(moved * 1e9)
"""


def sums(out: Path) -> dict[str, str]:
    return digest_list.parse_sums((out / "SHA256SUMS").read_bytes())


@pytest.mark.parametrize("flavour", ["release", "debug"])
def test_the_tiny_definition_has_its_golden_digests(flavour: str, tmp_path: Path, store: Store) -> None:
    assert build_command(tiny_definition.make(tmp_path, store), store, tmp_path / "dist", "--flavour", flavour) == 0
    golden = json.loads((VECTORS / f"tiny-{flavour}.json").read_text())
    # If this fails, the builder's output moved: every verifier must know. Say why in tests/vectors/build/MOVES.md.
    assert sums(tmp_path / "dist") == golden


# Other interpreters often lack the compressor's wheel: they build with the archive stored as it is.
STORED = """
import hashlib, json, sys, types
sys.modules["zstandard"] = types.ModuleType("zstandard")
from pathlib import Path
from pluto_image import build, definition, source_tree
from pluto_image.formats import compress
from pluto_image.lock.lockfile import Lock
from pluto_image.inputs.store import Store
compress.zstd = b"".join
folder = Path(sys.argv[1])
lock = Lock.parse((folder / "lock.json").read_bytes())
tree = source_tree.read(folder)
image = build.build_image(definition.load(folder), lock, Store(Path(sys.argv[2])), tree, "release")
parts = [image.uki, image.launch.to_text().encode(), json.dumps(build.files_document(image)).encode(), tree.tar(1)]
print(json.dumps([hashlib.sha256(part).hexdigest() for part in parts]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_another_python_gives_the_same_bytes(version: str, tmp_path: Path, store: Store) -> None:
    other = _interpreter(version)
    if other is None:
        pytest.skip(f"Python {version} is absent")
    folder = tiny_definition.make(tmp_path, store)
    found = []
    for python in (sys.executable, other):
        argv = [python, "-c", STORED, str(folder), str(store.root)]
        path = os.pathsep.join([str(ROOT / "image"), str(ROOT / "measure")])
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


@pytest.mark.slow
def test_nothing_but_the_inputs_decides_a_byte(tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path / "a project", store)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(CLOCK)
    results: dict[str, Mapping[str, str]] = {}
    for name, environment in CIRCUMSTANCES.items():
        results[name] = _elsewhere(folder, store, tmp_path, name, environment)
    other = shutil.copytree(tmp_path / "a project", tmp_path / "öther place/deeper")
    (other / "image/tiny/image.toml").chmod(0o755)
    results["another folder"] = _elsewhere(other / "image/tiny", store, tmp_path, "folder", {})
    results["a narrow umask"] = _elsewhere(folder, store, tmp_path, "umask", {}, umask=0o077)
    results["one core"] = _elsewhere(folder, store, tmp_path, "core", {}, cores={0})
    first = json.loads((VECTORS / "tiny-release.json").read_text())
    assert len(results) == len(CIRCUMSTANCES) + 3
    assert {name for name, found in results.items() if found != first} == set()


def test_release_and_debug_differ_in_measured_bytes_and_say_what_they_are(tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path, store)
    release, debug = image_of(folder, store), image_of(folder, store, "debug")
    assert release.build_id == debug.build_id
    assert release.launch.uki_authenticode != debug.launch.uki_authenticode
    assert debug.launch.command_line.endswith("pluto.flavour=debug")
    for image, flavour in ((release, b"release"), (debug, b"debug")):
        section = next(s for s in pe.parse(image.uki).sections if s.name == ".osrel")
        assert b'VARIANT_ID="' + flavour + b'"' in pe.section_data(image.uki, section)


def test_every_path_of_the_root_is_accounted_for(tmp_path: Path, store: Store) -> None:
    image = image_of(tiny_definition.make(tmp_path, store), store)
    files = {str(file["path"]): file for file in build.files_document(image)}
    assert files["usr/lib/systemd/systemd"]["origin"] == "package:init"
    assert files["usr/lib/systemd/systemd"]["mode"] == "0755", "set-uid bits and foreign places do not survive"
    assert files["usr/lib/systemd/system/hello.service"]["mode"] == "0644"
    assert files["etc/hostname"]["origin"] == "recipe:rootfs"
    assert files["usr/lib/python3/dist-packages/pluto_notary/__init__.py"]["origin"] == "source:notary/pluto_notary"
    assert files["etc/systemd/system/debug-shell.service"]["target"] == "/dev/null"
    assert not any("copyright" in path or "unwanted" in path for path in files)
    bundle = next(entry.data for entry in image.entries if entry.path == "etc/ssl/certs/ca-certificates.crt")
    assert bundle.index(b"\nA\n") < bundle.index(b"\nB\n")


def test_a_build_again_does_nothing_and_check_finds_a_changed_result(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tiny_definition.make(tmp_path, store), tmp_path / "dist"
    assert build_command(folder, store, out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is False
    assert build_command(folder, store, out, "--json", "--check") == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True
    path, before = out / "pluto.efi", (out / "pluto.efi").stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build_command(folder, store, out, "--json", "--check") == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is False


@pytest.mark.parametrize("path", ["image/tiny/rootfs/etc/hostname", "notary/pluto_notary/__init__.py"])
def test_a_changed_source_makes_another_image(path: str, tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path, store)
    before = image_of(folder, store)
    (tmp_path / path).write_bytes(b"# changed\n")
    after = image_of(folder, store)
    assert before.build_id != after.build_id
    assert before.launch.uki_digests != after.launch.uki_digests


def test_a_source_that_is_not_committed_makes_no_release(tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path, store)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "pyproject.toml", "image", "notary"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    clean = image_of(folder, store)
    (tmp_path / "image/tiny/rootfs/etc/new").write_bytes(b"")
    with pytest.raises(RefusedError, match="etc/new is not committed"):
        image_of(folder, store)
    dirty = image_of(folder, store, "debug")
    assert clean.build_id != dirty.build_id
    assert dirty.launch.command_line.endswith("pluto.flavour=debug pluto.source=dirty")


BROKEN: list[tuple[str, str, type[PlutoError], str]] = [
    ("an unknown table", "[wishes]\nx = 1\n", FormatError, "unknown member wishes"),
    ("a module twice", '[[kernel.module]]\nnames = ["tsm"]\nreason = "x"\n', FormatError, "listed twice"),
    ("a module that is not there", '[[kernel.module]]\nnames = ["zfs"]\nreason = "x"\n', FormatError, "zfs is not in"),
    ("an empty reason", '[[units.mask]]\nunits = ["a.service"]\nreason = " "\n', FormatError, "reason is empty"),
    ("a path out of the root", '[[files.link]]\npath = "../x"\ntarget = "y"\n', FormatError, "not a normal relative"),
    ("a dangling link", '[[files.link]]\npath = "x"\ntarget = "nowhere"\n', LintError, "nowhere, which does not exist"),
    ("two sources for one path", '[[files.text]]\npath = "etc/hostname"\ntext = ""\n', FormatError, "comes from"),
    ("an unknown unit", '[[units.enable]]\ntarget = "a"\nunits = ["b.service"]\nreason = "x"\n', LintError, "a.wants"),
    ("a shell", '[[files.text]]\npath = "usr/bin/bash"\ntext = "x"\nmode = "0755"\n', LintError, "is a shell"),
    ("a set-uid file", '[[files.text]]\npath = "usr/bin/x"\ntext = "x"\nmode = "4755"\n', LintError, "set-uid"),
    ("a writable file", '[[files.text]]\npath = "etc/x"\ntext = "x"\nmode = "0666"\n', LintError, "writable by"),
    ("an owner nobody knows", '[[files.directory]]\npath = "x"\nuid = 7\n', LintError, "belongs to 7:0"),
]


@pytest.mark.parametrize(("addition", "error", "match"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_recipe_is_refused_by_name(
    addition: str, error: type[PlutoError], match: str, tmp_path: Path, store: Store
) -> None:
    folder = tiny_definition.make(tmp_path, store, text=tiny_definition.DEFINITION + "\n" + addition)
    with pytest.raises(error) as refused:
        image_of(folder, store)
    text = "; ".join(getattr(refused.value, "findings", [str(refused.value)]))
    assert match in text


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"lockdown=integrity"', '"lockdown=1"', "'lockdown=1' has a value that does not count"),
        ('"tsc=reliable", ', "", "lacks tsc=reliable"),
        ('"no-kvmclock"', '"no-kvmclock", "systemd.debug_shell=1"', "'systemd.debug_shell=1' is not known"),
        ('debug = ["pluto.flavour=debug"]', "debug = []", "does not say that the flavour is debug"),
        ('names = ["virtio_net", "failover"]', 'names = ["virtio_net"]', "needs failover, which is not listed"),
        (
            'paths = ["usr/lib/systemd/systemd", ',
            'paths = ["usr/bin/gone", "usr/lib/systemd/systemd", ',
            "usr/bin/gone",
        ),
        ('packages = ["ca-certificates"]', 'packages = ["absent"]', "absent is not in the lock"),
    ],
)
def test_a_recipe_that_no_longer_fits_is_refused_by_name(
    old: str, new: str, match: str, tmp_path: Path, store: Store
) -> None:
    text = tiny_definition.DEFINITION.replace(old, new)
    assert text != tiny_definition.DEFINITION
    folder = tiny_definition.make(tmp_path, store, text=text)
    with pytest.raises(PlutoError) as refused:
        image_of(folder, store, "debug")
    assert match in "; ".join(getattr(refused.value, "findings", [str(refused.value)]))


def test_a_missing_or_damaged_input_leaves_the_result_as_it_was(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tiny_definition.make(tmp_path, store), tmp_path / "dist"
    assert build_command(folder, store, out) == 0
    before = sums(out)
    package = Lock.parse((folder / "lock.json").read_bytes()).image[0]
    path = store.path(package.sha256)
    path.chmod(0o644)
    path.write_bytes(b"x" * package.size)
    (folder / "rootfs/etc/hostname").write_bytes(b"other\n")
    capsys.readouterr()
    assert build_command(folder, store, out, "--json") == 6
    document = json.loads(capsys.readouterr().out)
    assert package.name in document["error"]["message"]
    assert sums(out) == before
    assert sorted(p.name for p in tmp_path.iterdir() if ".partial" in p.name) == []


def test_a_bundle_is_all_that_a_build_without_a_network_needs(tmp_path: Path, store: Store) -> None:
    folder, fresh = tiny_definition.make(tmp_path, store), Store(tmp_path / "fresh")
    lock = Lock.parse((folder / "lock.json").read_bytes())
    bundle.write(tmp_path / "in.tar", lock, {}, [one.sha256 for one in (*lock.image, *lock.tools)], store)
    assert build_command(folder, store, tmp_path / "first") == 0
    assert build_command(folder, fresh, tmp_path / "none") == 6, "the fresh store holds nothing"
    assert build_command(folder, fresh, tmp_path / "second", "--bundle", str(tmp_path / "in.tar")) == 0
    assert sums(tmp_path / "second") == sums(tmp_path / "first")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "in.tar").read_bytes()[:-12_000])
    empty = Store(tmp_path / "empty")
    assert build_command(folder, empty, tmp_path / "none", "--bundle", str(tmp_path / "cut.tar")) == 3
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("lock.json", "{"), ("lock.json", '{"image": [{"sha256": 5}]}'), ("lock.json", "[]"), ("image.toml", "[firmware")],
)
def test_a_lock_or_definition_that_cannot_be_read_is_refused_by_the_build(
    name: str, text: str, tmp_path: Path, store: Store
) -> None:
    folder = tiny_definition.make(tmp_path, store)
    (folder / name).write_text(text)
    assert build_command(folder, store, tmp_path / "dist") == 3


def test_a_folder_with_other_things_in_it_is_not_overwritten(tmp_path: Path, store: Store) -> None:
    folder, out = tiny_definition.make(tmp_path, store), tmp_path / "documents"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert build_command(folder, store, out) == 2
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_lock_for_another_definition_is_refused(tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path, store)
    (folder / "image.toml").write_text(tiny_definition.DEFINITION.replace('install = ["init"]', 'install = ["other"]'))
    with pytest.raises(FormatError, match="made for another definition"):
        image_of(folder, store)


def test_a_package_that_vanished_from_the_store_is_named(tmp_path: Path, store: Store) -> None:
    folder = tiny_definition.make(tmp_path, store)
    store.discard(hashlib.sha256(tiny_definition.deb("init")).hexdigest())
    with pytest.raises(SourceError, match=r"init 257\.1 is not in the store"):
        image_of(folder, store)


def _elsewhere(
    folder: Path,
    store: Store,
    work: Path,
    name: str,
    environment: Mapping[str, str],
    *,
    umask: int = 0o022,
    cores: set[int] | None = None,
) -> dict[str, str]:
    """The digests of a build in a process of its own."""
    out = work / "out" / name.replace(" ", "-")
    packages = [str(ROOT / part) for part in ("image", "measure")]
    path = os.pathsep.join([str(work / "site"), *packages])
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    code = f"import os; os.umask({umask})\n"
    if cores is not None and hasattr(os, "sched_setaffinity"):
        code += f"os.sched_setaffinity(0, {sorted(cores & os.sched_getaffinity(0)) or [0]})\n"
    code += "import sys\nfrom pluto_image.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    # fmt: off
    argv = [
        sys.executable, "-c", code,
        "build", str(folder), "--out", str(out), "--store", str(store.root), "--offline",
    ]
    # fmt: on
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd=work)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return sums(out)


def _interpreter(version: str) -> str | None:
    """A Python of that version on the path or under pyenv; None if there is none here."""
    wanted = f"({version.replace('.', ', ')})"
    root = Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions"
    candidates = [*sorted(str(path) for path in root.glob(f"{version}.*/bin/python")), shutil.which(f"python{version}")]
    for candidate in filter(None, candidates):
        probe = [candidate, "-c", "import sys; print(sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == wanted:
            return candidate
    return None
