"""`pluto-measure acpi`: the inputs that QEMU makes for a machine, harvested from it under emulation, and shown."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_measure.harvest.entry import Entry
    from pluto_measure.harvest.kit import Kit
    from pluto_measure.harvest.table import Table
    from pluto_measure.machine.platform import Platform

PLATFORMS: Final = Path("image/notary/platforms.toml")  # of the checkout that one stands in
TABLE: Final = Path("image/notary/platform-inputs.json")
_LIMIT: Final = 64 * 1024 * 1024
_DIFFERENT: Final = 5

_DESCRIPTION: Final = """What QEMU and firmware make for a machine, and no build can tell: ACPI blobs, boot variables
and, for firmware from edk2 202505 on, SMBIOS. They are measured into RTMR[0] or PCR 1."""

_HARVEST: Final = """Boot every QEMU machine of platforms.toml under emulation, in the locked, unmodified QEMU, with a
guest that reads the inputs back, and write the table that predictions take them from. Each machine is booted twice,
where it is possible with two sizes of memory, and both must agree. Neither TDX nor privilege is needed. KIT is a
folder that 'pluto-image tools' made. Exit code 5: --check found a difference."""

_SHOW: Final = """Show the table of harvested inputs: each machine, and the digests of what it is measured as."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("acpi", help="inputs that QEMU makes for a machine", description=_DESCRIPTION)
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = actions.add_parser("harvest", help="read them from an emulated machine", description=_HARVEST)
    one.add_argument("--kit", metavar="KIT", type=Path, required=True, help="folder that 'pluto-image tools' made")
    one.add_argument(
        "--platforms", metavar="FILE", type=Path, default=PLATFORMS, help=f"the machines (default: {PLATFORMS})"
    )
    one.add_argument("--table", metavar="FILE", type=Path, default=TABLE, help=f"the table (default: {TABLE})")
    one.add_argument("--firmware", metavar="FILE", type=Path, help="this firmware instead of the kit's")
    one.add_argument(
        "--profile",
        metavar="ID",
        action="append",
        default=[],
        help="this machine alone, others stay in the table as they are; may be given several times",
    )
    one.add_argument("--check", action="store_true", help="compare with the table instead of writing it")
    one.add_argument("--blobs", metavar="DIR", type=Path, help="also write the ACPI blobs, each under its SHA-256")
    one.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=600.0, help="for one boot (default: %(default)s)"
    )
    one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    one.set_defaults(run=harvest)
    two = actions.add_parser("show", help="show the table", description=_SHOW)
    two.add_argument("--table", metavar="FILE", type=Path, default=TABLE, help=f"the table (default: {TABLE})")
    two.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    two.set_defaults(run=show)


def harvest(arguments: argparse.Namespace) -> Result:
    """Harvest; the document has `table` and `machines`."""
    # Imported here: the other commands need none of it, and start without it.
    from pluto_measure.harvest import kit as kits
    from pluto_measure.harvest.table import Table

    kit = kits.Kit.parse(files.read(arguments.kit / kits.FILE, what="kit.json", limit=_LIMIT))
    firmware = arguments.kit / kits.FIRMWARE if arguments.firmware is None else arguments.firmware
    machines = _machines(arguments, firmware)
    old = Table.of(()) if not arguments.table.exists() else _table(arguments.table)
    said: list[dict[str, Any]] = []
    found: dict[str, Entry] = {}
    for name, platform in machines.items():
        key, began = _key(platform), time.monotonic()
        if key not in found:
            found[key] = _one(arguments, kit, platform, firmware, f"{name} ({len(said) + 1} of {len(machines)})")
        said.append(_compared(name, found[key], old, time.monotonic() - began))
    document: dict[str, object] = {"table": str(arguments.table), "machines": said}
    lines = [f"{one['profile']}: {_verdict(one)}\n" for one in said]
    if arguments.check:
        differ = any(one["differences"] for one in said)
        return Result(document, "".join(lines), exit_code=_DIFFERENT if differ else 0)
    kept = old.entries.values() if arguments.profile else ()
    files.write(arguments.table, Table.of((*kept, *found.values())).to_text())
    return Result(document, "".join(lines), notes=(f"wrote {arguments.table}",))


def show(arguments: argparse.Namespace) -> Result:
    """Show the table; the document is the table."""
    from pluto_measure.harvest.table import in_words

    table = _table(arguments.table)
    lines = []
    for entry in table.entries.values():
        lines.append(f"{in_words(entry.shape)}\n")
        lines += [f"  ACPI {name:8} {digests.sha384.hex()}\n" for name, digests in entry.acpi.blobs.items()]
        lines += [f"  {name:13} {item.digests.sha384.hex()}\n" for name, item in entry.boot_variables.items()]
        lines.append(f"  harvested with {', '.join(f'{name} {text}' for name, text in entry.made_with.items())}\n\n")
    lines.append(f"{counted(len(table.entries), 'machine')}\n")
    entries = {key: entry.to_json() for key, entry in table.entries.items()}
    return Result({"version": 1, "entries": entries}, "".join(lines))


