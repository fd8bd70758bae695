"""`pluto-measure events`: what each event of a boot is, over which bytes, and what a difference means."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from pluto_measure.command import Result
from pluto_measure.errors import UsageError
from pluto_measure.handbook.catalogue import ENTRIES, Entry, family


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "events",
        help="what each event of a boot is and what a difference means",
        description="Explain the events that predict, replay and diff name: what is measured, over which bytes, by "
        "whom, where the value comes from, and what it means if it differs.",
    )
    sub.add_argument(
        "role", metavar="ROLE", nargs="?", help="one role, such as td-hob or section:.linux (default: all)"
    )
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--markdown", action="store_true", help="print the whole page docs/measurements.md")
    how.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Print the catalogue, one entry of it, or the page."""
    chosen = dict(ENTRIES)
    if arguments.role is not None:
        name = family(arguments.role)
        if name not in ENTRIES:
            raise UsageError(f"no event has the role {arguments.role!r}", hint="run 'pluto-measure events'")
        chosen = {name: ENTRIES[name]}
    if arguments.markdown:
        # Imported here: the page predicts every kind of machine, the catalogue needs none.
        from pluto_measure.handbook.page import page

        return Result({}, page())
    document: dict[str, object] = {role: _json(entry) for role, entry in chosen.items()}
    return Result(document, "\n".join(_text(role, entry) for role, entry in chosen.items()))


def _json(entry: Entry) -> dict[str, str]:
    return {
        "what": entry.what,
        "digest": entry.digest,
        "measuredBy": entry.by,
        "knownFrom": entry.source,
        "ifItDiffers": entry.trust,
    }


def _text(role: str, entry: Entry) -> str:
    lines = [f"{role}{'…' if role.endswith(':') else ''}"]
    for name, words in (
        ("what", entry.what),
        ("digest of", entry.digest),
        ("measured by", entry.by),
        ("known from", entry.source),
        ("if it differs", entry.trust),
    ):
        lines.append(textwrap.fill(words, 98, initial_indent=f"  {name:14}", subsequent_indent=" " * 16))
    return "\n".join(lines) + "\n"
