"""`pluto-deploy destroy`: everything of a deployment away; what others on the same target use stays."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any, Final

from pluto_deploy import session
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import costs_of, document
from pluto_deploy.engine import plan as plans
from pluto_deploy.engine.apply import carry_out
from pluto_deploy.engine.target import Address
from pluto_measure.command import Result
from pluto_measure.errors import SourceError
from pluto_measure.progress import on_stderr

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

DESCRIPTION: Final = """Stop and remove what this deployment made: its ports, machines and places, and releases and
tools that no other deployment of the target refers to. Nothing that it did not make is touched."""

_AGAIN: Final = "run 'pluto-deploy destroy' again"


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("destroy", help="remove everything that it made", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")


def run(arguments: argparse.Namespace) -> Result:
    """Remove; the document has the plan."""
    with (
        on_stderr() as progress,
        session.opened(arguments, progress, wanted=False, judged=False) as opened,
        contextlib.nullcontext() if arguments.dry_run else opened.target.lock(),
    ):
        scene = opened.target.look()
        planned = plans.destroy(scene)
        facts = document(opened, planned, scene)
        costs = costs_of(opened)
        if costs is not None:
            facts["costs"] = [cost.to_json() for cost in costs]
        if arguments.dry_run:
            text = words.place(opened.deployment) + "\n" + words.scene(scene) + words.plan(planned)
            return Result(facts, text + "".join(f"destroyed   {cost}\n" for cost in costs or ()))
        carry_out(planned, opened.target, _no_gate, opened.journal, progress)
        left = costs_of(opened)
        if left:  # targets of clouds have looked for themselves, and this is what an operator reads
            raise SourceError(f"not everything is gone: {'; '.join(map(str, left))[:500]}", hint=_AGAIN)
    did = "removed" if scene.machines or scene.serving is not None or costs else "nothing of it was there"
    if left is not None:
        facts["left"] = []
        did += "; listing found nothing left"
    return Result(facts, f"{words.place(opened.deployment)}: {did}\n")


def _no_gate(address: Address) -> Appraisal:
    raise AssertionError(f"nothing is appraised while a deployment is removed ({address})")
