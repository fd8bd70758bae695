"""The guest program, outside its machine: fw_cfg as QEMU's specification has it, files as the kernel shows them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pluto_measure.harvest import guest, transcript

MODULE = Path(guest.__file__)


class FakePorts:
    """A fw_cfg device by its specification, and a debug port that remembers."""

    def __init__(self, files: dict[str, bytes], *, failing: str = "") -> None:
        self.said = b""
        self.calls: list[str] = []
        self._failing = failing
        entries = b""
        self._items = {0x0E: b"\1\0"}
        for key, (name, content) in enumerate(files.items(), start=0x20):
            self._items[key] = content
            entries += (
                len(content).to_bytes(4, "big") + key.to_bytes(2, "big") + bytes(2) + name.encode().ljust(56, b"\0")
            )
        self._items[0x19] = len(files).to_bytes(4, "big") + entries

    def fw_cfg(self, key: int, size: int) -> bytes:
        return self._items[key][:size]

    def say(self, line: bytes) -> None:
        self.said += line

    def call(self, name: str, *_: object) -> None:
        self.calls.append(name)
        if name == self._failing:
            raise OSError(1, name)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guest's files below a folder, and its ports as `FakePorts`."""
    for name in ("_EFI", "_SMBIOS", "_TPM_LOG", "_MODULE"):
        monkeypatch.setattr(guest, name, f"{tmp_path}{getattr(guest, name)}")
    monkeypatch.setattr(guest, "_MOUNTS", [(kind, f"{tmp_path}{place}") for kind, place in guest._MOUNTS])
    for path, content in (
        ("efivarfs/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\7\0\0\0\0\0"),
        ("efivarfs/Boot0000-00000000-0000-0000-0000-000000000000", b"somebody else's"),
        ("efivarfs/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"not asked for"),
        ("sys/firmware/dmi/tables/DMI", b"smbios"),
        ("efivarfs.ko.xz", b"module"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def say(monkeypatch: pytest.MonkeyPatch, ports: FakePorts) -> bytes:
    monkeypatch.setattr(guest, "Ports", lambda: ports)
    guest.main()
    return ports.said


def test_it_says_what_firmware_measures_and_powers_off(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"etc/table-loader": b"script", "etc/boot/kernel": b"not asked for", "etc/tpm/log": b"", "bootorder": b"x"}
    ports = FakePorts(files)
    assert transcript.parse(say(monkeypatch, ports)) == {
        "fw_cfg:etc/table-loader": b"script",
        "fw_cfg:etc/tpm/log": b"",
        "fw_cfg:bootorder": b"x",
        "fw_cfg:BootMenu": b"\1\0",
        "efi:BootOrder": b"\7\0\0\0\0\0",
        "smbios": b"smbios",
    }
    assert ports.calls == ["mount", "mount", "syscall", "mount", "reboot"]


def test_it_says_the_log_of_a_tpm(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = world / "sys/kernel/security/tpm0/binary_bios_measurements"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"log")
    assert transcript.parse(say(monkeypatch, FakePorts({})))["tpm-log"] == b"log"


def test_it_says_why_it_failed_and_powers_off(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = FakePorts({}, failing="mount")
    assert b"\nfailed PermissionError: [Errno 1] mount\n" in say(monkeypatch, ports)
    assert ports.calls == ["mount", "reboot"]


def test_it_stands_alone() -> None:
    imported = set()
    for node in ast.parse(MODULE.read_text()).body:
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported == {"__future__", "ctypes", "os", "binascii", "zlib"}


def test_outside_its_machine_it_does_nothing() -> None:
    done = subprocess.run([sys.executable, "-I", str(MODULE)], capture_output=True, text=True)
    assert (done.returncode, "for the guest of 'acpi harvest' alone" in done.stderr) == (1, True)
