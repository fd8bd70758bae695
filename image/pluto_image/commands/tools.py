"""pluto-image tools: unpack the tools tree, say how its programs are started, and make the kit of a harvest."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_image import sparse
from pluto_measure.command import Result
from pluto_measure.errors import FormatError, SourceError

if TYPE_CHECKING:
    from pluto_image.harvest_guest import Guest
    from pluto_image.lock.lockfile import Lock
    from pluto_image.tools import ToolsTree

_DESCRIPTION = """
Unpack QEMU, its firmware and the software TPM from the packages that DIR/lock.json pins to the cache, and print how
they are started from there. With --out, also write KIT, the folder that 'pluto-measure acpi harvest' needs: a small
guest made of the same locked packages as the image, the firmware, and these commands. No privilege is needed.
"""
_QEMU: Final = "qemu-system-x86_64"
_SWTPM: Final = "swtpm"
_PACKAGE: Final = "qemu-system-x86"
_VERSION: Final = re.compile(r"(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)*)")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    from pluto_image.inputs.options import add_options, add_relock_option

    parser = subparsers.add_parser("tools", help="unpack and name the locked tools", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument("--out", type=Path, metavar="KIT", help="folder for what 'pluto-measure acpi harvest' needs")
    add_relock_option(parser)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Unpack, and make the kit if it is asked for; the document has `qemu`, `swtpm`, `environment`, `kit`."""
    from datetime import UTC, datetime

    from pluto_image import definition as definitions
    from pluto_image import harvest_guest
    from pluto_image.inputs import options, progress
    from pluto_image.inputs.relock import relock_if_vanished
    from pluto_image.tools import ensure_tools

    definition = definitions.load(arguments.folder)
    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    found = relock_if_vanished(
        arguments.folder,
        store,
        sources,
        into=arguments.relock,
        at=datetime.now(UTC),
        offline=arguments.offline,
        progress=progress.reporter(),
    )
    tree = ensure_tools(found.lock, store, sources, offline=arguments.offline, progress=progress.reporter())
    document: dict[str, object] = {
        "root": str(tree.root),
        "qemu": tree.command(_QEMU),
        "swtpm": tree.command(_SWTPM),
        "environment": tree.environment(),
        "kit": None,
    }
    notes = [f"locked files are gone, so a new lock was made: {one}" for one in found.moved]
    if arguments.out is not None:
        guest = harvest_guest.build(found.definition, found.lock, store)
        _write(arguments.out, tree, found.lock, guest)
        document["kit"] = str(arguments.out)
        notes.append(f"wrote {arguments.out}")
    variables = [f"{name}={shlex.quote(value)}" for name, value in tree.environment().items()]
    lines = [f"env -i {' '.join(variables)} {shlex.join(tree.command(name))}\n" for name in (_QEMU, _SWTPM)]
    return Result(document, "".join(lines), notes=tuple(notes))


def qemu_version(lock: Lock) -> str:
    """As QEMU names itself: the package's version without what the distribution adds."""
    package = lock.package(_PACKAGE)
    found = _VERSION.match(package.version)
    if found is None:
        raise FormatError("lock.json", f"version {package.version} of {_PACKAGE} does not begin with a number")
    return found[1]


def _write(out: Path, tree: ToolsTree, lock: Lock, guest: Guest) -> None:
    from pluto_image.formats import disk
    from pluto_measure.harvest import kit as kits

    kit = kits.Kit(
        qemu=tuple(tree.command(_QEMU)),
        swtpm=tuple(tree.command(_SWTPM)),
        environment=tree.environment(),
        qemu_version=qemu_version(lock),
        packages={"package": f"{_PACKAGE} {lock.package(_PACKAGE).version}", **guest.versions},
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / kits.FILE).unlink(missing_ok=True)  # written last: with it the kit is whole
        (out / kits.UKI).write_bytes(guest.uki)
        (out / kits.FIRMWARE).write_bytes(guest.firmware)
        sparse.write_sparse(out / kits.DISK, disk.disk(guest.uki), disk.SIZE)
        (out / kits.FILE).write_text(kit.to_text(), encoding="utf-8")
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error.strerror or error}") from error
