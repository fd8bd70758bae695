"""Judges the kernel, the TDX module as the kernel runs it, the system and what trust domains need of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.check.finding import FixedBy, HostFinding, failed, passed, warned
from pluto_deploy.metal.check.hardware import ALL_SWITCHES, firmware_on

KERNEL: Final = (6, 16)  # the first with KVM's part of TDX
SYSTEMS: Final = (("ubuntu", "25.10"), ("ubuntu", "26.04"))  # that prepare knows
SYSTEMD: Final = 257  # PrivatePIDs= of the units; networkd's static leases are older
MEMORY: Final = 8 << 30
DISK: Final = 4 << 30
DISK_EASE: Final = 20 << 30
PREPARE: Final = "run 'pluto-deploy host prepare'"
SYSTEM: Final = "install Ubuntu 26.04, whose kernel is a TDX host"
INITIALISED: Final = ("virt/tdx: module initialized", "virt/tdx: TDX-Module initialized")


def judge(facts: HostFacts) -> Iterator[HostFinding]:
    """Findings on the kernel and the system."""
    yield from _system(facts)
    yield from _kernel(facts)
    yield _module(facts)
    yield _kvm(facts)
    yield from _devices(facts)
    yield from _network(facts)
    yield from _room(facts)


def _system(facts: HostFacts) -> Iterator[HostFinding]:
    system = facts.system
    wanted = " or ".join(f"{name} {release}" for name, release in SYSTEMS)
    shown = f"{system.id or 'unknown'} {system.release or ''}".strip()
    if (system.id, system.release) in SYSTEMS:
        yield passed("system.release", f"the system is {system.name or shown}", expected=wanted, actual=shown)
    else:
        text = f"the system is {system.name or shown}; its kernel or its packages do not make a TDX host"
        yield failed("system.release", text, SYSTEM, "operator", expected=wanted, actual=shown)
    expected = f"at least {SYSTEMD}"
    if system.systemd is None or system.systemd < SYSTEMD:
        text = f"systemd is {system.systemd or 'not there'}"
        yield failed("system.systemd", text, SYSTEM, "operator", expected=expected, actual=system.systemd)
    else:
        yield passed("system.systemd", f"systemd is {system.systemd}", expected=expected, actual=system.systemd)


def _kernel(facts: HostFacts) -> Iterator[HostFinding]:
    kernel = facts.kernel
    expected = f"at least {KERNEL[0]}.{KERNEL[1]}"
    version = re.match(r"(\d{1,4})\.(\d{1,4})", kernel.release or "")
    if version is None:
        yield warned("kernel.release", "the kernel's release was not seen", SYSTEM, "operator", expected=expected)
    elif (int(version[1]), int(version[2])) < KERNEL:
        text = f"the kernel is {kernel.release}, from before KVM had TDX"
        yield failed("kernel.release", text, SYSTEM, "operator", expected=expected, actual=kernel.release)
    else:
        yield passed("kernel.release", f"the kernel is {kernel.release}", expected=expected, actual=kernel.release)
    yield _options(facts)
    yield _hibernation(facts)
    yield _parameter(facts)
    if kernel.crash_kernel or any(word.startswith("crashkernel") for word in kernel.parameters):
        text = "a crash kernel is loaded or has memory reserved; a kernel started by kexec has no TDX"
        yield warned("kernel.crash", text, "remove kdump and 'crashkernel' unless you want it", "operator")
    else:
        yield passed("kernel.crash", "no crash kernel waits")


def _options(facts: HostFacts) -> HostFinding:
    check, config = "kernel.options", facts.kernel.config
    wanted = ("INTEL_TDX_HOST", "KVM_INTEL_TDX")
    if config is None:
        if facts.kernel.kvm_tdx is not None:
            return passed(check, "the kernel's KVM knows TDX", expected="y")
        action = "look for CONFIG_INTEL_TDX_HOST=y in the configuration of the kernel"
        return warned(check, "how the kernel was built was not seen", action, "operator", expected="y")
    missing = [name for name in wanted if config.get(name) != "y"]
    if missing:
        text = f"the kernel is built without {' and '.join(f'CONFIG_{name}' for name in missing)}"
        return failed(check, text, SYSTEM, "operator", expected="y", actual="n")
    return passed(check, "the kernel is built as a TDX host", expected="y", actual="y")


def _hibernation(facts: HostFacts) -> HostFinding:
    check, kernel = "kernel.hibernation", facts.kernel
    word = "nohibernate" in kernel.parameters
    if word and kernel.hibernation is not True:
        return passed(check, "hibernation is off (nohibernate)", expected="nohibernate", actual="nohibernate")
    if kernel.hibernation is False:
        return passed(check, "hibernation is off", expected="nohibernate")
    text = "the kernel could hibernate, and then it does not start TDX"
    return failed(check, text, PREPARE, "prepare", expected="nohibernate", actual="nohibernate" if word else None)


def _parameter(facts: HostFacts) -> HostFinding:
    check, kernel = "kernel.parameter", facts.kernel
    expected = "kvm_intel.tdx=1"
    given = next((word for word in reversed(kernel.parameters) if word.startswith("kvm_intel.tdx=")), None)
    if given in ("kvm_intel.tdx=1", "kvm_intel.tdx=Y", "kvm_intel.tdx=y") or (given is None and kernel.kvm_tdx):
        return passed(check, "KVM is told to use TDX", expected=expected, actual=given)
    return failed(check, "KVM is not told to use TDX", PREPARE, "prepare", expected=expected, actual=given)


def _module(facts: HostFacts) -> HostFinding:
    check, kernel = "tdx.module", facts.kernel
    line = kernel.said(*INITIALISED)
    if line or kernel.tdx_module or kernel.kvm_tdx:
        version = f", version {kernel.tdx_module}" if kernel.tdx_module else ""
        return passed(check, f"the TDX module is initialised{version}", actual=kernel.tdx_module)
    problem = kernel.said("initialization failed", "module not loaded", "upgrade TDX module", "TDX not supported")
    if problem is not None:
        action, by = _remedy(problem)
        return failed(check, f"the kernel did not start TDX: {_bare(problem)}", action, by, actual=_bare(problem))
    if not firmware_on(facts):
        return failed(check, "the TDX module is not initialised: the firmware has TDX off", ALL_SWITCHES, "bios")
    if kernel.log is None:
        action = "run 'dmesg' on the host and look for 'virt/tdx'"
        return warned(check, "the kernel's log was not seen", action, "operator")
    text = "the TDX module is not initialised: KVM has not asked for it"
    return failed(check, text, PREPARE, "prepare")


def _remedy(problem: str) -> tuple[str, FixedBy]:
    """What to do about a line of the kernel's."""
    if "Hibernation" in problem:
        return PREPARE, "prepare"
    if "private KeyIDs" in problem:
        return "set the TME-MT/TDX key split to more than 0 in the BIOS", "bios"
    if "not loaded" in problem:
        return "switch the SEAM loader on in the BIOS, and update the firmware if it brings no TDX module", "bios"
    if "upgrade TDX module" in problem or "(-5)" in problem:
        return "update the TDX module: a newer firmware, or Intel's on the EFI system partition", "operator"
    if "memory" in problem or "(-12)" in problem:
        return "give the host more memory: TDX keeps some 0.4 percent of it for its own tables", "operator"
    return "read the kernel's lines with 'virt/tdx', and update kernel and firmware", "operator"


