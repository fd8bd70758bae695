"""The log of a boot, from the firmware's first event to its last: one sequence for TPM and TDX. Pure.

Every measurement is made into a PCR by its number; the machine's medium says which register that is. So the same list,
in the same order, gives the PCRs of a TPM and the RTMRs of a trust domain, and what only one of them has says so.
Facts: edk2 2022.11 to 2025.11, systemd-stub by `predict.stub`, Linux 6.9 and later; docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.predict import events, hob, kernel, stub
from pluto_measure.predict.boot_options import boot_variables
from pluto_measure.predict.events import Banks, ExpectedEvent, of_banks
from pluto_measure.predict.media import MEDIA, Medium

_GUIDS: Final[Mapping[str, bytes]] = {
    "SecureBoot": uefi.GLOBAL_VARIABLE,
    "PK": uefi.GLOBAL_VARIABLE,
    "KEK": uefi.GLOBAL_VARIABLE,
    "db": uefi.IMAGE_SECURITY,
    "dbx": uefi.IMAGE_SECURITY,
}
_SECURE_BOOT_VALUE: Final = {"absent": b"", "off": b"\0", "on": b"\1"}
_GOOGLE_ONE_NODE: Final = 176 << 30  # bytes; larger machines have several NUMA nodes
_MOST_AUTHORITIES: Final = 64
_FW_CFG_MEASURED: Final = 202505  # from this edk2 on: fw_cfg items and SMBIOS
_READY_IN_RTMR1: Final = 202411  # from this edk2 on: the separator at ReadyToBoot
# The items that firmware measures, in the order of the log.
_FW_CFG: Final = (
    "etc/extra-pci-roots",
    "BootMenu",
    "etc/boot-menu-wait",
    "etc/reserved-memory-end",
    "opt/ovmf/X-PciMmio64Mb",
    "bootorder",
)
# What QEMU offers of them by itself with -kernel: no menu, and the option ROM that would start Linux first.
_KERNEL_FW_CFG: Final = {
    "BootMenu": Digests.of(bytes(2)),
    "bootorder": Digests.of(b"/rom@genroms/linuxboot_dma.bin\0"),
}

Measured = bytes | Digests | None


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot to predict. Without a launch, only what firmware and machine decide can be."""

    launch: Launch | None
    platform: Platform

    @property
    def medium(self) -> Medium:
        return MEDIA[self.platform.kind]

    def events(self) -> Iterator[ExpectedEvent]:
        """All events, in the order of the log."""
        platform = self.platform
        if self.medium.is_tdx:
            yield from self._handed_over()
        if platform.kind == "qemu-tdx" and platform.generation >= _FW_CFG_MEASURED:  # never on a boot with a TPM
            yield from self._fw_cfg()
        yield from self._secure_boot()
        yield from self._acpi()
        if platform.boot != "disk":
            # -kernel: the firmware loads the image before it announces the boot option.
            yield from self._first_image()
        yield from self._smbios()
        yield from self._boot_options()
        yield from self._event(4, EventType.EV_EFI_ACTION, events.CALLING, "calling", "boot option starts", "firmware")
        yield from self._ready()
        if platform.boot == "disk":
            yield from self._partitions()
            yield from self._first_image()
        yield from self._stub()
        yield from self._kernel_input()
        for role, text in (("exit-invoked", events.EXIT_INVOKED), ("exit-done", events.EXIT_DONE)):
            yield from self._event(5, EventType.EV_EFI_ACTION, text, role, text.decode(), "firmware")

    @property
    def _needs_generation(self) -> bool:
        """Whether RTMR[0] or PCR 1 is to be predicted: only there generations of QEMU's firmware differ."""
        return self.medium.is_tdx or bool(self.platform.acpi)

    def _event(
        self,
        pcr: int,
        kind: EventType,
        measured: Measured,
        role: str,
        description: str,
        source: str,
        allowed: tuple[Banks, ...] = (),
    ) -> Iterator[ExpectedEvent]:
        """One event; none where this machine has no register for it that can be predicted. `measured` None: open."""
        register = self.medium.of_pcr.get(pcr)
        if register is None or (register == "pcr1" and not self.platform.acpi):
            return
        digests: Banks = {} if measured is None else of_banks(measured, self.medium.banks)
        yield ExpectedEvent(register, kind, digests, description, source, role, allowed)

    def _handed_over(self) -> Iterator[ExpectedEvent]:
        """TD HOB and variable store, which the firmware measures before anything else (edk2 202302)."""
        platform = self.platform
        firmware = platform.firmware
        td_hob: Measured = None
        if firmware is not None and firmware.sections and self._has_known_hob:
            td_hob = hob.WRITERS[platform.kind](firmware.sections, platform.memory)
        cfv = Digests(b"", firmware.cfv) if firmware is not None and firmware.cfv else None
        kind = EventType.EV_EFI_HANDOFF_TABLES2
        text = f"memory of the trust domain (TD HOB, {platform.memory >> 20} MiB)"
        yield from self._event(1, kind, td_hob, "td-hob", text, "platform.memory, platform.firmware")
        text = "variable store of the firmware (CFV)"
        kind = EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2
        yield from self._event(1, kind, cfv, "cfv", text, "platform.firmware")

    @property
    def _has_known_hob(self) -> bool:
        """Whether anybody has seen how this VMM writes the list of memory of such a machine."""
        if self.platform.kind == "gcp-tdx":
            return self.platform.memory <= _GOOGLE_ONE_NODE
        return self.platform.vmm == "qemu"

    def _fw_cfg(self) -> Iterator[ExpectedEvent]:
        given = self.platform.fw_cfg
        if given is None and self.platform.boot == "disk":
            problem = f"fwCfg is not given, and firmware of {self.platform.generation} measures where the disk stands"
            hint = "take bootorder from 'pluto-measure acpi harvest'"
            raise FormatError("platform file", problem, hint=hint)
        items = _KERNEL_FW_CFG if given is None else {name: item.digests for name, item in given.items()}
        if odd := [name for name in items if name not in _FW_CFG]:
            raise FormatError("platform file", f"fwCfg.{odd[0]} is not an item that firmware measures")
        kind = EventType.EV_PLATFORM_CONFIG_FLAGS
        for name in (name for name in _FW_CFG if name in items):
            text = f"setting {name} of the VMM"
            yield from self._event(1, kind, items[name], f"fw-cfg:{name}", text, f"platform.fwCfg[{name}]")

    def _secure_boot(self) -> Iterator[ExpectedEvent]:
        kind, secure_boot = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, self.platform.secure_boot
        contents = {"SecureBoot": _SECURE_BOOT_VALUE[secure_boot.state], **secure_boot.variables}
        for name, guid in _GUIDS.items():
            content = contents.get(name, b"")
            state = f"{len(content)} bytes" if isinstance(content, bytes) else "by digest"
            measured: Measured = (
                content if isinstance(content, Digests) else uefi.Variable(guid, name, content).encode()
            )
            if not secure_boot.known and name != "SecureBoot":
                measured, state = None, "not given"
            text, source = f"variable {name}: {state if content else 'absent'}", "platform.secureBoot"
            text = text if secure_boot.known else f"variable {name}"
            yield from self._event(7, kind, measured, f"variable:{name}", text, f"{source} ({secure_boot.state})")
        text = "end of the Secure Boot variables"
        yield from self._event(7, EventType.EV_SEPARATOR, events.SEPARATOR, "separator:secure-boot", text, "firmware")

    def _acpi(self) -> Iterator[ExpectedEvent]:
        platform = self.platform
        if not platform.acpi and platform.kind == "qemu-tdx":
            raise FormatError(
                "platform file",
                f"acpi is not given, and nothing computes what QEMU {platform.vmm_version} makes for {platform.cpus} "
                f"vCPUs and {platform.memory >> 20} MiB as {platform.machine_type}",
                hint="run 'make harvest' ('pluto-measure acpi harvest'), or 'pluto-measure replay LOG --json' on a log",
            )
        if not platform.acpi and platform.kind != "gcp-tdx":
            return
        names = platform.acpi[0].blobs if platform.acpi else ("loader", "rsdp", "tables")
        if any(set(acpi.blobs) != set(names) for acpi in platform.acpi):
            raise FormatError("platform file", "entries of the allow-list of ACPI do not name the same blobs")
        for name in names:
            choices = [of_banks(acpi.blobs[name], self.medium.banks) for acpi in platform.acpi]
            several = tuple(choice for i, choice in enumerate(choices) if choice not in choices[:i])
            one = platform.acpi[0].blobs[name] if len(several) == 1 else None
            text, source = f"ACPI {name}", f"platform.acpi.{name}"
            if not choices:
                source = "insecure_unmeasured_acpi" if platform.insecure_unmeasured_acpi else "not given"
            kind = EventType.EV_PLATFORM_CONFIG_FLAGS
            allowed = several if len(several) > 1 else ()
            yield from self._event(1, kind, one, f"acpi:{name}", text, source, allowed)

    def _smbios(self) -> Iterator[ExpectedEvent]:
        platform = self.platform
        if platform.smbios is None and not (platform.kind == "qemu-tdx" or platform.acpi):
            return
        if platform.kind == "gcp-tdx" or platform.generation < _FW_CFG_MEASURED:
            return
        if platform.smbios is None:
            raise FormatError(
                "platform file",
                f"smbios is not given, and firmware of {platform.generation} measures it",
                hint="take it from the log of such a machine by 'pluto-measure replay': it names the processor",
            )
        kind, text = EventType.EV_EFI_HANDOFF_TABLES, "SMBIOS table, without what varies"
        yield from self._event(1, kind, platform.smbios, "smbios", text, "platform.smbios")

    def _boot_options(self) -> Iterator[ExpectedEvent]:
        if not self._needs_generation:
            return
        kind = EventType.EV_EFI_VARIABLE_BOOT
        for name, item in boot_variables(self.platform).items():
            role = "boot-order" if name == "BootOrder" else f"boot-option:{name[4:]}"
            source = "platform.bootVariables" if self.platform.boot_variables else "firmware"
            yield from self._event(1, kind, item.digests, role, f"variable {name}", source)

    def _ready(self) -> Iterator[ExpectedEvent]:
        """The separators at ReadyToBoot: one for each PCR, but one alone in a trust domain."""
        kind, text = EventType.EV_SEPARATOR, "end of the firmware phase"
        if self.medium.is_tdx:
            pcr = 2 if self.platform.generation >= _READY_IN_RTMR1 else 1
            yield from self._event(pcr, kind, events.SEPARATOR, "separator:ready", text, "firmware")
            return
        for pcr in range(1, 7):
            yield from self._event(pcr, kind, events.SEPARATOR, "separator:ready", text, "firmware")

    def _partitions(self) -> Iterator[ExpectedEvent]:
        if self.launch is None:
            return
        if self.launch.gpt_event is None:
            raise FormatError("launch.json", "has no disk, and this machine boots from one")
        kind, text = EventType.EV_EFI_GPT_EVENT, "partition table of the boot disk"
        yield from self._event(5, kind, self.launch.gpt_event, "gpt", text, "launch.disk.gptEvent")

    def _first_image(self) -> Iterator[ExpectedEvent]:
        """What the firmware starts: the UKI, or on direct boot the kernel; with Secure Boot the key before it."""
        if self.platform.secure_boot.state == "on" and 7 in self.medium.of_pcr:
            yield from self._authority()
        if self.launch is None:
            return
        kind = EventType.EV_EFI_BOOT_SERVICES_APPLICATION
        if self.platform.boot == "direct":
            measured = kernel.measured_image(self.launch, self.platform)
            yield from self._event(4, kind, measured, "image:kernel", "kernel", "launch.kernel.authenticode")
            return
        kernel.check_uki(self.platform)
        if self.launch.uki_authenticode is None:
            raise FormatError("launch.json", "has no UKI, so it is for direct boot alone")
        measured = self.launch.uki_authenticode
        yield from self._event(4, kind, measured, "image:uki", "UKI", "launch.uki.authenticode")

    def _authority(self) -> Iterator[ExpectedEvent]:
        """The entry of db that verified the image. Which of several it was, only the log can tell."""
        content = self.platform.secure_boot.variables["db"]
        text, source = "entry of db that the image was checked with", "platform.secureBoot.db"
        if isinstance(content, Digests):  # of the variable's event, which says nothing of its entries
            yield from self._event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, None, "authority:db", text, source)
            return
        entries = uefi.parse_signatures(content)
        if not 1 <= len(entries) <= _MOST_AUTHORITIES:
            raise FormatError("platform file", f"db has {len(entries)} entries, 1 to {_MOST_AUTHORITIES} can be told")
        data = [uefi.Variable(uefi.IMAGE_SECURITY, "db", entry.owner + entry.data).encode() for entry in entries]
        allowed = tuple(of_banks(item, self.medium.banks) for item in data) if len(data) > 1 else ()
        one = data[0] if len(data) == 1 else None
        kind = EventType.EV_EFI_VARIABLE_AUTHORITY
        yield from self._event(7, kind, one, "authority:db", text, source, allowed)

    def _stub(self) -> Iterator[ExpectedEvent]:
        """systemd-stub's measurements of its sections, then the kernel that it starts."""
        if self.launch is None or self.platform.boot == "direct":
            return
        version = stub.version(self.launch.stub)
        if version.measures_smbios_to_cc if self.medium.is_tdx else version.measures_smbios_type1:
            kind, text = EventType.EV_EVENT_TAG, "SMBIOS: the machine's name and number"
            yield from self._event(1, kind, None, "smbios:type1", text, "nobody knows it beforehand")
        sections = {section.name: section for section in self.launch.sections}
        if version.measures_sections_to_cc or not self.medium.is_tdx:
            for name in (name for name in version.measured_sections if name in sections):
                source, label = f"launch.sections[{name}]", name.encode() + b"\0"
                text = f"name of section {name}"
                yield from self._event(11, EventType.EV_IPL, label, f"section-name:{name}", text, source)
                measured, text = sections[name].digests, f"content of section {name}"
                yield from self._event(11, EventType.EV_IPL, measured, f"section:{name}", text, source)
        if version.kernel_is_measured_as_image and self.platform.secure_boot.state != "on":
            # With Secure Boot on, the stub's security override keeps the kernel from the firmware's measurement.
            kind, source = EventType.EV_EFI_BOOT_SERVICES_APPLICATION, "launch.kernel.authenticode"
            measured = self.launch.kernel_authenticode
            yield from self._event(4, kind, measured, "image:kernel", "kernel inside the UKI", source)

    def _kernel_input(self) -> Iterator[ExpectedEvent]:
        """What Linux' EFI stub measures: its command line and its initrd."""
        launch = self.launch
        if launch is None:
            return
        options, kind = kernel.load_options(launch, self.platform), EventType.EV_EVENT_TAG
        if options:
            text = "kernel command line (LOADED_IMAGE::LoadOptions)"
            yield from self._event(9, kind, options, "load-options", text, "launch.commandLine")
        if launch.handed_initrd is not None:
            direct = self.platform.boot == "direct"
            fixed = direct or stub.version(launch.stub).initrd_is_reproducible_from(self.platform.boot)
            measured = launch.handed_initrd if fixed else None
            text = "initrd (Linux initrd)" if direct else "initrd as the stub hands it over (Linux initrd)"
            yield from self._event(9, kind, measured, "initrd", text, "launch.handedInitrd")
