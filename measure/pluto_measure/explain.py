"""What a differing event means, in words, and the attacks of a host that logs show. Pure.

A meaning is help for people, never a verdict: the difference itself is what refuses a machine. Where words rest on an
event's data and the digest does not cover it, they say "the log names".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import ALGORITHMS, digest
from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType, LogEvent, type_name
from pluto_measure.predict import events
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.stub import load_options

SMBIOS_COMMAND_LINE: Final = "smbios-command-line"
ESP_CREDENTIAL: Final = "esp-credential"
ESP_ADDON: Final = "esp-addon"
ESP_EXTENSION: Final = "esp-extension"
LOAD_OPTIONS: Final = "load-options"
FOREIGN_APPLICATION: Final = "foreign-application"

_APPLICATIONS: Final = {
    "7c04a583-9e3e-4f1c-ad65-e05268d0b4d1": "the UEFI shell",
    "462caa21-7614-4503-836e-8ab6f4662331": "the firmware's menu (UiApp)",
    "eec25bdc-67f2-4d95-b1d5-f81b2039d11d": "the firmware's boot menu",
}
_LOAD_OPTIONS_TAG: Final = 0x8F3B22ED
_INITRD_TAG: Final = 0x8F3B22EC
_TAGS: Final = {_LOAD_OPTIONS_TAG: "kernel command line", _INITRD_TAG: "initrd"}
_LONGEST: Final = 200
_IMAGES: Final = (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, EventType.EV_EFI_BOOT_SERVICES_DRIVER)


@dataclass(frozen=True, slots=True)
class Scene:
    """Both logs by register, and the command line of the release where it is known."""

    expected: Mapping[str, Sequence[ExpectedEvent]]
    actual: Mapping[str, Sequence[LogEvent]]
    command_line: str | None


@dataclass(frozen=True, slots=True)
class Meaning:
    """Words for one difference; `attack` is one of this module's names, or None."""

    text: str
    attack: str | None = None


def explain(register: str, wanted: ExpectedEvent | None, actual: LogEvent | None, scene: Scene) -> Meaning:
    """What it means that `register` has `actual` where `wanted` was expected (None: nothing there)."""
    match register:
        case "pcr2" | "pcr3":
            return _driver(actual)
        case "pcr4":
            return _application(wanted, actual, scene)
        case "pcr5":
            return _handover(wanted, actual)
        case "pcr7":
            return _secure_boot(wanted, actual)
        case "pcr9":
            return _kernel_input(wanted, actual, scene)
        case "pcr11":
            return _section(wanted, actual)
        case "pcr12":
            return _override(actual, scene)
        case "pcr13" if actual is not None:
            text = "a system or configuration extension lies beside the UKI on the ESP, and the stub loaded it"
            return Meaning(text, ESP_EXTENSION)
        case _:
            return _plain(register, wanted, actual)


def describe(event: LogEvent) -> str:
    """An event's data for people: escaped, shortened, and no more trustworthy than the data."""
    try:
        return _describe(event)
    except FormatError:
        return f"{type_name(event.type)} with {len(event.data)} bytes that do not fit it"


def _describe(event: LogEvent) -> str:
    match event.type:
        case EventType.EV_SEPARATOR:
            return "separator" if event.data == events.SEPARATOR else f"separator {event.data[:16].hex()}"
        case EventType.EV_EFI_ACTION | EventType.EV_ACTION:
            return _safe(event.data.decode("ascii", "replace"))
        case EventType.EV_IPL:
            return _safe(_text(event.data))
        case EventType.EV_EVENT_TAG:
            tag, content = uefi.parse_tagged(event.data)
            return f"{_TAGS.get(tag, f'tag {tag:#x}')}: " + _safe(content.rstrip(b"\0").decode("ascii", "replace"))
        case EventType.EV_EFI_VARIABLE_DRIVER_CONFIG | EventType.EV_EFI_VARIABLE_AUTHORITY:
            return _variable(event.data)
        case EventType.EV_EFI_VARIABLE_BOOT | EventType.EV_EFI_VARIABLE_BOOT2:
            return _variable(event.data)
        case EventType.EV_EFI_BOOT_SERVICES_APPLICATION | EventType.EV_EFI_BOOT_SERVICES_DRIVER:
            load = uefi.parse_image_load(event.data)
            return f"image of {load.length} bytes from {_safe(uefi.path_text(load.path)) or 'memory'}"
        case EventType.EV_EFI_GPT_EVENT:
            return f"partition table, {len(event.data)} bytes"
        case EventType.EV_PLATFORM_CONFIG_FLAGS:
            return _safe(event.data.decode("ascii", "replace").rstrip("\0"))
        case _:
            return f"{type_name(event.type)} with {len(event.data)} bytes"


