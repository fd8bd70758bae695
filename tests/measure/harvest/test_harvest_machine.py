"""Running the machine of a shape: what its guest says comes back, and failures of foreign programs are named."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.errors import FormatError, SourceError
from pluto_measure.harvest import machine
from pluto_measure.harvest.kit import FIRMWARE, Kit
from simulators import harvests, machines
from simulators.harvests import bare_metal

GIB = 1 << 30


def run(kit: Kit, folder: Path, timeout: float = 30.0) -> dict[str, bytes]:
    return machine.harvest(kit, folder, bare_metal(), folder / FIRMWARE, 4 * GIB, timeout=timeout)


def test_what_the_guest_says_comes_back(tmp_path: Path) -> None:
    said = harvests.items()
    assert run(harvests.kit(tmp_path, said), tmp_path) == said
    [words] = harvests.words(tmp_path)
    assert f"-bios {tmp_path}/firmware.fd" in words
    assert f"-kernel {tmp_path}/guest.efi" in words


def test_a_machine_with_a_tpm_gets_a_new_one(tmp_path: Path) -> None:
    said = harvests.items(tpm=True)
    kit = harvests.kit(tmp_path, said)
    assert machine.harvest(kit, tmp_path, machines.laptop(), tmp_path / FIRMWARE, GIB, timeout=30) == said
    assert "-chardev socket,id=tpm,fd=" in harvests.words(tmp_path)[0]


def test_a_tpm_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GRACE", 0.2)
    kit = harvests.kit(tmp_path, {}, swtpm="stubborn")
    began = time.monotonic()
    with machine.software_tpm(kit, tmp_path / "tpm"):
        pass
    assert time.monotonic() - began < 20


def test_failures_of_programs_are_somebody_elses(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ended with 1: no such machine"):
        run(harvests.kit(tmp_path, "fail"), tmp_path)
    with pytest.raises(SourceError, match="left no transcript"):
        run(harvests.kit(tmp_path, "mute"), tmp_path)
    with pytest.raises(SourceError, match=r"did not end within 0 s") as failed:
        run(harvests.kit(tmp_path, "hang"), tmp_path, timeout=0.4)
    assert failed.value.hint == "give --timeout more"
    absent = replace(harvests.kit(tmp_path, {}), qemu=(str(tmp_path / "absent"),), swtpm=(str(tmp_path / "absent"),))
    with pytest.raises(SourceError, match="QEMU cannot be started"):
        run(absent, tmp_path)
    with pytest.raises(SourceError, match="swtpm cannot be started"), machine.software_tpm(absent, tmp_path / "tpm"):
        pass


def test_a_transcript_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    kit = harvests.kit(tmp_path, {})
    (tmp_path / "transcript").write_bytes(b"firmware alone\n")
    with pytest.raises(FormatError, match="never began"):
        run(kit, tmp_path)