def _bare(line: str) -> str:
    """A line of the kernel's without its time."""
    return re.sub(r"^(<\d+>)?\s*(\[[^\]]*\]\s*)?", "", line)


def _kvm(facts: HostFacts) -> HostFinding:
    check, kernel = "tdx.kvm", facts.kernel
    if kernel.kvm_tdx:
        return passed(check, "KVM runs trust domains", expected="Y", actual="Y")
    actual = None if kernel.kvm_tdx is None else "N"
    if not kernel.kvm:
        action, by = _virtualisation(facts)
        return failed(check, "kvm_intel is not loaded", action, by, expected="Y", actual=actual)
    if kernel.kvm_tdx is None:
        return failed(check, "this kernel's KVM does not know TDX", SYSTEM, "operator", expected="Y", actual=actual)
    reason = kernel.said("kvm_intel: tdx:", "required for TDX", "Disable TDX")
    text = f"KVM does not run trust domains{f': {_bare(reason)}' if reason else ''}"
    action = f"mend what the other findings name; if there is none, {PREPARE} and reboot"
    return failed(check, text, action, "prepare", expected="Y", actual=actual)


def _virtualisation(facts: HostFacts) -> tuple[str, FixedBy]:
    """What to do where KVM is not there."""
    if "vmx" in facts.processor.flags:
        return "load kvm_intel on the host, and read why it refuses in 'dmesg'", "operator"
    return "switch virtualisation (VMX) on in the BIOS", "bios"


def _devices(facts: HostFacts) -> Iterator[HostFinding]:
    wanted: tuple[tuple[str, str, FixedBy], ...] = (
        ("kvm", *_virtualisation(facts)),
        ("vhost-net", PREPARE, "prepare"),
        ("net/tun", PREPARE, "prepare"),
    )
    for name, action, by in wanted:
        check, found = f"devices.{name.rpartition('/')[2].replace('-', '_')}", facts.devices.get(name)
        if found is None or found.kind != "character":
            yield failed(check, f"/dev/{name} is not there", action, by, expected="a device")
        elif found.mode & 0o007 and name == "kvm":
            text = f"/dev/{name} is open to every user (mode {found.mode:04o})"
            yield warned(check, text, PREPARE, "prepare", expected="0660", actual=f"{found.mode:04o}")
        else:
            yield passed(check, f"/dev/{name} is there", actual=f"{found.mode:04o} {found.owner}:{found.group}")


def _network(facts: HostFacts) -> Iterator[HostFinding]:
    if facts.nft:
        yield passed("network.nft", "nft is there")
    else:
        yield failed("network.nft", "there is no nft", PREPARE, "prepare")
    service = facts.services.get("systemd-networkd")
    actual = None if service is None else service.active
    if actual == "active":
        yield passed("network.networkd", "systemd-networkd runs", expected="active", actual=actual)
    else:
        text = "systemd-networkd does not run; it makes the bridge of the trust domains"
        yield failed("network.networkd", text, PREPARE, "prepare", expected="active", actual=actual)


def _room(facts: HostFacts) -> Iterator[HostFinding]:
    total, free = facts.memory.total, facts.disk.free
    expected = f"at least {MEMORY >> 30} GiB"
    if total is None or total < MEMORY:
        text = f"the host has {_gib(total)} of memory; trust domains pin theirs"
        yield failed("memory.total", text, "give the host more memory", "hardware", expected=expected, actual=total)
    else:
        text = f"the host has {_gib(total)} of memory"
        yield passed("memory.total", text, expected=expected, actual=total)
    expected = f"at least {DISK >> 30} GiB free"
    text = f"{facts.disk.path} has {_gib(free)} free"
    if free is None or free < DISK:
        yield failed("disk.free", text, "free space for images", "operator", expected=expected, actual=free)
    elif free < DISK_EASE:
        yield warned("disk.free", text, "free space for more images", "operator", expected=expected, actual=free)
    else:
        yield passed("disk.free", text, expected=expected, actual=free)


def _gib(size: int | None) -> str:
    return "an unknown size" if size is None else f"{size / (1 << 30):.1f} GiB"
