"""The role of one event, by its type and data and by its neighbours in its register. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import ALGORITHMS, digest
from pluto_measure.event_text import INITRD_TAG, LOAD_OPTIONS_TAG, image_path, label, safe, tag_of
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import CEL_CONTENT, EventType, LogEvent, type_name
from pluto_measure.machine.inputs import BLOBS
from pluto_measure.predict import events

KERNEL_IN_UKI: Final = uuid.UUID("55c5d1f8-04cd-46b5-8a20-e56cbb3052d0").bytes_le  # systemd-stub
KERNEL_OF_QEMU: Final = uuid.UUID("1428f772-b64a-441e-b8c3-9ebdd7f893c7").bytes_le  # OVMF: the blobs of -kernel

_ACTIONS: Final = {
    events.CALLING: "calling",
    events.RETURNING: "returning",
    events.EXIT_INVOKED: "exit-invoked",
    events.EXIT_DONE: "exit-done",
    events.EXIT_FAILED: "exit-failed",
}
# By digest, so that no label can make one action of another.
_ACTION_OF: Final[Mapping[bytes, str]] = {
    digest(name, text): role for text, role in _ACTIONS.items() for name in ALGORITHMS
}
_BLOB_OF: Final = {label: name for name, label in BLOBS.items()}
_ACPI_LABEL: Final = b"ACPI DATA"
_FW_CFG_LABEL: Final = b"QEMU FW CFG\0"
_PLAIN: Final[Mapping[int, str]] = {
    EventType.EV_S_CRTM_VERSION: "firmware-version",
    EventType.EV_S_CRTM_CONTENTS: "firmware-contents",
    EventType.EV_POST_CODE: "post-code",
    EventType.EV_POST_CODE2: "post-code",
    EventType.EV_NO_ACTION: "note",
    EventType.EV_EFI_GPT_EVENT: "gpt",
    EventType.EV_EFI_GPT_EVENT2: "gpt",
    EventType.EV_EFI_HANDOFF_TABLES: "smbios",
    EventType.EV_EFI_RUNTIME_SERVICES_DRIVER: "driver:runtime",
}
_TAG_ROLES: Final = {
    LOAD_OPTIONS_TAG: "load-options",
    INITRD_TAG: "initrd",
    0xD5CB7CBC: "smbios:type1",
    0xE0D47BC8: "smbios:type2",
    0xC0B3BD23: "smbios:type11",
}
_SECTION: Final = re.compile(r"\.[a-z]{2,8}")
_OPTION: Final = re.compile(r"Boot[0-9A-F]{4}")
_SHIM: Final = re.compile(r"Mok[A-Z]\w*|Sbat\w*|Shim")
_GRUB: Final = re.compile(r"(grub_|grub |module_|kernel_cmdline|/|\(hd)")
_PHASES: Final = frozenset({"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"})
_OVERRIDING: Final = ("pcr12", "rtmr2")
_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class At:
    """An event in its register: the one before and after it, and the role of the one before ("" for none)."""

    register: str
    event: LogEvent
    before: LogEvent | None
    after: LogEvent | None
    last: str


def role_of(at: At) -> str:
    """The role of one event."""
    kind = at.event.type
    if kind in _BY_TYPE:
        return _BY_TYPE[kind](at)
    if kind >> 8 == CEL_CONTENT >> 8:
        return f"run-time:{kind - CEL_CONTENT}"
    return _PLAIN.get(kind, f"event:{type_name(kind)}")


def _separator(at: At) -> str:
    """The one behind the Secure Boot variables; all others end the firmware's phase."""
    configured = at.before is not None and at.before.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    first = at.register == "pcr7" and at.before is None
    return "separator:secure-boot" if configured or first else "separator:ready"


def _blob(at: At) -> str:
    return {"rtmr0": "cfv", "rtmr1": "payload"}.get(at.register, "firmware-volume")


def _handed(at: At) -> str:
    # UEFI names the SMBIOS table so, where firmware follows the newer of two profiles.
    return "smbios" if at.event.data[1:12] == b"SmbiosTable" else "td-hob"


def _ipl(at: At) -> str:
    event = at.event
    text = label(event.data[: 4 * _LONGEST])
    if _SECTION.fullmatch(text):
        return _section(text, at)
    if text in _PHASES:
        return f"phase:{text}"
    if text.endswith("initrd") and "redential" in text:
        return "credentials"
    if text.endswith("initrd") and "xtension" in text:
        return "extension"
    if _SHIM.match(text):
        return f"shim:{_short(text)}"
    if _GRUB.match(text):
        kind = "command" if text.startswith(("grub_cmd", "grub ")) else "file" if text[0] in "/(" else "kernel"
        return f"grub:{kind}"
    # What stands in the place of the command line is measured by itself, in UTF-16.
    return "override" if at.register in _OVERRIDING and event.data[1:2] == b"\0" else "ipl"


