"""What each event of a log is, in the words of a prediction: "td-hob", "acpi:tables", "load-options", ... Pure.

A role is made of an event's type and data, which nothing proves, and of its place in its register. So roles align logs
and explain them, and never decide: whether two events are the same, their digests say.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import ALGORITHMS, digest
from pluto_measure.event_text import INITRD_TAG, LOAD_OPTIONS_TAG, image_path, label, safe, tag_of
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import CEL_CONTENT, EventLog, EventType, LogEvent, type_name
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
_BY_PLACE: Final[Mapping[str, Sequence[str]]] = {
    "variable": [f"variable:{name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx")],
    "boot-variable": ["boot-order"],
    "tag": ["load-options", "initrd"],
    "config": [],
}
_SECTION: Final = re.compile(r"\.[a-z]{2,8}")
_OPTION: Final = re.compile(r"Boot[0-9A-F]{4}")
_SHIM: Final = re.compile(r"Mok[A-Z]\w*|Sbat\w*|Shim")
_GRUB: Final = re.compile(r"(grub_|grub |module_|kernel_cmdline|/|\(hd)")
_PHASES: Final = frozenset({"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"})
_OVERRIDING: Final = ("pcr12", "rtmr2")
_LONGEST: Final = 40
# Roles of events whose data does not say what they are for; and all that a role may begin with.
_VAGUE: Final = re.compile(r"image|driver|variable|boot-variable|authority|ipl|tag|action|config")
_KNOWN: Final = re.compile(
    r"(td-hob|cfv|fw-cfg|variable|separator|acpi|smbios|boot-order|boot-option|calling|returning|gpt|authority|image"
    r"|section-name|section|load-options|initrd|exit-invoked|exit-done|exit-failed|driver|shim|grub|phase|credentials"
    r"|extension|override|payload|payload-info|firmware-version|firmware-contents|firmware-volume|post-code|run-time"
    r"|event|note)(:.*)?",
    re.DOTALL,
)


def roles(log: EventLog) -> tuple[str, ...]:
    """One role for each record of the log. No two kinds of event share one; one kind may occur many times."""
    found = [""] * len(log.events)
    by_register: dict[str, list[int]] = {}
    for position, event in enumerate(log.events):
        by_register.setdefault(log.register(event), []).append(position)
    for register, positions in by_register.items():
        chosen = [log.events[position] for position in positions]
        for position, role in zip(positions, _of_register(register, chosen), strict=True):
            found[position] = role
    return _with_first_image(log, found)


@dataclass(frozen=True, slots=True)
class _At:
    """An event in its register: the one before and after it, and the role of the one before ("" for none)."""

    register: str
    event: LogEvent
    before: LogEvent | None
    after: LogEvent | None
    last: str


def _of_register(register: str, logged: Sequence[LogEvent]) -> list[str]:
    given: list[str] = []
    for at, event in enumerate(logged):
        before = logged[at - 1] if at else None
        after = logged[at + 1] if at + 1 < len(logged) else None
        given.append(_role(_At(register, event, before, after, given[-1] if given else "")))
    _name_by_place(register, logged, given)
    blobs = [at for at, role in enumerate(given) if role == "acpi"]
    names = list(BLOBS) if len(blobs) == len(BLOBS) else [name for name in BLOBS if name != "tpmLog"]
    for nth, at in enumerate(blobs):
        given[at] = f"acpi:{names[nth]}" if nth < len(names) else "acpi:more"
    return given


def _name_by_place(register: str, logged: Sequence[LogEvent], given: list[str]) -> None:
    """Roles for events whose data was left out of the log (dstack's have none), by the order that firmware keeps."""
    seen: dict[str, int] = {}
    for at, event in enumerate(logged):
        role, nth = given[at], seen.get(given[at], 0)
        if event.data or role not in _BY_PLACE:
            continue
        seen[role] = nth + 1
        names = _BY_PLACE[role]
        if role == "config":
            given[at] = "acpi" if register in ("rtmr0", "pcr1") else role
        elif nth < len(names):
            given[at] = names[nth]


def is_vague(role: str) -> bool:
    """Whether the role says no more than the event's type."""
    return _VAGUE.fullmatch(role) is not None


def _role(at: _At) -> str:
    kind = at.event.type
    if kind in _BY_TYPE:
        return _BY_TYPE[kind](at)
    if kind >> 8 == CEL_CONTENT >> 8:
        return f"run-time:{kind - CEL_CONTENT}"
    return _PLAIN.get(kind, f"event:{type_name(kind)}")


def _separator(at: _At) -> str:
    """The one behind the Secure Boot variables; all others end the firmware's phase."""
    configured = at.before is not None and at.before.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    first = at.register == "pcr7" and at.before is None
    return "separator:secure-boot" if configured or first else "separator:ready"


def _blob(at: _At) -> str:
    return {"rtmr0": "cfv", "rtmr1": "payload"}.get(at.register, "firmware-volume")


def _handed(at: _At) -> str:
    # UEFI names the SMBIOS table so, where firmware follows the newer of two profiles.
    return "smbios" if at.event.data[1:12] == b"SmbiosTable" else "td-hob"


def _ipl(at: _At) -> str:
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


def _section(name: str, at: _At) -> str:
    """The stub measures a section's name, then its content, and calls both by the name."""
    event, text = at.event, name.encode() + b"\0"
    if any(event.digests.get(bank) == digest(bank, text) for bank in ("sha256", "sha384", "sha1")):
        return f"section-name:{name}"
    same_before = at.before is not None and at.before.data == event.data
    if at.last == f"section-name:{name}" or (same_before and at.last != f"section:{name}"):
        return f"section:{name}"
    same_after = at.after is not None and at.after.type == EventType.EV_IPL and at.after.data == event.data
    return f"section-name:{name}" if same_after else f"section:{name}"


def _config(at: _At) -> str:
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


def _action(at: _At) -> str:
    for value in at.event.digests.values():
        if value in _ACTION_OF:
            return _ACTION_OF[value]
    return _ACTIONS.get(at.event.data, "action")


def _tagged(at: _At) -> str:
    tag = tag_of(at.event)
    if tag is None:
        return "tag"
    return _TAG_ROLES.get(tag, f"tag:{tag:#x}")


def _variable(at: _At) -> str:
    return _named("variable", at.event)


def _authority(at: _At) -> str:
    return _named("authority", at.event)


def _named(kind: str, event: LogEvent) -> str:
    name = _variable_name(event)
    return f"{kind}:{name}" if name else kind


def _boot_variable(at: _At) -> str:
    name = _variable_name(at.event)
    if name == "BootOrder":
        return "boot-order"
    return f"boot-option:{name[4:]}" if _OPTION.fullmatch(name) else _named("boot-variable", at.event)


def _variable_name(event: LogEvent) -> str:
    """The name in UEFI_VARIABLE_DATA, "" where there is none. Its content may be large, so it is not parsed whole."""
    size = 2 * int.from_bytes(event.data[16:24], "little")
    return _short(event.data[32 : 32 + min(size, 4 * _LONGEST)].decode("utf-16-le", "replace")) if size else ""


def _image(at: _At) -> str:
    """By where the log says that the image came from. `_with_first_image` settles what "disk" and "-kernel" hold."""
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


def _with_first_image(log: EventLog, found: list[str]) -> tuple[str, ...]:
    """The same, with the first image that came from a disk or by -kernel as what the machine was to boot.

    That is a UKI, but the image of -kernel is a kernel unless systemd-stub left a trace of its own.
    """
    stub = any(role.startswith("section") or role == "image:kernel" for role in found)
    place = next((at for at, role in enumerate(found) if role in ("image:disk", "image:given")), None)
    if place is not None:
        found[place] = "image:uki" if found[place] == "image:disk" or stub else "image:kernel"
    return tuple("image:disk" if role == "image:given" else role for role in found)


def _driver(at: _At) -> str:
    path = image_path(at.event)
    if path is None:
        return "driver"
    kinds = {(node.type, node.subtype) for node in path}
    return "driver:option-rom" if (1, 1) in kinds else "driver:firmware" if (4, 6) in kinds else "driver"


def _file(node: uefi.PathNode) -> str:
    return node.data.decode("utf-16-le", "replace").rstrip("\0").lower()


def _short(text: str) -> str:
    return safe(text[:_LONGEST])


_BY_TYPE: Final[Mapping[int, Callable[[_At], str]]] = {
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


def are_akin(ours: str, theirs: str) -> bool:
    """Whether two events of one type may stand for each other although their roles are not the same.

    So where one of them says nothing of what it is, and among images, except those that nothing is to be started from.
    """
    for role in (ours, theirs):
        if is_vague(role) or not _KNOWN.fullmatch(role):
            return True
    images = ours.startswith("image:") and theirs.startswith("image:")
    return images and not {ours, theirs} & {"image:firmware", "image:addon"}
