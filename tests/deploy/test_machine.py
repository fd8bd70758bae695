from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pluto_deploy.local.machine import LEAST_MEMORY, Machine, Wiring, arguments
from pluto_measure.digests import Digests
from pluto_measure.errors import UsageError
from pluto_measure.formats.strict_json import canonical
from pluto_measure.machine import platform_file
from pluto_measure.machine.firmware import Firmware

FIRMWARE = Digests.of(b"firmware")
WIRING = Wiring(
    firmware=Path("/d/firmware.fd"),
    uki=Path("/d/pluto.efi"),
    disk=Path("/d/disk.raw"),
    config=Path("/s/config.disk"),
    serial_log=Path("/s/serial.log"),
    tpm_fd=7,
    monitor_fd=8,
    port=8443,
)
PLATFORMS = Path(__file__).resolve().parents[2] / "image/notary/platforms.toml"


def joined(machine: Machine, **changes: object) -> str:
    fields = {name: getattr(WIRING, name) for name in WIRING.__slots__}
    return " ".join(arguments(machine, Wiring(**{**fields, **changes})))


def test_the_kernel_boot_has_no_boot_disk_and_the_disk_boot_no_kernel() -> None:
    kernel, disk = joined(Machine()), joined(Machine(boot="disk"))
    assert "-kernel /d/pluto.efi" in kernel
    assert "disk.raw" not in kernel
    assert "-kernel" not in disk
    assert "file.filename=/d/disk.raw" in disk


def test_the_configuration_disk_is_always_there_and_read_only() -> None:
    for boot in ("uki-kernel", "disk"):
        words = joined(Machine(boot=boot))
        assert "node-name=config,read-only=on" in words
        assert "serial=pluto-config" in words


def test_the_guest_is_reachable_on_loopback_alone_and_reaches_nothing() -> None:
    words = joined(Machine())
    assert "restrict=on,hostfwd=tcp:127.0.0.1:8443-:8443" in words
    assert words.count("hostfwd") == 1


def test_nothing_of_the_host_gets_into_the_guest_unasked() -> None:
    words = joined(Machine()).split()
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
    assert "virtio-net-pci,netdev=net,romfile=" in words
    assert not [word for word in words if "rng" in word or "fw_cfg" in word or "smbios" in word]


def test_the_monitor_is_made_in_the_form_that_the_locked_qemu_wants() -> None:
    words = joined(Machine())
    assert "-chardev socket,id=monitor,fd=8,server=on,wait=off -object monitor-qmp,id=qmp,chardev=monitor" in words
    assert "-mon " not in words


def test_emulation_is_named_explicitly() -> None:
    assert "-accel tcg,thread=multi" in joined(Machine())
    assert "-accel kvm" in joined(Machine(accelerator="kvm"))


def test_a_comma_in_a_path_does_not_end_an_option() -> None:
    assert "file.filename=/s,,x/config.disk" in joined(Machine(), config=Path("/s,x/config.disk"))
    assert "path=/s,,x/serial.log" in joined(Machine(), serial_log=Path("/s,x/serial.log"))


def test_a_serial_line_to_type_on_is_logged_all_the_same() -> None:
    assert "-chardev socket,id=serial,fd=9,logfile=/s/serial.log" in joined(Machine(), serial_fd=9)


@pytest.mark.parametrize(
    "changes",
    [
        {"boot": "network"},
        {"accelerator": "hax"},
        {"cpus": 0},
        {"cpus": 65},
        {"memory": LEAST_MEMORY - (1 << 20)},
        {"memory": LEAST_MEMORY + 1},
        {"memory": 1 << 41},
    ],
)
def test_a_machine_that_cannot_work_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Machine(**changes)  # type: ignore[arg-type]


def test_the_platform_says_what_the_machine_is() -> None:
    platform = Machine(boot="disk", cpus=4, memory=1 << 29).platform(FIRMWARE)
    shape = (platform.boot, platform.cpus, platform.memory, platform.firmware)
    assert shape == ("disk", 4, 1 << 29, Firmware(FIRMWARE))
    assert f"-machine {platform.machine_type}," in joined(Machine())


@pytest.mark.parametrize("boot", ["uki-kernel", "disk"])
def test_platforms_toml_describes_the_local_machine(boot: str) -> None:
    described = tomllib.loads(PLATFORMS.read_text())[f"local-{boot}"]
    firmware = {"firmware": FIRMWARE.to_json()}  # the file names it by path, in a DIST
    assert described.pop("firmware") == {"file": "firmware.fd"}
    platform = platform_file.parse(canonical({**described, **firmware}), lambda _: b"")
    assert platform == Machine(boot=boot).platform(FIRMWARE)
