"""The machine of a shape as QEMU's arguments, with a harvest's guest in it. Pure.

Everything that leaves a trace in ACPI is as the shape says: machine type, vCPUs, low memory, devices and their order,
the TPM, the firmware. Everything else is emulation's own choice. What that is, and why it changes nothing that is
harvested: docs/formats/platform-inputs.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.harvest.entry import LOW_MEMORY
from pluto_measure.machine.platform import Platform

# Firmware places the 64-bit PCI window by the width of a physical address, and takes 46 bits for any that has more;
# every processor with TDX has. Less than that, such as the 40 bits of a model without this, gives other tables. So does
# a processor of AMD's, which "max" is under emulation, where the window reaches beyond 1 TiB: QEMU moves memory then.
PROCESSORS: Final[Mapping[str, str]] = {
    "qemu-tdx": "Skylake-Server,phys-bits=46",
    "qemu-vtpm": "max,phys-bits=46",  # that of `pluto-deploy local`: SMBIOS names it
}
SERIAL: Final = "serial"  # among a platform's devices: the board's own serial port, as -serial makes it
PORT: Final = 0x402  # of the debug port that the guest speaks on

_WHAT: Final = "platform file"
_DRIVER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NETWORK: Final = re.compile(r"virtio-net-pci.*|e1000e?|vmxnet3|rtl8139|igb")
_DISK: Final = re.compile(r"virtio-blk-pci.*|scsi-hd|nvme")
_CHARACTER: Final = re.compile(r"isa-serial|pci-serial.*|virtserialport|virtconsole")
_BACKENDS: Final = ("netdev=", "drive=", "chardev=")
# A device of the host's is stood in for by one that is at hand, in the same place: ACPI names slots, not what is there.
_PASSED_THROUGH: Final = "vfio-pci"
_STAND_IN: Final = "pci-testdev"
_PLACE: Final = ("bus=", "addr=", "id=", "multifunction=")


@dataclass(frozen=True, slots=True)
class Wiring:
    """Paths of the machine's ends on the host, and an inherited socket to the control channel of a TPM."""

    firmware: str
    uki: str  # started by -kernel
    disk: str  # with the same UKI in its ESP, for machines that boot from a disk
    blank: str  # content of every other disk
    transcript: str  # what the guest writes to the debug port
    tpm_fd: int | None = None


def arguments(platform: Platform, wiring: Wiring, memory: int, extra: Sequence[str] = ()) -> list[str]:
    """QEMU's arguments for this machine with `memory` bytes. FormatError for devices that cannot be stood in for.

    `extra` is for tests that hold somebody else's machine against its published values.
    """
    if memory % (1 << 20):
        raise FormatError(_WHAT, f"memory of {memory} bytes is not a whole number of MiB")
    tpm = platform.kind == "qemu-vtpm"
    if tpm != (wiring.tpm_fd is not None):
        raise FormatError(_WHAT, f"{platform.kind} and a TPM do not go together" if not tpm else "there is no TPM")
    # fmt: off
    return [
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-no-reboot",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine", f"{platform.machine_type},smm=off,pic=off",  # a trust domain has neither
        "-accel", "tcg,thread=single",  # vCPUs that wait for each other wait long on a host with fewer processors
        "-cpu", PROCESSORS[platform.kind],
        "-smp", str(platform.cpus),
        "-m", f"{memory >> 20}M",
        "-bios", wiring.firmware,
        *(() if platform.boot == "disk" else ("-kernel", wiring.uki)),
        *_devices(platform, wiring),
        *(_tpm(wiring.tpm_fd) if wiring.tpm_fd is not None else ()),
        *_serial(platform),
        *extra,
        "-chardev", f"file,id=transcript,path={_escaped(wiring.transcript)}",
        "-device", f"isa-debugcon,iobase={PORT:#x},chardev=transcript",
    ]
    # fmt: on


def memories(platform: Platform, *, most: int = 8 << 30) -> tuple[int, int]:
    """Two sizes of memory that must give the same inputs, in bytes; the same one twice where there is no second.

    The first is the platform's own, unless that is more than `most`, which may not be there to emulate it.
    """
    low = platform.shape()["lowMemory"]
    if low != LOW_MEMORY:
        return platform.memory, platform.memory
    own = platform.memory if platform.memory <= most else 4 << 30
    return own, LOW_MEMORY if own != LOW_MEMORY else 4 << 30


def _devices(platform: Platform, wiring: Wiring) -> Iterator[str]:
    boot = [device for device in platform.devices if "bootindex=0" in device.split(",")]
    if platform.boot == "disk" and len(boot) != 1:
        raise FormatError(_WHAT, f"{len(boot)} devices have bootindex=0, and the machine boots from a disk")
    for number, device in enumerate(device for device in platform.devices if device != SERIAL):
        driver, _, options = device.partition(",")
        if not _DRIVER.fullmatch(driver):
            raise FormatError(_WHAT, f"devices: {device!r} does not begin with the name of a device")
        if any(option.startswith(_BACKENDS) for option in options.split(",")):
            raise FormatError(_WHAT, f"devices: {device!r} names a backend, which is the host's affair")
        name = f"backend{number}"
        if driver == _PASSED_THROUGH:
            kept = [option for option in options.split(",") if option.startswith(_PLACE)]
            yield from ("-device", ",".join([_STAND_IN, *kept]))
        elif _NETWORK.fullmatch(driver):
            yield from ("-netdev", f"user,id={name},restrict=on", "-device", f"{device},netdev={name}")
        elif _DISK.fullmatch(driver):
            path = _escaped(wiring.disk if device in boot else wiring.blank)
            blockdev = f"driver=raw,node-name={name},read-only=on,file.driver=file,file.filename={path}"
            yield from ("-blockdev", blockdev, "-device", f"{device},drive={name}")
        elif _CHARACTER.fullmatch(driver):
            yield from ("-chardev", f"null,id={name}", "-device", f"{device},chardev={name}")
        else:
            yield from ("-device", device)


def _tpm(fd: int) -> tuple[str, ...]:
    backend = ("-chardev", f"socket,id=tpm,fd={fd}", "-tpmdev", "emulator,id=tpm,chardev=tpm")
    return (*backend, "-device", "tpm-crb,tpmdev=tpm")


def _serial(platform: Platform) -> tuple[str, ...]:
    if SERIAL not in platform.devices:
        return ()
    return ("-chardev", "null,id=serial", "-serial", "chardev:serial")


def _escaped(path: str) -> str:
    """A path as the value of one of QEMU's key=value lists, where a comma is doubled."""
    return path.replace(",", ",,")
