from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pluto_deploy.local import acceleration
from pluto_image.tools import ToolsTree
from pluto_measure.errors import UsageError

BROKEN = "import sys, time; sys.stderr.write('KVM internal error. Suberror: 1\\n'); sys.stderr.flush(); time.sleep(60)"


def speaks(code: str, patience: float = 20.0) -> bool:
    return acceleration.speaks([sys.executable, "-c", code], dict(os.environ), patience=patience)


def test_firmware_that_speaks_shows_that_the_accelerator_works() -> None:
    assert speaks("print('BdsDxe'); import time; time.sleep(0.2)")


def test_a_warning_is_not_a_failure() -> None:
    assert speaks("import sys; sys.stderr.write('warning: feature\\n'); sys.stderr.close(); print('BdsDxe')")


@pytest.mark.parametrize("code", ["pass", "raise SystemExit(1)", BROKEN])
def test_a_machine_that_ends_or_breaks_does_not_work(code: str) -> None:
    begun = time.monotonic()
    assert not speaks(code)
    assert time.monotonic() - begun < 15, "nobody waited for the whole patience"


def test_a_machine_that_hangs_does_not_work() -> None:
    assert not speaks("import time; time.sleep(60)", patience=0.3)


def test_without_the_device_nothing_is_tried(tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "none")
    assert acceleration.choose(tools, tmp_path, tmp_path / "cache") == "tcg"
    assert not (tmp_path / "cache").exists()


def test_the_answer_is_kept_until_qemu_changes(
    tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []

    def pretend(argv: list[str], *_: object, **__: object) -> bool:
        tried.append(argv)
        return len(tried) == 1

    (tmp_path / "device").touch()
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "device")
    monkeypatch.setattr(acceleration, "speaks", pretend)
    cache = tmp_path / "cache"
    assert [acceleration.choose(tools, tmp_path, cache) for _ in range(2)] == ["kvm", "kvm"]
    assert len(tried) == 1
    assert acceleration.choose(type(tools)(tmp_path / "newer"), tmp_path, cache) == "tcg"
    cache.write_text("{}")
    assert acceleration.choose(tools, tmp_path, cache) == "tcg"
    assert len(tried) == 3


def test_the_probe_runs_the_firmware_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        acceleration.arguments(ToolsTree(tmp_path), tmp_path / "firmware.fd", "kvm")
