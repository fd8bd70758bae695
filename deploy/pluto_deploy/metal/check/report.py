"""The findings on a host for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pluto_deploy.metal.check.finding import HostFinding
from pluto_deploy.metal.check.findings import blocking, readiness
from pluto_measure.wording import counted

TITLES: Final = {
    "processor": "Processor",
    "firmware": "Firmware",
    "memory": "Memory",
    "profile": "Provider",
    "system": "System",
    "kernel": "Kernel",
    "tdx": "TDX",
    "devices": "Devices",
    "network": "Network",
    "disk": "Disk",
    "sgx": "SGX",
    "quotes": "Quotes",
    "provisioning": "Certificates",
    "registration": "Registration",
}
_MARKS: Final = {"pass": "ok  ", "warning": "warn", "fail": "FAIL"}


def document(host: str, profile: str | None, findings: Sequence[HostFinding]) -> dict[str, object]:
    """For programs: `readiness` (ready, preparable or refused), `refusedBy` (ids) and `findings`."""
    return {
        "host": host,
        "profile": profile,
        "readiness": readiness(findings),
        "refusedBy": [one.id for one in blocking(findings)],
        "findings": [one.to_json() for one in findings],
    }


def text(host: str, findings: Sequence[HostFinding]) -> str:
    """For people: the verdict in the first line, then the findings in groups with what to do."""
    lines = [verdict(host, findings)]
    for group in dict.fromkeys(group_of(one) for one in findings):
        lines += ["", TITLES.get(group, group)]
        for one in findings:
            if group_of(one) == group:
                lines.append(f"  {_MARKS[one.verdict]}  {one.text}  [{one.id}]")
                if one.action is not None:
                    lines.append(f"        {one.fixed_by}: {one.action}")
    return "\n".join(lines) + "\n"


def group_of(finding: HostFinding) -> str:
    """What a finding is about: the first part of its id."""
    return finding.id.partition(".")[0]


def verdict(host: str, findings: Sequence[HostFinding]) -> str:
    """One line."""
    refusing = blocking(findings)
    if refusing:
        more = f" (and {len(refusing) - 1} more)" if len(refusing) > 1 else ""
        return f"{host}: refused, this machine cannot run trust domains as it is: {refusing[0].text}{more}"
    mended = [one for one in findings if one.verdict == "fail"]
    if mended:
        by_prepare = sum(one.fixed_by == "prepare" for one in mended)
        rest = len(mended) - by_prepare
        if not by_prepare:
            return f"{host}: not ready yet: {counted(rest, 'finding')} for a person, none for 'host prepare'"
        after = f"; {counted(rest, 'finding')} for a person after it" if rest else ""
        return f"{host}: not ready yet: 'host prepare' mends {counted(by_prepare, 'finding')}{after}"
    warnings = sum(one.verdict == "warning" for one in findings)
    return f"{host}: ready to run trust domains, {counted(warnings, 'warning')}"
