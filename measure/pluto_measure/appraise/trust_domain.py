"""What a TD report says of the trust domain, against the policy: attributes, XFAM, owners, service TD, module. Pure.

Intel TDX module ABI 348551, ATTRIBUTES and XFAM; 64 bits each, little-endian. Intel's quote verification looks at none
of this. A bit without a name is refused: what it will mean is not known yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pluto_measure.findings import Finding, judge
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.quote import Quote, ServiceTds, TdReport
from pluto_measure.policy.fields import Any_
from pluto_measure.policy.tdx import ATTRIBUTES, TdxPolicy

DEBUG: Final = 0
SEPT_VE_DISABLE: Final = 28
MIGRATABLE: Final = 29
# The rest of bits 0 to 7 (TUD) puts a TD under test as DEBUG does.
_UNDER_TEST: Final = {4: "HGS_PLUS_PROF", 5: "PERF_PROF", 6: "PMT_PROF"}
_NAMES: Final = {
    DEBUG: "DEBUG",
    **_UNDER_TEST,
    SEPT_VE_DISABLE: "SEPT_VE_DISABLE",
    MIGRATABLE: "MIGRATABLE",
    **{bit: name for name, bit in ATTRIBUTES.items()},
}
_OWN_FIELDS: Final = (DEBUG, SEPT_VE_DISABLE, MIGRATABLE)


def attribute_names(attributes: bytes) -> tuple[str, ...]:
    """The names of the bits that are set, lowest first; "bit 12" for one without a name."""
    bits = int.from_bytes(attributes, "little")
    return tuple(_NAMES.get(bit, f"bit {bit}") for bit in range(64) if bits >> bit & 1)


def trust_domain_findings(
    quote: Quote, pck: PckExtension, policy: TdxPolicy, *, allow_debug: bool
) -> Iterator[Finding]:
    """Every check of a trust domain that needs no reference values. `pck`: of the machine that it runs on."""
    report = quote.report
    yield from _attributes(report, policy, allow_debug=allow_debug)
    yield _xfam(report, policy)
    yield _value("td.mr_seam", report.mr_seam, policy.mr_seam, "TDX module (MRSEAM)", "any TDX module that Intel signs")
    yield _value("td.mr_config_id", report.mr_config_id, policy.mr_config_id, "MRCONFIGID", "any MRCONFIGID")
    yield _value("td.mr_owner", report.mr_owner, policy.mr_owner, "MROWNER", "any MROWNER")
    yield _value(
        "td.mr_owner_config", report.mr_owner_config, policy.mr_owner_config, "MROWNERCONFIG", "any MROWNERCONFIG"
    )
    yield _service_td(report, policy)
    yield from _further(quote, pck, policy)


def _attributes(report: TdReport, policy: TdxPolicy, *, allow_debug: bool) -> Iterator[Finding]:
    bits = int.from_bytes(report.td_attributes, "little")
    yield _bit(
        "td.debug",
        bits >> DEBUG & 1,
        0,
        "the TD cannot be debugged",
        otherwise="the TD can be debugged: its host reads and writes its memory",
        allowed="the TD can be debugged, so its host reads its memory" if allow_debug else None,
    )
    yield _bit(
        "td.sept_ve_disable",
        bits >> SEPT_VE_DISABLE & 1,
        1,
        "the host cannot inject #VE on private memory",
        otherwise="the host can inject #VE on private memory (SEPT_VE_DISABLE is off)",
        allowed="the host can inject #VE on private memory" if policy.sept_ve_disable == "any" else None,
    )
    yield _bit(
        "td.migratable",
        bits >> MIGRATABLE & 1,
        0,
        "the TD stays on its machine",
        otherwise="the TD can be migrated to another machine",
        allowed="the TD can be migrated to another machine" if policy.allow_migratable else None,
    )
    allowed = {ATTRIBUTES[name] for name in policy.allowed_attributes} | set(_OWN_FIELDS)
    odd = [_NAMES.get(bit, f"bit {bit}") for bit in range(64) if bits >> bit & 1 and bit not in allowed]
    yield judge(
        "td.attributes",
        not odd,
        "the TD has no other attribute than the policy allows",
        otherwise=f"the TD has attributes that the policy does not allow: {', '.join(odd)}",
        expected=" ".join(policy.allowed_attributes) or "none",
        actual=_spell(report.td_attributes),
    )


def _bit(
    check: str,
    actual: int,
    wanted: int,
    text: str,
    *,
    otherwise: str,
    allowed: str | None,
) -> Finding:
    """One attribute. `allowed`: what to warn of where the policy accepts the other value; None where it does not."""
    if actual != wanted and allowed is not None:
        return Finding(check, "warning", allowed, "any", str(actual))
    return judge(check, actual == wanted, text, otherwise=otherwise, expected=str(wanted), actual=str(actual))


def _xfam(report: TdReport, policy: TdxPolicy) -> Finding:
    value = int.from_bytes(report.xfam, "little")
    return judge(
        "td.xfam",
        value & policy.xfam.mask == policy.xfam.value,
        "the TD's extended features are ones that the policy allows",
        otherwise="the TD's extended features (XFAM) are not ones that the policy allows",
        expected=f"{policy.xfam.value:#x} under {policy.xfam.mask:#x}",
        actual=f"{value:#x}",
    )


def _service_td(report: TdReport, policy: TdxPolicy) -> Finding:
    check = "td.service_td"
    if report.mr_service_td is None:
        return Finding(check, "pass", f"a TD report {report.version} has no service TD")
    return _value(check, report.mr_service_td, policy.mr_service_td, "service TD (MRSERVICETD)", "any service TD")


def _further(quote: Quote, pck: PckExtension, policy: TdxPolicy) -> Iterator[Finding]:
    """What a TD report 1.5-Ex says beyond 1.5: service TDs, where the TD was launched, devices."""
    more = quote.report.service_tds
    if more is None:
        text = f"a TD report {quote.report.version} says nothing of it"
        yield from (Finding(f"td.{name}", "pass", text) for name in ("service_tds", "initial_platform", "device_info"))
        return
    service = (more.initial_hash, more.initial_attributes, more.current_hash, more.current_attributes)
    if any(map(any, service)) and policy.mr_service_td == "any":
        text = "the policy accepts any service TD"
        yield Finding("td.service_tds", "warning", text, "any", " ".join(value.hex() for value in service))
    else:
        yield judge(
            "td.service_tds",
            not any(map(any, service)),
            "no service TD is or was bound to the TD",
            otherwise="a service TD is or was bound to the TD, which the policy does not allow",
            expected="zero",
            actual=" ".join(value.hex() for value in service),
        )
    yield _initial_platform(quote, more, pck, policy)
    yield judge(
        "td.device_info",
        not any(more.device_info),
        "no device is assigned to the TD",
        otherwise="devices are assigned to the TD, which nothing here can judge",
        expected=bytes(48).hex(),
        actual=more.device_info.hex(),
    )


def _initial_platform(quote: Quote, more: ServiceTds, pck: PckExtension, policy: TdxPolicy) -> Finding:
    """Whether the TD was launched where it runs. What is not recorded is zero; FMSPC may be text or padded there."""
    check, text = "td.initial_platform", "the TD was launched on the platform that it runs on"
    fmspc = (pck.fmspc.ljust(12, b"\0"), pck.fmspc.hex().encode(), pck.fmspc.hex().upper().encode())
    is_here = (
        more.initial_fmspc in (bytes(12), *fmspc)
        and more.initial_cpu_svn in (bytes(16), pck.cpu_svn, quote.qe_report.cpu_svn)
        and more.initial_tee_tcb_svn in (bytes(16), quote.report.tee_tcb_svn)
    )
    shown = " ".join(value.hex() for value in (more.initial_fmspc, more.initial_cpu_svn, more.initial_tee_tcb_svn))
    if not is_here and policy.allow_migratable:
        return Finding(
            check, "warning", "the TD was launched on another platform; the policy allows that", "any", shown
        )
    expected = f"{pck.fmspc.hex()} {pck.cpu_svn.hex()} {quote.report.tee_tcb_svn.hex()}"
    otherwise = "the TD was launched on another platform, or another state of it"
    return judge(check, is_here, text, otherwise=otherwise, expected=expected, actual=shown)


def _value(check: str, actual: bytes, allowed: tuple[bytes, ...] | Any_, what: str, any_text: str) -> Finding:
    if allowed == "any":
        return Finding(check, "pass", f"the policy accepts {any_text}", "any", actual.hex())
    return judge(
        check,
        actual in allowed,
        f"the {what} is one that the policy names",
        otherwise=f"the {what} is not one that the policy names",
        expected=" | ".join(value.hex() for value in allowed),
        actual=actual.hex(),
    )


def _spell(attributes: bytes) -> str:
    bits = int.from_bytes(attributes, "little")
    return f"{bits:#018x} {' '.join(attribute_names(attributes))}".rstrip()
