"""pluto-measure: predict what a boot measures, replay and compare event logs, verify evidence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pluto_measure.command import parser, run
from pluto_measure.commands import diff, events, inspect, mrtd, predict, replay, verify

_COMMANDS = (predict, mrtd, replay, diff, events, verify, inspect)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = parser("pluto-measure", "Predict what a boot measures, replay and compare event logs, verify evidence.")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of design §9."""
    return run(build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
