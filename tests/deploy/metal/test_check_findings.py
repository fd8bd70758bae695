"""Every finding on a host: what makes it appear, what it says then, and that a good host does not have it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.metal import profiles
from pluto_deploy.metal.check import findings, report
from pluto_deploy.metal.check import hardware as hardware_module
from pluto_deploy.metal.check.document import parse_facts
from pluto_deploy.metal.check.finding import HostFinding
from pluto_measure.policy import is_machine
from simulators.host_trees import DEVICE, GOOD, LOADED, LOG, PPID, changed, register

HETZNER = profiles.by_name("hetzner")
OFF = ("processor.flags", ["sgx", "sgx_lc", "vmx"])
NO_LOG: tuple[str, list[str]] = ("kernel.log", [])
DEBIAN = (("system.id", "debian"), ("system.name", None))
DARK = (OFF, NO_LOG, register(0x87, 0), register(0x1401, 0))
BROKEN = (("kernel.kvmTdx", False), ("kernel.tdxModule", None))
NAMES = ("id", "release", "name")
SPR = ("processor.model", 143)
NO_SOCKET = ("quotes.answer", {"state": "absent"})
OPEN_PROVISION = ("devices.sgx_provision", DEVICE | {"group": "sgx_prv", "mode": 0o666})
UNREACHABLE = ("provisioning.answer", {"state": "unreachable", "reason": "refused"})
UNTRUSTED = ("provisioning.certificate", {"state": "untrusted", "ppid": None})


def said(line: str) -> tuple[str, list[str]]:
    return "kernel.log", [LOG[0], f"[   24.1] virt/tdx: {line}"]


def problem(code: int) -> tuple[str, dict[str, Any]]:
    return "quotes.answer", {"state": "error", "code": code}


def stopped(name: str, **how: str) -> tuple[str, dict[str, str]]:
    return f"services.{name}", LOADED | how


FAILED = (stopped("qgsd", active="failed", result="exit-code"),)
# id, verdict, who mends it, a word of the text or of the action, and what has to be different on a good host.
CASES: list[tuple[str, str, str | None, str, tuple[tuple[str, Any], ...]]] = [
    ("processor.vendor", "fail", "hardware", "AuthenticAMD", (("processor.vendor", "AuthenticAMD"),)),
    ("processor.vendor", "fail", "hardware", "unknown maker", (("processor.vendor", None),)),
    ("processor.virtual", "fail", "hardware", "virtual", (("processor.flags", ["hypervisor"]),)),
    ("processor.virtual", "fail", "hardware", "nest", (("processor.flags", ["tdx_guest"]),)),
    ("processor.model", "fail", "hardware", "no generation", (*DARK, register(0xFE, 0), ("processor.model", 106))),
    ("processor.model", "warning", "hardware", "selected", (*DARK, register(0xFE, None), SPR)),
    ("processor.model", "fail", "hardware", "without TDX", (*DARK, register(0xFE, 0), SPR)),
    ("processor.model", "fail", "hardware", "None", (*DARK, register(0xFE, 0), ("processor.model", None))),
    ("processor.production", "fail", "hardware", "(register 0xce bit 27 is 0x1)", (register(0xCE, 1 << 27),)),
    ("processor.production", "warning", "hardware", "not seen", (register(0xCE, None),)),
    ("firmware.registers", "warning", "operator", "modprobe msr", (("registers.state", "absent"),)),
    ("firmware.registers", "warning", "operator", "may not be read", (("registers.state", "denied"),)),
    ("firmware.tme", "fail", "bios", "46 bits", (register(0x982, 0),)),
    ("firmware.tme", "warning", "bios", "not there", (register(0x982, None),)),
    ("firmware.address_limit", "warning", "bios", "46 bits", (register(0x982, 0b11),)),
    ("firmware.keys", "fail", "bios", "key split", (register(0x87, 64),)),
    ("firmware.keys", "fail", "bios", "1 memory-encryption", (register(0x87, 1 << 32),)),
    ("firmware.keys", "fail", "bios", "0 memory-encryption", (register(0x87, None),)),
    ("firmware.keys", "warning", "bios", "2 memory-encryption", (register(0x87, 2 << 32),)),
    ("firmware.keys", "warning", "bios", "16 memory-encryption", (register(0x87, 16 << 32),)),
    ("firmware.seam", "fail", "bios", "SEAM loader", (register(0x1401, 0),)),
    ("firmware.seam", "fail", "bios", "SEAM loader", (register(0x1401, 0), register(0xFE, 0))),
    ("firmware.seam", "fail", "bios", "SEAM loader", (register(0x1401, 0), SPR)),
    ("firmware.seam", "fail", "hardware", "not enabled", (register(0x1401, 0), register(0xFE, 0), SPR)),
    ("firmware.seam_lock", "warning", "bios", "not locked", (register(0x1401, 1 << 11),)),
    ("firmware.mcheck", "warning", "bios", "0x1861", (register(0xA0, 0x1861),)),
    ("firmware.mcheck", "fail", "bios", "memory map", (*DARK, register(0xA0, 5))),
    ("firmware.mcheck", "warning", "bios", "not there", (register(0xA0, None),)),
    ("firmware.debug", "fail", "bios", "(register 0x503 is 0x2)", (register(0x503, 2),)),
    ("firmware.debug", "warning", "bios", "not seen", (register(0x503, None),)),
    ("firmware.svn", "warning", "bios", "SGX is off", (register(0x500, None),)),
    ("firmware.tdx", "fail", "bios", "TME-MT on", DARK),
    ("firmware.tdx", "fail", "bios", "TME-MT on", (*DARK, register(0xFE, 0))),
    ("firmware.tdx", "fail", "bios", "TME-MT on", (*DARK, SPR)),
    ("firmware.tdx", "fail", "bios", "TME-MT on", (OFF, NO_LOG, register(0x87, 0))),
    ("firmware.tdx", "fail", "bios", "TME-MT on", (OFF, NO_LOG, register(0x1401, 0))),
    ("firmware.tdx", "warning", "operator", "has not noticed", (OFF, NO_LOG, register(0x87, 2 << 32))),
    ("firmware.tdx", "fail", "bios", "says that the BIOS", (OFF, ("kernel.log", ["tdx: not enabled by BIOS."]))),
    ("firmware.tdx", "fail", "hardware", "this part", (*DARK, register(0xFE, 0), SPR)),
    ("firmware.tdx", "warning", "operator", "has not noticed", (OFF, NO_LOG)),
    ("memory.modules", "warning", "operator", "not seen", (("memory.modules", None),)),
    ("memory.modules", "warning", "operator", "not seen", (("memory.modules", [None] * 16),)),
    ("memory.modules", "warning", "operator", "not seen", (("memory.modules", [0, 0]),)),
    ("memory.modules", "warning", "hardware", "different sizes", (("memory.modules", [65536, 32768] * 8),)),
    ("memory.modules", "warning", "hardware", "fewer", (("memory.modules", [65536, 0] * 7),)),
    ("memory.total", "fail", "hardware", "4.0 GiB", (("memory.total", 4 << 30),)),
    ("memory.total", "fail", "hardware", "unknown", (("memory.total", None),)),
    ("disk.free", "fail", "operator", "1.0 GiB", (("disk.free", 1 << 30),)),
    ("disk.free", "fail", "operator", "unknown", (("disk.free", None),)),
    ("disk.free", "warning", "operator", "4.0 GiB", (("disk.free", 4 << 30),)),
    ("disk.free", "warning", "operator", "10.0 GiB", (("disk.free", 10 << 30),)),
    ("system.release", "fail", "operator", "Ubuntu 26.04", (("system.release", "24.04"),)),
    ("system.release", "fail", "operator", "the system is debian 26.04;", DEBIAN),
    ("system.release", "fail", "operator", "the system is Mine;", (("system.id", None), ("system.name", "Mine"))),
    ("system.release", "fail", "operator", "the system is unknown;", tuple((f"system.{n}", None) for n in NAMES)),
    ("system.systemd", "fail", "operator", "256", (("system.systemd", 256),)),
    ("system.systemd", "fail", "operator", "not there", (("system.systemd", None),)),
    ("kernel.release", "fail", "operator", "6.8.0-1028-intel", (("kernel.release", "6.8.0-1028-intel"),)),
    ("kernel.release", "warning", "operator", "not seen", (("kernel.release", None),)),
    ("kernel.options", "fail", "operator", "CONFIG_INTEL_TDX_HOST", (("kernel.config", {"KVM_INTEL_TDX": "y"}),)),
    ("kernel.options", "warning", "operator", "not seen", (("kernel.config", None), ("kernel.kvmTdx", None))),
    ("kernel.hibernation", "fail", "prepare", "hibernate", (("kernel.parameters", []), ("kernel.hibernation", True))),
    ("kernel.hibernation", "fail", "prepare", "hibernate", (("kernel.hibernation", True),)),
    ("kernel.hibernation", "fail", "prepare", "hibernate", (("kernel.parameters", []), ("kernel.hibernation", None))),
    ("kernel.parameter", "fail", "prepare", "not told", (("kernel.parameters", []), *BROKEN)),
    ("kernel.parameter", "fail", "prepare", "not told", (("kernel.parameters", ["kvm_intel.tdx=0"]),)),
    ("kernel.crash", "warning", "operator", "kdump", (("kernel.crashKernel", True),)),
    ("kernel.crash", "warning", "operator", "kdump", (("kernel.parameters", ["crashkernel=2G"]),)),
    ("tdx.module", "fail", "prepare", "Hibernation", (*BROKEN, said("initialization failed: Hibernation support is"))),
    ("tdx.module", "fail", "bios", "key split", (*BROKEN, said("initialization failed: too few private KeyIDs"))),
    ("tdx.module", "fail", "bios", "SEAM loader", (*BROKEN, said("module not loaded"))),
    ("tdx.module", "fail", "operator", "newer firmware", (*BROKEN, said("module initialization failed (-5)"))),
    ("tdx.module", "fail", "operator", "newer firmware", (*BROKEN, said("RBP clobber bug, upgrade TDX module"))),
    ("tdx.module", "fail", "operator", "0.4 percent", (*BROKEN, said("module initialization failed (-12)"))),
    ("tdx.module", "fail", "operator", "virt/tdx", (*BROKEN, said("TDX-Module initialization failed (-22)"))),
    ("tdx.module", "fail", "bios", "firmware", (*BROKEN, *DARK)),
    ("tdx.module", "fail", "prepare", "not asked", (*BROKEN, ("kernel.log", [LOG[0]]))),
    ("tdx.module", "warning", "operator", "dmesg", (*BROKEN, ("kernel.log", None))),
    ("tdx.kvm", "fail", "prepare", "no TDX private", (*BROKEN, ("kernel.log", ["[1] kvm_intel: tdx: no TDX private"]))),
    ("tdx.kvm", "fail", "operator", "does not know", (("kernel.kvmTdx", None),)),
    ("tdx.kvm", "fail", "operator", "not loaded", (("kernel.kvmTdx", None), ("kernel.kvm", False))),
    ("tdx.kvm", "fail", "bios", "VMX", (("kernel.kvmTdx", None), ("kernel.kvm", False), ("processor.flags", []))),
    ("devices.kvm", "fail", "operator", "kvm_intel", (("devices.kvm", None),)),
    ("devices.kvm", "fail", "bios", "VMX", (("devices.kvm", None), ("processor.flags", []))),
    ("devices.kvm", "fail", "operator", "not there", (("devices.kvm", DEVICE | {"kind": "file"}),)),
    ("devices.kvm", "warning", "prepare", "every user", (("devices.kvm", DEVICE | {"mode": 0o666}),)),
    ("devices.vhost_net", "fail", "prepare", "not there", (("devices.vhost-net", None),)),
    ("devices.tun", "fail", "prepare", "not there", (("devices.net/tun", None),)),
    ("network.nft", "fail", "prepare", "no nft", (("nft", False),)),
    ("network.networkd", "fail", "prepare", "networkd", (stopped("systemd-networkd", active="inactive"),)),
    ("network.networkd", "fail", "prepare", "networkd", (("services.systemd-networkd", None),)),
    ("sgx.processor", "fail", "bios", "no sgx_lc", (("processor.flags", ["sgx"]),)),
    ("sgx.enclave", "fail", "bios", "not there", (("devices.sgx_enclave", None),)),
    ("sgx.provision", "fail", "bios", "not there", (("devices.sgx_provision", None),)),
    ("sgx.provision", "fail", "prepare", "alone", (("devices.sgx_provision", DEVICE),)),
    ("sgx.provision", "fail", "prepare", "0666", (OPEN_PROVISION,)),
    ("sgx.kvm", "warning", "operator", "offers guests", (("kernel.kvmSgx", False),)),
    ("quotes.service", "fail", "prepare", "not installed", (stopped("qgsd", load="not-found", active="inactive"),)),
    ("quotes.service", "fail", "prepare", "not installed", (("services.qgsd", None),)),
    ("quotes.service", "fail", "operator", "an unknown state (no result)", (stopped("qgsd", active="", result=""),)),
    ("quotes.service", "fail", "operator", "failed (exit-code)", FAILED),
    ("quotes.service", "fail", "prepare", "reboot", (stopped("qgsd", enabled="disabled"),)),
    ("quotes.listener", "fail", "prepare", "vsock port 4050", (("quotes.port", 4050),)),
    ("quotes.listener", "fail", "prepare", "qgs.conf", (("quotes.configured", False),)),
    ("quotes.threads", "fail", "prepare", "256", (("quotes.threads", 256),)),
    ("quotes.folder", "fail", "prepare", "not there", (("quotes.folder", None),)),
    ("quotes.folder", "fail", "prepare", "every user", (("quotes.folder.mode", 0o711),)),
    ("quotes.folder", "fail", "prepare", "closed", (("quotes.folder.mode", 0o700),)),
    ("quotes.folder", "fail", "prepare", "closed", (("quotes.folder.group", "qgsd"),)),
    ("quotes.answer", "fail", "operator", "journalctl -u qgsd", (NO_SOCKET,)),
    ("quotes.answer", "fail", "prepare", "there is no", (NO_SOCKET, ("quotes.port", 1))),
    ("quotes.answer", "fail", "prepare", "there is no", (NO_SOCKET, ("services.qgsd", None))),
    ("quotes.answer", "fail", "operator", "listens", (("quotes.answer", {"state": "refused"}),)),
    ("quotes.answer", "fail", "operator", "does not answer", (("quotes.answer", {"state": "silent"}),)),
    ("quotes.answer", "fail", "operator", "no answer", (("quotes.answer", {"state": "malformed"}),)),
    ("quotes.answer", "fail", "operator", "unexpected error (0x12001)", (problem(0x12001),)),
    ("quotes.answer", "fail", "operator", "error (0x7)", (problem(7),)),
    ("provisioning.configuration", "fail", "prepare", "is not there", (("provisioning.configured", False),)),
    ("provisioning.configuration", "fail", "prepare", "not JSON", (("provisioning.readable", False),)),
    ("provisioning.configuration", "fail", "prepare", "names no PCCS", (("provisioning.url", None),)),
    ("provisioning.configuration", "fail", "operator", "use_secure_cert", (("provisioning.url", "https://pccs.example/v4"),)),
    ("provisioning.service", "fail", "prepare", "not installed", (("services.pccs", None),)),
    ("provisioning.service", "fail", "operator", "journalctl -u pccs", (stopped("pccs", active="failed"),)),
    ("provisioning.answer", "fail", "operator", "502", (("provisioning.answer.status", 502),)),
    ("provisioning.answer", "fail", "operator", "not asked", (("provisioning.answer", None),)),
    ("provisioning.answer", "fail", "operator", "refused", (UNREACHABLE,)),
    ("provisioning.answer", "fail", "operator", "does not hold", (("provisioning.answer", {"state": "untrusted"}),)),
    ("provisioning.answer", "fail", "operator", "no https", (("provisioning.answer", {"state": "no-https"}),)),
    ("registration.firmware", "warning", "prepare", "not seen", (("registration", None),)),
    ("registration.firmware", "warning", "operator", "in progress", (("registration", "Registration in progress"),)),
    ("registration.certificate", "warning", "operator", "not asked", (("provisioning.certificate", None),)),
    ("registration.certificate", "warning", "operator", "404", (("provisioning.certificate.status", 404),)),
    ("registration.certificate", "warning", "operator", "untrusted", (UNTRUSTED,)),
    ("registration.certificate", "warning", "operator", "no PPID", (("provisioning.certificate.ppid", None),)),
]  # fmt: skip


def judged(document: dict[str, Any], profile: profiles.Profile | None = None) -> tuple[HostFinding, ...]:
    return findings.judge(parse_facts(json.dumps(document)), profile)


def found(check: str, document: dict[str, Any]) -> HostFinding | None:
    return next((one for one in judged(document) if one.id == check), None)


def test_a_good_host_passes_every_check() -> None:
    everything = judged(GOOD)
    assert [one for one in everything if one.verdict != "pass"] == []
    assert all(one.action is None and one.fixed_by is None for one in everything)
    assert len({one.id for one in everything}) == len(everything)
    assert findings.readiness(everything) == "ready"


@pytest.mark.parametrize(
    ("check", "verdict", "fixed_by", "words", "changes"),
    CASES,
    ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)],
)
def test_a_finding_appears(
    check: str, verdict: str, fixed_by: str | None, words: str, changes: tuple[tuple[str, Any], ...]
) -> None:
    finding = found(check, changed(*changes))
    assert finding is not None
    assert (finding.verdict, finding.fixed_by) == (verdict, fixed_by)
    assert words in f"{finding.text} {finding.action}"
    assert finding.action
    assert not finding.action.endswith(".")
    good = found(check, GOOD)
    assert good is None or good.verdict == "pass"


def test_the_cases_have_every_finding_that_the_sources_report() -> None:
    folder = Path(hardware_module.__file__).parent
    shape = re.compile(rf"(?:{'|'.join(report.TITLES)})\.[a-z_]+")
    spelled = {
        node.value
        for name in ("hardware", "software", "quoting")
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and shape.fullmatch(node.value)
    }
    cases = {check for check, *_ in CASES}
    assert spelled <= cases
    assert {one.id for one in judged(GOOD)} <= cases


@pytest.mark.parametrize(
    "changes",
    [
        [("kernel.release", "6.16.0"), ("kernel.parameters", ["nohibernate", "kvm_intel.tdx=Y"])],
        [("kernel.parameters", []), ("kernel.kvmTdx", True)],
        [("kernel.log", [LOG[0], "virt/tdx: TDX-Module initialized"]), *BROKEN[1:]],
        [("kernel.log", None)],
        [("provisioning.url", "https://pccs.example/v4"), ("provisioning.secure", True), ("services.pccs", None)],
        [SPR],
        [("processor.model", 221), register(0xFE, 1 << 15)],
        [("kernel.config", None)],
        [("processor.model", 221), register(0xFE, 0)],
        [("processor.name", None), ("system.name", None), ("processor.sockets", 0)],
        [("system.systemd", 257), ("memory.total", 8 << 30), ("disk.free", 20 << 30), ("quotes.threads", 255)],
    ],
)
def test_other_good_hosts_pass(changes: list[tuple[str, Any]]) -> None:
    assert [one for one in judged(changed(*changes)) if one.verdict != "pass"] == []


def test_what_prepare_mends_does_not_stand_in_its_way() -> None:
    fresh = judged(
        changed(
            *BROKEN, ("kernel.parameters", []), ("kernel.hibernation", True), ("services.qgsd", None),
            ("services.pccs", None), ("services.systemd-networkd", None), ("quotes.configured", False),
            ("quotes.folder", None), NO_SOCKET, ("provisioning.configured", False),
            ("provisioning.certificate", None), ("provisioning.answer", None), ("registration", None), ("nft", False),
            said("initialization failed: Hibernation support is enabled"), OFF, ("devices.vhost-net", None),
        )
    )  # fmt: skip
    assert findings.blocking(fresh) == ()
    assert findings.readiness(fresh) == "preparable"
    assert "not ready yet" in report.verdict("metal", fresh)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ([*DARK, ("system.id", "debian")], "firmware.keys"),
        ([*DARK, register(0xFE, 0), SPR, ("kernel.release", "6.8")], "processor.model"),
        ([("kernel.release", "6.8")], "kernel.release"),
        ([("processor.vendor", "AuthenticAMD")], "processor.vendor"),
    ],
)
def test_a_refusal_names_the_reason_behind_the_others_first(changes: list[tuple[str, Any]], first: str) -> None:
    refused = judged(changed(*changes))
    assert findings.readiness(refused) == "refused"
    assert findings.blocking(refused)[0].id == first
    assert findings.blocking(refused)[0].text in report.verdict("metal", refused)


def test_what_a_person_does_after_prepare_does_not_block_it() -> None:
    late = judged(changed(stopped("pccs", active="failed"), ("provisioning.answer.status", 500)))
    assert findings.readiness(late) == "preparable"
    assert report.verdict("metal", late) == "metal: not ready yet: 2 findings for a person, none for 'host prepare'"
    both = judged(changed(stopped("pccs", active="failed"), ("devices.vhost-net", None)))
    assert "'host prepare' mends 1 finding; 1 finding for a person after it" in report.verdict("metal", both)


def test_the_report_has_the_verdict_first_and_what_to_do() -> None:
    everything = judged(changed(register(0x982, 0)), HETZNER)
    lines = report.text("root@metal", everything).splitlines()
    assert lines[0].startswith("root@metal: refused, this machine cannot run trust domains as it is: memory encryption")
    assert lines.count("Firmware") == 1
    at = next(number for number, line in enumerate(lines) if "[firmware.tme]" in line)
    assert lines[at].startswith("  FAIL  ")
    assert lines[at + 1].startswith("        bios: in the BIOS set 'Limit CPU PA")


def test_the_document_is_for_programs() -> None:
    document = report.document("metal", None, judged(changed(register(0x982, 0))))
    assert (document["readiness"], document["refusedBy"]) == ("refused", ["firmware.tme"])
    assert isinstance(document["findings"], list)
    assert set(document["findings"][0]) == {"id", "verdict", "expected", "actual", "text", "action", "fixedBy"}


def test_what_is_seen_is_shown() -> None:
    shown = {one.id: one for one in judged(GOOD)}
    assert shown["tdx.module"].text == "the TDX module is initialised, version 1.5.24"
    assert shown["processor.model"].text.startswith("INTEL(R) XEON(R) PLATINUM 8558 (family 6, model 207)")
    assert shown["firmware.svn"].actual == "SEAM loader 0, SGX 85"
    assert shown["memory.modules"].text == "16 memory modules in 16 places, 2 sockets, all of 65536 MiB"
    assert shown["registration.certificate"].text.endswith(f"a policy names ppid:{PPID}")
    assert is_machine(f"ppid:{PPID}")
    off = found("tdx.kvm", changed(*BROKEN))
    assert off is not None
    assert off.actual == "N"
    assert found("kernel.hibernation", changed(("kernel.hibernation", True))).actual == "nohibernate"  # type: ignore[union-attr]


def test_every_group_has_a_title() -> None:
    assert {check.partition(".")[0] for check, *_ in CASES} | {"profile"} == report.TITLES.keys()
