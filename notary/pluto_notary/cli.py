"""`pluto-notary`: assembles the commands. Nothing that runs in the trust domain imports this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pluto_measure import command
from pluto_notary.commands import appraise, manifest, prove, register, serve, verify_proof


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = command.parser("pluto-notary", "Have a notary see a web site, verify what it signed, and run one.")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (prove, verify_proof, appraise, manifest, register, serve):
        module.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (docs/commands)."""
    return command.run(build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
