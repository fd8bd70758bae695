"""The recorded boots of vectors/qemu-swtpm as our values: the launch they share, their logs and registers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pluto_measure.digests import Digests
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventLog, EventType
from pluto_measure.launch import Launch, SectionDigest
from pluto_measure.machine.platform import Platform, SecureBoot

FOLDERS = (
    "bk-crb-c1-m2048",
    "bk-crb-c2-m1024",
    "bk-crb-c2-m2048",
    "bk-crb-c4-m4096",
    "bk-tis-c2-m2048",
    "neg-esp-credential-sidecar",
    "neg-load-options-override",
    "neg-smbios-kernel-cmdline-extra",
    "tx-crb-c1-m1024",
    "tx-crb-c2-m2048",
    "tx-crb-c2-m2048-second-boot",
    "tx-crb-nvme-no-option-rom",
    "tx-crb-secureboot-on",
    "tx-crb-sha256-only",
    "tx-crb-sha384-only",
    "tx-tis-c2-m2048",
    "tx-tis-sha256-sha384",
)
ATTACKS = {
    "neg-esp-credential-sidecar": "esp-credential",
    "neg-load-options-override": "load-options",
    "neg-smbios-kernel-cmdline-extra": "smbios-command-line",
}
HONEST = tuple(name for name in FOLDERS if name not in ATTACKS)


def log(vectors: Path, folder: str) -> EventLog:
    return eventlog.parse((vectors / "qemu-swtpm" / folder / "binary_bios_measurements").read_bytes())


def registers(vectors: Path, folder: str) -> dict[str, dict[str, bytes]]:
    """Values read from the TPM inside the guest, for every bank that was active."""
    found = {}
    for path in sorted((vectors / "qemu-swtpm" / folder).glob("pcr-*.txt")):
        lines = [line.split() for line in path.read_text().splitlines()]
        found[path.stem.removeprefix("pcr-")] = {f"pcr{index}": bytes.fromhex(value) for index, value in lines}
    return found


def launch(vectors: Path) -> Launch:
    """launch.json of the UKI that all folders booted, from uki.json and one log's partition table."""
    uki = json.loads((vectors / "qemu-swtpm/uki.json").read_text())
    sections = tuple(
        SectionDigest(item["name"], item["size"], _digests(item)) for item in uki["sections_in_measurement_order"]
    )
    events = log(vectors, "tx-crb-c2-m2048").events
    gpt = next(event.data for event in events if event.type == EventType.EV_EFI_GPT_EVENT)
    handed = uki["stub_combined_initrd"]
    return Launch(
        build_id="11" * 32,
        flavour="release",
        stub="257.13-1~deb13u1",
        uki_size=uki["uki_size"],
        uki_digests=Digests(bytes.fromhex(uki["uki_file_sha256"]), bytes(48)),
        uki_authenticode=_digests(uki["authenticode_uki"]),
        kernel_size=sections[0].size,
        kernel_authenticode=_digests(uki["authenticode_linux"]),
        sections=sections,
        handed_initrd_size=handed["size"],
        handed_initrd=_digests(handed),
        command_line=uki["cmdline"],
        disk_size=1 << 30,
        gpt_event=Digests.of(gpt),
    )


def platform(vectors: Path, folder: str) -> Platform:
    """The machine of one folder."""
    boot = "uki-kernel" if folder == "neg-load-options-override" else "disk"
    if folder == "tx-crb-secureboot-on":
        kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
        found = [uefi.parse_variable(event.data) for event in log(vectors, folder).events if event.type == kind]
        keys = {variable.name: variable.data for variable in found if variable.name != "SecureBoot"}
        return Platform(boot=boot, secure_boot=SecureBoot("on", keys))
    return Platform(boot=boot, secure_boot=SecureBoot("off" if folder.startswith("bk-") else "absent"))


def _digests(item: Any) -> Digests:
    return Digests(bytes.fromhex(item["sha256"]), bytes.fromhex(item["sha384"]))
