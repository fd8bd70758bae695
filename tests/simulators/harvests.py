"""What a harvest's guest would say in machines that nobody built, and a program that acts as QEMU."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.formats.smbios import measured as smbios_measured
from pluto_measure.harvest import guest
from pluto_measure.harvest.kit import DISK, FILE, FIRMWARE, UKI, Kit
from pluto_measure.machine.platform import Platform
from simulators import event_logs, machines, smbios_tables, tdvf_images

ATTRIBUTES = bytes([7, 0, 0, 0])
BLOBS = ("etc/acpi/rsdp", "etc/acpi/tables")
WITH_TPM = ("etc/acpi/rsdp", "etc/tpm/log", "etc/acpi/tables")


def record(command: int, operands: bytes = b"") -> bytes:
    """One record of a loader script."""
    return (command.to_bytes(4, "little") + operands).ljust(128, b"\0")


def script(names: Iterable[str] = BLOBS, size: int = 4096) -> bytes:
    """A loader script that allocates these blobs, with other commands between, padded as QEMU does."""
    records = [record(1, name.encode().ljust(56, b"\0") + b"\x40\0\0\0\2") + record(3) for name in names]
    return b"".join([*records, record(2), record(4)]).ljust(size, b"\0")


def option(description: str, *, attributes: int = 1) -> bytes:
    """A Boot#### variable's content."""
    path = uefi.encode_path((uefi.PathNode(1, 1, bytes([0, 3])),))
    head = attributes.to_bytes(4, "little") + len(path).to_bytes(2, "little")
    return head + description.encode("utf-16-le") + b"\0\0" + path


def items(
    *, tpm: bool = False, seed: str = "", options: Mapping[int, bytes] | None = None, smbios_logged: bool = False
) -> dict[str, bytes]:
    """All that a guest says. `seed` changes the tables; `options` are by number, in BootOrder's order."""
    options = {0: option("UiApp")} if options is None else options
    order = b"".join(number.to_bytes(2, "little") for number in options)
    names = WITH_TPM if tpm else BLOBS
    said = {
        "fw_cfg:bootorder": b"/rom@genroms/linuxboot_dma.bin\0",
        "fw_cfg:etc/table-loader": script(names),
        "fw_cfg:etc/acpi/rsdp": b"RSD PTR ",
        "fw_cfg:etc/acpi/tables": f"tables {seed}".encode(),
        "fw_cfg:etc/tpm/log": bytes(64 if tpm else 0),
        "fw_cfg:BootMenu": bytes(2),
        "efi:BootOrder": ATTRIBUTES + order,
        "efi:BootCurrent": ATTRIBUTES + bytes(2),
        "efi:Boot0000": ATTRIBUTES + option("left over"),
        **{f"efi:Boot{number:04X}": ATTRIBUTES + content for number, content in options.items()},
        "smbios": smbios_tables.machine(),
    }
    return {**said, "tpm-log": log(said, names, smbios_logged=smbios_logged)} if tpm else said


def log(said: Mapping[str, bytes], names: Iterable[str] = WITH_TPM, *, smbios_logged: bool = False) -> bytes:
    """The TPM's log of the machine whose guest said this."""
    events = [event_logs.measured(0, EventType.EV_S_CRTM_VERSION, b"version")]
    for name in ("etc/table-loader", *names):
        events.append(_labelled(EventType.EV_PLATFORM_CONFIG_FLAGS, said[f"fw_cfg:{name}"], b"ACPI DATA"))
    if smbios_logged:
        events.append(_labelled(EventType.EV_EFI_HANDOFF_TABLES, smbios_measured(said["smbios"]), b"table"))
    order = said["efi:BootOrder"][4:]
    numbers = [order[at : at + 2] for at in range(0, len(order), 2)]
    for name in ("BootOrder", *(f"Boot{int.from_bytes(number, 'little'):04X}" for number in numbers)):
        content = said[f"efi:{name}"][4:]
        label = uefi.Variable(uefi.GLOBAL_VARIABLE, name, content).encode()
        events.append(_labelled(EventType.EV_EFI_VARIABLE_BOOT, content, label))
    events.append(event_logs.measured(1, EventType.EV_SEPARATOR, bytes(4)))
    return event_logs.encode(events)


def transcript(said: Mapping[str, bytes]) -> bytes:
    """The guest's words, after some of the firmware's."""
    lines = [guest.item(name, content) for name, content in said.items()]
    return b"firmware: hello\n" + guest.HEADER + b"\n" + b"".join(lines) + b"end %d\n" % len(said)


def bare_metal(**changes: object) -> Platform:
    """A TDX host whose inputs are not known yet."""
    devices = ("virtio-net-pci,romfile=", "virtio-blk-pci", "serial")
    return machines.bare_metal(**{"acpi": (), "devices": devices, **changes})


# Acts as QEMU: finds where the transcript goes among its arguments, and copies the file there that its first argument
# names. "fail" and "hang" in place of a file do what they say.
_QEMU = """
import pathlib, sys, time
source, words = sys.argv[1], sys.argv[2:]
if source == "fail":
    sys.exit("no such machine")
if source == "hang":
    time.sleep(60)
path = next(word.split("path=")[1] for word in words if word.startswith("file,id=transcript,"))
if source != "mute":
    memory = words[words.index("-m") + 1]
    other = pathlib.Path(f"{source}.{memory}")
    chosen = other if other.exists() else pathlib.Path(source)
    pathlib.Path(path).write_bytes(chosen.read_bytes())
pathlib.Path(sys.argv[0] + ".words").open("a").write(" ".join(words) + chr(10))
"""
# Acts as swtpm: ends when the other end of its channel is closed, or, where it is stubborn, a minute later.
_SWTPM = """
import os, sys, time
channel = int(sys.argv[-2].split("clientfd=")[1])
while os.read(channel, 100):
    pass
if sys.argv[1] == "stubborn":
    time.sleep(60)
"""


def kit(folder: Path, said: Mapping[str, bytes] | str, *, swtpm: str = "willing", version: str = "11.1.3") -> Kit:
    """A kit in `folder` whose QEMU's guest says this. The firmware is that of `machines`."""
    programs = {}
    for name, text in (("qemu", _QEMU), ("swtpm", _SWTPM)):
        programs[name] = folder / f"{name}.py"
        programs[name].write_text(text)
    if not isinstance(said, str):
        (folder / "transcript").write_bytes(transcript(said))
    source = said if isinstance(said, str) else str(folder / "transcript")
    made = Kit(
        qemu=(sys.executable, str(programs["qemu"]), source),
        swtpm=(sys.executable, str(programs["swtpm"]), swtpm),
        environment={"LC_ALL": "C.UTF-8"},
        qemu_version=version,
        packages={"firmware": "ovmf 1", "kernel": "linux 1"},
    )
    (folder / FILE).write_text(made.to_text())
    (folder / FIRMWARE).write_bytes(tdvf_images.image())
    (folder / UKI).write_bytes(b"MZ")
    (folder / DISK).write_bytes(b"disk")
    return made


def words(folder: Path) -> list[str]:
    """What the program that acts as QEMU was started with, one line for each time."""
    return (folder / "qemu.py.words").read_text().splitlines()


def _labelled(kind: int, content: bytes, label: bytes) -> LogEvent:
    event = event_logs.measured(1, kind, content)
    return LogEvent(1, kind, event.digests, label)
