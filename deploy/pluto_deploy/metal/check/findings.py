"""Judges what a host is: every check, in groups, and what follows from all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pluto_deploy.metal.check import hardware, quoting, software
from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.check.finding import HostFinding
from pluto_deploy.metal.profiles import Profile

Readiness = Literal["ready", "preparable", "refused"]
# What a person must have put right before prepare has anything to stand on; the rest of a person's work comes after.
PRECONDITIONS: Final = ("system.release", "system.systemd", "kernel.release", "kernel.options", "disk.free")


def judge(facts: HostFacts, profile: Profile | None = None) -> tuple[HostFinding, ...]:
    """All findings on a host, in the order of their groups. `profile`: what is known of its provider."""
    found = [*hardware.judge(facts)]
    if profile is not None:
        found += profile.judge(facts)
    if facts.processor.vendor == "GenuineIntel":
        found += software.judge(facts)
        found += quoting.judge(facts)
    return tuple(found)


def blocking(findings: Sequence[HostFinding]) -> tuple[HostFinding, ...]:
    """The findings that prepare cannot mend and that make it pointless: hardware, BIOS, and a system it does not know.

    A firmware fault that the hardware explains stands behind it, so hardware comes first.
    """
    refusing = [
        one
        for one in findings
        if one.verdict == "fail" and (one.fixed_by in ("hardware", "bios") or one.id in PRECONDITIONS)
    ]
    order = ("hardware", "bios", "operator")
    return tuple(sorted(refusing, key=lambda one: order.index(one.fixed_by or "operator")))


def readiness(findings: Sequence[HostFinding]) -> Readiness:
    """ready: no check fails. preparable: prepare, and what a person does after it, mend all. refused: they cannot."""
    if blocking(findings):
        return "refused"
    return "preparable" if any(one.verdict == "fail" for one in findings) else "ready"
