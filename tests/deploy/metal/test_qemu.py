"""QEMU's command line: the platform, the whole platform and nothing but the platform."""

from __future__ import annotations

import base64
import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.engine.policy import mr_config_id
from pluto_deploy.local import machine as local
from pluto_deploy.metal import keeper, layout, qemu
from pluto_deploy.metal.qemu import Wiring, arguments
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.harvest import qemu as harvest
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi, Input
from pluto_measure.machine.platform import Disk, Platform, SecureBoot
from simulators.metal.profiles import BARE_METAL, EMULATED, profile

CONFIG = mr_config_id(bytes(range(32)))
SLOT = layout.Slot("staging", "b", 7)
WIRING = Wiring(
    firmware=PurePosixPath("/i/firmware.fd"),
    uki=PurePosixPath("/i/pluto.efi"),
    config=SLOT.config,
    monitor=SLOT.monitor,
    mac=SLOT.mac,
)
TPM = replace(WIRING, tpm=PurePosixPath("/run/tpm.sock"))
TD = profile("bare-metal", mr_config_id=CONFIG)

# What a boot measures and no word of the command line says: why each of them cannot drift.
ELSEWHERE = {
    "firmware": "the file lies in a folder that is named by the release's digest",
    "vmm_version": "QEMU lies in a folder that is named by the digest of the release's tools",
    "edk2_generation": "a fact about the firmware",
    "page_order": "a fact about QEMU",
    "acpi": "what QEMU makes of the rest",
    "boot_variables": "what the firmware makes of the rest",
    "fw_cfg": "what QEMU makes of the rest",
    "smbios": "what QEMU makes of the rest",
    "disks": "Google's alone: Platform refuses it for this kind",
    "insecure_unmeasured_acpi": "Google's alone: Platform refuses it for this kind",
    "endorsed_mrtds": "Google's alone: Platform refuses it for this kind",
}
OTHER: dict[str, Any] = {
    "kind": "qemu-vtpm",
    "boot": "disk",
    "cpus": 3,
    "memory": 5 << 30,
    "machine_type": "pc-q35-10.0",
    "vmm": "other",
    "secure_boot": SecureBoot("off"),
    "disk": Disk("virtio-blk", 4),
    "devices": (*reversed(TD.devices[:2]), "serial"),
    "mr_config_id": bytes(48),
}


def value(words: list[str], option: str) -> str:
    [at] = [number for number, word in enumerate(words) if word == option]
    return words[at + 1]


def options(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split(","))


def platform_of(words: list[str]) -> Platform:
    """A platform, read back from a command line."""
    machine = options(value(words, "-machine"))
    devices, tpm, config = [], False, None
    for option, word in pairwise(words):
        if option == "-device":
            driver, _, rest = word.partition(",")
            own = [part for part in rest.split(",") if part.partition("=")[0] not in BACKENDS]
            tpm = tpm or driver == "tpm-crb"
            devices += [",".join([driver, *own])] if driver != "tpm-crb" else []
        if option == "-serial":
            devices.append(harvest.SERIAL)
        if option == "-object" and word.startswith("{"):
            config = base64.b64decode(json.loads(word)["mrconfigid"], validate=True)
    return Platform(
        kind="qemu-vtpm" if tpm else "qemu-tdx",
        boot="uki-kernel" if "-kernel" in words else "disk",
        cpus=int(value(words, "-smp")),
        memory=int(value(words, "-m").removesuffix("M")) << 20,
        machine_type=next(iter(machine)),
        devices=tuple(devices),
        mr_config_id=config,
    )


BACKENDS = ("netdev", "drive", "tpmdev", "id", "serial", "mac")


@pytest.mark.parametrize("name", BARE_METAL)
def test_every_profile_of_a_host_is_the_machine_that_is_started(name: str) -> None:
    platform = profile(name, mr_config_id=CONFIG)
    assert platform_of(arguments(platform, WIRING)) == platform


@pytest.mark.parametrize("name", EMULATED)
def test_the_emulated_machine_is_its_profile_too(name: str) -> None:
    assert platform_of(arguments(profile(name), TPM)) == profile(name)


def test_there_are_profiles_of_both_kinds() -> None:
    assert len(BARE_METAL) >= 5
    assert EMULATED


