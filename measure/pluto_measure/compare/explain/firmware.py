"""What differences in the firmware's own measurements mean: RTMR[0], PCR 1, 2, 3 and 7, the separators. Pure."""

from __future__ import annotations

from typing import Final

from pluto_measure.compare.explain import hypotheses
from pluto_measure.compare.explain.hypotheses import HandedMemory, size_text
from pluto_measure.compare.explain.scene import OTHER_CHAIN, Meaning, Place, Scene, plain
from pluto_measure.errors import FormatError
from pluto_measure.event_text import (
    IMAGE_TYPES,
    blob_size,
    boot_option,
    boot_order,
    describe,
    image_path,
    variable_of,
)
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.machine.platform import TDX_KINDS
from pluto_measure.predict.events import SEPARATOR

_OLDER_READY: Final = "the firmware is older than edk2 202411"
_NEWER_READY: Final = "the firmware is edk2 202411 or newer"
_MEASURING: Final = "the firmware is edk2 202505 or newer"
_NOT_MEASURING: Final = "the firmware is older than edk2 202505"
_ANCIENT: Final = "the firmware is of 2022 or older"
_OTHER_FIRMWARE: Final = "the firmware is another one"
_ACPI_CAUSE: Final = "the ACPI tables are of another machine (vCPUs, devices, QEMU version or machine type)"
_HARVEST: Final = "give the tables of this machine: pluto-measure acpi harvest"
_OTHER_OPTIONS: Final = "the boot options are other ones"
_WRITERS: Final = {"qemu-tdx": "QEMU", "gcp-tdx": "Google's VMM"}
_SHELL_AND_MENU: Final = {
    "7c04a583-9e3e-4f1c-ad65-e05268d0b4d1": "the UEFI shell",
    "462caa21-7614-4503-836e-8ab6f4662331": "the firmware's menu (UiApp)",
    "eec25bdc-67f2-4d95-b1d5-f81b2039d11d": "the firmware's boot menu",
}
_NETWORK: Final = {(3, 11), (3, 12), (3, 13), (3, 24)}  # MAC, IPv4, IPv6, URI


def td_hob(place: Place, scene: Scene) -> Meaning:
    """The memory of a trust domain, as its VMM told the firmware."""
    wanted, actual = place.expected, place.actual
    if wanted is None:
        text = "a TD HOB is measured: the machine is a trust domain, with firmware of edk2 202302 or newer"
        return Meaning(text, cause=_OTHER_FIRMWARE)
    if actual is None:
        return Meaning("no TD HOB is measured: the firmware is older than edk2 202302", cause=_ANCIENT, weight=1)
    value = actual.digests.get("sha384", b"")
    found = hypotheses.memory_of({value, wanted.digests.get("sha384", b"")} - {b""}, scene.known)
    theirs, ours = found.get(value), found.get(wanted.digests.get("sha384", b""))
    if theirs is None:
        text = (
            "the TD HOB (the memory that the VMM hands over) differs, and is not that of any usual size of memory: "
            "other memory, or firmware of another layout"
        )
        return Meaning(text, cause="memory or firmware is another one", hint="name both: --memory SIZE --firmware FILE")
    return _memory(theirs, ours, scene)


def _memory(theirs: HandedMemory, ours: HandedMemory | None, scene: Scene) -> Meaning:
    expected = ours.memory if ours is not None else scene.known.memory
    writer = ours.writer if ours is not None else scene.known.platform
    if writer in TDX_KINDS and writer != theirs.writer:
        whose = _WRITERS[theirs.writer]
        kind = "one of Google's" if theirs.writer == "gcp-tdx" else "a QEMU"
        cause = f"the machine is {kind}, with {theirs.size} of memory"
        text = f"the TD HOB is one that {whose} writes, for {theirs.size}: the machine is not of the expected kind"
        return Meaning(text, recomputed=True, cause=cause, weight=1)
    if expected == theirs.memory:
        text = f"the TD HOB is that of {theirs.size}, as expected, but of firmware with another layout: {theirs.layout}"
        return Meaning(text, recomputed=True, cause=_OTHER_FIRMWARE, hint="name the firmware with --firmware FILE")
    than = f", not {size_text(expected)}" if expected else ""
    layout = "" if ours is None or ours.layout == theirs.layout else f" (firmware layout: {theirs.layout})"
    cause = f"memory is {theirs.size}{than}"
    text = f"{cause}: the TD HOB is the one that {_WRITERS[theirs.writer]} writes for that size{layout}"
    size = theirs.size.replace(" GiB", "G").replace(" MiB", "M")
    return Meaning(text, recomputed=True, cause=cause, weight=2, hint=f"predict with --memory {size}")


def variable_store(place: Place, scene: Scene) -> Meaning:
    """The CFV section: variables as they lie in the firmware's image."""
    if place.expected is None or place.actual is None:
        return plain(place)
    named = hypotheses.store_of(place.actual.digests, blob_size(place.actual))
    what = f": it is {named}" if named else ""
    text = f"the firmware's variable store (CFV) differs{what}; the firmware is another one, or keys were put into it"
    return Meaning(text, cause=_OTHER_FIRMWARE, hint="name the machine's firmware with --firmware FILE")


