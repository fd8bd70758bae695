"""QEMU's command line of a slot, from the very platform that its measurements are predicted from. Pure.

Whatever a boot measures comes from the `Platform`: machine type, vCPUs, memory, devices and their order, MRCONFIGID.
The `Wiring` says where the machine's ends are on the host, which no register shows. What QEMU does with each word is
as it was when ACPI was harvested (`pluto_measure.harvest.qemu`), so that RTMR[0] is what was predicted:

- `smm=off,pic=off`: a trust domain has neither, and FACP and MADT say so.
- No `hpet=off`, which many command lines for TDX have: it takes the table HPET out of ACPI, and so moves RTMR[0]. The
  guest takes its time from the TSC (`tsc=reliable`) in any case. To have it off, harvest without it first.
- `kernel-irqchip=split`: QEMU refuses TDX with any other. It leaves no trace in ACPI, and neither do modern-only
  virtio devices behind an IOMMU, to which QEMU turns them by itself in a trust domain.
- `kvm-steal-time=off`: it would need shared memory that a trust domain does not give. `pmu=off,pks=off`: they would
  set the attributes PERFMON and PKS, which the strict policy does not accept.
- No `attributes`: DEBUG stays off, and `sept-ve-disable` is the one attribute that is asked for.

A trust domain cannot be reset or saved: `-no-reboot` ends QEMU instead, and the unit starts it again.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pluto_deploy.engine.policy import REGISTER
from pluto_deploy.metal import layout
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import canonical
from pluto_measure.harvest.qemu import PROCESSORS, SERIAL
from pluto_measure.machine.platform import Platform

TDX: Final = "tdx"
INSECURE_NONE: Final = "insecure_none"  # emulated: no trust domain, and whoever has the host has the machine
KINDS: Final = {"qemu-tdx": TDX, "qemu-vtpm": INSECURE_NONE}
CONFIG_SERIAL: Final = "pluto-config"  # by this the image finds the disk with its run-time configuration

# Descriptors that QEMU inherits from the keeper, far above those that a program opens by itself.
SERIAL_FD: Final = 100
KEEPER_FD: Final = 101
CARD_FD: Final = 102

_WHAT: Final = "platform"
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PATH: Final = re.compile(r"(/[a-zA-Z0-9._-]+)+")
_MACHINE_TYPE: Final = re.compile(r"pc-q35-[0-9]+\.[0-9]+")
_LONGEST_SOCKET: Final = 107  # bytes of sun_path, unix(7), without the final zero
_NETWORK: Final = "virtio-net-pci,romfile="  # without option ROM, which would be code of the host's, measured
_DISK: Final = "virtio-blk-pci"


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where the machine's ends are on the host.

    mac    of the network card, whose other end on the host is the inherited CARD_FD
    vhost  the host's kernel moves the packets: faster, and more of the kernel for a guest to attack
    tpm    the socket of a software TPM, which `qemu-vtpm` has
    """

    firmware: PurePosixPath
    uki: PurePosixPath
    config: PurePosixPath
    monitor: PurePosixPath
    mac: str
    vhost: bool = False
    quotes: PurePosixPath = layout.QUOTE_SOCKET
    tpm: PurePosixPath | None = None

    def __post_init__(self) -> None:
        sockets = (self.monitor, self.quotes, *((self.tpm,) if self.tpm is not None else ()))
        for path in (self.firmware, self.uki, self.config, *sockets):
            if not _PATH.fullmatch(str(path)):  # a comma or a quote would be another option, or another unit's line
                raise FormatError("path", f"{str(path)[:200]!r} has other characters than a-z, A-Z, 0-9, '.', '_', '-'")
        if long := [path for path in sockets if len(str(path)) > _LONGEST_SOCKET]:
            raise FormatError("path", f"{long[0]} is too long for a socket")
        if not _MAC.fullmatch(self.mac):
            raise FormatError("mac", f"{self.mac!r} is not a MAC address")


def arguments(platform: Platform, wiring: Wiring) -> list[str]:
    """QEMU's arguments for this machine. FormatError for one that a bare-metal host cannot have."""
    _possible(platform, wiring)
    tdx = KINDS[platform.kind] == TDX
    # fmt: off
    return [
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-no-reboot",
        "-msg", "timestamp=on",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        *(_trust_domain(platform, wiring) if tdx else ()),
        "-machine", _machine(platform, tdx),
        "-accel", "kvm" if tdx else "tcg,thread=multi",
        "-cpu", "host,kvm-steal-time=off,pmu=off,pks=off" if tdx else PROCESSORS[platform.kind],
        "-smp", str(platform.cpus),
        "-m", f"{platform.memory >> 20}M",
        "-bios", str(wiring.firmware),
        "-kernel", str(wiring.uki),
        *_devices(platform, wiring),
        *(_tpm(wiring.tpm) if wiring.tpm is not None else ()),
        "-chardev", f"socket,id=serial,fd={SERIAL_FD}",
        "-serial", "chardev:serial",
        "-chardev", f"socket,id=keeper,fd={KEEPER_FD}",
        "-object", "monitor-qmp,id=qmp-keeper,chardev=keeper",
        "-chardev", f"socket,id=monitor,path={wiring.monitor},server=on,wait=off",
        "-object", "monitor-qmp,id=qmp-monitor,chardev=monitor",
    ]
    # fmt: on


