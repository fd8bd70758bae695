"""pluto-deploy: start machines from a build, and let nothing serve that was not verified."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pluto_deploy.commands import apply, destroy, host, local, logs, plan, render, rollback, status, verify, watch
from pluto_measure import command


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = command.parser("pluto-deploy", "Start machines from a build, and let nothing serve that was not verified.")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (plan, apply, verify, watch, status, logs, rollback, destroy, render, local, host):
        module.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    return command.run(build_parser(), argv)
