"""docs/measurements.md: what a boot measures, made of the code that predicts it. Pure.

Sequences are real predictions of a sample build; tables are the constants that predictions use. `pluto-measure events
--markdown` prints the page, and a test compares it with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.formats.eventlog import type_name
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.handbook.catalogue import ENTRIES, family
from pluto_measure.launch import Container, Launch, SectionDigest
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi
from pluto_measure.machine.mrtd import ORDERS
from pluto_measure.machine.platform import GOOGLE_MACHINES, Disk, Platform, SecureBoot
from pluto_measure.measurements import Profile, profile_for
from pluto_measure.predict import stub

_SAMPLE: Final = Digests.of(b"sample")
_SECTIONS: Final = (".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat")
_TD_HOB: Final = Section(0, 0, 0x809000, 0x2000, SectionType.TD_HOB, 0)

# What each edk2 stable tag changed in a log. The tag is the first that has the change.
GENERATIONS: Final = (
    (202302, "TD HOB and variable store are measured; boot variables go to PCR 1, so RTMR[0] (PCR 5, RTMR[1] before)"),
    (202411, "the separator at ReadyToBoot goes to RTMR[1] (RTMR[0] before)"),
    (202502, "a kernel by -kernel is read under its own name, so QEMU 10.0 and later hand it over as it is"),
    (202505, "settings of the VMM (fw_cfg) and SMBIOS are measured; -kernel boots have two boot options"),
    (202508, "a bare kernel's command line begins with `initrd=initrd` (ended with it before)"),
)

INTRO: Final = """# Measurements: every event of a boot

Made by `pluto-measure events --markdown` from the code that predicts; a test compares both.

A boot extends registers with digests, and a log says in which order. `pluto-measure predict` computes that log before
anything boots; a register follows from its events by `R = H(R ‖ digest)`. So a verifier compares two things: each
register with its rule, and, where one differs, the machine's log with the predicted one (`pluto-measure diff`), which
names the first event that differs and what that means.

- MRTD is not extended: the TDX module computes it from the firmware's file while the trust domain is built.
- RTMR[0] is the machine: memory, variable store, Secure Boot, ACPI, boot options. RTMR[1] is what the firmware starts.
  RTMR[2] is what the stub and the kernel take. RTMR[3] is for programs of the guest, and ours leave it zero.
- A log is untrusted text: its digests count only where they replay to a quoted register, and its words never do.
"""

REGISTERS: Final = """## Registers

| PCR | RTMR | in a CC log | holds |
|---|---|---|---|
| 0 | (MRTD) | 0 | the firmware |
| 1, 7 | RTMR[0] | 1 | machine and settings; Secure Boot |
| 2 – 6 | RTMR[1] | 2 | what the firmware starts |
| 8 – 15 | RTMR[2] | 3 | stub, kernel, command line, initrd |
| – | RTMR[3] | 4 | programs of the guest |

A CC log numbers a register one higher than its name. On Azure and with a software TPM the PCRs count; both come from
one list of events, so PCR 4 and 5 in the SHA-384 bank hold the digests of RTMR[1], and PCR 9 and 11 those of RTMR[2].
"""

LIMITS: Final = """## What cannot be predicted

- ACPI, and SMBIOS from edk2 202505 on, are made by the VMM: they are inputs by digest. For the shapes of
  `image/notary/platforms.toml` they are harvested; on Google they are an allow-list, or left to the log by
  `insecure_unmeasured_acpi`. On bare metal RTMR[0]
  is exact, or accepts nothing.
- What nobody gave is an open event, and its register then accepts nothing until a value is added; it is never "any".
- Google's larger machines have several NUMA nodes, whose TD HOB was never seen.
- Firmware older than edk2 202302 measures neither TD HOB nor variable store and is refused.
- After the boot, programs can extend registers further (IMA, systemd-pcrphase): a log does not show it, a quote does.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRO, REGISTERS, _events_table(), _sequences(), _rules(), _mrtd(), _versions(), LIMITS]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]) + "\n"


def sample_launch() -> Launch:
    """A build of which every part has the same digest: only the order of its events matters."""
    return Launch(
        build_id="0" * 64,
        flavour="release",
        stub=stub.VERSION,
        uki_size=1,
        uki_digests=_SAMPLE,
        uki_authenticode=_SAMPLE,
        kernel_size=1,
        kernel_authenticode=_SAMPLE,
        sections=tuple(SectionDigest(name, 1, _SAMPLE) for name in _SECTIONS),
        handed_initrd_size=1,
        handed_initrd=_SAMPLE,
        command_line="console=ttyS0",
        disk_size=1 << 30,
        gpt_event=_SAMPLE,
        container=Container("sha256:" + "0" * 64, "sha256:" + "0" * 64, (), ()),
    )


def launch_for(platform: Platform) -> Launch:
    """What that machine boots: the UKI, or its kernel alone."""
    if platform.boot != "direct":
        return sample_launch()
    return replace(sample_launch(), stub="", sections=(), uki_digests=None, uki_authenticode=None)


