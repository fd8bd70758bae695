"""The log of a UKI booted by OVMF with a TPM: PCR 2 to 7, 9 and 11, each event in its order. Pure.

PCR 0 and 1 (firmware volumes, ACPI tables, boot variables) are not predicted here: they depend on the VMM's machine
and their rule is `replay`. PCR 8 and 12 to 15 have no event on a boot that nobody tampered with.
Facts: edk2 2022.11 to 2025.02, systemd-stub 257, Linux 6.12 (docs/formats/measurements.md says who measures what).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType
from pluto_measure.launch import Launch, SectionDigest
from pluto_measure.platform import Platform, SecureBoot
from pluto_measure.predict import events
from pluto_measure.predict.events import ExpectedEvent, expected
from pluto_measure.predict.stub import MEASURED_SECTIONS, load_options

_GUIDS: Final[Mapping[str, bytes]] = {
    "SecureBoot": uefi.GLOBAL_VARIABLE,
    "PK": uefi.GLOBAL_VARIABLE,
    "KEK": uefi.GLOBAL_VARIABLE,
    "db": uefi.IMAGE_SECURITY,
    "dbx": uefi.IMAGE_SECURITY,
}
_SECURE_BOOT_VALUE: Final = {"absent": b"", "off": b"\0", "on": b"\1"}
_SEPARATED_AT_READY: Final = ("pcr2", "pcr3", "pcr4", "pcr5", "pcr6")


def predict_vtpm(launch: Launch, platform: Platform) -> Iterator[ExpectedEvent]:
    """Every event of PCR 2 to 15, in the order of the log."""
    yield from _secure_boot(platform.secure_boot)
    if platform.boot == "uki-kernel":
        # -kernel: the firmware loads the image before it announces the boot option.
        yield from _uki(launch, platform.secure_boot)
    yield expected("pcr4", EventType.EV_EFI_ACTION, events.CALLING, "boot option is started", "firmware")
    for register in _SEPARATED_AT_READY:
        yield expected(register, EventType.EV_SEPARATOR, events.SEPARATOR, "end of the firmware phase", "firmware")
    if platform.boot == "disk":
        description = "partition table of the boot disk"
        gpt = expected("pcr5", EventType.EV_EFI_GPT_EVENT, launch.gpt_event, description, "launch.disk.gptEvent")
        authority, image = _authority_first(launch, platform.secure_boot)
        yield from (*authority, gpt, image)
    yield from _stub(launch)
    if platform.secure_boot.state != "on":
        # With Secure Boot on, the stub's security override keeps the kernel from the firmware's measurement.
        kind, source = EventType.EV_EFI_BOOT_SERVICES_APPLICATION, "launch.kernel.authenticode"
        yield expected("pcr4", kind, launch.kernel_authenticode, "kernel inside the UKI", source)
    yield from _kernel(launch)
    for text in (events.EXIT_INVOKED, events.EXIT_DONE):
        yield expected("pcr5", EventType.EV_EFI_ACTION, text, text.decode(), "firmware")


def _secure_boot(secure_boot: SecureBoot) -> Iterator[ExpectedEvent]:
    kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    contents = {"SecureBoot": _SECURE_BOOT_VALUE[secure_boot.state], **secure_boot.variables}
    for name, guid in _GUIDS.items():
        content = contents.get(name, b"")
        state = f"{len(content)} bytes" if content else "absent"
        data = uefi.Variable(guid, name, content).encode()
        yield expected("pcr7", kind, data, f"variable {name}: {state}", f"platform.secureBoot ({secure_boot.state})")
    yield expected("pcr7", EventType.EV_SEPARATOR, events.SEPARATOR, "end of the Secure Boot variables", "firmware")


def _uki(launch: Launch, secure_boot: SecureBoot) -> Iterator[ExpectedEvent]:
    authority, image = _authority_first(launch, secure_boot)
    yield from (*authority, image)


def _authority_first(launch: Launch, secure_boot: SecureBoot) -> tuple[tuple[ExpectedEvent, ...], ExpectedEvent]:
    image = expected(
        "pcr4",
        EventType.EV_EFI_BOOT_SERVICES_APPLICATION,
        launch.uki_authenticode,
        "UKI",
        "launch.uki.authenticode",
    )
    return (tuple(_authority(secure_boot)) if secure_boot.state == "on" else ()), image


def _authority(secure_boot: SecureBoot) -> Iterator[ExpectedEvent]:
    entries = uefi.parse_signatures(secure_boot.variables["db"])
    if len(entries) != 1 or entries[0].type != uefi.X509_SIGNATURE:
        raise FormatError("platform file", f"db has {len(entries)} entries, one X.509 certificate can be predicted")
    data = uefi.Variable(uefi.IMAGE_SECURITY, "db", entries[0].owner + entries[0].data).encode()
    kind = EventType.EV_EFI_VARIABLE_AUTHORITY
    yield expected("pcr7", kind, data, "certificate of db that the UKI was checked with", "platform.secureBoot.db")


def _stub(launch: Launch) -> Iterator[ExpectedEvent]:
    by_name: dict[str, SectionDigest] = {section.name: section for section in launch.sections}
    for name in MEASURED_SECTIONS:
        if name not in by_name:
            continue
        source = f"launch.sections[{name}]"
        yield expected("pcr11", EventType.EV_IPL, name.encode() + b"\0", f"name of section {name}", source)
        yield expected("pcr11", EventType.EV_IPL, by_name[name].digests, f"content of section {name}", source)


def _kernel(launch: Launch) -> Iterator[ExpectedEvent]:
    if options := load_options(launch.command_line):
        text = "kernel command line (LOADED_IMAGE::LoadOptions)"
        yield expected("pcr9", EventType.EV_EVENT_TAG, Digests.of(options), text, "launch.commandLine")
    text = "initrd as the stub hands it over (Linux initrd)"
    yield expected("pcr9", EventType.EV_EVENT_TAG, launch.handed_initrd, text, "launch.handedInitrd")
