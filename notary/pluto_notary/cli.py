"""`pluto-notary`: assembles the commands. Nothing that runs in the trust domain imports this."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pluto_measure import command
from pluto_notary.commands import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (docs/reference, exit codes)."""
    top = command.parser("pluto-notary", "Run the notary, and later: prove and verify what it says.")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    serve.add(subparsers)
    return command.run(top, argv)


if __name__ == "__main__":
    sys.exit(main())
