"""What a log says of an event, for people: its data read, escaped and shortened. Pure.

The words are no more trustworthy than the data that they are made of, and a digest seldom covers that.
`LogEvent.covers` says where it does.

    EV_EFI_PLATFORM_FIRMWARE_BLOB2  u8 size, char description[size], u64 address, u64 length
    EV_EFI_HANDOFF_TABLES2          u8 size, char description[size], u64 count, {GUID, u64 address}[count]
TCG PC Client Platform Firmware Profile 1.06, sections 10.2.5 and 10.2.6; variables and boot options: `formats.uefi`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType, LogEvent, type_name
from pluto_measure.formats.reader import Reader

LOAD_OPTIONS_TAG: Final = 0x8F3B22ED
INITRD_TAG: Final = 0x8F3B22EC
# Linux' EFI stub; systemd-stub `src/fundamental/tpm-pcr.h`; CoCo's event log of the attestation agent ("LEAA").
TAGS: Final = {
    LOAD_OPTIONS_TAG: "kernel command line",
    INITRD_TAG: "initrd",
    0xF5BC582A: "configuration of the boot loader",
    0x6C46F751: "device tree addon",
    0x49DFFE0F: "initrd addon",
    0xDAC08E1A: "microcode addon",
    0x13AED6DB: "profile of the UKI",
    0xD5CB7CBC: "SMBIOS type 1",
    0xE0D47BC8: "SMBIOS type 2",
    0xC0B3BD23: "SMBIOS type 11",
    0x4141454C: "attestation agent",
}
# What a few builds log in place of a tagged event: its text alone.
_BARE_TAGS: Final = {b"LOADED_IMAGE::LoadOptions\0": LOAD_OPTIONS_TAG, b"Linux initrd\0": INITRD_TAG}
VARIABLE_TYPES: Final = (
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
    EventType.EV_EFI_VARIABLE_AUTHORITY,
    EventType.EV_EFI_VARIABLE_BOOT,
    EventType.EV_EFI_VARIABLE_BOOT2,
)
IMAGE_TYPES: Final = (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, EventType.EV_EFI_BOOT_SERVICES_DRIVER)
_SEPARATOR: Final = bytes(4)
_LONGEST: Final = 200
_MOST_OPTIONS: Final = 16
_MOST_NAMES: Final = 3


def describe(event: LogEvent) -> str:
    """An event's data for people: escaped, shortened, and no more trustworthy than the data."""
    if not event.data:
        return f"{type_name(event.type)} without its data"
    try:
        return _describe(event)
    except FormatError:
        return f"{type_name(event.type)} with {len(event.data)} bytes that do not fit it"


def event_json(register: str, event: LogEvent) -> dict[str, object]:
    """A recorded event. `description` is made of its data, which is proven only where `dataIsMeasured`."""
    return {
        "register": register,
        "type": type_name(event.type),
        "digests": {bank: value.hex() for bank, value in event.digests.items()},
        "description": describe(event),
        "dataIsMeasured": event.data_is_measured,
    }


def safe(text: str) -> str:
    """Untrusted text for a terminal: printable, short."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def label(data: bytes) -> str:
    """The text of an EV_IPL or EV_PLATFORM_CONFIG_FLAGS: UTF-16 from systemd-stub, ASCII from others."""
    high = data.rstrip(b"\0")[1::2]
    if high and high.count(0) * 2 >= len(high):
        return data[: len(data) & ~1].decode("utf-16-le", "replace").rstrip("\0")
    return data.decode("utf-8", "replace").rstrip("\0")


def tag_of(event: LogEvent | None) -> int | None:
    """The tag of an EV_EVENT_TAG; None for all other events, and where the data is not one."""
    if event is None or event.type != EventType.EV_EVENT_TAG:
        return None
    if event.data in _BARE_TAGS:
        return _BARE_TAGS[event.data]
    try:
        return uefi.parse_tagged(event.data)[0]
    except FormatError:
        return None


def image_path(event: LogEvent) -> tuple[uefi.PathNode, ...] | None:
    """Where an image came from, as the log has it; None where the data is no image load event."""
    try:
        return uefi.parse_image_load(event.data).path
    except FormatError:
        return None


def variable_of(event: LogEvent) -> uefi.Variable | None:
    """Name and content of the variable that the data holds; None where it holds none."""
    if event.type not in VARIABLE_TYPES:
        return None
    try:
        return uefi.parse_variable(event.data)
    except FormatError:
        return None


def blob_size(event: LogEvent) -> int | None:
    """The length that an EV_EFI_PLATFORM_FIRMWARE_BLOB2 names; None where the data is not one."""
    r = Reader(event.data, what="firmware blob")
    try:
        r.take(r.uint(1, "size"), "description")
        r.take(8, "address")
        return r.uint(8, "length")
    except FormatError:
        return None


def boot_option(content: bytes) -> str:
    """A Boot#### variable's content: its description, and the device that it starts. FormatError."""
    option = uefi.parse_load_option(content)
    path = uefi.path_text(option.paths[0]) if option.paths else ""
    return safe(f"{option.description.strip()} ({path})" if path else option.description)