def setting(place: Place, scene: Scene) -> Meaning:
    """A fw_cfg item of the VMM."""
    name = place.role.partition(":")[2]
    if place.expected is None:
        return Meaning(f"the firmware measured the VMM's setting {name}: newer builds do", cause=_MEASURING)
    if place.actual is None:
        text = f"the VMM's setting {name} is not measured: the firmware is older, or the VMM does not offer it"
        return Meaning(text, cause=_NOT_MEASURING)
    return Meaning(f"the VMM's setting {name} differs", cause="the VMM is set up otherwise")


def configuration(place: Place, scene: Scene) -> Meaning:
    """Labels that firmware of 2022 has, and whatever a driver measures of itself."""
    if place.actual is not None and place.register in ("rtmr0", "rtmr1"):
        meaning = plain(place)
        return Meaning(f"{meaning.text}; firmware of 2022 measures so", cause=_ANCIENT, weight=1)
    return drivers(place, scene) if place.register in ("pcr2", "pcr3") else plain(place)


def drivers(place: Place, scene: Scene) -> Meaning:
    """PCR 2 and 3, and images that are drivers."""
    if place.actual is not None and place.actual.type in IMAGE_TYPES:
        text = "the firmware ran an option ROM that a device brought along: " + describe(place.actual)
        return Meaning(text, cause="a device brought an option ROM along", hint="start the device with romfile=")
    return Meaning("the firmware's own drivers or their settings differ", cause=_OTHER_FIRMWARE)


def secure_boot_variable(place: Place, scene: Scene) -> Meaning:
    """SecureBoot, PK, KEK, db, dbx."""
    wanted, actual = place.expected, place.actual
    if wanted is None or actual is None:
        return plain(place)
    name = place.role.partition(":")[2]
    text = f"the firmware's Secure Boot differs: expected {wanted.description}, found {describe(actual)}"
    guid = uefi.GLOBAL_VARIABLE if name in ("SecureBoot", "PK", "KEK") else uefi.IMAGE_SECURITY
    theirs = hypotheses.variable_state(name, guid, actual.digests)
    ours = hypotheses.variable_state(name, guid, wanted.digests)
    if name != "SecureBoot":
        cause = "the keys of Secure Boot are other ones"
        return Meaning(text, cause=cause, recomputed=theirs is not None, weight=4)
    if theirs is None:
        return Meaning(text, cause="Secure Boot is set up otherwise")
    cause = f"Secure Boot is {theirs}" + (f", not {ours}" if ours else "")
    hint = None if theirs == "on" else f"predict with --secure-boot {theirs.split()[0]}"
    return Meaning(f"{text} ({cause})", recomputed=True, cause=cause, weight=2, hint=hint)


def authority(place: Place, scene: Scene) -> Meaning:
    """What an image was checked with, and what shim measures like it."""
    name = place.role.partition(":")[2]
    if name.startswith(("Sbat", "Mok", "Shim")):
        text = f"shim measured {name}: {place.register} " + ("lacks it" if place.actual is None else "has it")
        return Meaning(text, cause=OTHER_CHAIN, weight=1)
    if place.actual is None:
        return Meaning("no image was checked against a Secure Boot key", cause="Secure Boot did not check the image")
    if place.expected is None:
        text = "an image was checked against a Secure Boot key, which this profile does not expect"
        return Meaning(text, cause="Secure Boot checked an image")
    return Meaning("the image was checked with another entry of db than expected: " + describe(place.actual))


def separator(place: Place, scene: Scene) -> Meaning:
    """Where the firmware's phase ends."""
    actual = place.actual
    if place.expected is not None and actual is not None:
        return Meaning(f"the firmware ended a phase with an error: {describe(actual)}", cause="the firmware failed")
    if place.register not in ("rtmr0", "rtmr1"):
        return drivers(place, scene) if place.register in ("pcr2", "pcr3") else plain(place)
    if place.moved is not None and place.moved != place.register:
        where = place.moved if actual is None else place.register
        cause = _OLDER_READY if where == "rtmr0" else _NEWER_READY
        text = (
            f"the separator at the end of the firmware's phase is in {where}: {cause.removeprefix('the firmware is ')}"
        )
        return Meaning(text, recomputed=True, cause=cause, hint="predict with --edk2-generation TAG")
    if actual is None:
        return plain(place)
    ready = [event for role, event in scene.with_role("separator") if role == "separator:ready"]
    if len(ready) > 2:
        text = "a separator more: firmware of 2022 measures one for each PCR"
        return Meaning(text, recomputed=actual.data == SEPARATOR, cause=_ANCIENT, weight=1)
    text = f"a separator more in {place.register}: some builds of Google's firmware measure it into both registers"
    return Meaning(text, recomputed=True, cause="the firmware measured a separator twice")


