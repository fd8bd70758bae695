"""The log that a machine writes when it boots as predicted, data included: labels, paths, names. For tests alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pluto_measure.digests import Digests, digest
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.launch import Launch
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import BLOBS, Acpi, Input
from pluto_measure.machine.platform import Disk, Platform
from pluto_measure.predict import predict
from pluto_measure.predict.boot_options import boot_variables
from pluto_measure.predict.events import (
    CALLING,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INVOKED,
    RETURNING,
    SEPARATOR,
    ExpectedEvent,
)
from simulators.event_logs import le, spec_id
from simulators.launches import LAUNCH

ACTIONS = {
    "calling": CALLING,
    "returning": RETURNING,
    "exit-invoked": EXIT_INVOKED,
    "exit-done": EXIT_DONE,
    "exit-failed": EXIT_FAILED,
}
BLOCK = uefi.PathNode(1, 1, bytes([0, 2]))
ROOT = uefi.PathNode(2, 1, bytes.fromhex("d041030a00000000"))
PARTITION = uefi.PathNode(4, 1, le(1, 4) + bytes(16) + bytes(16) + b"\2\2")
SECTIONS = (
    Section(0x84000, 0x37C000, 0xFFC84000, 0x37C000, SectionType.BFV, 1),
    Section(0, 0x84000, 0xFFC00000, 0x84000, SectionType.CFV, 0),
    Section(0, 0, 0x811000, 0xF000, SectionType.TEMP_MEM, 0),
    Section(0, 0, 0x80B000, 0x2000, SectionType.TEMP_MEM, 0),
    Section(0, 0, 0x809000, 0x2000, SectionType.TD_HOB, 0),
    Section(0, 0, 0x800000, 0x6000, SectionType.TEMP_MEM, 0),
)
FIRMWARE = Firmware(
    Digests.of(b"firmware"), 0x400000, SECTIONS, digest("sha384", b"cfv"), {"interleaved": bytes(48)}, 202502
)
TABLES = Acpi({name: Digests.of(f"acpi {name}".encode()) for name in BLOBS if name != "tpmLog"})
TABLES_WITH_TPM = Acpi({name: Digests.of(f"acpi {name}".encode()) for name in BLOBS})
DIRECT = replace(
    LAUNCH,
    stub="",
    uki_size=0,
    uki_digests=None,
    uki_authenticode=None,
    sections=(),
    disk_size=0,
    gpt_event=None,
)
OPTIONS = {"BootOrder": Input.of(b"\1\0\0\0"), "Boot0001": Input.of(b"menu"), "Boot0000": Input.of(b"setup")}
TDX = Platform("qemu-tdx", firmware=FIRMWARE, acpi=(TABLES,), memory=2 << 30)
TDX_DISK = replace(TDX, boot="disk", disk=Disk("virtio-blk", 2))
TDX_DIRECT = replace(TDX, boot="direct")
OLDER = replace(TDX, edk2_generation=202402)
NEWER = replace(TDX, edk2_generation=202508, boot_variables=OPTIONS, smbios=Digests.of(b"smbios"))
GOOGLE = replace(Platform.default("gcp-tdx"), firmware=replace(FIRMWARE, generation=None), acpi=(TABLES,))
GOOGLE_OPEN = Platform.default("gcp-tdx")
TPM = Platform(boot="disk")
TPM_FIRMWARE = Platform(boot="disk", disk=Disk("nvme", 3, "x"), acpi=(TABLES_WITH_TPM,), edk2_generation=202502)
MACHINES: Mapping[str, tuple[Launch | None, Platform]] = {
    "tdx": (LAUNCH, TDX),
    "tdx disk": (LAUNCH, TDX_DISK),
    "tdx direct": (DIRECT, TDX_DIRECT),
    "tdx older": (LAUNCH, OLDER),
    "tdx newer": (LAUNCH, NEWER),
    "tdx alone": (None, TDX),
    "google": (LAUNCH, GOOGLE),
    "google open": (LAUNCH, GOOGLE_OPEN),
    "azure": (LAUNCH, Platform.default("azure-tdx")),
    "tpm": (LAUNCH, TPM),
    "tpm kernel": (LAUNCH, Platform()),
    "tpm firmware": (LAUNCH, TPM_FIRMWARE),
}


def machine(name: str) -> tuple[tuple[ExpectedEvent, ...], EventLog]:
    """What is predicted of one of MACHINES, and the log of its honest boot."""
    launch, platform = MACHINES[name]
    expected = predict(launch, platform)
    return expected, honest(expected, platform)


def honest(expected: Iterable[ExpectedEvent], platform: Platform) -> EventLog:
    """The log, its first record included. What is open has a digest of its own, what is allowed the first one."""
    events = [logged(event, platform) for event in expected]
    cc = platform.kind in ("qemu-tdx", "gcp-tdx")
    names = tuple(events[0].digests)
    first = LogEvent(int(cc), EventType.EV_NO_ACTION, {name: bytes(20) for name in names}, spec_id(names))
    return EventLog("cc" if cc else "tpm", names, (first, *events))


def logged(event: ExpectedEvent, platform: Platform) -> LogEvent:
    """The record of one expected event."""
    digests = event.digests or (event.allowed[0] if event.allowed else None)
    if digests is None:
        names = ("sha384",) if event.register.startswith("rtmr") else ("sha256", "sha384")
        digests = {name: digest(name, event.role.encode()) for name in names}
    index = int(event.register[4:]) + 1 if event.register.startswith("rtmr") else int(event.register[3:])
    return LogEvent(index, event.type, dict(digests), data_of(event.role, platform))


def data_of(role: str, platform: Platform) -> bytes:
    """What a firmware, stub or kernel writes beside the digest of such an event."""
    head, _, name = role.partition(":")
    match head:
        case "td-hob":
            return b"\x09TdxTable\0" + le(1, 8) + bytes(16) + le(0x809000, 8)
        case "cfv":
            return b"\x03Fv\0" + le(0xFFC00000, 8) + le(0x84000, 8)
        case "fw-cfg":
            return b"QEMU FW CFG\0" + name.encode().ljust(56, b"\0")
        case "acpi":
            return b"ACPI DATA"
        case "separator":
            return SEPARATOR
        case "variable":
            guid = uefi.IMAGE_SECURITY if name in ("db", "dbx") else uefi.GLOBAL_VARIABLE
            state = {"absent": b"", "off": b"\0", "on": b"\1"}[platform.secure_boot.state]
            return uefi.Variable(guid, name, state if name == "SecureBoot" else b"").encode()
        case "authority":
            return uefi.Variable(uefi.IMAGE_SECURITY, name, b"entry").encode()
        case "boot-order" | "boot-option":
            variable = "BootOrder" if head == "boot-order" else f"Boot{name}"
            return uefi.Variable(
                uefi.GLOBAL_VARIABLE, variable, boot_variables(platform)[variable].content or b""
            ).encode()
        case "image":
            return image_data(*_path(name, platform))
        case "section" | "section-name":
            return f"{name}\0".encode("utf-16-le")
        case "load-options":
            return tagged(0x8F3B22ED, b"LOADED_IMAGE::LoadOptions\0")
        case "initrd":
            return tagged(0x8F3B22EC, b"Linux initrd\0")
        case _:
            return ACTIONS.get(role, b"data")


def image_data(*path: uefi.PathNode) -> bytes:
    """UEFI_IMAGE_LOAD_EVENT of an image that came from `path`; from memory where that is empty."""
    encoded = uefi.encode_path(path) if path else b""
    return le(0x1000, 8) + le(4096, 8) + le(0, 8) + le(len(encoded), 8) + encoded


def tagged(tag: int, content: bytes) -> bytes:
    """The data of an EV_EVENT_TAG."""
    return le(tag, 4) + le(len(content), 4) + content


def file(name: str) -> uefi.PathNode:
    """A file's node of a device path."""
    return uefi.PathNode(4, 4, f"{name}\0".encode("utf-16-le"))


def media(guid: str) -> uefi.PathNode:
    """A vendor's media node of a device path."""
    return uefi.PathNode(4, 3, uuid.UUID(guid).bytes_le)


def _path(name: str, platform: Platform) -> tuple[uefi.PathNode, ...]:
    if name == "kernel" and platform.boot != "direct":
        return (media("55c5d1f8-04cd-46b5-8a20-e56cbb3052d0"),)
    if platform.boot != "disk":
        return (media("1428f772-b64a-441e-b8c3-9ebdd7f893c7"), file("kernel"))
    return (ROOT, BLOCK, PARTITION, file("\\EFI\\BOOT\\BOOTX64.EFI"))
