"""Predicting, measuring, replaying and comparing load nothing beyond the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_measure.formats.eventlog import EventType
from simulators import event_logs, machines, pe_images, tdvf_images
from simulators.launches import LAUNCH

ROOT = Path(__file__).resolve().parents[2]
# Without site (-S) there is no folder of installed packages: an import from one would fail. What is loaded is listed.
PROBE = """
import sys
sys.path.insert(0, {measure!r})
from pluto_measure.cli import main
code = main({arguments!r})
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
# Of the standard library, what would cost a small program much of its start, or has no place in a computation.
UNWANTED = {"asyncio", "ctypes", "email", "http", "multiprocessing", "socket", "sqlite3", "ssl", "urllib.request"}


def launch(folder: Path) -> list[str]:
    (folder / "launch.json").write_text(LAUNCH.to_text())
    return ["predict", str(folder / "launch.json"), "--platform", "qemu-vtpm", "--json"]


def trust_domain(folder: Path) -> list[str]:
    (folder / "firmware.fd").write_bytes(tdvf_images.image())
    acpi = machines.acpi().to_json()
    shape = {"platform": "qemu-tdx", "firmware": {"file": "firmware.fd"}, "acpi": acpi, "edk2Generation": 202502}
    (folder / "platform.json").write_text(json.dumps(shape))
    return [*launch(folder)[:2], "--platform-file", str(folder / "platform.json")]


def files(folder: Path) -> list[str]:
    sections = [(".cmdline", b"quiet"), (".initrd", b"initrd"), (".linux", pe_images.KERNEL)]
    (folder / "image.efi").write_bytes(pe_images.image(sections))
    return ["predict", "--uki", str(folder / "image.efi"), "--stub", "257", "--platform", "qemu-vtpm"]


def firmware(folder: Path) -> list[str]:
    (folder / "firmware.fd").write_bytes(tdvf_images.image())
    return ["mrtd", str(folder / "firmware.fd")]


def log(folder: Path) -> list[str]:
    event = event_logs.measured(1, EventType.EV_SEPARATOR, bytes(4), ("sha384",))
    (folder / "ccel").write_bytes(event_logs.encode([event], ("sha384",), cc=True))
    return ["replay", str(folder / "ccel")]


def two_logs(folder: Path) -> list[str]:
    return ["diff", log(folder)[1], log(folder)[1]]


@pytest.mark.parametrize("command", [launch, trust_domain, files, firmware, log, two_logs])
def test_a_command_loads_the_standard_library_and_ourselves(
    command: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    probe = PROBE.format(measure=str(ROOT / "measure"), arguments=command(tmp_path))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", probe], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split("\n")[-2].split())
    foreign = {name for name in loaded if name.partition(".")[0] not in {*sys.stdlib_module_names, "__main__"}}
    assert {name.partition(".")[0] for name in foreign} == {"pluto_measure"}
    assert loaded & UNWANTED == set()
