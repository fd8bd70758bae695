"""`pluto-notary`: assembles the commands. Nothing that runs in the trust domain imports this."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pluto_measure import command
from pluto_notary.commands import appraise, manifest, prove, serve, verify_proof


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (docs/reference, exit codes)."""
    top = command.parser("pluto-notary", "Have a notary see a web site, verify what it signed, and run one.")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    prove.add(subparsers)
    verify_proof.add(subparsers)
    appraise.add(subparsers)
    manifest.add(subparsers)
    serve.add(subparsers)
    return command.run(top, argv)


if __name__ == "__main__":
    sys.exit(main())
