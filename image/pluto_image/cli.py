"""pluto-image: lock, build, bundle, release, reproduce and inspect the Pluto TEE VM's image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pluto_image.commands import (
    attest,
    audit,
    build,
    bundle,
    derive,
    diff,
    fetch,
    inspect,
    lock,
    release,
    reproduce,
    tools,
)
from pluto_measure.command import parser, run

_COMMANDS = (lock, derive, fetch, build, bundle, release, reproduce, attest, diff, audit, inspect, tools)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = parser("pluto-image", "Lock, build, bundle, release, reproduce and inspect the Pluto TEE VM's image.")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of design §9."""
    return run(build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