def _driver(actual: LogEvent | None) -> Meaning:
    if actual is not None and actual.type in _IMAGES:
        return Meaning("the firmware ran an option ROM that a device brought along: " + describe(actual))
    return Meaning("the firmware's own drivers or their settings differ")


def _application(wanted: ExpectedEvent | None, actual: LogEvent | None, scene: Scene) -> Meaning:
    log, ours = scene.actual.get("pcr4", ()), scene.expected.get("pcr4", ())
    uki = next((event for event in ours if event.source == "launch.uki.authenticode"), None)
    at = next((i for i, event in enumerate(log) if uki is not None and _matches(uki, event)), None)
    if uki is not None and at is None:
        started = [describe(event) for event in log if event.type in _IMAGES]
        return Meaning(f"the UKI of this build was not started; the log names {_listed(started)}")
    strangers = _strangers(ours, log[: at or 0])
    if strangers:
        images_first = sorted(strangers, key=lambda event: event.type not in _IMAGES)
        names = _listed([_application_name(event) for event in images_first])
        text = (
            f"something was started before the UKI ({names}): who controls it can have changed memory, so the genuine "
            "image that followed proves nothing"
        )
        return Meaning(text, FOREIGN_APPLICATION)
    if actual is not None and actual.type in _IMAGES and ".addon.efi" in describe(actual):
        return Meaning("the stub loaded an addon that lies on the ESP: " + describe(actual), ESP_ADDON)
    if wanted is not None and wanted.source == "launch.kernel.authenticode":
        text = "the kernel inside the UKI was not measured: Secure Boot is on, or the stub is 258 or newer"
        return Meaning(text)
    if len(log) == len(ours) and not _strangers(ours, log, images=True):
        return Meaning("the same images in another order: started from a disk instead of by -kernel, or the reverse")
    return _plain("pcr4", wanted, actual)


def _strangers(ours: Sequence[ExpectedEvent], before: Sequence[LogEvent], *, images: bool = False) -> list[LogEvent]:
    """Events that have no place before the UKI in any boot of it: images, and boot options that were tried before."""
    left = [event for event in ours if images or event.type not in _IMAGES]
    strangers = []
    for event in before:
        known = next((wanted for wanted in left if _matches(wanted, event)), None)
        if known is None:
            strangers.append(event)
        else:
            left.remove(known)
    return strangers


def _listed(names: Sequence[str]) -> str:
    """The first few of names that an attacker may have made many of."""
    return "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing"


def _application_name(event: LogEvent) -> str:
    text = describe(event)
    for guid, name in _APPLICATIONS.items():
        if guid in text:
            return f"the log names {name}"
    if _covers(event, events.RETURNING):
        return "a boot option that ran and returned"
    return "a further boot option" if _covers(event, events.CALLING) else text


def _handover(wanted: ExpectedEvent | None, actual: LogEvent | None) -> Meaning:
    kinds = {event.type for event in (wanted, actual) if event is not None}
    if EventType.EV_EFI_GPT_EVENT in kinds:
        if wanted is None:
            return Meaning("the firmware loaded an image from a disk, which this profile does not do")
        if wanted.type != EventType.EV_EFI_GPT_EVENT or actual is None:
            return Meaning("no image was loaded from a partitioned disk, as this profile does")
        return Meaning("the boot disk's partition table differs: another disk, resized or repartitioned")
    if actual is not None and actual.data in (events.EXIT_FAILED, events.EXIT_INVOKED) and wanted is not None:
        return Meaning("leaving the firmware took a second try (the memory map changed meanwhile); newer firmware does")
    return _plain("pcr5", wanted, actual)


def _secure_boot(wanted: ExpectedEvent | None, actual: LogEvent | None) -> Meaning:
    if actual is None:
        return _plain("pcr7", wanted, actual)
    if actual.type == EventType.EV_EFI_VARIABLE_AUTHORITY:
        return Meaning("an image was checked against a Secure Boot key, which this profile does not expect")
    if wanted is not None and wanted.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG:
        found = describe(actual)
        return Meaning(f"the firmware's Secure Boot differs: expected {wanted.description}, found {found}")
    return _plain("pcr7", wanted, actual)