@given(
    st.integers(1, 4096), st.integers(1, 1 << 24), st.permutations(TD.devices[:2]), st.binary(min_size=48, max_size=48)
)
def test_any_machine_is_the_one_that_is_asked_for(cpus: int, mib: int, devices: list[str], config: bytes) -> None:
    platform = replace(TD, cpus=cpus, memory=mib << 20, devices=(*devices, "serial"), mr_config_id=config)
    assert platform_of(arguments(platform, WIRING)) == platform


def test_no_field_of_a_platform_is_forgotten() -> None:
    """A new field is in neither table, and fails here until somebody decided what it means for a host."""
    assert {field.name for field in fields(Platform)} == OTHER.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", OTHER)
def test_every_field_that_decides_moves_the_command_line_or_is_refused(name: str) -> None:
    assert getattr(TD, name) != OTHER[name]
    try:
        moved = arguments(replace(TD, **{name: OTHER[name]}), WIRING)
    except FormatError:
        return
    assert moved != arguments(TD, WIRING)


def test_what_others_make_of_the_machine_does_not_move_it() -> None:
    """Reference values of a release hold all of that, and the platform that they are read to is started."""
    digests = Digests.of(b"x")
    full = replace(
        TD,
        firmware=Firmware(digests),
        acpi=(Acpi({"tables": digests}),),
        boot_variables={"BootOrder": Input(digests)},
        fw_cfg={"bootorder": Input(digests)},
        smbios=digests,
        edk2_generation=202502,
        page_order="interleaved",
    )
    assert arguments(full, WIRING) == arguments(TD, WIRING)


def test_a_trust_domain_is_asked_for_as_tdx_wants_it() -> None:
    words = arguments(TD, WIRING)
    assert value(words, "-machine") == (
        "pc-q35-10.1,smm=off,pic=off,kernel-irqchip=split,confidential-guest-support=tdx"
    )
    assert value(words, "-accel") == "kvm"
    assert value(words, "-cpu") == "host,kvm-steal-time=off,pmu=off,pks=off"
    [guest] = [json.loads(word) for word in words if word.startswith("{")]
    assert guest == {
        "qom-type": "tdx-guest",
        "id": "tdx",
        "mrconfigid": base64.b64encode(CONFIG).decode(),
        "sept-ve-disable": True,
        "quote-generation-socket": {"type": "unix", "path": "/var/run/tdx-qgs/qgs.socket"},
    }


def test_mrconfigid_is_the_digest_of_the_configuration_and_zeros() -> None:
    [guest] = [json.loads(word) for word in arguments(TD, WIRING) if word.startswith("{")]
    assert base64.b64decode(guest["mrconfigid"]) == bytes(range(32)) + bytes(16)


def test_whatever_shows_in_acpi_is_as_it_was_harvested() -> None:
    """The harvest's own arguments, but for its guest: the same words, or a word of the two that KVM alone knows."""
    ends = harvest.Wiring("/i/firmware.fd", "/i/pluto.efi", "", "/blank", "/transcript")
    theirs = harvest.arguments(TD, ends, TD.memory)
    ours = arguments(TD, WIRING)
    for option in ("-smp", "-m", "-bios", "-kernel", "-sandbox"):
        assert value(ours, option) == value(theirs, option)
    assert set(value(ours, "-machine").split(",")) - set(value(theirs, "-machine").split(",")) == {
        "kernel-irqchip=split",
        "confidential-guest-support=tdx",
    }
    assert value(theirs, "-machine").split(",") == value(ours, "-machine").split(",")[:3]
    for flag in ("-nodefaults", "-no-user-config", "-no-reboot"):
        assert flag in ours
        assert flag in theirs


def test_the_emulated_machine_is_that_of_local_but_for_its_ends() -> None:
    ends = local.Wiring(
        firmware=Path("/i/firmware.fd"),
        uki=Path("/i/pluto.efi"),
        disk=Path("/disk"),
        config=Path(SLOT.config),
        serial_log=Path("/serial"),
        tpm_fd=7,
        port=0,
        monitor_fd=8,
    )
    platform = profile("local-uki-kernel")
    theirs = local.arguments(local.Machine(), ends)
    ours = arguments(platform, TPM)
    for option in ("-machine", "-accel", "-cpu", "-smp", "-m", "-bios", "-kernel", "-blockdev", "-sandbox"):
        assert value(ours, option) == value(theirs, option)
    assert platform_of(ours).devices == platform_of(theirs).devices