def _machines(arguments: argparse.Namespace, firmware: Path) -> dict[str, Platform]:
    """The QEMU machines to be harvested, by id: those that the table is for, since they give no ACPI themselves."""
    from pluto_measure.harvest.table import KINDS
    from pluto_measure.machine.inputs import Input
    from pluto_measure.machine.platform_file import parse_profiles

    def named(name: str) -> bytes:
        return files.read(arguments.kit / name, what="platform file's input", limit=_LIMIT)

    image = Input.of(files.read(firmware, what="firmware", limit=_LIMIT))
    profiles = parse_profiles(files.read(arguments.platforms, what="platforms.toml", limit=_LIMIT), named)
    if unknown := [name for name in arguments.profile if name not in profiles]:
        raise UsageError(f"{arguments.platforms} has no profile {unknown[0]}")
    found = {}
    for name, platform in profiles.items():
        if (arguments.profile and name not in arguments.profile) or platform.kind not in KINDS or platform.acpi:
            continue
        if arguments.firmware is not None:
            platform = platform.with_firmware(image)
        if platform.firmware is None or platform.firmware.digests != image.digests:
            raise UsageError(f"profile {name} has another firmware than {firmware}", hint="name its with --firmware")
        found[name] = platform
    if left := [name for name in arguments.profile if name not in found]:
        raise UsageError(f"profile {left[0]} is no machine of QEMU's whose inputs are to be harvested")
    return found


def _one(arguments: argparse.Namespace, kit: Kit, platform: Platform, firmware: Path, what: str) -> Entry:
    """One machine, booted twice."""
    from pluto_measure.harvest import entry, machine, qemu

    wanted = ".".join(map(str, platform.version))
    if not f"{kit.qemu_version}.".startswith(f"{wanted}."):
        raise UsageError(f"{what}: the machine has QEMU {wanted}, and the kit has {kit.qemu_version}")
    generation = _generation(platform, firmware)
    made_with = {"qemu": kit.qemu_version, **kit.packages, "processor": qemu.PROCESSORS[platform.kind]}
    if arguments.firmware is not None:
        made_with.pop("firmware", None)
    entries = []
    for memory in qemu.memories(platform):
        began = time.monotonic()
        items = machine.harvest(kit, arguments.kit, platform, firmware, memory, timeout=arguments.timeout)
        _say(f"{what}: {memory >> 20} MiB, {time.monotonic() - began:.0f} s")
        entries.append(entry.make(platform.shape(), items, memory=memory, generation=generation, made_with=made_with))
    if differ := entries[0].differences(entries[1]):
        raise FormatError("harvest", f"{what} gave two values for {', '.join(differ)}")
    if arguments.blobs is not None:
        _write_blobs(arguments.blobs, entry.blobs(items).values())
    return entries[0]


def _generation(platform: Platform, firmware: Path) -> int | None:
    from pluto_measure.machine.firmware import Firmware

    if platform.edk2_generation is not None:
        return platform.edk2_generation
    try:
        return Firmware.of(files.read(firmware, what="firmware", limit=_LIMIT), platform.order).generation
    except FormatError:
        return None  # firmware that starts no trust domain: a TPM's machine may have it


def _key(platform: Platform) -> str:
    from pluto_measure.harvest.entry import key_of

    return key_of(platform.shape())


def _compared(name: str, entry: Entry, old: Table, seconds: float) -> dict[str, Any]:
    known = old.entries.get(entry.key)
    differences = ["entry"] if known is None else list(known.differences(entry))
    return {
        "profile": name,
        "key": entry.key,
        "known": known is not None,
        "differences": differences,
        "seconds": round(seconds, 1),
    }


def _verdict(one: dict[str, Any]) -> str:
    if not one["known"]:
        return "new"
    return f"other {', '.join(one['differences'])}" if one["differences"] else "as it was"


def _write_blobs(folder: Path, contents: Any) -> None:
    from pluto_measure.digests import Digests

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for content in contents:
            (folder / Digests.of(content).sha256.hex()).write_bytes(content)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error


def _table(path: Path) -> Table:
    from pluto_measure.harvest.table import Table

    return Table.parse(files.read(path, what="platform-inputs.json", limit=_LIMIT))


def _say(line: str) -> None:
    sys.stderr.write(f"pluto-measure: {line}\n")
    sys.stderr.flush()
