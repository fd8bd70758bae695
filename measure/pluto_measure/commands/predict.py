"""`pluto-measure predict`: the event log and the registers that a boot of one build must give."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.machine import add_machine_options, machines
from pluto_measure.errors import UsageError
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, Profile, profile_for
from pluto_measure.predict.events import BANKS
from pluto_measure.predict.kernel import is_rewritten
from pluto_measure.predict.media import MEDIA
from pluto_measure.registers.replay import Registers, registers_json

_JSON_LIMIT: Final = 64 * 1024 * 1024
_IMAGE_LIMIT: Final = 1024 * 1024 * 1024
_NO_BUILD: Final = "0" * 64
_DISK_HEAD: Final = 2 * 1024 * 1024  # holds any partition table that we accept

DESCRIPTION: Final = """Compute what a machine measures when it boots a build: every event of its log in order, with the
input it comes from, and the registers that follow. Nothing is booted and no hardware is needed. The build is given as
launch.json, or as the files that are booted; without either, MRTD and RTMR[0] are computed, which firmware and machine
decide alone."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "predict", help="the event log and registers that a boot of a build must give", description=DESCRIPTION
    )
    sub.add_argument(
        "launch", metavar="LAUNCH", type=Path, nargs="?", help="launch.json of the build, or the folder it lies in"
    )
    booted = sub.add_argument_group("what is booted, instead of LAUNCH")
    booted.add_argument("--uki", metavar="FILE", type=Path, help="a unified kernel image")
    booted.add_argument("--disk", metavar="FILE", type=Path, help="the disk that the UKI is booted from")
    booted.add_argument("--stub", metavar="VERSION", help="systemd-stub's version (default: what the UKI says)")
    booted.add_argument("--kernel", metavar="FILE", type=Path, help="a kernel, booted directly")
    booted.add_argument("--initrd", metavar="FILE", type=Path, help="its initrd")
    booted.add_argument("--command-line", metavar="TEXT", default="", help="its command line, as the VMM is given it")
    add_machine_options(sub)
    sub.add_argument("--id", metavar="ID", help="the profile's name in measurements.json")
    sub.add_argument("--registers", action="store_true", help="print the registers alone, without the events")
    sub.add_argument("--measurements", metavar="FILE", type=Path, help="also write measurements.json to FILE")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=predict)


def predict(arguments: argparse.Namespace) -> Result:
    """Predict one boot; optionally write measurements.json."""
    named = machines(arguments, _folder(arguments))
    launch = _launch(arguments, tuple(dict.fromkeys(b for _, m in named for b in MEDIA[m.kind].banks)) or BANKS)
    if arguments.id is not None and len(named) > 1:
        raise UsageError("--id names one profile, and several machines are named")
    profiles: list[Profile] = []
    notes: list[str] = []
    for name, platform in named:
        booted = replace(platform, boot="direct") if arguments.kernel is not None else platform
        profiles.append(profile_for(launch, booted, arguments.id or name))
        notes += _missing(name or platform.kind, booted, by_digest=launch is not None and launch.kernel_file is None)
    if arguments.measurements is not None:
        if launch is None or launch.build_id == _NO_BUILD:
            raise UsageError("--measurements needs a build: what was not built has no reference values")
        files.write(arguments.measurements, Measurements(launch.build_id, launch.flavour, tuple(profiles)).to_text())
        notes.append(f"wrote {arguments.measurements}")
    documents = [document(launch, profile) for profile in profiles]
    shown = "\n".join(text(launch, profile, events=not arguments.registers) for profile in profiles)
    return Result(documents[0] if len(documents) == 1 else {"profiles": documents}, shown, notes=tuple(notes))


def known_registers(profile: Profile) -> Registers:
    """The registers whose value the profile fixes, per bank."""
    medium = MEDIA[profile.platform]
    known: Registers = {bank: {} for bank in medium.banks}
    for name, rule in profile.registers.items():
        if rule.match in ("replay", "any"):
            continue
        for bank in ("sha384",) if name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3") else medium.banks:
            values = rule.accepted(name, bank, {})
            if values is not None and len(values) == 1:
                known.setdefault(bank, {})[name] = values[0]
    return known


def document(launch: Launch | None, profile: Profile) -> dict[str, object]:
    """The JSON document: registers flat for TDX, where there is one bank, and per bank for a TPM."""
    in_hex = registers_json(_shown(launch, profile))
    tdx = MEDIA[profile.platform].is_tdx
    shown: dict[str, object] = {
        "buildId": None if launch is None or launch.build_id == _NO_BUILD else launch.build_id,
        "flavour": None if launch is None or launch.build_id == _NO_BUILD else launch.flavour,
        "profile": profile.id,
        "platform": profile.platform,
        "inputs": dict(profile.inputs),
        "registers": in_hex.get("sha384", {}) if tdx else in_hex,
        "rules": {name: rule.to_json() for name, rule in profile.registers.items()},
        "events": [event.to_json() for event in profile.events],
    }
    return {**shown, "claims": dict(profile.claims)} if profile.claims else shown


