"""What a hostile host does before the genuine UKI starts, each refused and named. Every test is one boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end import hostile
from pluto_deploy.engine.gate import NotAttestedError
from pluto_deploy.local import power
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.errors import SourceError
from simulators import local_runs


def refusal(order: Order, tools: ToolsTree, folder: StateFolder) -> dict[str, str]:
    """The findings that refused the machine: id to text. It must have been stopped."""
    with pytest.raises(NotAttestedError) as caught:
        local_runs.start(order, tools, folder)
    assert caught.value.exit_code == 5
    assert power.status(folder).state == "refused"
    assert folder.wait_unlocked(5)  # its TPM lets go last, which takes a moment on a busy machine
    return {str(finding["id"]): str(finding["text"]) for finding in caught.value.findings}


@pytest.mark.boot
def test_a_command_line_added_by_smbios_is_refused_and_named(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    value = "io.systemd.stub.kernel-cmdline-extra=systemd.debug_shell=1"
    found = refusal(hostile.order(dist, "-smbios", f"type=11,value={value}"), tools, folder)
    assert {"register.pcr9", "register.pcr12"} <= set(found)
    assert "smbios-command-line" in found["log.events.pcr9"]
    assert "systemd.debug_shell=1" in found["log.events.pcr9"]


@pytest.mark.boot
def test_a_credential_on_the_esp_is_refused_and_named(
    dist: Dist, tools: ToolsTree, folder: StateFolder, tmp_path: Path
) -> None:
    files = {"EFI/BOOT/BOOTX64.EFI.extra.d/x.cred": b"a credential"}
    bad = hostile.with_other_disk(dist, tmp_path / "bad", files)
    found = refusal(hostile.order(bad, boot="disk"), tools, folder)
    assert {"register.pcr9", "register.pcr12"} <= set(found)
    assert "esp-credential" in found["log.events.pcr12"]


@pytest.mark.boot
def test_load_options_that_replace_the_command_line_are_refused_and_named(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    words = f"{dist.launch.command_line} systemd.debug_shell=1"
    found = refusal(hostile.order(dist, "-append", words), tools, folder)
    assert {"register.pcr9", "register.pcr12"} <= set(found)
    assert "load-options" in found["log.events.pcr9"]


@pytest.mark.boot
def test_the_shell_entered_over_serial_before_the_genuine_image_is_refused_and_named(
    dist: Dist, tools: ToolsTree, folder: StateFolder, tmp_path: Path
) -> None:
    with hostile.typist(hostile.START_UKI_IN_SHELL) as serial:
        extra = hostile.shell_first(tmp_path / "empty")
        order = hostile.order(dist, *extra, boot="disk", serial_fd=serial)
        found = refusal(order, tools, folder)
    assert "the UEFI shell" in found["log.events.pcr4"]
    assert "foreign-application" in found["log.events.pcr4"]
    # Nothing else shows it: the image and its command line are the genuine ones.
    assert set(found) == {"register.pcr4", "log.events.pcr4"}


@pytest.mark.more_boots
def test_an_initrd_added_by_the_host_is_refused(
    dist: Dist, tools: ToolsTree, folder: StateFolder, tmp_path: Path
) -> None:
    (tmp_path / "initrd").write_bytes(b"070701" + b"0" * 110)
    try:
        found = refusal(hostile.order(dist, "-initrd", str(tmp_path / "initrd")), tools, folder)
    except SourceError:
        return  # it did not come up at all
    assert "log.events.pcr9" in found
