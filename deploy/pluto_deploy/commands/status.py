"""`pluto-deploy status`: what is on the target, and where the last command left off. Proves nothing; `verify` does."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pluto_deploy import certificate, session
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import costs_of
from pluto_deploy.commands.status_page import page
from pluto_deploy.local import console
from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.evidence import format_time
from pluto_measure.progress import on_stderr
from pluto_notary.events import Event

DESCRIPTION: Final = """Show which machines there are, which of them serves, and what it last said of itself. A host can
say what it likes: 'verify' appraises."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="show what is on the target", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it as a page, too")


def run(arguments: argparse.Namespace) -> Result:
    """Look; the document has the target and the journal's last entry."""
    files.refuse_no_place("--html", arguments.html)
    with on_stderr() as progress, session.opened(arguments, progress, wanted=False, judged=False) as opened:
        scene = opened.target.look()
        costs = costs_of(opened)
        public = opened.target.public().host if costs is not None and scene.serving is not None else None
        seen = certificate.note(opened.deployment, opened.target) if scene.serving is not None else None
        spoke = b"" if scene.serving is None else opened.target.serial(scene.serving)
    last = [one for one in console.read(spoke) if isinstance(one, Event)][-1:]
    journal = opened.journal.last()
    facts: dict[str, object] = {"deployment": opened.deployment.name, "kind": opened.deployment.kind}
    facts |= {"target": scene.to_json(), "journal": journal, "lastEvent": last[0].to_json() if last else None}
    text = words.place(opened.deployment) + "\n" + words.scene(scene)
    if public is not None:
        text += f"address     {public}\n"
        facts["address"] = public
    if seen is not None:
        text += f"note        {seen[1]}\n"
        facts["certificate"] = seen[0].to_json()
    if costs is not None:
        text += words.billed(costs)
        facts["costs"] = [cost.to_json() for cost in costs]
    if last:
        text += f"last said   {words.said(last[0])}\n"
    if journal is not None and journal.get("state") == "at work":
        text += f"journal     a command of {journal.get('at')} did not end; 'pluto-deploy apply' goes on\n"
    if journal is not None and journal.get("state") == "failed":
        text += f"journal     {journal.get('at')}: {journal.get('reason')}\n"
    if arguments.html is None:
        return Result(facts, text)
    at = format_time(datetime.now(UTC).replace(microsecond=0))
    files.write(arguments.html, page(facts, place=words.place(opened.deployment), command=_command(arguments), at=at))
    return Result(facts, text, notes=(f"wrote {arguments.html}",))


def _command(arguments: argparse.Namespace) -> str:
    """What makes the page again."""
    state = [] if arguments.state is None else ["--state", str(arguments.state)]
    return shlex.join(["pluto-deploy", "status", str(arguments.deployment), *state, "--html", str(arguments.html)])
