"""What has to be done: from what is wanted and what is there, a list of steps. Pure; the order is the safety.

Nothing is switched to before it was appraised, and nothing is stopped before its successor serves, but where there is
room for one machine only (`replace`): then the old one is kept, to be started again if the new one is refused.
Of the machines that a plan finds, one serves in the end and the other one is stopped, whatever was found.
Every step may have been done already when it is carried out, since whoever did so may have been killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from pluto_deploy.engine.scene import Generation, Machine, Scene, opposite
from pluto_measure.errors import UsageError

Action = Literal[
    "put-tools",
    "put-release",
    "create",
    "start",
    "appraise",
    "switch",
    "certify",
    "confirm",
    "stop",
    "remove",
    "close",
    "tidy",
]
LOOKS: Final = ("appraise", "certify", "confirm")  # what changes nothing

_WORDS: Final[dict[str, str]] = {
    "put-tools": "copy the tools tree {subject}",
    "put-release": "copy release {subject}",
    "create": "make machine {slot} of generation {subject}",
    "start": "start machine {slot}",
    "appraise": "appraise machine {slot}: evidence, release, configuration, identity",
    "switch": "lead clients to machine {slot}",
    "certify": "wait for the certificate of {subject}",
    "confirm": "appraise what clients reach",
    "stop": "stop machine {slot}",
    "remove": "remove machine {slot}",
    "close": "close the ports",
    "tidy": "remove releases and tools that no machine refers to",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `subject`: a digest in hex, or the name that a certificate is for; `why`: what made it

    necessary, in words.
    """

    action: Action
    slot: str | None = None
    subject: str | None = None
    why: str = ""

    def __str__(self) -> str:
        subject = self.subject or ""
        return _WORDS[self.action].format(slot=self.slot, subject=subject if self.action == "certify" else subject[:12])

    def to_json(self) -> dict[str, object]:
        document = {"action": self.action, "slot": self.slot, "subject": self.subject, "text": str(self)}
        return {**document, "why": self.why}


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order. `target`: the slot that serves in the end; `fallback`: the one that serves if that one fails."""

    kind: str  # "create", "upgrade", "relaunch", "rollback", "repair", "nothing", "destroy"
    steps: tuple[Step, ...]
    target: str | None
    fallback: str | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is changed; a plan that only looks is done already."""
        return any(step.action not in LOOKS for step in self.steps)

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "changes": self.changes,
            "target": self.target,
            "fallback": self.fallback,
            "steps": [step.to_json() for step in self.steps],
        }


def plan(wanted: Generation, scene: Scene, *, strategy: str, relaunch: bool = False) -> Plan:
    """The way from `scene` to a machine of generation `wanted` that serves. `relaunch`: to a new one in any case."""
    server = scene.server
    if server is not None and server.generation == wanted and not relaunch:
        put = tuple(_put(wanted, scene))
        kept = _serve(server, scene, strategy)
        changes = bool(put) or len(kept) > 1
        return Plan("repair" if changes else "nothing", (*put, *kept), server.slot, _running(server))
    target = _target(wanted, scene)
    why = _why(wanted, scene, relaunch=relaunch)
    put, make = tuple(_put(wanted, scene)), tuple(_make(wanted, target, scene, relaunch=relaunch))
    go = _go(target, None if make else scene.machine(target), scene, strategy, why)
    fallback = server.slot if server is not None and server.generation is not None else None
    kind = "create" if server is None else "relaunch" if server.generation == wanted else "upgrade"
    return Plan(kind, (*put, *make, *go, Step("tidy")), target, fallback)


def rollback(scene: Scene, *, strategy: str) -> Plan:
    """Back to the earlier of the two machines, never forward: where the earlier one serves, the newer one is what an

    upgrade left that was refused or did not end, or what was gone back from. Then the earlier one serves on. So a
    rollback that is asked for twice, or that was killed, goes back once. Where none serves, the newest machine that was
    not refused. UsageError where there is no earlier machine.
    """
    server, other = scene.server, scene.other
    if server is None or server.generation is None:
        return _back_to_the_last(scene, strategy)
    if other is None:
        raise UsageError("there is no earlier machine to go back to")
    if other.generation is None or other.made > server.made:
        away = other.generation is not None and other.refused
        gone = (Step("remove", other.slot, why="it was refused"), Step("tidy")) if away else ()
        return Plan("rollback", (*_serve(server, scene, strategy), *gone), server.slot, _running(server))
    if other.generation.release not in scene.releases:
        raise UsageError("the release of the earlier machine is not on the target any more")
    go = _go(other.slot, other, scene, strategy, "asked for")
    return Plan("rollback", go, other.slot, server.slot)


