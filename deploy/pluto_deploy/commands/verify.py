"""`pluto-deploy verify`: appraise what clients reach, and whether it is what the deployment file asks for."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Final

from pluto_deploy import certificate, session
from pluto_deploy.commands import words
from pluto_deploy.commands.plan import certified
from pluto_deploy.engine.scene import Generation, Machine
from pluto_deploy.engine.standing import Standing, standing
from pluto_deploy.engine.wish import Expected, NotVerifiedError, ReleaseNotAuthenticError
from pluto_deploy.session import Session
from pluto_measure.command import Result
from pluto_measure.errors import PlutoError, RefusedError, VerificationError
from pluto_measure.progress import on_stderr

DESCRIPTION: Final = """Ask the machine that clients reach for evidence, with a fresh nonce, and appraise it against
release, policy and configuration. Exit code 0 accepted, 4 not authentic, 5 refused, 6 no answer."""


class NothingServesError(RefusedError):
    """There is no machine to be appraised."""


class _OtherError(PlutoError):
    """Another machine serves than the file asks for, and its own release is not accepted either, which `error` says.

    `machine`: the one that serves; `wanted`: the id of the generation that the file asks for.
    """

    def __init__(
        self, error: NotVerifiedError | ReleaseNotAuthenticError, machine: Machine, wanted: Generation
    ) -> None:
        self.accepted, self.machine, self.wanted = False, machine.to_json(), wanted.id
        self.findings = error.findings
        why = str(error).removeprefix("the release is not accepted: ")
        what = f"machine {machine.slot} serves, which is another one than the file asks for and is not accepted"
        super().__init__(f"{what}: {why}", hint=error.hint)


class OtherRefusedError(_OtherError, RefusedError):
    """Its release is authentic and not accepted."""


class OtherNotAuthenticError(_OtherError, VerificationError):
    """Its release is not what its statement says."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("verify", help="appraise what clients reach", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)


def run(arguments: argparse.Namespace) -> Result:
    """Appraise; the document has the appraisal and findings about the deployment."""
    with on_stderr() as progress, session.opened(arguments, progress, wanted=True) as opened:
        stands, notes = appraised(opened)
        seen = certificate.note(opened.deployment, opened.target)
        if seen is not None and seen[0].until is None:
            notes.append(seen[1])
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
    gate = opened.gate(_expected(opened, machine, opened.wish.generation))
    appraisal, notes = gate.appraise(opened.target.public())
    strategy = opened.deployment.strategy
    stands = standing(opened.wish.generation, scene, machine, appraisal, strategy=strategy, older=older)
    relaunch = None if stands.relaunch is None else certified(opened, stands.relaunch)
    return replace(stands, relaunch=relaunch), notes


def _expected(opened: Session, machine: Machine, wanted: Generation) -> Expected:
    """What the machine that serves must be. Where it is another one than the file's, an error says that first."""
    assert opened.rules is not None
    try:
        return opened.expected_of(machine, older=opened.rules.older)
    except NotVerifiedError as error:
        raise OtherRefusedError(error, machine, wanted) from error
    except ReleaseNotAuthenticError as error:
        raise OtherNotAuthenticError(error, machine, wanted) from error
