"""What an operator of a TDX platform may have to update, and which SVN follows from which update. Pure; words.

Names of components are Intel's, in TCB info v3 (PCS API v4, `sgxtcbcomponents` and `tdxtcbcomponents`: category and
type). What raises an SVN is told by them; nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pluto_measure.formats.tcb_info import Component

# In the order in which they are done: id, a short form, and what it means.
UPDATES: Final = {
    "bios": ("BIOS", "update the BIOS (platform firmware), from the machine's manufacturer"),
    "microcode": ("microcode", "update the microcode: a newer BIOS has it, or the microcode package of the host"),
    "sinit": ("SINIT module", "update the SINIT module (TXT), with the BIOS or the host's boot loader"),
    "seamLoader": ("SEAM loader", "update the SEAM loader (SEAMLDR ACM), which loads the TDX module"),
    "tdxModule": ("TDX module", "update the TDX module, to a version that Intel's TCB info knows"),
    "quotingEnclave": ("quoting enclave", "update the TD quoting enclave (TD QE), with the quote generation service"),
    "pce": ("PCE", "update the provisioning certification enclave (PCE), with the quote generation service"),
    "unnamed": (
        "the components that Intel does not name",
        "ask the manufacturer: Intel's TCB info does not say what these components are",
    ),
    "pckCertificate": (
        "fetch a new PCK certificate",
        "fetch a new PCK certificate (register the platform again where Intel has none for it): a quote shows the TCB"
        " that its certificate was issued for",
    ),
    "relaunch": ("launch the TD again", "launch the TD again: a quote shows the SVNs that the TD was launched with"),
    "configuration": ("BIOS settings", "change the BIOS settings that the advisories name, such as hyper-threading"),
    "softwareHardening": ("software mitigations", "run software that has the mitigations that the advisories name"),
}
_CERTIFICATE_FIRST: Final = "fetch a new PCK certificate (the present one is older than the machine)"
_LATE_MICROCODE: Final = "late microcode"


class Svn(NamedTuple):
    """What one SVN is: an id, a name, and the update (a key of UPDATES) that raises it."""

    id: str
    name: str
    update: str


def named(kind: str, index: int, component: Component) -> Svn:
    """A component of `kind` SGX or TDX."""
    words = ": ".join(word for word in component if word)
    name = f"{kind} component {index}" + (f" ({words})" if words else "")
    return Svn(f"{kind.lower()}{index}", name, _raised_by(component))


def late_microcode(components: Sequence[Component]) -> int | None:
    """Where the SVN of the microcode stands that the host loads; None: Intel does not say."""
    return next((at for at, item in enumerate(components) if _LATE_MICROCODE in item.type.lower()), None)


def in_order(
    wanted: Iterable[str], *, is_certified: bool, is_launched: bool, statuses: Iterable[str]
) -> tuple[str, ...]:
    """All that is to do, each once, in order.

    `wanted`: what raises the SVNs that are too low. `is_certified`, `is_launched`: whether SVNs are among them that
    the PCK certificate states, or that a TD keeps from its launch. `statuses`: what the levels say, matched and wanted.
    """
    found, said = set(wanted), " ".join(statuses)
    # A certificate that would be enough for some SVN comes first: it is older than the machine.
    first = [item for item in ("pckCertificate",) if item in found]
    found |= {"pckCertificate"} if is_certified else set()
    found |= {"relaunch"} if is_launched or "tdxModule" in found else set()
    found |= {"configuration"} if "Configuration" in said else set()
    found |= {"softwareHardening"} if "SWHardening" in said else set()
    return (*first, *(item for item in UPDATES if item in found and item not in first))


def advice(updates: Sequence[str]) -> str:
    """One line for people, of what `in_order` gave; there is at least one."""
    words = [("then " if item == "pckCertificate" else "") + UPDATES[item][0] for item in updates]
    if updates[0] != "pckCertificate":
        return f"update: {', '.join(words)}"
    rest = f", then update what is still too low: {', '.join(words[1:])}" if words[1:] else ""
    return f"{_CERTIFICATE_FIRST}{rest}"


def _raised_by(component: Component) -> str:
    kind = component.type.lower()
    if "seamldr" in kind:
        return "seamLoader"
    if "tdx module" in kind:
        return "tdxModule"
    if "sinit" in kind:
        return "sinit"
    if component.category == "BIOS":
        return "bios"
    return "microcode" if "microcode" in kind else "unnamed"