def acpi(place: Place, scene: Scene) -> Meaning:
    """What QEMU built for the guest's kernel: it depends on the whole machine."""
    name = place.role.partition(":")[2]
    if name == "tpmLog":
        has = "has a TPM" if place.expected is None else "has no TPM"
        return Meaning(f"the machine {has}: its ACPI tables tell where a log lies", cause=f"the machine {has}")
    if place.expected is None or place.actual is None:
        return Meaning(plain(place).text, cause=_ACPI_CAUSE)
    google = scene.known.platform == "gcp-tdx"
    hint = "allow this digest if the machine is to be accepted" if google else _HARVEST
    if place.expected.allowed:
        text = f"ACPI {name} is none of the {len(place.expected.allowed)} that are allowed"
        return Meaning(text, cause=_ACPI_CAUSE, hint=hint)
    text = f"the blob ACPI {name} differs: other vCPUs or devices, another QEMU version or machine type"
    return Meaning(text, cause=_ACPI_CAUSE, hint=hint)


def smbios(place: Place, scene: Scene) -> Meaning:
    """The SMBIOS table, which firmware measures from edk2 202505 on."""
    if place.expected is None:
        return Meaning("the firmware measured the SMBIOS table: newer builds do", cause=_MEASURING)
    if place.actual is None:
        return Meaning("the SMBIOS table is not measured: the firmware is older", cause=_NOT_MEASURING)
    text = "the SMBIOS table differs: another model of the host's CPU, other memory, another QEMU or firmware"
    return Meaning(text, cause="host CPU, memory, QEMU or firmware is another one (SMBIOS)")


def order(place: Place, scene: Scene) -> Meaning:
    """BootOrder."""
    wanted, actual = place.expected, place.actual
    if (elsewhere := _elsewhere(place, scene)) is not None:
        return elsewhere
    if wanted is None or actual is None:
        return plain(place)
    theirs, ours = _content(actual), hypotheses.order_of(wanted.digests)
    if theirs is None:
        return Meaning("BootOrder differs, and the log does not prove what it is", cause=_OTHER_OPTIONS)
    than = f", not {ours}" if ours else ""
    text = f"BootOrder is {boot_order(theirs)}{than}: options were added, removed or put in another order"
    return Meaning(text, recomputed=True, cause=_OTHER_OPTIONS, weight=4)


def option(place: Place, scene: Scene) -> Meaning:
    """Boot####."""
    wanted, actual, name = place.expected, place.actual, f"Boot{place.role.partition(':')[2]}"
    if (elsewhere := _elsewhere(place, scene)) is not None:
        return elsewhere
    ours = hypotheses.option_of(wanted.digests) if wanted is not None else None
    if actual is None:
        which = f" ({ours})" if ours else ""
        text = f"{name}{which} is missing: the machine lacks a device, or the firmware a program"
        return Meaning(text, cause=_OTHER_OPTIONS)
    content = _content(actual)
    if content is None:
        return Meaning(f"{name} differs, and the log does not prove what it is", cause=_OTHER_OPTIONS)
    what = _option_text(content)
    if wanted is None:
        text = f"there is one more boot option, {name}: {what}"
        return Meaning(text, recomputed=True, cause=f"one more boot option: {what}")
    than = f", not {ours}" if ours else ""
    return Meaning(f"{name} is {what}{than}", recomputed=True, cause=_OTHER_OPTIONS)


def _elsewhere(place: Place, scene: Scene) -> Meaning | None:
    """Boot variables in RTMR[1], where firmware up to edk2 202211 measures them."""
    there = [role for role in scene.roles.get("rtmr1", ()) if role.startswith("boot-o")]
    here = place.register == "rtmr1" if place.actual is not None else place.register == "rtmr0" and bool(there)
    if not here:
        return None
    text = "boot variables are measured into rtmr1: the firmware is older than edk2 202302"
    return Meaning(text, recomputed=place.moved is not None, cause=_ANCIENT, weight=1)


def _content(event: LogEvent) -> bytes | None:
    """The variable's content, if the digest proves it."""
    variable = variable_of(event)
    if variable is None or event.measured_part not in (variable.data, event.data):
        return None
    return variable.data


def _option_text(content: bytes) -> str:
    try:
        parsed = uefi.parse_load_option(content)
        text = boot_option(content)
    except FormatError:
        return f"{len(content)} bytes that are no boot option"
    nodes = {(node.type, node.subtype) for path in parsed.paths for node in path}
    if nodes & _NETWORK:
        return f"{text}, which boots from the network: the machine has a NIC with a driver in the firmware"
    return next((f"{name}, {text}" for guid, name in _SHELL_AND_MENU.items() if guid in text), text)


def application_name(event: LogEvent) -> str | None:
    """What the log calls a program of the firmware's own, if the image is one."""
    text = uefi.path_text(image_path(event) or ())
    return next((name for guid, name in _SHELL_AND_MENU.items() if guid in text), None)
