"""The local machine as data: its shape, what QEMU is started with, and which measurements follow. Pure.

It is the bare-metal profile: same firmware file through -bios, machine type, devices and their order; only the
accelerator and the TPM differ. Whatever is set here that a boot measures must also be in `Machine.platform`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import UsageError
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.platform import Platform

MACHINE_TYPE: Final = "pc-q35-10.1"
GUEST_PORT: Final = 8443
CONFIG_SERIAL: Final = "pluto-config"  # by this the image finds the disk with its run-time configuration
BOOTS: Final = ("uki-kernel", "disk")  # the image is a UKI, so it is never booted as a bare kernel
ACCELERATORS: Final = ("tcg", "kvm")
# Less leaves the kernel no room to unpack the image: a tmpfs takes half of the memory, and the rest is cut silently.
LEAST_MEMORY: Final = 320 << 20
MOST_MEMORY: Final = 1 << 40
MOST_CPUS: Final = 64


@dataclass(frozen=True, slots=True)
class Machine:
    """What the caller may choose. Memory in bytes; `boot` is "uki-kernel" or "disk", `accelerator` "tcg" or "kvm"."""

    boot: str = "uki-kernel"
    cpus: int = 2
    memory: int = 1 << 30
    accelerator: str = "tcg"

    def __post_init__(self) -> None:
        if self.boot not in BOOTS:
            raise UsageError(f"boot {self.boot!r} is not one of {', '.join(BOOTS)}")
        if self.accelerator not in ACCELERATORS:
            raise UsageError(f"accelerator {self.accelerator!r} is not one of {', '.join(ACCELERATORS)}")
        if not 1 <= self.cpus <= MOST_CPUS:
            raise UsageError(f"{self.cpus} vCPUs are not between 1 and {MOST_CPUS}")
        if not LEAST_MEMORY <= self.memory <= MOST_MEMORY:
            raise UsageError(
                f"{self.memory >> 20} MiB of memory are less than the {LEAST_MEMORY >> 20} MiB that the image needs"
            )
        if self.memory % (1 << 20):
            raise UsageError(f"memory of {self.memory} bytes is not a whole number of MiB")

    def platform(self, firmware: Digests) -> Platform:
        """The shape as `predict` wants it. The firmware that we boot knows no Secure Boot."""
        return Platform(
            kind="qemu-vtpm",
            boot=self.boot,
            cpus=self.cpus,
            memory=self.memory,
            machine_type=MACHINE_TYPE,
            firmware=Firmware(firmware),
            devices=devices(self.boot),
        )


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where the machine's ends are on the host: files, inherited sockets, and a port of its own, which no client knows.

    `tpm_fd` leads to the TPM's control channel, the monitor listens on `monitor_fd`.

    `serial_fd` is an inherited stream socket for whoever wants to type; what the guest says is in `serial_log` anyway.
    """

    firmware: Path
    uki: Path
    disk: Path
    config: Path
    serial_log: Path
    tpm_fd: int
    monitor_fd: int
    port: int
    serial_fd: int | None = None
    outside: bool = False  # whether the guest reaches this computer and what it reaches


def arguments(machine: Machine, wiring: Wiring, extra: Sequence[str] = ()) -> list[str]:
    """QEMU's arguments. `extra` is for tests that play the hostile host."""
    # fmt: off
    return [
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-no-reboot",  # a software TPM that went through a reset would have the log of two boots
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine", f"{MACHINE_TYPE},smm=off,pic=off",  # a trust domain has neither
        "-accel", acceleration(machine.accelerator),
        # The firmware places devices by the width of addresses, which shows in ACPI; this is the width of a TDX host.
        "-cpu", "max,phys-bits=46",
        "-smp", str(machine.cpus),
        "-m", f"{machine.memory >> 20}M",
        "-bios", str(wiring.firmware),
        *_kernel(machine, wiring),
        *_network(wiring),
        *_disk("config", wiring.config, f"serial={CONFIG_SERIAL}"),
        *(_disk("boot", wiring.disk, "bootindex=0") if machine.boot == "disk" else ()),
        "-chardev", f"socket,id=tpm,fd={wiring.tpm_fd}",
        "-tpmdev", "emulator,id=tpm,chardev=tpm",
        "-device", "tpm-crb,tpmdev=tpm",
        "-chardev", f"socket,id=monitor,fd={wiring.monitor_fd},server=on,wait=off",
        "-object", "monitor-qmp,id=qmp,chardev=monitor",
        "-chardev", _serial(wiring),
        "-serial", "chardev:serial",
        *extra,
    ]
    # fmt: on


def devices(boot: str) -> tuple[str, ...]:
    """What `arguments` puts on the machine, in its order, as far as the host's ACPI tells of it."""
    disk = ("virtio-blk-pci,bootindex=0",) if boot == "disk" else ()
    return ("virtio-net-pci,romfile=", "virtio-blk-pci", *disk, "serial")


def acceleration(accelerator: str) -> str:
    """The value of -accel."""
    return {"tcg": "tcg,thread=multi", "kvm": "kvm"}[accelerator]


def _kernel(machine: Machine, wiring: Wiring) -> tuple[str, ...]:
    return ("-kernel", str(wiring.uki)) if machine.boot == "uki-kernel" else ()


def _network(wiring: Wiring) -> tuple[str, ...]:
    # Restricted: the code that runs is unverified until it is attested. A debug image asks sites of this computer.
    forward = f"hostfwd=tcp:127.0.0.1:{wiring.port}-:{GUEST_PORT}"
    # No option ROM: it would be code of the host's, measured into PCR 2.
    restrict = "off" if wiring.outside else "on"
    netdev = f"user,id=net,restrict={restrict},{forward}"
    return ("-netdev", netdev, "-device", "virtio-net-pci,netdev=net,romfile=")


def _disk(name: str, path: Path, option: str) -> tuple[str, ...]:
    blockdev = f"driver=raw,node-name={name},read-only=on,file.driver=file,file.filename={_escaped(path)}"
    return ("-blockdev", blockdev, "-device", f"virtio-blk-pci,id={name},drive={name},{option}")


def _serial(wiring: Wiring) -> str:
    if wiring.serial_fd is None:
        return f"file,id=serial,path={_escaped(wiring.serial_log)}"
    return f"socket,id=serial,fd={wiring.serial_fd},logfile={_escaped(wiring.serial_log)}"


def _escaped(path: Path) -> str:
    """A path as the value of one of QEMU's key=value lists, where a comma is doubled."""
    return str(path).replace(",", ",,")
