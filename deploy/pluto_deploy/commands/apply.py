"""`pluto-deploy apply`: bring about what the deployment file asks for; what serves in the end was appraised."""

from __future__ import annotations

import argparse
from typing import Any

from pluto_deploy import certificate, session
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import add_relaunch, disagreeing, document, planned_for, warned
from pluto_deploy.engine.apply import carry_out
from pluto_image.inputs import options
from pluto_measure.command import Result
from pluto_measure.progress import on_stderr

DESCRIPTION = """Bring about what the deployment file asks for. A new machine is started beside the old one, and clients
are led to it only after its evidence was appraised against release, policy and configuration; otherwise it is stopped
and the old one serves on (exit code 5). May be called again at any time: it does what is left to be done."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("apply", help="bring about what the file asks for", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    add_relaunch(parser)
    options.add_options(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Plan and carry out; the document has the plan and the appraisal of what serves."""
    with (
        on_stderr() as progress,
        session.opened(arguments, progress, wanted=True) as opened,
        opened.target.lock(),
    ):
        for note in disagreeing(opened) + warned(opened):
            progress.step(note)
        certify = certificate.awaited(opened.deployment, progress)
        planned, scene = planned_for(opened, relaunch=arguments.relaunch)
        assert opened.wish is not None
        gate, old_gate = opened.gate(opened.wish.expected), opened.old_gate(scene.machine(planned.fallback))
        opened.accepted.refuse_unwritable()
        done = carry_out(planned, opened.target, gate, opened.journal, progress, old_gate=old_gate, certify=certify)
        opened.remember()
        assert done.appraisal is not None, "every such plan ends with an appraisal of what serves"
        address = str(opened.target.public())
        facts = {**document(opened, planned, scene), "address": address, "appraisal": done.appraisal.to_json()}
    did = "nothing had to be changed" if not planned.changes else f"{planned.kind} done"
    text = f"{did}; machine {planned.target} serves on {address}\n" + words.appraisal(done.appraisal)
    return Result(facts, text)
