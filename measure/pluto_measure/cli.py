"""pluto-measure: predict what a boot measures, replay and compare event logs, verify evidence and releases."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from pluto_measure.command import parser, run

# Each is a module of pluto_measure.commands. Only the one that is called is imported: some need much, most need little.
_COMMANDS = (
    *("predict", "mrtd", "replay", "diff", "events", "acpi"),
    *("verify", "policy", "collateral", "endorsement", "release", "sign", "reattest", "revoke", "trust"),
    "inspect",
)


def build_parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The command line: all of it, or of one command alone."""
    top = parser(
        "pluto-measure", "Predict what a boot measures, replay and compare event logs, verify evidence and releases."
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in (wanted,) if wanted in _COMMANDS else _COMMANDS:
        importlib.import_module(f"pluto_measure.commands.{name}").add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of design §9."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run(build_parser(words[0] if words else None), words)


if __name__ == "__main__":
    sys.exit(main())
