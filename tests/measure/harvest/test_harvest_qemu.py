"""The machine of a shape as arguments: what leaves a trace in ACPI is the shape's, and backends are the host's."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.harvest import guest, qemu
from pluto_measure.harvest.qemu import Wiring, arguments, memories
from simulators import machines
from simulators.harvests import bare_metal

WIRING = Wiring("firmware.fd", "guest.efi", "guest.raw", "blank,1", "out,1")
GIB = 1 << 30


def joined(wiring: Wiring = WIRING, memory: int = 4 * GIB, extra: tuple[str, ...] = (), **changes: Any) -> str:
    return " ".join(arguments(bare_metal(**changes), wiring, memory, extra))


def test_a_bare_metal_machine_is_that_of_its_shape() -> None:
    text = joined(cpus=8)
    for part in ("-machine pc-q35-10.1,smm=off,pic=off", "-smp 8", "-m 4096M", "-bios firmware.fd", "-nodefaults"):
        assert f"{part} " in text
    assert "-cpu Skylake-Server,phys-bits=46 " in text
    assert "-kernel guest.efi " in text
    assert "tpm" not in text


def test_devices_come_in_the_order_of_the_shape_and_the_serial_port_is_the_boards_own() -> None:
    text = joined(devices=("virtio-blk-pci", "serial", "virtio-net-pci,romfile=", "pcie-root-port,id=p"))
    places = [text.index(part) for part in ("-device virtio-blk-pci,drive=", "-device virtio-net-pci,romfile=,netdev=")]
    places += [text.index("-device pcie-root-port,id=p "), text.index("-serial chardev:serial")]
    assert places == sorted(places)
    assert "-device isa-serial" not in text  # it would stand elsewhere in the tables than the board's own
    assert "file.filename=blank,,1 " in text
    assert "-serial" not in joined(devices=())


def test_the_guest_speaks_on_a_port_without_a_trace() -> None:
    assert joined().endswith(
        "-chardev file,id=transcript,path=out,,1 -device isa-debugcon,iobase=0x402,chardev=transcript"
    )
    assert guest.PORT == qemu.PORT


def test_a_disk_is_booted_from_the_device_that_says_so() -> None:
    text = joined(boot="disk", devices=("virtio-blk-pci", "virtio-blk-pci,bootindex=0"))
    assert "-kernel" not in text
    assert "file.filename=guest.raw -device virtio-blk-pci,bootindex=0,drive=backend1" in text
    assert "file.filename=blank,,1 -device virtio-blk-pci,drive=backend0" in text


def test_a_passed_through_device_has_a_stand_in_in_its_place() -> None:
    text = joined(devices=("vfio-pci,host=0000:17:00.0,bus=pci.1,addr=0x0", "vfio-pci"))
    assert "-device pci-testdev,bus=pci.1,addr=0x0 -device pci-testdev " in text
    assert "17:00" not in text


@pytest.mark.parametrize(
    ("device", "backend"),
    [
        ("e1000,bus=pcie.0", "-netdev user,id=backend0,restrict=on -device e1000,bus=pcie.0,netdev=backend0"),
        ("nvme,serial=x", "-device nvme,serial=x,drive=backend0"),
        ("pci-serial", "-chardev null,id=backend0 -device pci-serial,chardev=backend0"),
        ("virtio-scsi-pci,id=s", "-device virtio-scsi-pci,id=s "),
    ],
)
def test_backends_are_made_for_those_that_need_one(device: str, backend: str) -> None:
    assert backend in joined(devices=(device,))


def test_a_tpm_comes_where_the_kind_has_one() -> None:
    wired = Wiring("f", "u", "d", "b", "t", tpm_fd=7)
    text = " ".join(arguments(machines.laptop(), wired, GIB))
    assert "-cpu max,phys-bits=46 " in text
    assert "-chardev socket,id=tpm,fd=7 -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm" in text
    with pytest.raises(FormatError, match="there is no TPM"):
        arguments(machines.laptop(), WIRING, GIB)
    with pytest.raises(FormatError, match="do not go together"):
        arguments(bare_metal(), wired, GIB)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"boot": "disk"}, "0 devices have bootindex=0"),
        ({"boot": "disk", "devices": ("nvme,bootindex=0", "scsi-hd,bootindex=0")}, "2 devices"),
        ({"devices": ("virtio-net-pci,netdev=n0",)}, "names a backend"),
        ({"devices": ("-kernel",)}, "does not begin with the name"),
        ({"devices": ("",)}, "does not begin with the name"),
    ],
)
def test_machines_that_cannot_be_stood_in_for_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        joined(**changes)


def test_memory_is_whole_mebibytes() -> None:
    with pytest.raises(FormatError, match="whole number of MiB"):
        joined(memory=GIB + 1)


def test_more_arguments_come_before_the_guests_port() -> None:
    text = joined(extra=("-global", "q35-pcihost.pci-hole64-size=4096G"))
    assert text.index("-global") < text.index("isa-debugcon")


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [
        (GIB, (GIB, GIB)),
        (2000 << 20, (2000 << 20, 2000 << 20)),
        (2 * GIB, (2 * GIB, 4 * GIB)),
        (2500 << 20, (2500 << 20, 2500 << 20)),
        (2816 << 20, (2816 << 20, 2 * GIB)),
        (4 * GIB, (4 * GIB, 2 * GIB)),
        (512 * GIB, (4 * GIB, 2 * GIB)),
    ],
)
def test_two_sizes_of_one_shape_are_harvested_where_there_are_two(memory: int, wanted: tuple[int, int]) -> None:
    platform = bare_metal(memory=memory)
    assert memories(platform) == wanted
    assert all(bare_metal(memory=size).shape() == platform.shape() for size in wanted)


def test_prediction_does_without_what_a_harvest_needs() -> None:
    table = importlib.import_module("pluto_measure.harvest.table")
    assert not {"guest", "machine", "qemu", "subprocess", "ctypes"} & set(vars(table))