def _section(name: str, at: At) -> str:
    """The stub measures a section's name, then its content, and calls both by the name."""
    event, text = at.event, name.encode() + b"\0"
    if any(event.digests.get(bank) == digest(bank, text) for bank in ("sha256", "sha384", "sha1")):
        return f"section-name:{name}"
    same_before = at.before is not None and at.before.data == event.data
    if at.last == f"section-name:{name}" or (same_before and at.last != f"section:{name}"):
        return f"section:{name}"
    same_after = at.after is not None and at.after.type == EventType.EV_IPL and at.after.data == event.data
    return f"section-name:{name}" if same_after else f"section:{name}"


def _config(at: At) -> str:
    data = at.event.data
    if data.startswith(_FW_CFG_LABEL):
        name = data[len(_FW_CFG_LABEL) :].partition(b"\0")[0]
        return f"fw-cfg:{_short(name.decode('ascii', 'replace'))}"
    if data.rstrip(b"\0") == _ACPI_LABEL:
        return "acpi"
    text = label(data[: 4 * _LONGEST]).partition("\0")[0]
    if text in _BLOB_OF:
        return f"acpi:{_BLOB_OF[text]}"
    # td-shim's names.
    named = {"td_hob": "td-hob", "td_payload": "payload", "td_payload_info": "payload-info"}
    return named.get(text, f"config:{_short(text)}" if text else "config")


def _action(at: At) -> str:
    for value in at.event.digests.values():
        if value in _ACTION_OF:
            return _ACTION_OF[value]
    return _ACTIONS.get(at.event.data, "action")


def _tagged(at: At) -> str:
    tag = tag_of(at.event)
    if tag is None:
        return "tag"
    return _TAG_ROLES.get(tag, f"tag:{tag:#x}")


def _variable(at: At) -> str:
    return _named("variable", at.event)


def _authority(at: At) -> str:
    return _named("authority", at.event)


def _named(kind: str, event: LogEvent) -> str:
    name = _variable_name(event)
    return f"{kind}:{name}" if name else kind


def _boot_variable(at: At) -> str:
    name = _variable_name(at.event)
    if name == "BootOrder":
        return "boot-order"
    return f"boot-option:{name[4:]}" if _OPTION.fullmatch(name) else _named("boot-variable", at.event)


def _variable_name(event: LogEvent) -> str:
    """The name in UEFI_VARIABLE_DATA, "" where there is none. Its content may be large, so it is not parsed whole."""
    size = 2 * int.from_bytes(event.data[16:24], "little")
    return _short(event.data[32 : 32 + min(size, 4 * _LONGEST)].decode("utf-16-le", "replace")) if size else ""


def _image(at: At) -> str:
    """By where the log says that the image came from. What "disk" and "-kernel" hold, `compare.roles` settles."""
    path = image_path(at.event)
    if path is None:
        return "image"
    kinds = {(node.type, node.subtype) for node in path}
    if (4, 6) in kinds:
        return "image:firmware"
    media = next((node.data for node in path if (node.type, node.subtype) == (4, 3)), b"")
    if media == KERNEL_IN_UKI:
        return "image:kernel"
    if media == KERNEL_OF_QEMU:
        return "image:given"
    if path and (path[-1].type, path[-1].subtype) == (4, 4) and _file(path[-1]).endswith(".addon.efi"):
        return "image:addon"
    if kinds & {(1, 1), (4, 1)}:
        return "image:disk"
    return "image:file" if kinds else "image:memory"


def _driver(at: At) -> str:
    path = image_path(at.event)
    if path is None:
        return "driver"
    kinds = {(node.type, node.subtype) for node in path}
    return "driver:option-rom" if (1, 1) in kinds else "driver:firmware" if (4, 6) in kinds else "driver"


def _file(node: uefi.PathNode) -> str:
    return node.data.decode("utf-16-le", "replace").rstrip("\0").lower()


def _short(text: str) -> str:
    return safe(text[:_LONGEST])


_BY_TYPE: Final[Mapping[int, Callable[[At], str]]] = {
    EventType.EV_SEPARATOR: _separator,
    EventType.EV_IPL: _ipl,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB: _blob,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2: _blob,
    EventType.EV_EFI_HANDOFF_TABLES2: _handed,
    EventType.EV_PLATFORM_CONFIG_FLAGS: _config,
    EventType.EV_EFI_ACTION: _action,
    EventType.EV_ACTION: _action,
    EventType.EV_EVENT_TAG: _tagged,
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: _variable,
    EventType.EV_EFI_VARIABLE_AUTHORITY: _authority,
    EventType.EV_EFI_VARIABLE_BOOT: _boot_variable,
    EventType.EV_EFI_VARIABLE_BOOT2: _boot_variable,
    EventType.EV_EFI_BOOT_SERVICES_APPLICATION: _image,
    EventType.EV_EFI_BOOT_SERVICES_DRIVER: _driver,
}
