"""Byte code: what replaces what, packs that are not packs, and the same bytes from the image's own interpreter."""

from __future__ import annotations

import importlib.util
import marshal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image import build, bytecode, definition, source_tree, unpacked
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe import tables
from pluto_image.recipe.model import ByteCode
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.formats.strict_json import canonical

ROOT = Path(__file__).resolve().parents[2]
TABLE = ByteCode("usr/bin/python3.13", ("usr/lib/python3.13/**.py",), False, "faster")
ENTRIES = (
    Entry("usr/lib/python3.13/os.py", Kind.FILE, 0o644, b"import sys\n", "package:libpython"),
    Entry("usr/lib/python3.13/re/_parser.py", Kind.FILE, 0o644, b"x = 1\n", "package:libpython"),
    Entry("usr/bin/python3.13", Kind.FILE, 0o755, b"\x7fELF", "package:python"),
    Entry("usr/lib/python3/dist-packages/pluto_notary/run.py", Kind.FILE, 0o644, b"y = 1\n", "source:notary"),
)


def pack(files: dict[str, bytes]) -> bytes:
    index = canonical({"version": 1, "files": [[path, len(data)] for path, data in files.items()]})
    return len(index).to_bytes(4, "big") + index + b"".join(files.values())


GOOD = pack({"usr/lib/python3.13/os.py": b"code one", "usr/lib/python3.13/re/_parser.py": b"code two"})


def test_byte_code_takes_the_place_of_its_source() -> None:
    removed, added = bytecode.replaced(TABLE, ENTRIES, GOOD)
    assert removed == ["usr/lib/python3.13/os.py", "usr/lib/python3.13/re/_parser.py"]
    assert [(entry.path, entry.data) for entry in added] == [
        ("usr/lib/python3.13/os.pyc", b"code one"),
        ("usr/lib/python3.13/re/_parser.pyc", b"code two"),
    ]
    assert all(entry.origin == "derived:python-byte-code of package:libpython" for entry in added)


def test_byte_code_lies_in_its_folder_where_the_source_stays() -> None:
    removed, added = bytecode.replaced(replace(TABLE, keep_sources=True), ENTRIES, GOOD)
    assert removed == []
    assert added[0].path == "usr/lib/python3.13/__pycache__/os.cpython-313.pyc"


def test_our_own_sources_are_no_input_of_a_derived_file() -> None:
    changed = (*ENTRIES[:3], replace(ENTRIES[3], data=b"y = 2\n"))
    assert bytecode.inputs_digest(TABLE, ENTRIES) == bytecode.inputs_digest(TABLE, changed)
    with pytest.raises(FormatError, match="matches nothing"):
        bytecode.sources(replace(TABLE, paths=("usr/lib/python3/**.py",)), ENTRIES)


@pytest.mark.parametrize("index", range(3))
def test_a_changed_package_file_asks_for_new_byte_code(index: int) -> None:
    pinned = bytecode.describe(TABLE, ENTRIES, GOOD)
    bytecode.check(pinned, TABLE, ENTRIES)
    changed = [replace(e, data=e.data + b"#") if i == index else e for i, e in enumerate(ENTRIES)]
    with pytest.raises(FormatError, match="other packages or sources"):
        bytecode.check(pinned, TABLE, changed)


def test_a_pack_made_here_must_be_the_pinned_one() -> None:
    with pytest.raises(VerificationError, match="the lock pins"):
        bytecode.check_derived(bytecode.describe(TABLE, ENTRIES, GOOD), GOOD + b"\0")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (GOOD[:-1], "needs 8 bytes, 7 left"),
        (GOOD + b"\0", "1 bytes left over"),
        (GOOD.replace(b'"version":1', b'"version":2'), "version 2 is not known"),
        (pack({"b.py": b"", "a.py": b""}), "out of order"),
        (b"\0\0\0\x02{}", "version is missing"),
        (b"", "index size needs 4 bytes"),
    ],
)
def test_a_damaged_pack_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        bytecode.parse_pack(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64), st.integers(0, len(GOOD)))
def test_any_bytes_parse_or_are_refused(noise: bytes, at: int) -> None:
    for data in (noise, GOOD[:at] + noise + GOOD[at:]):
        with suppress(FormatError):
            bytecode.parse_pack(data)


def test_a_pack_for_other_files_is_refused() -> None:
    with pytest.raises(FormatError, match="other files than the recipe wants"):
        bytecode.replaced(TABLE, ENTRIES, pack({"usr/lib/python3.13/os.py": b""}))


@pytest.fixture(scope="module")
def locked() -> tuple[build.Assembled, definition.Definition, Lock, Store]:
    """The notary's own root, from the inputs in the store; skips where they are not there."""
    folder = ROOT / "image/notary"
    found, lock = definition.load(folder), Lock.parse((folder / "lock.json").read_bytes())
    store = Store(default_root())
    wanted = (*lock.image, *build.further_inputs(found, lock))
    if not bytecode.can_derive():
        pytest.skip("this machine cannot run the image's programs")
    if not all(store.has(item.sha256, item.size) for item in wanted):
        pytest.skip("locked inputs are not in the store")
    tree = source_tree.read(folder)
    recipe = tables.parse(found.recipe)
    return build.assemble(recipe, lock, store, tree, "debug", "0" * 64), found, lock, store


@pytest.mark.slow
def test_the_images_interpreter_gives_the_pinned_bytes_again(
    locked: tuple[build.Assembled, definition.Definition, Lock, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found, lock, store = locked
    for name, value in (("PYTHONHASHSEED", "7"), ("TZ", "Asia/Tokyo"), ("LANG", "tr_TR.UTF-8")):
        monkeypatch.setenv(name, value)
    made = build.locked_byte_code(found, lock, store)
    assert made is not None
    assert made in lock.derived


@pytest.mark.slow
def test_byte_code_in_the_image_names_the_paths_of_the_image(
    locked: tuple[build.Assembled, definition.Definition, Lock, Store], tmp_path: Path
) -> None:
    entries = {entry.path: entry for entry in locked[0].entries}
    code = entries["usr/lib/python3.13/json/decoder.pyc"].data
    assert int.from_bytes(code[4:8], "little") == 1, "unchecked hash: no source is looked for at run time"
    assert b"/usr/lib/python3.13/json/decoder.py" in code
    assert str(tmp_path).encode() not in code
    if code[:4] == importlib.util.MAGIC_NUMBER:
        assert marshal.loads(code[16:]).co_filename == "/usr/lib/python3.13/json/decoder.py"
    assert not any(path.startswith("usr/lib/python3.13/") and path.endswith(".py") for path in entries)


@pytest.mark.slow
def test_the_notary_works_under_the_images_own_interpreter(
    locked: tuple[build.Assembled, definition.Definition, Lock, Store], tmp_path: Path
) -> None:
    import subprocess

    root, sockets = tmp_path / "root", tmp_path / "sockets"
    root.mkdir()
    sockets.mkdir()
    unpacked.lay(root, (e for e in locked[0].entries if not e.path.startswith("usr/lib/modules/")))
    check = ROOT / "tests/notary/selfcheck.py"
    argv = unpacked.command(root, "usr/bin/python3.13", "-I", "-B", str(check), str(sockets))
    environment = {"CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1"}  # as the image's service manager sets it
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