def _kernel_input(wanted: ExpectedEvent | None, actual: LogEvent | None, scene: Scene) -> Meaning:
    override = scene.actual.get("pcr12", ())
    tag = _tag(actual)
    if override:
        cause = _override(override[0], scene)
        what = _TAGS.get(tag, "input") if tag is not None else "input"
        return Meaning(f"the kernel got another {what}, because {cause.text}", cause.attack)
    if tag == _LOAD_OPTIONS_TAG and actual is not None:
        for form in ("initrd=initrd {}", "{} initrd=initrd"):
            if scene.command_line is not None and _covers(actual, load_options(form.format(scene.command_line))):
                return Meaning("the kernel got initrd=initrd with its command line: it was started without the stub")
        return Meaning("the kernel got another command line than the one inside the UKI")
    if tag == _INITRD_TAG:
        return Meaning("the kernel got another initrd than the one that the stub makes of this UKI")
    return _plain("pcr9", wanted, actual)


def _section(wanted: ExpectedEvent | None, actual: LogEvent | None) -> Meaning:
    if wanted is not None and actual is not None:
        return Meaning(f"{wanted.description} differs: this is another build, or its debug flavour")
    if actual is not None and actual.type == EventType.EV_IPL:
        text = describe(actual)
        return Meaning(f"the UKI has a section that this build has not, or systemd measured more later: {text}")
    return _plain("pcr11", wanted, actual)


def _override(actual: LogEvent | None, scene: Scene) -> Meaning:
    if actual is None:
        return _plain("pcr12", None, None)
    text = _text(actual.data)
    if not actual.data_is_measured:
        if "redentials initrd" in text:
            return Meaning("a credential file lies beside the UKI on the ESP, and the stub loaded it", ESP_CREDENTIAL)
        return Meaning(f"the stub loaded something from outside the UKI; the log names {describe(actual)}")
    options = [event for event in scene.actual.get("pcr9", ()) if _tag(event) == _LOAD_OPTIONS_TAG]
    shown = f'"{_safe(text)}"'
    if any(".addon.efi" in describe(event) for event in scene.actual.get("pcr4", ())):
        return Meaning(f"an addon on the ESP added {shown} to the kernel command line", ESP_ADDON)
    if any(_covers(event, load_options(text.strip())) for event in options):
        return Meaning(f"load options given by the host replaced the kernel command line: {shown}", LOAD_OPTIONS)
    added = "" if scene.command_line is None else f"{scene.command_line} {text}".strip()
    certain = any(_covers(event, load_options(added)) for event in options)
    how = "added" if certain else "changed, as it seems by adding"
    return Meaning(
        f"the host {how} {shown} to the kernel command line (SMBIOS string io.systemd.stub.kernel-cmdline-extra)",
        SMBIOS_COMMAND_LINE,
    )


def _plain(register: str, wanted: ExpectedEvent | None, actual: LogEvent | None) -> Meaning:
    if wanted is None and actual is not None:
        return Meaning(f"{register} has an event that nobody expects: {describe(actual)}")
    if actual is None and wanted is not None:
        return Meaning(f"{register} lacks an event: {wanted.description}")
    if wanted is None or actual is None:
        return Meaning(f"{register} differs")
    return Meaning(f"{register} has {describe(actual)} where {wanted.description} was expected")


def _matches(wanted: ExpectedEvent, actual: LogEvent) -> bool:
    common = [bank for bank in wanted.digests if bank in actual.digests]
    return bool(common) and all(wanted.digests[bank] == actual.digests[bank] for bank in common)


def _covers(event: LogEvent, data: bytes) -> bool:
    known = [name for name in event.digests if name in ALGORITHMS]
    return bool(known) and all(event.digests[name] == digest(name, data) for name in known)


def _tag(event: LogEvent | None) -> int | None:
    if event is None or event.type != EventType.EV_EVENT_TAG:
        return None
    try:
        return uefi.parse_tagged(event.data)[0]
    except FormatError:
        return None


def _variable(data: bytes) -> str:
    variable = uefi.parse_variable(data)
    content = variable.data[:16].hex() + ("..." if len(variable.data) > 16 else "")
    return f"variable {_safe(variable.name)}: " + (f"{len(variable.data)} bytes {content}" if content else "absent")


def _text(data: bytes) -> str:
    """EV_IPL data: UTF-16 from the stub, ASCII from GRUB."""
    wide = len(data) % 2 == 0 and data[1::2].count(0) * 2 >= len(data[1::2])
    return data.decode("utf-16-le" if wide else "utf-8", "replace").rstrip("\0")


def _safe(text: str) -> str:
    """Untrusted text for a terminal: printable, short."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."
