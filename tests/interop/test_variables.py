"""Variables that firmware measures: Secure Boot by virt-firmware's measurer, boot options by its decoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from interop.samples import keys
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventType
from pluto_measure.machine.platform import Disk, SecureBoot
from pluto_measure.predict import predict
from pluto_measure.predict.boot_options import boot_variables
from simulators import machines
from simulators.launches import LAUNCH

pytestmark = pytest.mark.interop

GUIDS: Final = {
    "PK": "8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "KEK": "8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "db": "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    "dbx": "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
}
MENU: Final = ("UiApp", "EFI Internal Shell")


def test_virt_firmware_measures_enrolled_keys_as_we_predict(tmp_path: Path, python: Callable[..., Any]) -> None:
    on = keys()
    db = on.variables["db"]
    assert isinstance(db, bytes)
    secure_boot = SecureBoot("on", {**on.variables, "dbx": db})
    contents = {name: content for name, content in secure_boot.variables.items() if isinstance(content, bytes)}
    theirs = python("variables", store(tmp_path, contents), "on")
    assert [digest for _, digest, _ in theirs] == ours(secure_boot)
    assert [kind for kind, _, _ in theirs] == ["EV_EFI_VARIABLE_DRIVER_CONFIG"] * 5 + ["EV_SEPARATOR"]


def test_virt_firmware_leaves_out_what_is_absent_and_firmware_measures_it_as_empty(
    tmp_path: Path, python: Callable[..., Any]
) -> None:
    """edk2's Tcg2Dxe and TdTcg2Dxe measure a variable that does not exist as one without content."""
    theirs = python("variables", store(tmp_path, {}), "off")
    predicted = ours(SecureBoot("off"))
    assert [digest for _, digest, _ in theirs] == [predicted[0], predicted[-1]]
    empty = python("variables", store(tmp_path, dict.fromkeys(GUIDS, b"")), "off")
    assert [digest for _, digest, _ in empty] == predicted


@pytest.mark.parametrize(
    "path", ["measure/ccel/gcp-cos113.ccel.bin", "qemu-swtpm/tx-crb-secureboot-on/binary_bios_measurements"]
)
def test_virt_firmware_measures_the_keys_of_real_machines_as_their_firmware_did(
    vectors: Path, path: str, tmp_path: Path, python: Callable[..., Any]
) -> None:
    log = eventlog.parse((vectors / path).read_bytes())
    logged = [event for event in log.events if event.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG]
    variables = [uefi.parse_variable(event.data) for event in logged]
    contents = {variable.name: variable.data for variable in variables if variable.name in GUIDS}
    state = "on" if variables[0].data == b"\1" else "off"
    theirs = python("variables", store(tmp_path, contents), state)
    assert [digest for _, digest, _ in theirs[:-1]] == [event.digests["sha384"].hex() for event in logged]
    assert [data for _, _, data in theirs[:-1]] == [event.data.hex() for event in logged]


@pytest.mark.parametrize(
    ("platform", "titles"),
    [
        (machines.bare_metal(), ["UiApp"]),
        (machines.bare_metal_disk(), ["UEFI Misc Device", *MENU]),
        (machines.bare_metal_disk(disk=Disk("virtio-scsi", 2)), ["UEFI QEMU QEMU HARDDISK ", *MENU]),
        (machines.bare_metal_disk(disk=Disk("nvme", 5, "pluto")), ["UEFI QEMU NVMe Ctrl pluto 1", *MENU]),
        (machines.google(), ["UEFI nvme_card-pd", "UiApp"]),
    ],
)
def test_virt_firmware_decodes_our_boot_options_and_writes_them_anew(
    platform: Any, titles: list[str], python: Callable[..., Any]
) -> None:
    variables = boot_variables(platform)
    options = [item.content for name, item in variables.items() if name != "BootOrder"]
    said = [python("boot-option", content.hex()) for content in options if content]
    assert [option["title"] for option in said] == titles
    assert [option["again"] for option in said] == [content.hex() for content in options if content]


def ours(secure_boot: SecureBoot) -> list[str]:
    """SHA-384 of the Secure Boot part of RTMR[0], the separator included."""
    events = predict(LAUNCH, machines.google(secure_boot=secure_boot))
    wanted = ("variable:", "separator:secure-boot")
    return [event.digests["sha384"].hex() for event in events if event.role.startswith(wanted)]


def store(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """A variable store in virt-firmware's JSON."""
    variables = [
        {"name": name, "guid": GUIDS[name], "attr": 0x27, "data": content.hex()} for name, content in contents.items()
    ]
    path = folder / "variables.json"
    path.write_text(json.dumps({"version": 2, "variables": variables}))
    return path