def _possible(platform: Platform, wiring: Wiring) -> None:
    """FormatError unless every field of the platform is one that `arguments` can bring about."""
    if platform.kind not in KINDS:
        raise FormatError(_WHAT, f"{platform.kind} is not a machine of a bare-metal host")
    _is(platform.boot == "uki-kernel", f"boot {platform.boot} is not for a bare-metal host, which has uki-kernel")
    _is(platform.vmm == "qemu", f"vmm {platform.vmm!r} is not the one that is started here")
    _is(bool(_MACHINE_TYPE.fullmatch(platform.machine_type)), f"machine type {platform.machine_type!r} is not a q35")
    _is(platform.secure_boot.state == "absent", "the firmware has no Secure Boot, and the platform says that it has")
    _is(platform.disk is None, "a disk to boot from is not for a machine that boots by -kernel")
    _is(platform.memory % (1 << 20) == 0, f"memory of {platform.memory} bytes is not a whole number of MiB")
    if KINDS[platform.kind] == TDX:
        _is(wiring.tpm is None, "a trust domain has no TPM")
        _is(platform.mr_config_id is not None, "MRCONFIGID is not given")
        _is(len(platform.mr_config_id or b"") == REGISTER, f"MRCONFIGID must be {REGISTER} bytes long")
    else:
        _is(wiring.tpm is not None, f"{platform.kind} has a TPM, and none is given")
        _is(platform.mr_config_id is None, "MRCONFIGID is for trust domains")


def _is(true: bool, problem: str) -> None:
    if not true:
        raise FormatError(_WHAT, problem)


def _machine(platform: Platform, tdx: bool) -> str:
    base = f"{platform.machine_type},smm=off,pic=off"
    return f"{base},kernel-irqchip=split,confidential-guest-support=tdx" if tdx else base


def _trust_domain(platform: Platform, wiring: Wiring) -> tuple[str, str]:
    """The object as JSON, since a socket address has no other spelling. MRCONFIGID in base64 of 48 bytes."""
    assert platform.mr_config_id is not None
    value = {
        "qom-type": "tdx-guest",
        "id": "tdx",
        "mrconfigid": base64.b64encode(platform.mr_config_id).decode(),
        "sept-ve-disable": True,
        "quote-generation-socket": {"type": "unix", "path": str(wiring.quotes)},
    }
    return "-object", canonical(value).decode()


def _devices(platform: Platform, wiring: Wiring) -> Iterator[str]:
    """The devices in the platform's order: each as it stands there, then its backend. FormatError for any other."""
    ends = {_NETWORK: _card(wiring), _DISK: _disk(wiring.config)}
    if sorted(platform.devices) != sorted((*ends, SERIAL)):
        problem = f"must be {', '.join((*ends, SERIAL))}, each once: nothing else is at hand on a bare-metal host"
        raise FormatError(_WHAT, f"devices {problem}")
    # The board's own port comes with the board. It is listed last, so that a list of devices has one meaning.
    _is(platform.devices[-1] == SERIAL, f"devices must end with {SERIAL}")
    for device in platform.devices[:-1]:
        kind, backend, options = ends[device]
        yield from (kind, backend, "-device", f"{device},{options}")


def _card(wiring: Wiring) -> tuple[str, str, str]:
    vhost = "on" if wiring.vhost else "off"
    return "-netdev", f"tap,id=net,fd={CARD_FD},vhost={vhost}", f"netdev=net,mac={wiring.mac}"


def _disk(config: PurePosixPath) -> tuple[str, str, str]:
    backend = f"driver=raw,node-name=config,read-only=on,file.driver=file,file.filename={config}"
    return "-blockdev", backend, f"id=config,drive=config,serial={CONFIG_SERIAL}"


def _tpm(socket: PurePosixPath) -> tuple[str, ...]:
    backend = ("-chardev", f"socket,id=tpm,path={socket}", "-tpmdev", "emulator,id=tpm,chardev=tpm")
    return (*backend, "-device", "tpm-crb,tpmdev=tpm")