def boot_order(content: bytes) -> str:
    """BootOrder's content: the options in their order."""
    numbers = [int.from_bytes(content[at : at + 2], "little") for at in range(0, len(content) - 1, 2)]
    shown = " ".join(f"{number:04X}" for number in numbers[:_MOST_OPTIONS])
    return (shown + (" ..." if len(numbers) > _MOST_OPTIONS else "")) or "empty"


def listed(found: Sequence[LogEvent], name: Callable[[LogEvent], str]) -> str:
    """The first few of events that an attacker may have made many of, by name."""
    names = [name(event) for event in found[:_MOST_NAMES]]
    return "; ".join(names) + (f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else "") or "nothing"


def _describe(event: LogEvent) -> str:
    match event.type:
        case EventType.EV_SEPARATOR:
            return "separator" if event.data == _SEPARATOR else f"separator {event.data[:16].hex()}"
        case EventType.EV_EFI_ACTION | EventType.EV_ACTION:
            return safe(event.data.decode("ascii", "replace"))
        case EventType.EV_IPL | EventType.EV_PLATFORM_CONFIG_FLAGS | EventType.EV_POST_CODE:
            return _label(event)
        case EventType.EV_EVENT_TAG:
            return _tagged(event)
        case _ if event.type in VARIABLE_TYPES:
            return _variable(event)
        case _ if event.type in IMAGE_TYPES:
            load = uefi.parse_image_load(event.data)
            return f"image of {load.length} bytes from {safe(uefi.path_text(load.path)) or 'memory'}"
        case EventType.EV_EFI_GPT_EVENT | EventType.EV_EFI_GPT_EVENT2:
            return f"partition table, {len(event.data)} bytes"
        case EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2 | EventType.EV_EFI_HANDOFF_TABLES2:
            return _described(event)
        case _:
            return f"{type_name(event.type)} with {len(event.data)} bytes"


def _label(event: LogEvent) -> str:
    text = label(event.data[: 4 * _LONGEST])
    if event.type == EventType.EV_IPL:
        return safe(text)
    # fw_cfg items: the caller's name, then the item's, each behind NULs of its own. ACPI data has no second name.
    names = [part for part in text.split("\0") if part]
    return safe(" ".join(names[:2]) or "label without a text")


def _tagged(event: LogEvent) -> str:
    if event.data in _BARE_TAGS:
        return f"{TAGS[_BARE_TAGS[event.data]]}: " + safe(event.data.rstrip(b"\0").decode("ascii"))
    tag, content = uefi.parse_tagged(event.data)
    return f"{TAGS.get(tag, f'tag {tag:#x}')}: " + safe(content.rstrip(b"\0").decode("ascii", "replace"))


def _variable(event: LogEvent) -> str:
    variable = uefi.parse_variable(event.data)
    return f"variable {safe(variable.name)}: {variable_content(event.type, variable)}"


def variable_content(kind: int, variable: uefi.Variable) -> str:
    """What a variable holds: a boot option or their order read, others as their first bytes."""
    content = variable.data
    if not content:
        return "absent"
    if kind in (EventType.EV_EFI_VARIABLE_BOOT, EventType.EV_EFI_VARIABLE_BOOT2):
        if variable.name == "BootOrder":
            return boot_order(content)
        with suppress(FormatError):  # no boot option: shown like any variable
            return boot_option(content)
    return f"{len(content)} bytes {content[:16].hex()}" + ("..." if len(content) > 16 else "")


def _described(event: LogEvent) -> str:
    r = Reader(event.data, what=type_name(event.type))
    name = safe(r.take(r.uint(1, "size"), "description").rstrip(b"\0").decode("ascii", "replace"))
    if event.type == EventType.EV_EFI_HANDOFF_TABLES2:
        return f"table {name}"
    address, length = r.uint(8, "address"), r.uint(8, "length")
    return f"firmware blob {name}, {length:#x} bytes at {address:#x}"
