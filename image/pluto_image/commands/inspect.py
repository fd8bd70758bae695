"""pluto-image inspect: what a DIST is made of, in short, as JSON, or as a page for people."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_image.artifact import Dist
    from pluto_image.contents.facts import Contents
    from pluto_measure.launch import Container

_LARGEST_TEXT = 64 * 1024 * 1024

_DESCRIPTION = """
Check a DIST against its SHA256SUMS and say what is in it: build id, flavour, sizes, command line, and how much of the
root comes from which package or recipe line. With --html also as one page: sizes, boot chain with what is measured
where, registers, packages, services with a hardening score, ports, modules and users.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("inspect", help="say what a DIST is made of", description=_DESCRIPTION)
    parser.add_argument("dist", type=Path, metavar="DIST", help="folder that 'pluto-image build' wrote")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for people, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Check and describe. The page is written under another name, then renamed."""
    from pluto_image.artifact import Dist
    from pluto_image.contents.document import document

    _refuse_no_place(arguments.html)
    dist = Dist.open(arguments.dist)
    dist.check()
    facts = read(dist)
    notes = []
    if arguments.html is not None:
        from pluto_image.pages.inspect import page

        words = ["pluto-image", "inspect", str(arguments.dist), "--html", str(arguments.html)]
        files.write(arguments.html, page(facts, command=shlex.join(words)))
        notes.append(f"wrote {arguments.html}")
    return Result(document(facts), _text(facts), notes=tuple(notes))


def read(dist: Dist) -> Contents:
    """The facts of an opened DIST, whose digests were checked. FormatError, VerificationError."""
    from pluto_image.contents import facts
    from pluto_image.contents import files as listing
    from pluto_image.contents.opened import open_uki
    from pluto_image.lock.lockfile import Lock
    from pluto_measure.measurements import Measurements

    launch = dist.launch
    return facts.gather(
        facts.Inputs(
            launch=launch,
            uki=open_uki(dist.uki.read_bytes()),
            lock=Lock.parse(dist.lock.read_bytes()),
            measurements=Measurements.parse(_bytes(dist, "measurements.json")),
            files=listing.parse(_bytes(dist, "files.json")),
            source_tar=_bytes(dist, "source.tar"),
            firmware_size=dist.firmware.stat().st_size,
            digest=dist.digest,
            config=None if launch.container is None else _configuration(dist, launch.container),
        )
    )


def _configuration(dist: Dist, container: Container) -> object:
    """The container's configuration, which its image id names (OCI image-spec, config.md, "ImageID")."""
    from pluto_measure.formats.strict_json import loads

    name = f"oci/blobs/sha256/{container.image_id.removeprefix('sha256:')}"
    if name not in dist.sums:
        raise FormatError("launch.json", f"names a container whose configuration {name} is not in the DIST")
    return loads(_bytes(dist, name), what="container configuration")


def _bytes(dist: Dist, name: str) -> bytes:
    return files.read(dist.root / name, what=name, limit=4 * _LARGEST_TEXT)


def _refuse_no_place(html: Path | None) -> None:
    """What cannot be written is said before the disk is hashed."""
    if html is None:
        return
    if html.is_dir():
        raise UsageError(f"--html {html}: is a directory")
    if not html.parent.is_dir():
        raise UsageError(f"--html {html}: there is no folder {html.parent}")


def _text(facts: Contents) -> str:
    launch = facts.launch
    services = [unit for unit in facts.units if unit.score is not None]
    network = [f"{one.address} ({one.unit})" for one in facts.listeners if one.reach == "network"]
    count = sum(one.kind == "package" for one in facts.packages)
    lines = [
        f"build id      {launch.build_id}",
        f"flavour       {launch.flavour}",
        f"digest list   {facts.digest}, all files as listed",
        f"UKI           {launch.uki_size / 1e6:.1f} MB, stub {launch.stub}",
        f"root          {facts.root_paths} paths, {facts.root_size / 1e6:.1f} MB from {count} packages",
        f"command line  {launch.command_line}",
        "largest       " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in list(facts.origins.items())[:6]),
        f"services      {counted(len(services), 'service')}, exposure "
        + ", ".join(f"{unit.name.removesuffix('.service')} {unit.score.text}" for unit in services if unit.score),
        "network       " + (", ".join(network) or "nothing listens"),
    ]
    return "\n".join(lines) + "\n"
