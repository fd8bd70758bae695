"""The shape of a machine, as far as it decides what a boot measures: the values of a platform file. Pure.

Format: docs/formats/platform.md. What is not given has the default of its kind; what no default can be right for, and
what a prediction needs, is asked for by name when it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.machine.firmware import MENU_SPLIT, Firmware
from pluto_measure.machine.inputs import Acpi, Input
from pluto_measure.machine.mrtd import ORDERS, order_of_qemu

KINDS: Final = ("qemu-tdx", "gcp-tdx", "azure-tdx", "gcp-confidential-space", "qemu-vtpm")
TDX_KINDS: Final = ("qemu-tdx", "gcp-tdx")  # kinds whose RTMRs hold the boot
BOOTS: Final = ("uki-kernel", "disk", "direct")
SECURE_BOOT_STATES: Final = ("absent", "off", "on")
VARIABLES: Final = ("PK", "KEK", "db", "dbx")
DISK_BUSES: Final = ("virtio-blk", "virtio-scsi", "nvme")

# Google's TDX machine types: vCPUs and memory in GiB. Larger ones have several NUMA nodes, and nobody has seen their
# TD HOB.
GOOGLE_MACHINES: Final[Mapping[str, tuple[int, int]]] = {
    "c3-standard-4": (4, 16),
    "c3-standard-8": (8, 32),
    "c3-standard-22": (22, 88),
    "c3-standard-44": (44, 176),
}

_GOOGLE: Final = "c3-standard-4"
_AZURE: Final = "Standard_DC2es_v6"

_WHAT: Final = "platform file"
_GENERATION_HINT: Final = "name the image with --firmware FILE, its release with --edk2-generation, or use --profile ID"
_PROFILES: Final = "platforms.toml"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST_VARIABLE: Final = 1024 * 1024
_LOW_SPLIT: Final = 0xB0000000  # QEMU q35: with that much memory or more, 2 GiB lie below 4 GiB
_OPTION: Final = re.compile(r"Boot(Order|[0-9A-F]{4})")


@dataclass(frozen=True, slots=True)
class SecureBoot:
    """Secure Boot as the firmware reports it.

    absent  the firmware has no Secure Boot: the variable does not exist
    off     it has, and no keys are enrolled or it is switched off
    on      images are checked against db; `variables` must then hold PK, KEK and db

    `variables` maps PK, KEK, db, dbx to their content, or to the digests of their event where only these are known;
    one that is missing is absent on the machine too. `known` is False where nobody said what the variables hold, or
    where nobody can (Azure).
    """

    state: str = "absent"
    variables: Mapping[str, bytes | Digests] = field(default_factory=dict)
    known: bool = True

    def __post_init__(self) -> None:
        if self.state not in SECURE_BOOT_STATES:
            raise FormatError(_WHAT, f"secureBoot.state {self.state!r} is not one of {', '.join(SECURE_BOOT_STATES)}")
        for name, content in self.variables.items():
            if name not in VARIABLES or (isinstance(content, bytes) and len(content) > _LARGEST_VARIABLE):
                raise FormatError(_WHAT, f"secureBoot.{name} is not known or too large")
        missing = [name for name in ("PK", "KEK", "db") if not self.variables.get(name)]
        if self.state == "on" and missing and self.known:
            raise FormatError(_WHAT, f"secureBoot is on, but {missing[0]} is missing")
        if self.state == "absent" and self.variables:
            raise FormatError(_WHAT, "secureBoot is absent, but variables are given")

    def to_json(self) -> dict[str, object]:
        """Contents by digest: enough to compare two profiles."""
        shown = {
            name: (content if isinstance(content, Digests) else Digests.of(content)).to_json()
            for name, content in self.variables.items()
        }
        return {"state": self.state, **shown, **({} if self.known else {"variables": "not given"})}


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that the firmware boots from, as its boot entry names it. `slot`: PCI device number on the root bus."""

    bus: str
    slot: int
    serial: str = ""  # NVMe

    def __post_init__(self) -> None:
        if self.bus not in DISK_BUSES:
            raise FormatError(_WHAT, f"disk.bus {self.bus!r} is not one of {', '.join(DISK_BUSES)}")
        if not 0 <= self.slot < 32:
            raise FormatError(_WHAT, f"disk.slot {self.slot} is not a PCI device number")

    def to_json(self) -> dict[str, object]:
        return {"bus": self.bus, "slot": self.slot, **({"serial": self.serial} if self.serial else {})}


