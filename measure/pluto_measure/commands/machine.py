"""The options that name a machine, and the platform file that they make: shared by the commands that predict."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pluto_measure.commands import files
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import loads
from pluto_measure.machine import platform_file
from pluto_measure.machine.inputs import Input, Read
from pluto_measure.machine.mrtd import ORDERS
from pluto_measure.machine.platform import BOOTS, KINDS, Platform

_LIMIT: Final = 64 * 1024 * 1024
_TABLE: Final = "platform-inputs.json"
PLATFORMS: Final = "image/notary/platforms.toml"  # of the checkout that one stands in

# Options that stand for a member of the platform file: the same value in the same spelling.
_MEMBERS: Final = {
    "boot": "boot",
    "cpus": "cpus",
    "memory": "memory",
    "machine_type": "machineType",
    "vmm_version": "vmmVersion",
    "edk2_generation": "edk2Generation",
    "page_order": "pageOrder",
}


def add_machine_options(sub: argparse.ArgumentParser) -> None:
    """A machine by kind, by name in a platforms.toml, or by a platform file; then what is different about it."""
    group = sub.add_argument_group("the machine")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--platform", choices=KINDS, help="the kind of machine, with defaults for the rest")
    which.add_argument(
        "--profile", metavar="ID", action="append", help="the machine of this name in --platforms (may be repeated)"
    )
    which.add_argument("--platform-file", metavar="FILE", type=Path, help="a platform file (JSON)")
    group.add_argument(
        "--platforms",
        metavar="FILE",
        type=Path,
        default=Path(PLATFORMS),
        help=f"machines by name, a TOML file whose paths are relative to LAUNCH's folder (default: {PLATFORMS})",
    )
    group.add_argument(
        "--inputs",
        metavar="FILE",
        type=Path,
        help=f"harvested inputs of QEMU machines (default: {_TABLE} beside PLATFORMS)",
    )
    group.add_argument("--boot", choices=BOOTS, help="by -kernel, from the disk, or a kernel directly")
    group.add_argument("--cpus", type=int, metavar="N", help="vCPUs")
    group.add_argument("--memory", metavar="SIZE", help="memory, such as 4G")
    group.add_argument("--firmware", metavar="FILE", type=Path, help="the firmware image")
    group.add_argument("--machine-type", metavar="NAME", help="such as pc-q35-10.1, or c3-standard-8 on Google")
    group.add_argument("--vmm-version", metavar="VERSION", help="such as 10.1 for QEMU")
    group.add_argument("--edk2-generation", metavar="TAG", help="edk2 stable tag of the firmware, such as 202502")
    group.add_argument("--page-order", choices=ORDERS, help="how the VMM adds pages (default: by its version)")
    group.add_argument("--secure-boot", choices=("absent", "off"), help="with enrolled keys use --platform-file")
    group.add_argument(
        "--endorsement",
        metavar="FILE",
        type=Path,
        help="Google's launch endorsement (its signature is not checked here)",
    )
    group.add_argument(
        "--insecure-unmeasured-acpi",
        action="store_true",
        help="Google only: accept whatever ACPI tables the host makes, which run in the guest's kernel",
    )


def machines(arguments: argparse.Namespace, folder: Path) -> list[tuple[str | None, Platform]]:
    """The machines that the arguments name; files of a platforms.toml are relative to `folder`.

    UsageError where an option does not fit, FormatError where a file does not.
    """
    near = folder if arguments.platform_file is None else arguments.platform_file.parent

    def named(name: str) -> bytes:
        return files.read(near / name, what="platform file's input", limit=_LIMIT)

    found = [(name, _machine(arguments, members, named)) for name, members in _named(arguments)]
    return [(name, _completed(arguments, platform)) for name, platform in found]


def _named(arguments: argparse.Namespace) -> list[tuple[str | None, Any]]:
    """Platform files as they were read, by the name that they have."""
    if arguments.profile is not None:
        text = files.read(arguments.platforms, what="platforms.toml", limit=_LIMIT)
        return [(name, platform_file.profile_members(text, name)) for name in arguments.profile]
    if arguments.platform_file is not None:
        text = files.read(arguments.platform_file, what="platform file", limit=_LIMIT)
        return [(None, loads(text, what="platform file"))]
    return [(None, {"platform": arguments.platform})]


def _machine(arguments: argparse.Namespace, members: Any, named: Read) -> Platform:
    changes = {name: getattr(arguments, option) for option, name in _MEMBERS.items()}
    changes = {name: value for name, value in changes.items() if value is not None}
    if arguments.secure_boot is not None:
        changes["secureBoot"] = {"state": arguments.secure_boot}
    if arguments.insecure_unmeasured_acpi:
        changes["insecure_unmeasured_acpi"] = True
    if not isinstance(members, dict) or not (changes or arguments.firmware or arguments.endorsement):
        return platform_file.from_json(members, named)
    kept = {name: value for name, value in members.items() if name != "firmware"}
    platform_file.from_json(kept, named)  # what is wrong with the file itself is not the options' fault
    firmware = {"firmware": members["firmware"]} if "firmware" in members and arguments.firmware is None else {}
    try:
        changed = platform_file.from_json({**kept, **changes, **firmware}, named)
    except FormatError as error:
        raise UsageError(str(error), hint=error.hint) from error
    changed = _endorsed(arguments, changed)
    if arguments.firmware is not None:
        changed = changed.with_firmware(Input.of(files.read(arguments.firmware, what="firmware", limit=_LIMIT)))
    image = changed.firmware
    if changed.endorsed_mrtds and image is not None and image.sections:
        _check_endorsed(image.mrtd(changed.order), changed.endorsed_mrtds)
    return changed


def _completed(arguments: argparse.Namespace, platform: Platform) -> Platform:
    """With what QEMU makes for this machine and its platform file does not give, out of the harvested table."""
    table = arguments.inputs or arguments.platforms.with_name(_TABLE)
    if not platform.kind.startswith("qemu-") or platform.acpi or not (arguments.inputs or table.exists()):
        return platform
    # Imported here: who gives ACPI himself, or has a cloud's machine, needs no table.
    from pluto_measure.harvest.table import Table

    return Table.parse(files.read(table, what=_TABLE, limit=_LIMIT)).complete(platform)


def _check_endorsed(mrtd: bytes, endorsed: Sequence[bytes]) -> None:
    if mrtd not in endorsed:
        raise FormatError("launch endorsement", "is for another firmware than the one that is given")


def _endorsed(arguments: argparse.Namespace, platform: Platform) -> Platform:
    """With the MRTDs that the endorsement has for this machine. Whose word it is, verification says."""
    if arguments.endorsement is None:
        return platform
    # Imported here: only Google's machines have one.
    from pluto_measure.formats import endorsement

    data = files.read(arguments.endorsement, what="launch endorsement", limit=_LIMIT)
    mrtds = endorsement.parse(data).of_memory(platform.memory)
    if not mrtds:
        raise UsageError(f"the endorsement has no MRTD for {platform.memory >> 30} GiB of memory")
    try:
        return replace(platform, endorsed_mrtds=mrtds)
    except FormatError as error:
        raise UsageError(str(error)) from error