def test_nothing_of_the_host_gets_into_the_guest_unasked() -> None:
    for words in (arguments(TD, WIRING), arguments(profile("local-uki-kernel"), TPM)):
        assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
        assert not [word for word in words if "rng" in word or "fw_cfg" in word or "smbios" in word or "debug" in word]
        assert f"virtio-net-pci,romfile=,netdev=net,mac={SLOT.mac}" in words
        assert "virtio-blk-pci,id=config,drive=config,serial=pluto-config" in words
        assert any("node-name=config,read-only=on" in word for word in words)


def test_vhost_is_off_unless_asked_for() -> None:
    assert "tap,id=net,fd=102,vhost=off" in arguments(TD, WIRING)
    assert "tap,id=net,fd=102,vhost=on" in arguments(TD, replace(WIRING, vhost=True))


def test_keeper_and_command_line_agree_on_the_inherited_descriptors() -> None:
    assert (keeper.SERIAL_FD, keeper.KEEPER_FD, keeper.CARD_FD) == (qemu.SERIAL_FD, qemu.KEEPER_FD, qemu.CARD_FD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"devices": (*TD.devices[:2], "virtio-rng-pci", "serial")}, "devices must be"),
        ({"devices": TD.devices[1:]}, "devices must be"),
        ({"devices": (*TD.devices, "serial")}, "devices must be"),
        ({"devices": ("serial", *TD.devices[:2])}, "devices must end with serial"),
        ({"devices": ("virtio-net-pci", "virtio-blk-pci", "serial")}, "devices must be"),
        ({"devices": ("virtio-net-pci,romfile=x.rom", "virtio-blk-pci", "serial")}, "devices must be"),
        ({"devices": ("virtio-net-pci,romfile=", "virtio-blk-pci,drive=x", "serial")}, "devices must be"),
        ({"boot": "disk"}, "boot disk"),
        ({"boot": "direct"}, "boot direct"),
        ({"machine_type": "pc-q35-10.1,hpet=off"}, "machine type"),
        ({"machine_type": "pc-i440fx-10.1"}, "machine type"),
        ({"memory": (4 << 30) + 1}, "MiB"),
        ({"mr_config_id": None}, "MRCONFIGID is not given"),
        ({"mr_config_id": bytes(32)}, "48 bytes"),
        ({"kind": "qemu-vtpm"}, "has a TPM, and none is given"),
        ({"kind": "azure-tdx", "boot": "disk"}, "not a machine of a bare-metal host"),
    ],
)
def test_a_machine_that_a_host_cannot_have_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        arguments(replace(TD, **change), WIRING)


def test_a_trust_domain_with_a_tpm_is_refused_and_mrconfigid_without_one() -> None:
    with pytest.raises(FormatError, match="has no TPM"):
        arguments(TD, TPM)
    with pytest.raises(FormatError, match="for trust domains"):
        arguments(replace(profile("local-uki-kernel"), mr_config_id=CONFIG), TPM)


@pytest.mark.parametrize(
    "change",
    [
        {"config": PurePosixPath("/x,readonly=off")},
        {"uki": PurePosixPath("/a b")},
        {"firmware": PurePosixPath("relative")},
        {"monitor": PurePosixPath('/x"')},
        {"monitor": PurePosixPath(f"/{'x' * 107}")},
        {"mac": "52:54:00:88:00:02,romfile=x"},
        {"mac": "52:54:00:88:00:0g"},
    ],
)
def test_an_end_that_would_be_more_than_a_path_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(WIRING, **change)


@given(st.from_regex(layout._NAME, fullmatch=True).filter(lambda name: len(name) <= 32), st.sampled_from("ab"))
def test_every_slot_can_be_wired(name: str, letter: str) -> None:
    slot = layout.Slot(name, letter, layout.LAST_LEASE)
    wiring = replace(WIRING, config=slot.config, monitor=slot.monitor, mac=slot.mac, tpm=slot.runtime / "tpm.sock")
    assert str(slot.monitor) in " ".join(arguments(profile("local-uki-kernel"), wiring))
