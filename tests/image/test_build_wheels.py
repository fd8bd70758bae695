"""A build with a locked wheel: what is laid of it, what is refused, and that a receipt covers it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from image.worlds import build_command, image_of
from pluto_image import build, receipt
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Derived, Lock, Wheel, with_derived
from pluto_measure.errors import FormatError, SourceError
from simulators import tiny_definition


def wheel_file(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


WHEEL = wheel_file(("extra/__init__.py", b"x = 1\n"), ("extra/left_out.py", b""))
WHEEL_LINE = """
[[files.wheel]]
name = "extra"
paths = ["extra/__*.py"]
to = "usr/lib/python3/dist-packages"
reason = "test"
"""


def with_wheel(root: Path, store: Store, lines: str) -> Path:
    """The tiny definition with one locked wheel `extra`, which is in the store, and recipe lines."""
    digest, file = store.put(WHEEL), "extra-1-py3-none-any.whl"
    entry = f'[[wheel]]\nname = "extra"\nversion = "1"\nfile = "{file}"\nsize = {len(WHEEL)}\n'
    entry += f'sha256 = "{digest}"\nreason = "test"\n'
    folder = tiny_definition.make(root, store, text=f"{tiny_definition.DEFINITION}\n{entry}\n{lines}")
    lock = Lock.parse((folder / "lock.json").read_bytes())
    wheel = Wheel("extra", "1", file, len(WHEEL), digest)
    (folder / "lock.json").write_text(replace(lock, wheels=(wheel,)).to_text(), newline="\n")
    return folder


def test_a_wheel_is_laid_as_its_line_says_and_files_json_shows_its_origin(tmp_path: Path, store: Store) -> None:
    image = image_of(with_wheel(tmp_path, store, WHEEL_LINE), store)
    found = [file for file in build.files_document(image) if str(file["origin"]).startswith("wheel:")]
    assert [(file["path"], file["mode"], file["origin"]) for file in found] == [
        ("usr/lib/python3/dist-packages/extra/__init__.py", "0644", "wheel:extra")
    ]


def test_a_wheel_that_no_line_lays_and_a_line_without_a_wheel_are_named(tmp_path: Path, store: Store) -> None:
    with pytest.raises(FormatError, match="nothing is said about wheel extra"):
        image_of(with_wheel(tmp_path / "a", store, ""), store)
    text = f"{tiny_definition.DEFINITION}\n{WHEEL_LINE}"
    with pytest.raises(FormatError, match="wheel extra is not in the lock"):
        image_of(tiny_definition.make(tmp_path / "b", store, text=text), store)


def test_a_wheel_that_vanished_from_the_store_is_named(tmp_path: Path, store: Store) -> None:
    folder = with_wheel(tmp_path, store, WHEEL_LINE)
    store.discard(hashlib.sha256(WHEEL).hexdigest())
    with pytest.raises(SourceError, match="extra 1 is not in the store"):
        image_of(folder, store)


def test_the_receipt_covers_packages_firmware_wheels_and_derived_inputs(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = with_wheel(tmp_path, store, WHEEL_LINE), tmp_path / "dist"
    lock = Lock.parse((folder / "lock.json").read_bytes())
    derived = Derived("python-byte-code", 4, store.put(b"pack"), "00" * 32)
    other = replace(lock.image[0], name="qemu", size=5, sha256=store.put(b"other"))
    lock = with_derived(replace(lock, tools=(*lock.tools, other)), [derived])
    (folder / "lock.json").write_text(lock.to_text(), newline="\n")
    assert build_command(folder, store, out) == 0
    known = json.loads(receipt.path_for(out).read_text())["inputs"]
    stored = {Path(path).name for path in known if Path(path).parent.parent.name == "sha256"}
    besides = (lock.tools[0].sha256, lock.wheels[0].sha256, derived.sha256)
    assert stored == {*(package.sha256 for package in lock.image), *besides}
    for digest in besides:
        data = store.get(digest)
        assert data is not None
        assert build_command(folder, store, out) == 0
        capsys.readouterr()
        assert build_command(folder, store, out, "--json") == 0
        assert json.loads(capsys.readouterr().out)["unchanged"] is True
        store.discard(digest)
        code = build_command(folder, store, out, "--json")
        assert code == 6 or json.loads(capsys.readouterr().out)["unchanged"] is False
        store.put(data)
