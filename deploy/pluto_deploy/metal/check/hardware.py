"""Judges the processor, what the firmware made of it, and the memory. Pure.

Sources: Intel's SDM and the TDX base architecture specification for the registers, Linux' arch/x86/virt/vmx/tdx for
what the kernel demands of them, Intel's enabling guide for the order of the firmware's switches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.check.finding import FixedBy, HostFinding, failed, passed, warned

MODELS: Final = {143: "Sapphire Rapids", 207: "Emerald Rapids", 173: "Granite Rapids", 175: "Sierra Forest"}
SELECTED: Final = 143  # of this generation only some parts have TDX
KEYS: Final = 2  # the module takes one, each trust domain one
FEW_KEYS: Final = 16
CHANNELS: Final = 8  # memory channels of a socket
LIMIT: Final = "'Limit CPU PA to 46 bits' off"
SWITCHES: Final = (
    f"{LIMIT} (first: it greys the others out)",
    "TME on",
    "TME-MT on",
    "TME-MT memory integrity off",
    "TDX on",
    "SEAM loader on",
    "TME-MT/TDX key split not 0",
    "SGX on",
    "SGX auto MP registration on",
    "S3 and hibernation off",
)
ALL_SWITCHES: Final = "in the BIOS set, in this order: " + "; ".join(SWITCHES)
ANOTHER: Final = "take another machine: 5th-generation Xeon (Emerald Rapids) or Xeon 6"
MEMORY_HINT: Final = "entries that stay grey want every memory channel populated alike"


def seen_on(facts: HostFacts) -> bool:
    """Whether the kernel has seen that the firmware switched TDX on."""
    return "tdx_host_platform" in facts.processor.flags or facts.kernel.said("BIOS enabled: private KeyID") is not None


def firmware_on(facts: HostFacts) -> bool:
    """Whether the kernel or the registers show that the firmware switched TDX on."""
    keys = facts.registers.bits(0x87, 63, 32) or 0
    return seen_on(facts) or (facts.registers.bits(0x1401, 11, 11) == 1 and keys >= KEYS)


def has_seam(facts: HostFacts) -> bool | None:
    """Whether the processor says that it has SEAM's range registers: IA32_MTRRCAP, bit 15. None: not seen."""
    bit = facts.registers.bits(0xFE, 15, 15)
    return None if bit is None else bool(bit)


def judge(facts: HostFacts) -> Iterator[HostFinding]:
    """Findings on hardware and firmware."""
    yield from _processor(facts)
    if facts.processor.vendor != "GenuineIntel":
        return  # nothing below means anything there
    yield from _registers(facts)
    yield _switched_on(facts)
    yield from _memory(facts)


def _processor(facts: HostFacts) -> Iterator[HostFinding]:
    processor = facts.processor
    if processor.vendor != "GenuineIntel":
        text = f"the processor is of {processor.vendor or 'an unknown maker'}; TDX is Intel's"
        yield failed("processor.vendor", text, ANOTHER, "hardware", expected="GenuineIntel", actual=processor.vendor)
        return
    yield passed("processor.vendor", "the processor is Intel's", expected="GenuineIntel", actual=processor.vendor)
    if {"hypervisor", "tdx_guest"} & processor.flags:
        text = "this is a virtual machine itself, and TDX does not nest"
        yield failed("processor.virtual", text, "take the machine itself, a dedicated server", "hardware")
    else:
        yield passed("processor.virtual", "this is no virtual machine")
    yield _model(facts)


def _model(facts: HostFacts) -> HostFinding:
    processor, check = facts.processor, "processor.model"
    wanted = ", ".join(map(str, MODELS))
    shown = f"{processor.name or 'a processor without a name'} (family {processor.family}, model {processor.model})"
    if seen_on(facts) or has_seam(facts):
        return passed(check, f"{shown} has TDX", expected=wanted, actual=processor.model)
    generation = MODELS.get(processor.model or 0) if processor.family == 6 else None
    if generation is None:
        text = f"{shown} is of no generation with TDX"
        return failed(check, text, ANOTHER, "hardware", expected=wanted, actual=processor.model)
    if processor.model != SELECTED:
        return passed(check, f"{shown} is {generation}, which has TDX", expected=wanted, actual=processor.model)
    if has_seam(facts) is False:
        text = f"{shown} is {generation} and a part without TDX: it has no SEAM range registers"
        return failed(check, text, ANOTHER, "hardware", expected=wanted, actual=processor.model)
    text = f"{shown} is {generation}, of which only selected parts have TDX, and nothing shows that this one has"
    action = "ask the provider for a part with TDX before touching the BIOS, or take a later generation"
    return warned(check, text, action, "hardware", expected=wanted, actual=processor.model)


