"""Wheels come from bundle, project store or the machine's pip, and only with the locked hash."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_image.errors import UnavailableError
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store
from pluto_image.inputs.wheels import ensure_wheels
from pluto_image.lock.lockfile import Wheel
from simulators.debian_mirror import serving


def wheel_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in (
            ("tinywheel.py", "x = 1\n"),
            ("tinywheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n"),
            ("tinywheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("tinywheel-1.0.dist-info/RECORD", ""),
        ):
            archive.writestr(zipfile.ZipInfo(name), text)
    return out.getvalue()


DATA = wheel_file()
FILE = "tinywheel-1.0-py3-none-any.whl"
WHEEL = Wheel("tinywheel", "1.0", FILE, len(DATA), hashlib.sha256(DATA).hexdigest())
NOWHERE = Sources(snapshot="")


def test_a_project_store_delivers_a_wheel_by_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with serving({f"sha256/{WHEEL.sha256[:2]}/{WHEEL.sha256}": DATA}) as server:
        ensure_wheels([WHEEL], store, replace(NOWHERE, projects=(server.url,)), pip_options=["--no-index"])
    assert store.get(WHEEL.sha256) == DATA


@pytest.mark.slow
def test_pip_delivers_a_wheel_with_the_locked_hash_only(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / FILE).write_bytes(DATA)
    options = ["--no-index", f"--find-links={tmp_path / 'wheels'}"]
    store = Store(tmp_path / "store")
    with pytest.raises(UnavailableError, match=r"tinywheel 1\.0"):
        ensure_wheels([replace(WHEEL, sha256="ab" * 32)], store, NOWHERE, pip_options=options)
    ensure_wheels([WHEEL], store, NOWHERE, pip_options=options)
    assert store.get(WHEEL.sha256) == DATA


def test_offline_never_starts_pip(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        ensure_wheels([WHEEL], Store(tmp_path), NOWHERE, offline=True, pip_options=["--no-such-option"])
