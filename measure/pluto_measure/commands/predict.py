"""`pluto-measure predict`: the event log and the registers that a boot of one build must give."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements, Profile, measure
from pluto_measure.platform import BOOTS, KINDS, Platform, SecureBoot, parse_profile, parse_size
from pluto_measure.predict.events import BANKS
from pluto_measure.replay import Registers, registers_json

_JSON_LIMIT: Final = 64 * 1024 * 1024
_PLATFORMS: Final = "image/notary/platforms.toml"  # of the checkout that one stands in


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "predict",
        help="the event log and registers that a boot of a build must give",
        description="Compute from launch.json what a machine measures when it boots that build: every event of its "
        "log in order, and the registers that follow. Nothing is booted and no hardware is needed.",
    )
    sub.add_argument("launch", metavar="LAUNCH", type=Path, help="launch.json of the build, or the folder it lies in")
    machine = sub.add_mutually_exclusive_group(required=True)
    machine.add_argument("--platform", choices=KINDS, help="the kind of machine, with defaults for the rest")
    machine.add_argument("--profile", metavar="ID", help="the machine of this name in --platforms")
    machine.add_argument("--platform-file", metavar="FILE", type=Path, help="a platform file (JSON)")
    sub.add_argument(
        "--platforms",
        metavar="FILE",
        type=Path,
        default=Path(_PLATFORMS),
        help=f"machines by name, a TOML file whose paths are relative to LAUNCH's folder (default: {_PLATFORMS})",
    )
    sub.add_argument("--boot", choices=BOOTS, help="started by -kernel or from the disk (default: uki-kernel)")
    sub.add_argument("--cpus", type=int, metavar="N", help="vCPUs; recorded in the inputs")
    sub.add_argument("--memory", metavar="SIZE", help="memory, such as 1G; recorded in the inputs")
    sub.add_argument("--firmware", metavar="FILE", type=Path, help="the firmware; its digest is recorded in the inputs")
    sub.add_argument(
        "--secure-boot",
        choices=("absent", "off"),
        help="whether the firmware has Secure Boot at all; with enrolled keys use --platform-file",
    )
    sub.add_argument("--id", metavar="ID", help="the profile's name in measurements.json")
    sub.add_argument("--measurements", metavar="FILE", type=Path, help="also write measurements.json to FILE")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=predict)


def predict(arguments: argparse.Namespace) -> Result:
    """Predict one boot; optionally write measurements.json."""
    path: Path = arguments.launch
    if path.is_dir():
        path = path / "launch.json"
    launch = Launch.parse(files.read(path, what="launch.json", limit=_JSON_LIMIT))
    measurements = measure(launch, _platform(arguments, path.parent), arguments.id or arguments.profile)
    notes: tuple[str, ...] = ()
    if arguments.measurements is not None:
        files.write(arguments.measurements, measurements.to_text())
        notes = (f"wrote {arguments.measurements}",)
    profile = measurements.profiles[0]
    return Result(_document(measurements, profile), _text(measurements, profile), notes=notes)


def known_registers(profile: Profile) -> Registers:
    """The registers whose value the profile fixes, per bank."""
    known: Registers = {bank: {} for bank in BANKS}
    for name, rule in profile.registers.items():
        for bank in BANKS:
            values = () if rule.match == "replay" else rule.accepted(name, bank, {})
            if values is not None and len(values) == 1:
                known[bank][name] = values[0]
    return known


def _platform(arguments: argparse.Namespace, dist: Path) -> Platform:
    base = _named_platform(arguments, dist)
    secure_boot = base.secure_boot if arguments.secure_boot is None else SecureBoot(arguments.secure_boot)
    firmware = base.firmware
    if arguments.firmware is not None:
        firmware = Digests.of(files.read(arguments.firmware, what="firmware"))
    try:
        return Platform(
            kind=arguments.platform or base.kind,
            boot=arguments.boot or base.boot,
            cpus=base.cpus if arguments.cpus is None else arguments.cpus,
            memory=base.memory if arguments.memory is None else parse_size(arguments.memory),
            machine_type=base.machine_type,
            vmm=base.vmm,
            vmm_version=base.vmm_version,
            firmware=firmware,
            secure_boot=secure_boot,
        )
    except FormatError as error:
        raise UsageError(str(error)) from error


def _named_platform(arguments: argparse.Namespace, dist: Path) -> Platform:
    folder = dist if arguments.platform_file is None else arguments.platform_file.parent

    def named(name: str) -> bytes:
        return files.read(folder / name, what="platform file's input")

    if arguments.profile is not None:
        text = files.read(arguments.platforms, what="platforms.toml", limit=_JSON_LIMIT)
        return parse_profile(text, arguments.profile, named)
    if arguments.platform_file is not None:
        return Platform.parse(files.read(arguments.platform_file, what="platform file", limit=_JSON_LIMIT), named)
    return Platform()


def _document(measurements: Measurements, profile: Profile) -> dict[str, object]:
    return {
        "buildId": measurements.build_id,
        "flavour": measurements.flavour,
        "profile": profile.id,
        "platform": profile.platform,
        "inputs": dict(profile.inputs),
        "registers": registers_json(known_registers(profile)),
        "events": [event.to_json() for event in profile.events],
    }


def _text(measurements: Measurements, profile: Profile) -> str:
    lines = [f"build {measurements.build_id} ({measurements.flavour}), profile {profile.id}", "", "events"]
    for event in profile.events:
        lines.append(f"  {event.register:6} {event.digests['sha256'].hex()}  {event.description}  [{event.source}]")
    lines += ["", "registers (sha256)"]
    known = known_registers(profile)["sha256"]
    for name, rule in profile.registers.items():
        lines.append(f"  {name:6} {known[name].hex() if name in known else rule.match}")
    return "\n".join(lines) + "\n"