@dataclass(frozen=True, slots=True)
class Platform:
    """One machine shape. Memory in bytes.

    disks             how many disks a Google machine has
    acpi              the machine's blobs; several are an allow-list, which only `gcp-tdx` may have
    boot_variables    BootOrder and Boot####, by name in the order of the log; empty: what the firmware makes by itself
    fw_cfg            items that firmware from 202505 on measures, by name; None: what QEMU offers by itself
    smbios            digests of the SMBIOS event, which firmware from 202505 on measures
    devices           the PCI devices on the root bus, as QEMU's -device takes them: for `acpi harvest`
    endorsed_mrtds    what the maker of the firmware says MRTD is, where the image itself is not at hand

    Option ROMs are always off on our machines, so there is no field for them: PCR 2 holds its separator alone.
    """

    kind: str = "qemu-vtpm"
    boot: str = "uki-kernel"
    cpus: int = 2
    memory: int = 1 << 30
    machine_type: str = "pc-q35-10.1"
    vmm: str = "qemu"
    vmm_version: str = "11.1"
    firmware: Firmware | None = None
    secure_boot: SecureBoot = field(default_factory=SecureBoot)
    edk2_generation: int | None = None
    page_order: str | None = None
    disk: Disk | None = None
    disks: int = 1
    acpi: tuple[Acpi, ...] = ()
    insecure_unmeasured_acpi: bool = False
    boot_variables: Mapping[str, Input] = field(default_factory=dict)
    fw_cfg: Mapping[str, Input] | None = None
    smbios: Digests | None = None
    devices: tuple[str, ...] = ()
    endorsed_mrtds: tuple[bytes, ...] = ()
    mr_config_id: bytes | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FormatError(_WHAT, f"platform {self.kind!r} is not known, only {', '.join(KINDS)} are")
        if self.boot not in BOOTS:
            raise FormatError(_WHAT, f"boot {self.boot!r} is not one of {', '.join(BOOTS)}")
        if self.boot != "disk" and self.kind not in ("qemu-tdx", "qemu-vtpm"):
            raise FormatError(_WHAT, f"{self.kind} boots from a disk, not by {self.boot}")
        if not 1 <= self.cpus <= 4096:
            raise FormatError(_WHAT, f"{self.cpus} vCPUs")
        if not 0 < self.memory < 1 << 52:
            raise FormatError(_WHAT, f"memory of {self.memory} bytes")
        if (self.kind == "gcp-tdx" and self.disk is not None) or not 1 <= self.disks <= 128:
            raise FormatError(_WHAT, "gcp-tdx has disks, a number from 1 to 128, in the place of disk")
        if self.kind != "gcp-tdx" and self.disks != 1:
            raise FormatError(_WHAT, f"disks is for gcp-tdx, not for {self.kind}")
        if self.page_order is not None and self.page_order not in ORDERS:
            raise FormatError(_WHAT, f"pageOrder {self.page_order!r} is not one of {', '.join(ORDERS)}")
        if self.kind != "gcp-tdx" and (self.insecure_unmeasured_acpi or len(self.acpi) > 1 or self.endorsed_mrtds):
            raise FormatError(_WHAT, f"an allow-list of ACPI, or an endorsement, is for gcp-tdx, not for {self.kind}")
        if odd := [name for name in self.boot_variables if not _OPTION.fullmatch(name)]:
            raise FormatError(_WHAT, f"bootVariables.{odd[0]} is neither BootOrder nor Boot#### in upper-case hex")

    @property
    def version(self) -> tuple[int, ...]:
        """The VMM's version as numbers: "10.1.2" is (10, 1, 2)."""
        found = re.match(r"[0-9]+(\.[0-9]+)*", self.vmm_version)
        if not found:
            raise FormatError(_WHAT, f"vmmVersion {self.vmm_version!r} does not begin with a number")
        return tuple(int(part) for part in found[0].split("."))

    @property
    def order(self) -> str:
        """The order in which this VMM adds and extends pages: a key of `machine.mrtd.ORDERS`."""
        if self.page_order is not None:
            return self.page_order
        return order_of_qemu(self.version) if self.vmm == "qemu" else "interleaved"

    @property
    def generation(self) -> int:
        """The edk2 stable tag whose rules the firmware follows. FormatError where nobody knows it."""
        if self.edk2_generation is not None:
            return self.edk2_generation
        if self.firmware is not None and self.firmware.generation is not None:
            return self.firmware.generation
        if self.kind == "gcp-tdx":
            return 202502  # what Google's firmware does, in every log that was seen
        raise FormatError(_WHAT, "the firmware is not given, or does not say which edk2 it is", hint=_GENERATION_HINT)

    def shape(self) -> dict[str, object]:
        """What decides the ACPI blobs and boot variables of a QEMU machine: the key of the harvested table."""
        if self.firmware is None:
            raise FormatError(_WHAT, "firmware is not given", hint="name the image with --firmware FILE")
        return {
            "vmm": self.vmm,
            "vmmVersion": ".".join(map(str, self.version[:2])),
            "machineType": self.machine_type,
            "firmware": self.firmware.digests["sha384"].hex(),
            "cpus": self.cpus,
            "lowMemory": self.memory if self.memory < _LOW_SPLIT else 2 << 30,
            "boot": "disk" if self.boot == "disk" else "kernel",
            "devices": list(self.devices),
            "tpm": self.kind == "qemu-vtpm",
        }

    def to_json(self) -> dict[str, object]:
        """Everything resolved, defaults included: `inputs` of a prediction."""
        document: dict[str, object] = {
            "platform": self.kind,
            "vmm": self.vmm,
            "vmmVersion": self.vmm_version,
            "machineType": self.machine_type,
            "firmware": None if self.firmware is None else self.firmware.to_json(),
            "cpus": self.cpus,
            "memory": self.memory,
            "boot": self.boot,
            "secureBoot": self.secure_boot.to_json(),
        }
        optional: dict[str, object] = {
            "edk2Generation": self.edk2_generation or (self.firmware.generation if self.firmware else None),
            "pageOrder": self.order if self.kind in TDX_KINDS else None,
            "disk": self.disk.to_json() if self.disk else None,
            "disks": self.disks if self.kind == "gcp-tdx" else None,
            "acpi": [acpi.to_json() for acpi in self.acpi] if len(self.acpi) > 1 else None,
            "bootVariables": _digests(self.boot_variables),
            "fwCfg": None if self.fw_cfg is None else _digests(self.fw_cfg),
            "smbios": self.smbios.to_json() if self.smbios else None,
            "devices": list(self.devices) or None,
            "endorsedMrtds": [value.hex() for value in self.endorsed_mrtds] or None,
            "insecure_unmeasured_acpi": self.insecure_unmeasured_acpi or None,
            "mrConfigId": self.mr_config_id.hex() if self.mr_config_id else None,
        }
        if len(self.acpi) == 1:
            optional["acpi"] = self.acpi[0].to_json()
        return document | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def default(cls, kind: str) -> Self:
        """The machine of this kind with nothing else said."""
        unsaid = SecureBoot("off", known=False)
        if kind in ("gcp-tdx", "gcp-confidential-space"):
            cpus, gib = GOOGLE_MACHINES[_GOOGLE]
            return cls(kind, "disk", cpus, gib << 30, _GOOGLE, "google", "1", secure_boot=unsaid)
        if kind == "azure-tdx":
            return cls(kind, "disk", 2, 8 << 30, _AZURE, "hyper-v", "1", secure_boot=unsaid)
        return cls(kind)

    def with_firmware(self, firmware: Input) -> Self:
        """The same with this firmware; its image is read as far as this kind of machine needs it. FormatError."""
        if firmware.content is None or self.kind not in TDX_KINDS:
            return replace(self, firmware=Firmware(firmware.digests))
        # Which boot options the firmware makes by itself depends on what is inside; older ones have one by -kernel.
        options = self.boot == "disk" or (self.edk2_generation or 0) >= MENU_SPLIT
        unpack = options and self.kind == "qemu-tdx" and not self.boot_variables
        found = Firmware.of(firmware.content, self.order, self.edk2_generation, unpack=unpack, digests=firmware.digests)
        return replace(self, firmware=found)


def _digests(inputs: Mapping[str, Input]) -> dict[str, object] | None:
    return {name: item.digests.to_json() for name, item in inputs.items()} or None
