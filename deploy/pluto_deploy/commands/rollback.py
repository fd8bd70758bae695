"""`pluto-deploy rollback`: back to the machine that served before, which is appraised again first."""

from __future__ import annotations

import argparse
from hashlib import sha256
from typing import Any

from pluto_deploy import certificate, session
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import document
from pluto_deploy.engine import plan as plans
from pluto_deploy.engine.apply import carry_out
from pluto_deploy.engine.scene import Generation, Machine
from pluto_deploy.session import Session
from pluto_image.inputs import options
from pluto_measure.command import Result
from pluto_measure.errors import UsageError
from pluto_measure.progress import on_stderr
from pluto_notary.config import parse_payload

DESCRIPTION = """Start the machine that served before and lead clients to it, once it was appraised against its own
release, which trust file and policy judge as they stand today: a release that was revoked is not gone back to. After
an upgrade that was refused, what was left of it is cleared away; what served all along serves on."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "rollback", help="go back to the machine that served before", description=DESCRIPTION
    )
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    options.add_options(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Go back; the document has the plan and the appraisal of what serves."""
    with (
        on_stderr() as progress,
        session.opened(arguments, progress, wanted=False) as opened,
        opened.target.lock(),
    ):
        certify = certificate.awaited(opened.deployment, progress)
        scene = opened.target.look()
        planned = plans.rollback(scene, strategy=opened.deployment.strategy)
        machine = scene.machine(planned.target)
        if machine is None or machine.generation is None:
            raise UsageError("the machine that serves is not complete", hint="run 'pluto-deploy apply'")
        planned = plans.certified(planned, _awaited_by(opened, machine, machine.generation))
        gate = opened.gate(opened.expected_of(machine, older=True))
        old_gate = opened.old_gate(scene.machine(planned.fallback))
        opened.accepted.refuse_unwritable()
        done = carry_out(planned, opened.target, gate, opened.journal, progress, old_gate=old_gate, certify=certify)
        assert done.appraisal is not None, "every such plan ends with an appraisal of what serves"
        address = str(opened.target.public())
        facts = {**document(opened, planned, scene), "address": address, "appraisal": done.appraisal.to_json()}
    text = f"machine {planned.target} serves on {address}, generation {machine.generation.short}\n"
    hint = "the deployment file still names the newer release: name this one in it, or 'apply' upgrades again"
    return Result(facts, text + words.appraisal(done.appraisal), notes=(hint,))


def _awaited_by(opened: Session, machine: Machine, generation: Generation) -> str | None:
    """The name whose certificate the machine will ask for; None where its configuration has none, or another one."""
    asked, payload = opened.deployment.certificate, opened.deployment.payload
    if asked is None:
        return None
    if sha256(payload).hexdigest() != generation.config:
        payload = opened.target.belongings(generation, machine.slot).payload
    acme = parse_payload(payload).acme
    return asked.domain if acme is not None and acme.domain == asked.domain else None