def text(launch: Launch | None, profile: Profile, *, events: bool = True) -> str:
    """The same for people."""
    medium = MEDIA[profile.platform]
    bank = "sha384" if medium.is_tdx else "sha256"
    head = "firmware and machine alone" if launch is None else f"build {launch.build_id} ({launch.flavour})"
    if launch is not None and launch.build_id == _NO_BUILD:
        head = "files that name no build"
    lines = [f"{head}, profile {profile.id}"]
    if profile.events and events:
        lines += ["", "events"]
        for event in profile.events:
            shown = (
                event.digests[bank].hex()
                if event.digests
                else f"one of {len(event.allowed)}"
                if event.allowed
                else "open"
            )
            lines.append(f"  {event.register:6} {shown}  {event.description}  [{event.source}]")
    for name, registers in _shown(launch, profile).items():
        if not medium.is_tdx and name != bank and len(medium.banks) > 1:
            continue
        lines += ["", f"registers ({name})"]
        for register, rule in profile.registers.items():
            if _is_shown(launch, profile, register) and (register in registers or name == bank):
                value = (
                    registers[register].hex()
                    if register in registers
                    else _unfixed(rule.match, rule.source, len(rule.values))
                )
                lines.append(f"  {register:6} {value}")
    if profile.claims:
        lines += ["", "claims", *_claims(profile.claims, "  ")]
    return "\n".join(lines) + "\n"


def _folder(arguments: argparse.Namespace) -> Path:
    """The folder that paths of platforms.toml are relative to: where that lies which is booted."""
    given = [name for name in ("launch", "uki", "kernel") if getattr(arguments, name) is not None]
    if len(given) > 1:
        raise UsageError(f"both {given[0]} and {given[1]} say what is booted")
    for option, needs in (("disk", "uki"), ("stub", "uki"), ("initrd", "kernel"), ("command_line", "kernel")):
        if getattr(arguments, option) and getattr(arguments, needs) is None:
            raise UsageError(f"--{option.replace('_', '-')} goes with --{needs}, which is not given")
    path: Path = getattr(arguments, given[0]) if given else Path()
    return path if path.is_dir() else path.parent


def _launch(arguments: argparse.Namespace, banks: Sequence[str]) -> Launch | None:
    """What is booted; of files, digests in these banks."""
    if arguments.launch is not None:
        path = _folder(arguments) / "launch.json" if arguments.launch.is_dir() else arguments.launch
        return Launch.parse(files.read(path, what="launch.json", limit=_JSON_LIMIT))
    if arguments.uki is None and arguments.kernel is None:
        return None
    # Imported here: only what is given as files has to be described.
    from pluto_measure import describe

    if arguments.kernel is not None:
        initrd = None if arguments.initrd is None else files.read(arguments.initrd, what="initrd", limit=_IMAGE_LIMIT)
        kernel = files.read(arguments.kernel, what="kernel", limit=_IMAGE_LIMIT)
        return describe.of_kernel(kernel, initrd, arguments.command_line)
    uki = files.read(arguments.uki, what="UKI", limit=_IMAGE_LIMIT)
    stub, event = arguments.stub or describe.stub_version(uki), None
    if arguments.disk is not None:
        event = describe.gpt_event_of(files.read_head(arguments.disk, _DISK_HEAD, what="disk"))
    size = 0 if arguments.disk is None else arguments.disk.stat().st_size
    return describe.of_uki(uki, event, stub=stub, disk_size=size, banks=banks)


def _shown(launch: Launch | None, profile: Profile) -> Registers:
    return {
        bank: {name: value for name, value in values.items() if _is_shown(launch, profile, name)}
        for bank, values in known_registers(profile).items()
    }


def _is_shown(launch: Launch | None, profile: Profile, register: str) -> bool:
    """Without a build nothing is said of the registers that it decides."""
    if launch is not None:
        return True
    listed = {event.register for event in profile.events}
    return register == "mrtd" or (register in listed and register in ("rtmr0", "pcr0", "pcr1", "pcr7"))


def _unfixed(match: str, source: str, values: int) -> str:
    if match == "oneOf" and values:
        return f"one of {values} ({source})"
    if match == "oneOf":
        return "by endorsement, none given yet" if source == "endorsed" else "by log, no value accepted yet"
    return match


def _claims(claims: Any, indent: str) -> list[str]:
    lines = []
    for name, value in claims.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}", *_claims(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines


def _missing(name: str, platform: Platform, *, by_digest: bool) -> tuple[str, ...]:
    """What was weakened or left out, for stderr."""
    if platform.insecure_unmeasured_acpi:
        text = f"warning: {name}: insecure_unmeasured_acpi: ACPI that the host makes is not checked against anything"
        return (text,)
    if platform.boot == "direct" and by_digest and is_rewritten(platform):
        text = f"QEMU {platform.vmm_version} rewrites the kernel's header, so its digest must be that of the result"
        return (f"{name}: {text} (or give --kernel)",)
    if platform.kind == "gcp-tdx" and not (platform.firmware and platform.firmware.sections and platform.acpi):
        return (f"{name}: MRTD and RTMR[0] by endorsement and log (or by --firmware and acpi of the platform file)",)
    return ()
