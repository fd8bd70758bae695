"""What commands about deployments print for people: plans, scenes, appraisals. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pluto_deploy.azure.wanted import Azure
from pluto_deploy.cloud.costs import Cost
from pluto_deploy.deployment import BareMetal, Deployment
from pluto_deploy.engine.plan import Plan, Step
from pluto_deploy.engine.scene import Machine, Scene
from pluto_deploy.engine.standing import Standing
from pluto_deploy.engine.wish import Wish
from pluto_deploy.google.wanted import GoogleSpace, GoogleTdx
from pluto_deploy.local.console import Malformed, Said
from pluto_measure.wording import counted
from pluto_notary.events import Event

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal


def place(deployment: Deployment) -> str:
    """Where it is, in a few words."""
    match deployment.platform:
        case BareMetal(login=login):
            where = f"{login} (bare metal)"
        case GoogleSpace(place=place):
            where = f"Google Cloud, project {place.project}, {place.zone} (Confidential Space)"
        case GoogleTdx(place=place):
            where = f"Google Cloud, project {place.project}, {place.zone} (TDX)"
        case Azure(group=group, location=location):
            where = f"Azure, resource group {group}, {location} (TDX)"
        case _:
            where = "this computer"
    return f"{deployment.name} on {where}"


def release(asked: Wish) -> str:
    """The release and who vouches for it."""
    judgement = asked.expected.judgement
    generation = asked.generation
    shape = f"{generation.cpus} vCPUs, {generation.memory >> 20} MiB, {generation.tee}"
    if judgement is None:
        head = f"build {asked.launch.build_id[:16]} ({asked.launch.flavour}), signed by nobody"
    else:
        place_ = judgement.release.facts.place
        signed = ", ".join(judgement.organisations)
        head = f"{judgement.release.name} {judgement.release.version}, {place_.channel} release {place_.sequence}"
        head += f", signed by {signed} ({judgement.wanted} wanted)"
    return f"release     {head}\ngeneration  {generation.short} ({shape})\n"


def scene(found: Scene) -> str:
    """What is on the target."""
    lines = [f"serves      {_machine(found.server) if found.server else 'nothing'}"]
    if found.other is not None:
        lines.append(f"beside it   {_machine(found.other)}")
    lines += [f"note        {note}" for note in found.notes]
    return "\n".join(lines) + "\n"


def plan(planned: Plan) -> str:
    """The steps, numbered, with what made each necessary."""
    if not planned.changes:
        return "plan        nothing to change\n"
    lines = [f"plan        {planned.kind}"]
    for number, step in enumerate(planned.steps, 1):
        why = f"   ({step.why})" if step.why else ""
        lines.append(f"{number:4}. {step}{why}")
    return "\n".join(lines) + "\n"


def billed(found: Iterable[Cost]) -> str:
    """What is there now and is paid for."""
    return "".join(f"billed      {cost}\n" for cost in found)


def bill_of(planned: Plan) -> str:
    """What a plan changes of that, a line for each step that does."""
    lines = [f"{word:<11} {text.format(slot=step.slot)}" for step in planned.steps for word, text in _bill(step)]
    return "".join(f"{line}\n" for line in lines)


def _bill(step: Step) -> tuple[tuple[str, str], ...]:
    return {
        "put-release": (("is billed", "the release, as long as a machine is made of it"),),
        "create": (("is billed", "machine {slot}, its disk and an address, from then on"),),
        "start": (("is billed", "machine {slot}, while it runs"),),
        "stop": (("stays", "the disk of machine {slot}, which is stopped: it is kept for a rollback, and is billed"),),
        "remove": (("destroyed", "machine {slot} and its disk"),),
    }.get(step.action, ())


def appraisal(appraised: Appraisal) -> str:
    """The verdict in a line, then what is not in order."""
    passed = counted(sum(finding.verdict == "pass" for finding in appraised.findings), "check")
    warned = [finding for finding in appraised.findings if finding.verdict == "warning"]
    lines = [f"{appraised.verdict}: {passed} passed, {counted(len(warned), 'warning')}"]
    for finding in (*appraised.failures, *warned):
        mark = "fail   " if finding.verdict == "fail" else "warning"
        lines.append(f"  {mark} {finding.id}: {finding.text}")
    return "\n".join(lines) + "\n"


def standing(stands: Standing) -> str:
    """The verdict, then findings of the deployment and of the appraisal, then what is advised."""
    findings = [one for one in (*stands.findings, *stands.appraisal.findings) if one.verdict != "pass"]
    passed = sum(one.verdict == "pass" for one in (*stands.findings, *stands.appraisal.findings))
    verdict = stands.appraisal.verdict if stands.accepted or not stands.appraisal.accepted else "refused"
    lines = [f"{verdict}: machine {stands.machine.slot}, {counted(passed, 'check')} passed"]
    for one in sorted(findings, key=lambda one: one.verdict):
        lines.append(f"  {'fail   ' if one.verdict == 'fail' else 'warning'} {one.id}: {one.text}")
    if stands.relaunch is not None:
        lines.append("  run 'pluto-deploy apply --relaunch':")
        lines += [f"    {number}. {step}" for number, step in enumerate(stands.relaunch.steps, 1)]
    return "\n".join(lines) + "\n"


def said(one: Said) -> str:
    """One line of a serial log."""
    if isinstance(one, Event):
        return one.to_line().removeprefix("pluto: ")
    return f"not an event: {one.problem}" if isinstance(one, Malformed) else one


def events(all_of: Iterable[Said]) -> dict[str, object]:
    """The same for programs."""
    known = list(all_of)
    return {
        "events": [one.to_json() for one in known if isinstance(one, Event)],
        "malformed": [one.problem for one in known if isinstance(one, Malformed)],
    }


def _machine(machine: Machine) -> str:
    what = "no complete machine" if machine.generation is None else f"generation {machine.generation.short}"
    refused = ", refused" if machine.refused else ""
    since = f" since {machine.since}" if machine.since and machine.state == "running" else ""
    return f"machine {machine.slot}: {machine.state}{refused}{since}, {what}"