def _registers(facts: HostFacts) -> Iterator[HostFinding]:
    check = "firmware.registers"
    if facts.registers.state != "read":
        why = "there is no /dev/cpu/0/msr" if facts.registers.state == "absent" else "/dev/cpu/0/msr may not be read"
        action = "run 'modprobe msr' on the host and check again"
        yield warned(check, f"{why}, so what the firmware set was not seen", action, "operator")
        return
    yield passed(check, "the processor's registers were read")
    yield _bit(facts, "processor.production", 0xCE, 27, 0, "a production part", "a pre-production part", ANOTHER)
    off = f"in the BIOS set {LIMIT}, then TME on; {MEMORY_HINT}"
    yield _bit(facts, "firmware.tme", 0x982, 1, 1, "memory encryption is on", "memory encryption (TME) is off", off)
    if facts.registers.bits(0x982, 1, 1):
        yield _algorithms(facts)
    yield _keys(facts)
    yield from _seam(facts)
    yield _mcheck(facts)
    debug = "switch the processor's debug unlock off in the BIOS; nothing that it attests is trusted until then"
    yield _bit(
        facts, "firmware.debug", 0x503, None, 0, "the platform is not debug-unlocked", "debug is unlocked", debug
    )
    yield _svn(facts)


def _bit(
    facts: HostFacts, check: str, number: int, bit: int | None, wanted: int, good: str, bad: str, action: str
) -> HostFinding:
    """A bit of a register, or all of it, that must have one value."""
    value = facts.registers.bits(number, *((63, 0) if bit is None else (bit, bit)))
    place = f"register {number:#x}{'' if bit is None else f' bit {bit}'}"
    by: FixedBy = "hardware" if action == ANOTHER else "bios"
    if value is None:
        return warned(check, f"{place} is not there, so this was not seen", action, by, expected=wanted)
    if value != wanted:
        return failed(check, f"{bad} ({place} is {value:#x})", action, by, expected=wanted, actual=value)
    return passed(check, f"{good} ({place} is {value:#x})", expected=wanted, actual=value)


def _algorithms(facts: HostFacts) -> HostFinding:
    """TME on without a known algorithm for its keys is what the address limit of some firmware leads to."""
    check, value = "firmware.address_limit", facts.registers.bits(0x982, 63, 48)
    if value:
        return passed(check, "keys of memory encryption have an algorithm", actual=value)
    action = f"in the BIOS set {LIMIT}, then TME-MT on and TME-MT memory integrity off"
    text = "memory encryption is on, and no algorithm is enabled for its keys (register 0x982 bits 63:48 are 0)"
    return warned(check, text, action, "bios", actual=value)


def _keys(facts: HostFacts) -> HostFinding:
    check, value = "firmware.keys", facts.registers.bits(0x87, 63, 32)
    action = "set TME-MT on and the TME-MT/TDX key split to more than 0 in the BIOS"
    if value is None or value < KEYS:
        text = f"{value or 0} memory-encryption keys are kept for trust domains"
        return failed(check, text, action, "bios", expected=f"more than {FEW_KEYS}", actual=value)
    text = f"{value} memory-encryption keys are kept for trust domains: one for the TDX module, one for each of them"
    if value <= FEW_KEYS:
        return warned(check, text, action, "bios", expected=f"more than {FEW_KEYS}", actual=value)
    return passed(check, text, expected=f"more than {FEW_KEYS}", actual=value)


