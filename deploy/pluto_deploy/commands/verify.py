"""`pluto-deploy verify`: appraise what clients reach, and whether it is what the deployment file asks for."""

from __future__ import annotations

import argparse
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.commands import words
from pluto_deploy.engine.standing import Standing, standing
from pluto_deploy.progress import on_stderr
from pluto_deploy.session import Session
from pluto_image import inputs
from pluto_measure.command import Result
from pluto_measure.errors import RefusedError

DESCRIPTION: Final = """Ask the machine that clients reach for evidence, with a fresh nonce, and appraise it against
release, policy and configuration. Exit code 0 accepted, 4 not authentic, 5 refused, 6 no answer."""


class NothingServesError(RefusedError):
    """There is no machine to be appraised."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("verify", help="appraise what clients reach", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    inputs.add_options(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Appraise; the document has the appraisal and findings about the deployment."""
    with on_stderr() as progress, session.opened(arguments, progress, wanted=True) as opened:
        stands, notes = appraised(opened)
        facts: dict[str, object] = {"deployment": opened.deployment.name, "kind": opened.deployment.kind}
        text = f"{words.place(opened.deployment)}, {opened.target.public()}\n" + words.standing(stands)
    return Result({**facts, **stands.to_json()}, text, stands.exit_code, tuple(notes))


def appraised(opened: Session) -> tuple[Standing, list[str]]:
    """How the deployment stands, and notes for people. NothingServesError, SourceError."""
    assert opened.wish is not None
    assert opened.rules is not None
    scene = opened.target.look()
    machine = scene.server
    if machine is None or machine.generation is None:
        raise NothingServesError("nothing serves", hint="run 'pluto-deploy apply'")
    opened.progress.doing("asking for evidence")
    older = opened.rules.older
    gate = opened.gate(opened.expected_of(machine, older=older))
    appraisal, notes = gate.appraise(opened.target.public())
    strategy = opened.deployment.strategy
    return standing(opened.wish.generation, scene, machine, appraisal, strategy=strategy, older=older), notes