def sample_machines() -> dict[str, Platform]:
    """A machine of each kind with all that a prediction needs, by the words of a heading."""
    firmware = Firmware(_SAMPLE, 1, (_TD_HOB,), _SAMPLE.sha384, {"interleaved": _SAMPLE.sha384}, 202502)
    acpi = Acpi(dict.fromkeys(("loader", "rsdp", "tables"), _SAMPLE))
    bare = Platform(kind="qemu-tdx", firmware=firmware, acpi=(acpi,))
    google = replace(Platform.default("gcp-tdx"), firmware=firmware, acpi=(acpi,), secure_boot=SecureBoot("off"))
    with_tpm = Acpi(dict.fromkeys(("loader", "rsdp", "tpmLog", "tables"), _SAMPLE))
    return {
        "Bare metal, the UKI by -kernel (`qemu-tdx`)": bare,
        "Bare metal, from a disk (`qemu-tdx`)": replace(bare, boot="disk", disk=Disk("virtio-blk", 3)),
        "Bare metal, a kernel without a UKI (`qemu-tdx`)": replace(bare, boot="direct"),
        "Google (`gcp-tdx`)": google,
        "Azure (`azure-tdx`)": Platform.default("azure-tdx"),
        "A laptop with a software TPM (`qemu-vtpm`)": Platform(acpi=(with_tpm,), firmware=firmware),
    }


def _events_table() -> str:
    rows = [
        (f"`{role}{'…' if role.endswith(':') else ''}`", e.what, e.digest, e.by, e.source, e.trust)
        for role, e in ENTRIES.items()
    ]
    head = ("role", "what", "digest of", "measured by", "known from", "if it differs")
    return "## Events\n\n" + table(head, rows)


def _sequences() -> str:
    parts = ["## Order, by machine\n"]
    for name, platform in sample_machines().items():
        profile = profile_for(launch_for(platform), platform)
        rows = [(event.register, _shown(event.role), type_name(event.type)) for event in profile.events]
        parts.append(f"### {name}\n\n" + table(("register", "role", "type"), _folded(rows)))
    return "\n".join(parts)


def _shown(role: str) -> str:
    return f"`{role}`"


def _folded(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Name and content of the sections as two rows, whatever their number."""
    folded, seen = [], set()
    for register, role, kind in rows:
        group = family(role.strip("`"))
        if group in ("section-name:", "section:"):
            if group in seen:
                continue
            seen.add(group)
            role = f"`{group}…` of each section in turn"
        folded.append((register, role, kind))
    return folded


def _rules() -> str:
    rows = []
    for name, platform in sample_machines().items():
        profile = profile_for(launch_for(platform), platform)
        by_match: dict[str, list[str]] = {}
        for register, rule in profile.registers.items():
            by_match.setdefault(rule.match, []).append(register)
        rows.append((name, *(_ranges(by_match.get(match, [])) for match in ("exact", "zero", "replay", "any"))))
    note = (
        "`replay`: the value is what the machine's own log replays to, and the log must hold nothing but what a "
        "firmware measures of itself. `any`: Microsoft's paravisor, and IMA with Secure Boot on, change without "
        "notice.\n"
    )
    return (
        "## Rules, by machine\n\n" + table(("machine", "exact", "zero", "replay", "any"), rows) + "\n" + note + _space()
    )


def _space() -> str:
    profile: Profile = profile_for(sample_launch(), Platform.default("gcp-confidential-space"))
    names = ", ".join(f"`{name}`" for name in profile.claims if name != "submods")
    return (
        "\nConfidential Space (`gcp-confidential-space`) shows no register: Google's token must say "
        f"{names}, and under `submods.container` the container's digest, image, arguments and environment.\n"
    )


def _ranges(names: Sequence[str]) -> str:
    """ "pcr2-pcr7, pcr9" of the names in their order."""
    runs: list[list[str]] = []
    for name in names:
        previous = runs[-1][-1] if runs else ""
        if previous[:-1].rstrip("0123456789") == name.rstrip("0123456789") and _number(previous) + 1 == _number(name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} – {run[-1]}" for run in runs) or "–"


def _number(name: str) -> int:
    digits = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits else -9


def _mrtd() -> str:
    rows = [(f"`{name}`", who) for name, who in ORDERS.items()]
    text = (
        "## MRTD\n\nThe TDX module hashes records of the pages that the VMM adds, in the order of the firmware's TDVF "
        "metadata; content counts only in sections with MR.EXTEND, which the variable store has not. vCPUs, memory, "
        "attributes and MRCONFIGID are not in it. The order of the records depends on the VMM:\n\n"
    )
    return text + table(("order", "who"), rows)


def _versions() -> str:
    firmware = table(("edk2", "change"), GENERATIONS)
    rows = []
    for version in stub.KNOWN.values():
        rows.append(
            (
                version.major,
                " ".join(version.measured_sections),
                "yes" if version.measures_sections_to_cc else "no",
                "yes" if version.kernel_is_measured_as_image else "no",
                "yes" if version.initrd_is_reproducible else "by -kernel only",
            )
        )
    head = ("systemd-stub", "sections in their order", "sections in RTMR[2]", "kernel as an image", "initrd fixed")
    machines = [(name, cpus, f"{gib} GiB") for name, (cpus, gib) in GOOGLE_MACHINES.items()]
    return (
        "## What versions change\n\n"
        + firmware
        + f"\nImages are built with systemd-stub {stub.VERSION}.\n\n"
        + table(head, rows)
        + "\n"
        + table(("Google machine type", "vCPUs", "memory"), machines)
    )