def destroy(scene: Scene) -> Plan:
    """Everything of this deployment away, and what nobody else uses."""
    steps = [Step("close", why="asked for")] if scene.serving is not None or scene.machines else []
    for machine in scene.machines:
        if machine.state != "incomplete":
            steps.append(Step("stop", machine.slot))
        steps.append(Step("remove", machine.slot))
    return Plan("destroy", (*steps, Step("tidy")), None)


def certified(planned: Plan, domain: str | None) -> Plan:
    """The same, with the certificate for `domain` awaited before what clients reach is appraised; None: as it is."""
    if domain is None:
        return planned
    steps: list[Step] = []
    for step in planned.steps:
        steps += [Step("certify", step.slot, domain), step] if step.action == "confirm" else [step]
    return replace(planned, steps=tuple(steps))


def _back_to_the_last(scene: Scene, strategy: str) -> Plan:
    """Nothing serves: an upgrade failed, and so did what it did to have the old machine serve on."""
    kept = [
        one
        for one in scene.machines
        if one.generation is not None and one.generation.release in scene.releases and not one.refused
    ]
    if not kept:
        raise UsageError("nothing serves, and there is no machine to go back to", hint="run 'pluto-deploy apply'")
    last = max(kept, key=lambda one: one.made)
    return Plan("rollback", _go(last.slot, last, scene, strategy, "nothing serves"), last.slot)


def _serve(server: Machine, scene: Scene, strategy: str) -> tuple[Step, ...]:
    """The right machine serves: see that it runs, that clients are led to it, and that it is what it should be."""
    if server.state != "running":
        return _go(server.slot, server, scene, strategy, f"it is {server.state}")
    if not scene.led:
        return _go(server.slot, server, scene, strategy, "clients are not led to it as they should be")
    return (
        Step("confirm", server.slot),
        *_stops(server.slot, scene, "it does not serve"),
        *_halves(server.slot, scene),
    )


def _running(server: Machine) -> str | None:
    """Its slot, if it runs: then it is not stopped by a plan that finds it wanting."""
    return server.slot if server.state == "running" else None


def _target(wanted: Generation, scene: Scene) -> str:
    if scene.serving is not None:
        return opposite(scene.serving)
    made = next((machine for machine in scene.machines if machine.generation == wanted), None)
    return made.slot if made is not None else "a"


def _why(wanted: Generation, scene: Scene, *, relaunch: bool) -> str:
    """What of the generation differs from what serves."""
    server = scene.server
    if server is None or server.generation is None:
        return "nothing serves yet"
    old, new = server.generation.to_json(), wanted.to_json()
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "relaunch" if relaunch and not changed else f"changed: {', '.join(changed)}"


def _put(wanted: Generation, scene: Scene) -> Iterator[Step]:
    if wanted.tools and wanted.tools not in scene.tools:
        yield Step("put-tools", subject=wanted.tools, why="it is not on the target")
    if wanted.release not in scene.releases:
        yield Step("put-release", subject=wanted.release, why="it is not on the target")


def _make(wanted: Generation, target: str, scene: Scene, *, relaunch: bool) -> Iterator[Step]:
    """Made anew, unless it was started by somebody who was killed: so of two machines the one asked for last is newer.

    For a relaunch in any case: nobody knows whether that one was started before the platform was updated.
    """
    there = scene.machine(target)
    if there is not None and there.generation == wanted and there.state == "running" and not relaunch:
        return
    if there is not None:
        why = "its making was interrupted" if there.generation is None else "its slot is needed"
        if there.generation is not None and there.state != "stopped":
            yield Step("stop", target, why=why)
        yield Step("remove", target, why=why)
    yield Step("create", target, subject=wanted.id)


def _go(target: str, there: Machine | None, scene: Scene, strategy: str, why: str) -> tuple[Step, ...]:
    """From a complete machine to one that serves. `there`: the machine as it was found, None if it is made first."""
    steps: list[Step] = []
    if strategy == "replace":
        steps += _stops(target, scene, "there is room for one machine")
    if there is None or there.state != "running":
        steps.append(Step("start", target, why=why))
        why = ""
    steps += [Step("appraise", target), Step("switch", target, why=why), Step("confirm", target)]
    if strategy != "replace":
        steps += _stops(target, scene, "another one serves; it is kept for a rollback")
    return (*steps, *_halves(target, scene))


def _halves(slot: str, scene: Scene) -> Iterator[Step]:
    """No half machine is left beside it."""
    for machine in scene.machines:
        if machine.slot != slot and machine.generation is None:
            yield Step("remove", machine.slot, why="its making was interrupted")


def _stops(slot: str, scene: Scene, why: str) -> Iterator[Step]:
    """No other machine is left running beside the one that serves."""
    for machine in scene.machines:
        if machine.slot != slot and machine.generation is not None and machine.state != "stopped":
            yield Step("stop", machine.slot, why=why)