def _seam(facts: HostFacts) -> Iterator[HostFinding]:
    check, enabled = "firmware.seam", facts.registers.bits(0x1401, 11, 11)
    if not enabled:
        hardware = has_seam(facts) is False and facts.processor.model == SELECTED
        by: FixedBy = "hardware" if hardware else "bios"
        action = ANOTHER if hardware else f"switch TDX and the SEAM loader on in the BIOS; {MEMORY_HINT}"
        text = "the memory range of the TDX module (SEAMRR, register 0x1401 bit 11) is not enabled"
        yield failed(check, text, action, by, expected=1, actual=enabled)
        return
    yield passed(check, "the memory range of the TDX module (SEAMRR) is enabled", expected=1, actual=enabled)
    locked = facts.registers.bits(0x1401, 10, 10)
    if not locked:
        text = "the memory range of the TDX module is not locked (register 0x1401 bit 10): no SEAM loader ran"
        action = "switch the SEAM loader on, and update the firmware if it brings none"
        yield warned("firmware.seam_lock", text, action, "bios", expected=1, actual=locked)


def _mcheck(facts: HostFacts) -> HostFinding:
    check, value = "firmware.mcheck", facts.registers.bits(0xA0, 63, 0)
    action = "look for memory that is not populated alike; 0x1861 wants one 'SGX factory reset', which makes new keys"
    if value is None:
        return warned(check, "register 0xa0 (MCHECK) is not there", action, "bios", expected=0)
    if value:
        text = f"the processor's check of the memory map failed (MCHECK, register 0xa0 is {value:#x})"
        if seen_on(facts) and "sgx" in facts.processor.flags:  # some guides call other values good
            return warned(check, text, action, "bios", expected=0, actual=value)
        return failed(check, text, action, "bios", expected=0, actual=value)
    return passed(check, "the processor's check of the memory map (MCHECK) passed", expected=0, actual=value)


def _svn(facts: HostFacts) -> HostFinding:
    loader, sgx = facts.registers.bits(0x500, 63, 56), facts.registers.bits(0x500, 23, 16)
    if loader is None or sgx is None:
        action = "switch SGX on in the BIOS"
        return warned("firmware.svn", "register 0x500 is not there: SGX is off", action, "bios")
    text = f"security versions: SEAM loader {loader}, SGX {sgx}; whether they are current, a quote's TCB status tells"
    return passed("firmware.svn", text, actual=f"SEAM loader {loader}, SGX {sgx}")


def _switched_on(facts: HostFacts) -> HostFinding:
    check = "firmware.tdx"
    if seen_on(facts):
        line = facts.kernel.said("BIOS enabled: private KeyID") or "flag tdx_host_platform"
        return passed(check, "the firmware switched TDX on", actual=line[-120:])
    if facts.processor.model == SELECTED and has_seam(facts) is False:
        return failed(check, "TDX is off, and this part has none", ANOTHER, "hardware")
    if facts.kernel.said("not enabled by BIOS"):
        return failed(check, "the kernel says that the BIOS does not enable TDX", ALL_SWITCHES, "bios")
    if firmware_on(facts):
        text = "the firmware switched TDX on, and the running kernel has not noticed"
        return warned(check, text, "run the kernel of Ubuntu 26.04 or 25.10", "operator")
    return failed(check, "nothing shows that the firmware switched TDX on", ALL_SWITCHES, "bios")


def _memory(facts: HostFacts) -> Iterator[HostFinding]:
    check, modules = "memory.modules", facts.memory.modules
    action = f"populate every channel with modules of one size, at least {CHANNELS} a socket"
    sizes = [one for one in modules or () if one != 0]
    if modules is None or not sizes or None in sizes:
        text = "which memory modules there are was not seen"
        yield warned(check, text, f"look by 'dmidecode -t memory'; {action}", "operator")
        return
    text = f"{len(sizes)} memory modules in {len(modules)} places, {facts.processor.sockets or 1} sockets"
    if len(set(sizes)) > 1:
        yield warned(check, f"{text}, of different sizes", action, "hardware", actual=text)
    elif len(sizes) < CHANNELS * max(facts.processor.sockets, 1):
        yield warned(check, f"{text}: fewer than channels", action, "hardware", actual=text)
    else:
        yield passed(check, f"{text}, all of {sizes[0]} MiB", actual=text)
