"""`pluto-deploy logs`: the events that a machine said on its serial line."""

from __future__ import annotations

import argparse
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.commands import words
from pluto_deploy.engine.scene import SLOTS
from pluto_deploy.local import console
from pluto_measure.command import Result
from pluto_measure.errors import UsageError
from pluto_measure.progress import on_stderr

DESCRIPTION: Final = """List what a machine said on its serial line: milestones of its boot, and events of the closed
schema, which is all that a machine says. A line that only looks like an event is named."""

_WHICH: Final = "run 'pluto-deploy status' to see which machines there are"


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("logs", help="list the events of a machine's serial line", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    parser.add_argument("--slot", choices=SLOTS, help="of this machine (default: the one that serves)")


def run(arguments: argparse.Namespace) -> Result:
    """Read; the document has `events` and `malformed`."""
    with on_stderr() as progress, session.opened(arguments, progress, wanted=False, judged=False) as opened:
        scene = opened.target.look()
        slot = arguments.slot or scene.serving
        if slot is None:
            raise UsageError("nothing serves; name a machine with --slot", hint=_WHICH)
        if scene.machine(slot) is None:
            raise UsageError(f"there is no machine in slot {slot}", hint=_WHICH)
        spoke = opened.target.serial(slot)
    heard = console.read(spoke)
    return Result({"slot": slot, **words.events(heard)}, "".join(f"{words.said(one)}\n" for one in heard))
