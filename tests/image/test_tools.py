"""The tools tree: links stay inside, nothing special exists, and it is whole or made again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pluto_image.errors import UnavailableError
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.tools import ToolsTree, ensure_tools, inside, merged
from pluto_measure.errors import FormatError, UsageError
from simulators.debian_mirror import FakeDeb
from simulators.debs import deb, entry

LOCK = Path(__file__).parents[2] / "image/notary/lock.json"


def locked(store: Store, *packages: bytes) -> Lock:
    found = [
        Package(f"p{number}", "1", "amd64", len(data), store.put(data), "", "x", "main", "p", "1", {})
        for number, data in enumerate(packages)
    ]
    return Lock(1, "ab" * 32, (), (), tuple(found), (), ())


def fake(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    return FakeDeb("p", "1", files=files, links=links or {}).data()


def test_files_and_links_are_laid_with_usr_merged_and_documentation_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = fake({"lib/x/a.so": b"a", "usr/bin/prog": b"p", "usr/share/doc/p/copyright": b"c"})
    second = fake({"usr/share/x": b"x"}, {"usr/bin/link": "/lib/x/a.so", "lib64/ld": "../lib/x/a.so"})
    root = ensure_tools(locked(store, first, second), store).root
    assert (root / "usr/lib/x/a.so").read_bytes() == b"a"
    assert (root / "usr/bin/link").readlink() == Path("../lib/x/a.so")
    assert (root / "usr/lib64/ld").read_bytes() == b"a"
    assert os.access(root / "usr/bin/prog", os.X_OK)
    assert not (root / "usr/share/doc").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("target", ["../../../etc/passwd", "/../etc/passwd", "x/../../../../y"])
def test_a_link_out_of_the_tree_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="out of the tree"):
        inside("usr/bin/x", target)
    store = Store(tmp_path)
    lock = locked(store, fake({}, {"usr/bin/x": target}))
    with pytest.raises(FormatError):
        ensure_tools(lock, store)
    assert not (tmp_path / "tools" / lock.tools_digest).exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_link_that_leaves_the_tree_through_a_link_of_another_package_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = locked(store, fake({"usr/f": b""}, {"usr/a/b/d": "../.."}), fake({}, {"usr/a/b/d/l": "/foo"}))
    with pytest.raises(FormatError, match="out of the tree"):
        ensure_tools(lock, store)


def test_setuid_bits_vanish(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = locked(store, deb([entry("./usr/bin/su", b"su", mode=0o4755)]))
    assert (ensure_tools(lock, store).root / "usr/bin/su").stat().st_mode & 0o7777 == 0o755


def test_two_packages_with_one_path_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises((FormatError, OSError)) as failed:
        ensure_tools(locked(store, fake({"usr/x": b"1"}), fake({"lib/../usr/x": b"2"})), store)
    assert failed.value


def test_a_tree_is_used_again_and_made_again_when_a_file_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = locked(store, fake({"usr/bin/prog": b"p"}))
    first = ensure_tools(lock, store).root
    born = first.stat().st_ino
    assert ensure_tools(lock, store).root.stat().st_ino == born
    (first / "usr/bin/prog").unlink()
    assert (ensure_tools(lock, store).root / "usr/bin/prog").read_bytes() == b"p"
    assert first.stat().st_ino != born


def test_without_sources_a_missing_package_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = locked(store, fake({}))
    store.discard(lock.tools[0].sha256)
    with pytest.raises(UnavailableError, match="p0 1"):
        ensure_tools(lock, store)


def test_commands_go_through_the_trees_own_loader(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tree = ensure_tools(locked(store, fake({"usr/bin/qemu-system-x86_64": b"", "usr/bin/swtpm": b""})), store)
    argv = tree.command("qemu-system-x86_64", "-nodefaults")
    assert argv[0] == str(tree.root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    assert argv[1] == "--library-path"
    assert argv[-1] == "-nodefaults"
    assert "-L" in argv
    assert "-L" not in tree.command("swtpm", "socket")


@pytest.mark.parametrize("program", ["none", "../bin/sh", "/bin/sh"])
def test_a_program_that_the_tree_lacks_is_a_usage_error(program: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no program"):
        ToolsTree(tmp_path).command(program)
    with pytest.raises(UsageError, match="has no usr/share"):
        ToolsTree(tmp_path).share("../../etc/passwd")


def test_the_environment_holds_nothing_of_the_caller_that_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "evil.so")
    monkeypatch.setenv("PYTHONPATH", "evil")
    found = ToolsTree(tmp_path).environment()
    assert not {"LD_PRELOAD", "PYTHONPATH", "LD_LIBRARY_PATH"} & set(found)
    assert found["QEMU_MODULE_DIR"].startswith(str(tmp_path))


def test_paths_are_merged_once() -> None:
    assert [merged(path) for path in ("lib/a", "usr/lib/a", "bin/x", "lib", "library/x")] == [
        "usr/lib/a",
        "usr/lib/a",
        "usr/bin/x",
        "lib",
        "library/x",
    ]


@pytest.mark.interop
@pytest.mark.parametrize(
    ("program", "argument", "answer"),
    [
        ("qemu-system-x86_64", "--version", "QEMU emulator version"),
        ("qemu-system-x86_64", "-machine=help", "pc-q35-10.1"),
        ("swtpm", "--version", "TPM emulator version"),
    ],
)
def test_the_locked_programs_run_here(program: str, argument: str, answer: str) -> None:
    lock, store = Lock.parse(LOCK.read_bytes()), Store(default_root())
    try:
        tree = ensure_tools(lock, store, offline=True)
    except UnavailableError:
        pytest.skip("locked inputs are absent")
    argv = tree.command(program, *argument.split("="))
    done = subprocess.run(argv, env=tree.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert answer in done.stdout
    assert done.stderr == ""
