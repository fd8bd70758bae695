"""pluto-image inspect: what a DIST is made of."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from pluto_measure.command import Result

_DESCRIPTION = """
Check a DIST against its SHA256SUMS and say what is in it: build id, flavour, sizes, command line, and how much of the
root comes from which package or recipe line.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("inspect", help="say what a DIST is made of", description=_DESCRIPTION)
    parser.add_argument("dist", type=Path, metavar="DIST", help="folder that 'pluto-image build' wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Check and describe."""
    from pluto_image.artifact import Dist
    from pluto_image.lockfile import Lock
    from pluto_measure.formats.strict_json import loads

    dist = Dist.open(arguments.dist)
    dist.check()
    lock = Lock.parse(dist.lock.read_bytes())
    files = loads((dist.root / "files.json").read_bytes(), what="files.json")
    origins: Counter[str] = Counter()
    for file in files:
        origins[str(file["origin"])] += int(file.get("size", 0))
    launch = dist.launch
    document: dict[str, object] = {
        "buildId": launch.build_id,
        "flavour": launch.flavour,
        "digest": dist.digest,
        "stub": launch.stub,
        "ukiSize": launch.uki_size,
        "commandLine": launch.command_line,
        "sections": {section.name: section.size for section in launch.sections},
        "packages": len(lock.image),
        "paths": len(files),
        "rootSize": sum(origins.values()),
        "origins": dict(origins.most_common()),
    }
    lines = [
        f"build id      {launch.build_id}",
        f"flavour       {launch.flavour}",
        f"digest list   {dist.digest}, all files as listed",
        f"UKI           {launch.uki_size / 1e6:.1f} MB, stub {launch.stub}",
        f"root          {len(files)} paths, {sum(origins.values()) / 1e6:.1f} MB from {len(lock.image)} packages",
        f"command line  {launch.command_line}",
        "largest       " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in origins.most_common(6)),
    ]
    return Result(document, "\n".join(lines) + "\n")
