"""`pluto-deploy plan`: what `apply` would do, and why. Writes nothing anywhere."""

from __future__ import annotations

import argparse
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.certificate import awaited
from pluto_deploy.cloud.costs import Cost
from pluto_deploy.commands import words
from pluto_deploy.engine import plan as plans
from pluto_deploy.engine.plan import Plan
from pluto_deploy.engine.scene import Scene
from pluto_deploy.engine.target import Billed
from pluto_deploy.engine.wish import TDX
from pluto_deploy.local.target import LocalTarget
from pluto_deploy.session import Session
from pluto_image.inputs import options
from pluto_measure.command import Result
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import on_stderr

DESCRIPTION = """Judge the release by trust file and policy, look at the target, and print each step that 'apply' would
take, with the reason. Nothing is written, here or there."""

_LEADS: Final = ("start", "switch")  # the steps that want the port of clients


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("plan", help="print what apply would do, and why", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    add_relaunch(parser)
    options.add_options(parser)


def add_relaunch(parser: argparse.ArgumentParser) -> None:
    """--relaunch."""
    parser.add_argument(
        "--relaunch",
        action="store_true",
        help="replace the machine by a new one of the same kind, as Intel advises after an update of its TDX module",
    )


def run(arguments: argparse.Namespace) -> Result:
    """Plan; the document has the plan and what it was made from."""
    with on_stderr() as progress, session.opened(arguments, progress, wanted=True, writes=False) as opened:
        awaited(opened.deployment, progress)  # what it cannot read is said before anything is done
        planned, scene = planned_for(opened, relaunch=arguments.relaunch)
        assert opened.wish is not None
        notes = disagreeing(opened) + warned(opened)
        text = words.place(opened.deployment) + "\n" + words.release(opened.wish) + words.scene(scene)
        text += words.plan(planned)
        facts = {**document(opened, planned, scene), "notes": notes}
        if (costs := costs_of(opened)) is not None:
            notes += leading(opened)
            text += words.billed(costs) + words.bill_of(planned)
            facts["costs"] = [cost.to_json() for cost in costs]
        return Result(facts, text + "".join(f"note        {note}\n" for note in notes))


def costs_of(opened: Session) -> list[Cost] | None:
    """What of it is billed now; None where nobody sends bills."""
    if not isinstance(opened.target, Billed):
        return None
    opened.progress.doing("listing what is billed")
    return opened.target.costs()


def leading(opened: Session) -> list[str]:
    """Where the domain has to lead, as the operator sees to it."""
    domain = opened.deployment.network.domain
    if domain is None:
        return []
    try:
        where = opened.target.public().host
    except (UsageError, SourceError):
        return [f"{domain} has to lead to the address of the deployment, which 'apply' makes and 'status' tells"]
    return [f"{domain} has to lead to {where}"]


def planned_for(opened: Session, *, relaunch: bool) -> tuple[Plan, Scene]:
    """The plan for what is wanted, and what was found."""
    assert opened.wish is not None
    opened.progress.doing("looking at the target")
    scene = opened.target.look()
    planned = plans.plan(opened.wish.generation, scene, strategy=opened.deployment.strategy, relaunch=relaunch)
    planned = certified(opened, planned)
    if isinstance(opened.target, LocalTarget) and any(step.action in _LEADS for step in planned.steps):
        opened.target.refuse_taken_port()
    return planned, scene


def certified(opened: Session, planned: Plan) -> Plan:
    """With the certificate awaited that the file asks for."""
    asked = opened.deployment.certificate
    return plans.certified(planned, None if asked is None else asked.domain)


def disagreeing(opened: Session) -> list[str]:
    """Who of those that are trusted says otherwise of the release, though enough others signed it."""
    judgement = None if opened.wish is None else opened.wish.expected.judgement
    found = () if judgement is None else judgement.disagreeing
    return [f"DISAGREEMENT: {one.file}: {one.text}" for one in found]


def warned(opened: Session) -> list[str]:
    """What will keep the plan from its end, as far as that can be seen here: evidence that nothing could judge."""
    if opened.wish is None or opened.wish.generation.tee != TDX:
        return []
    notes = [] if opened.given.collateral is not None else _no_collateral(opened)
    policy = opened.wish.expected.policy
    required = policy.endorsement is not None and policy.endorsement.launch_endorsement == "required"
    if required and not opened.given.endorsements:
        notes += _no_endorsement(opened)
    if policy.azure is not None and policy.azure.ak_certificate == "required" and not opened.given.ak_issuers:
        notes.append("no --ak-issuers FILE is given, without which nobody vouches for the TPM of an Azure machine")
    return notes


def _no_collateral(opened: Session) -> list[str]:
    from pluto_measure.collateral.store import Store  # only trust domains need it
    from pluto_measure.commands.quote_inputs import fetching

    if Store(opened.state).families():
        return []
    what = f"there is no collateral of Intel's in {opened.state}, without which no trust domain is accepted"
    return [f"{what}: {fetching('FMSPC', 'platform', opened.state)}; a refused 'apply' names the host's FMSPC"]


def _no_endorsement(opened: Session) -> list[str]:
    from pluto_measure.collateral.endorsement_store import EndorsementStore  # only Google's machines need it

    if EndorsementStore(opened.state).mrtds():
        return []
    what = f"there is no launch endorsement of Google's in {opened.state}, without which its firmware is not accepted"
    return [f"{what}: a refused 'apply' names the command that fetches it"]


def document(opened: Session, planned: Plan, scene: Scene) -> dict[str, object]:
    """For programs."""
    asked = opened.wish
    facts: dict[str, object] = {"deployment": opened.deployment.name, "kind": opened.deployment.kind}
    if asked is not None:
        judgement = asked.expected.judgement
        facts["release"] = {
            "statement": asked.generation.release,
            "buildId": asked.launch.build_id,
            "flavour": asked.launch.flavour,
            "organisations": [] if judgement is None else list(judgement.organisations),
            "sequence": None if judgement is None else judgement.release.facts.place.sequence,
        }
        facts["generation"] = {**asked.generation.to_json(), "id": asked.generation.id}
    return {**facts, "target": scene.to_json(), "plan": planned.to_json()}
