"""Judges what stands between a trust domain's report and a quote: SGX, QGS, PCCS and Intel's registration. Pure.

QGS listens at a Unix socket here, never at vsock: there every guest with a vsock device could ask it.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Final

from pluto_deploy.metal import layout
from pluto_deploy.metal.check.facts import Answer, HostFacts, Service
from pluto_deploy.metal.check.finding import FixedBy, HostFinding, failed, passed, warned
from pluto_deploy.metal.check.software import PREPARE

PROVISION_GROUP: Final = "sgx_prv"
THREADS: Final = 255
ERRORS: Final = {  # of QGS: qgs_msg_lib.h
    0x12001: "unexpected error",
    0x12002: "out of memory",
    0x12003: "invalid parameter",
    0x12004: "invalid version",
    0x12005: "invalid type",
    0x12006: "invalid size",
    0x12007: "invalid code",
}
JOURNAL: Final = "read 'journalctl -u qgsd' on the host"
REGISTER: Final = (
    "register the machine: switch 'SGX auto MP registration' on in the BIOS and reboot, or post the manifest of "
    "PCKIDRetrievalTool to Intel by hand"
)
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def judge(facts: HostFacts) -> Iterator[HostFinding]:
    """Findings on quoting."""
    yield from _sgx(facts)
    yield from _service(facts)
    yield from _listener(facts)
    yield _folder(facts)
    yield _answer(facts)
    yield from _provisioning(facts)
    yield from _registration(facts)


def _sgx(facts: HostFacts) -> Iterator[HostFinding]:
    missing = [flag for flag in ("sgx", "sgx_lc") if flag not in facts.processor.flags]
    action = "switch SGX on in the BIOS: the enclaves that sign quotes need it"
    if missing:
        yield failed("sgx.processor", f"the processor shows no {' and no '.join(missing)}", action, "bios")
    else:
        yield passed("sgx.processor", "SGX with launch control is on")
    for name in ("sgx_enclave", "sgx_provision"):
        check, found = f"sgx.{name.removeprefix('sgx_')}", facts.devices.get(name)
        if found is None or found.kind != "character":
            yield failed(check, f"/dev/{name} is not there", action, "bios")
        elif name == "sgx_provision" and (found.group != PROVISION_GROUP or found.mode & 0o007):
            actual = f"{found.mode:04o} {found.owner}:{found.group}"
            text = f"/dev/{name} is {actual}; it is for the group {PROVISION_GROUP} alone"
            yield failed(check, text, PREPARE, "prepare", expected=f"0660 root:{PROVISION_GROUP}", actual=actual)
        else:
            yield passed(check, f"/dev/{name} is there", actual=f"{found.mode:04o} {found.owner}:{found.group}")
    if facts.kernel.kvm_sgx is False:
        text = "KVM offers guests no SGX (kvm_intel.sgx is N)"
        yield warned("sgx.kvm", text, "nothing here needs it; SGX that is off in the BIOS looks the same", "operator")


def _service(facts: HostFacts) -> Iterator[HostFinding]:
    yield _running(facts.services.get("qgsd"), "quotes.service", "qgsd", JOURNAL)


def _running(service: Service | None, check: str, name: str, action: str) -> HostFinding:
    """A service that must run and be enabled."""
    if service is None or service.load != "loaded":
        text = f"{name} is not installed"
        return failed(
            check, text, PREPARE, "prepare", expected="active", actual=None if service is None else service.load
        )
    if service.active != "active":
        text = f"{name} is {service.active or 'in an unknown state'} ({service.result or 'no result'})"
        return failed(check, text, action, "operator", expected="active", actual=service.active)
    if service.enabled not in ("enabled", "static", "indirect"):
        text = f"{name} runs, and does not after a reboot"
        return failed(check, text, PREPARE, "prepare", expected="enabled", actual=service.enabled)
    return passed(check, f"{name} runs", expected="active", actual="active")


def _listener(facts: HostFacts) -> Iterator[HostFinding]:
    quoting = facts.quoting
    if quoting.port is not None:
        text = f"QGS listens at vsock port {quoting.port}, where every guest with a vsock device reaches it"
        yield failed("quotes.listener", text, PREPARE, "prepare", expected="no port", actual=quoting.port)
    elif not quoting.configured:
        yield failed("quotes.listener", "there is no /etc/qgs.conf", PREPARE, "prepare", expected="no port")
    else:
        yield passed("quotes.listener", "QGS is not told to listen at vsock", expected="no port")
    if quoting.threads is not None and quoting.threads > THREADS:
        text = f"QGS is told to use {quoting.threads} threads"
        yield failed("quotes.threads", text, PREPARE, "prepare", expected=f"at most {THREADS}", actual=quoting.threads)


def _folder(facts: HostFacts) -> HostFinding:
    check, found = "quotes.folder", facts.quoting.folder
    expected = f"0710 qgsd:{layout.QUOTE_GROUP}"
    where = layout.QUOTE_SOCKET.parent
    if found is None:
        return failed(check, f"{where} is not there", PREPARE, "prepare", expected=expected)
    actual = f"{found.mode:04o} {found.owner}:{found.group}"
    if found.mode & 0o007:
        return failed(check, f"{where} is open to every user", PREPARE, "prepare", expected=expected, actual=actual)
    if found.group != layout.QUOTE_GROUP or not found.mode & 0o010:
        text = f"{where} is closed to the group {layout.QUOTE_GROUP}, so that QEMU gets no quote"
        return failed(check, text, PREPARE, "prepare", expected=expected, actual=actual)
    return passed(check, f"{where} is for {layout.QUOTE_GROUP} alone", expected=expected, actual=actual)


def _answer(facts: HostFacts) -> HostFinding:
    check, quoting = "quotes.answer", facts.quoting
    service = facts.services.get("qgsd")
    if quoting.state == "answered":
        text = f"QGS, SGX and Intel's enclaves work (platform {quoting.platform})"
        return passed(check, text, expected="answered", actual="answered")
    installed = service is not None and service.load == "loaded"
    moved = quoting.state == "absent" and quoting.port is not None
    by: FixedBy = "operator" if installed and not moved else "prepare"
    action = JOURNAL if by == "operator" else PREPARE
    texts = {
        "absent": f"there is no {layout.QUOTE_SOCKET}",
        "refused": f"nobody listens at {layout.QUOTE_SOCKET}",
        "silent": "QGS does not answer",
        "malformed": "QGS answers with what is no answer",
        "error": f"QGS cannot tell of its platform: {ERRORS.get(quoting.code or 0, 'error')} ({quoting.code or 0:#x})",
    }
    return failed(check, texts[quoting.state], action, by, expected="answered", actual=quoting.state)


def _provisioning(facts: HostFacts) -> Iterator[HostFinding]:
    found = facts.provisioning
    if not found.configured or not found.readable or found.url is None:
        problem = "names no PCCS" if found.configured and found.readable else "is not there"
        problem = problem if found.readable else "is not JSON with comments"
        text = f"/etc/sgx_default_qcnl.conf {problem}"
        yield failed("provisioning.configuration", text, PREPARE, "prepare")
        return
    local = _is_local(found.url)
    if found.secure is False and not local:
        text = f"the certificate of {found.url} is not checked (use_secure_cert is false)"
        action = "set use_secure_cert to true in /etc/sgx_default_qcnl.conf, or use a PCCS on this host"
        yield failed("provisioning.configuration", text, action, "operator", actual=found.url)
    else:
        yield passed("provisioning.configuration", f"certificates come from {found.url}", actual=found.url)
    if local:
        yield _running(facts.services.get("pccs"), "provisioning.service", "pccs", "read 'journalctl -u pccs'")
    yield _reached(found.answer, found.url)


def _reached(answer: Answer | None, url: str) -> HostFinding:
    check = "provisioning.answer"
    action = "read 'journalctl -u pccs' on the host, and see that its address in /etc/sgx_default_qcnl.conf is right"
    if answer is not None and answer.state == "answered":
        if answer.status == 200:
            return passed(check, f"the PCCS answers (certificate {answer.tls})", expected=200, actual=answer.status)
        text = f"the PCCS answers with status {answer.status} when asked for Intel's revocation list"
        action = "look whether it reaches Intel and has an API key: 'journalctl -u pccs'"
        return failed(check, text, action, "operator", expected=200, actual=answer.status)
    state = "was not asked" if answer is None else answer.state
    reason = f": {answer.reason}" if answer is not None and answer.reason else ""
    texts = {
        "untrusted": f"the certificate of {url} does not hold{reason}",
        "unreachable": f"{url} cannot be reached{reason}",
        "no-https": f"{url} is no https address",
    }
    return failed(check, texts.get(state, f"{url} {state}"), action, "operator", expected=200, actual=state)


def _registration(facts: HostFacts) -> Iterator[HostFinding]:
    check, said = "registration.firmware", facts.registration
    if said is None:
        text = "mpa_manage is not there, so whether the firmware counts as registered was not seen"
        yield warned(check, text, PREPARE, "prepare")
    elif "completed successfully" in said:
        text = "the firmware takes itself for registered; only a certificate from Intel proves it"
        yield passed(check, text, actual=said)
    else:
        yield warned(
            check, f"the firmware is not registered with Intel: {said or 'no word'}", REGISTER, "operator", actual=said
        )
    yield _certificate(facts)


def _certificate(facts: HostFacts) -> HostFinding:
    check, answer = "registration.certificate", facts.provisioning.certificate
    if answer is None:
        text = "whether the PCCS has this machine's certificate was not asked: QGS or the PCCS does not answer"
        return warned(check, text, "mend those findings first", "operator")
    if answer.state == "answered" and answer.status == 200:
        if facts.provisioning.ppid is None:
            action = "look at what /sgx/certification/v4/pckcert of the PCCS answers"
            return warned(check, "the PCCS answers with a certificate that names no PPID", action, "operator")
        text = f"the PCCS has the certificate of this machine, which a policy names ppid:{facts.provisioning.ppid}"
        return passed(check, text, expected=200, actual=facts.provisioning.ppid)
    status = answer.status if answer.state == "answered" else None
    text = f"the PCCS has no certificate for this machine under the id that QGS gives ({status or answer.state})"
    return warned(check, text, REGISTER, "operator", expected=200, actual=status)


def _is_local(url: str) -> bool:
    try:
        return urllib.parse.urlsplit(url).hostname in LOCAL
    except ValueError:
        return False
