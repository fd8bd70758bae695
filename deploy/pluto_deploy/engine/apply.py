"""Carries a plan out. Where the new machine is not what it should be it is stopped, and the old one serves on.

Nothing is remembered between two calls but what the target shows: whoever is killed at any step is resumed by looking
again and planning again. The journal is a hint for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import LOOKS, Plan, Step
from pluto_deploy.engine.target import Address, Target
from pluto_measure.errors import FormatError, PlutoError, RefusedError, VerificationError
from pluto_measure.progress import Progress

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

    Gate = Callable[[Address], Appraisal]  # raises RefusedError or VerificationError for what is not accepted
    # Returns when what answers where clients come has a certificate; SourceError where none came.
    Certify = Callable[[Callable[[], Address]], None]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done. `appraisal`: of what serves now; None where nothing does."""

    steps: tuple[Step, ...]
    appraisal: Appraisal | None


def carry_out(
    plan: Plan,
    target: Target,
    gate: Gate,
    journal: Journal,
    progress: Progress,
    *,
    old_gate: Gate | None = None,
    certify: Certify | None = None,
) -> Done:
    """Every step of the plan, in order. The caller holds the target's lock.

    `gate` judges the machine that serves in the end, `old_gate` the plan's fallback, where that one has to be started
    again; None where it never is. `certify` awaits the certificate, where the plan has a step for that. Raises what a
    step raises, after the machine that serves was seen to; the error's `serving` says to which one clients are led, and
    `cleanup` what went wrong with that.
    """
    appraisal: Appraisal | None = None
    done: list[Step] = []
    notes = _Notes(progress)
    for step in plan.steps:
        notes.write(journal.note, plan, step)
        progress.doing(str(step))
        try:
            appraisal = _one(step, plan, target, gate, certify) or appraisal
        except (Exception, KeyboardInterrupt) as error:  # whatever a machine provoked: it must not stay where it is
            _see_to_it(error, [*done, step], plan, target, old_gate or gate, progress)
            reason = str(error) or "interrupted"
            notes.write(journal.failed, plan, step, reason)
            raise
        progress.step(str(step))
        done.append(step)
    notes.write(journal.finished, plan)
    return Done(tuple(done), appraisal)


class _Notes:
    """The journal is a hint: that it cannot be written is said, once, and stops nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._told = progress, False

    def write(self, entry: Callable[..., None], *of: Plan | Step | str) -> None:
        try:
            entry(*of)
        except PlutoError as error:
            if not self._told:
                self._progress.step(f"the journal was not written: {error}")
            self._told = True


def _see_to_it(
    error: Exception | KeyboardInterrupt,
    begun: list[Step],
    plan: Plan,
    target: Target,
    old_gate: Gate,
    progress: Progress,
) -> None:
    judging = begun[-1].action in ("appraise", "confirm")
    known = isinstance(error, PlutoError | KeyboardInterrupt)
    refused = judging and (isinstance(error, FormatError | VerificationError | RefusedError) or not known)
    fields = vars(error)
    fields["step"] = begun[-1].to_json()
    try:
        fields["serving"] = _back(begun, plan, target, old_gate, progress, refused=refused)
    except Exception as second:  # noqa: BLE001  the first error is the one to be raised
        fields["serving"], fields["cleanup"] = None, str(second)
        progress.step(f"what was begun could not be undone: {second}")


def _one(step: Step, plan: Plan, target: Target, gate: Gate, certify: Certify | None) -> Appraisal | None:
    if step.action in LOOKS:
        return _looked(step, target, gate, certify)
    slot = step.slot or ""
    match step.action:
        case "put-tools":
            target.put_tools()
        case "put-release":
            target.put_release()
        case "create":
            target.create(slot)
        case "start":
            target.start(slot)
        case "switch":
            target.switch(slot)
        case "stop":
            target.stop(slot)
        case "remove":
            target.remove(slot)
        case "close":
            target.close()
        case "tidy":
            target.tidy(all_of_it=plan.kind == "destroy")
    return None


def _looked(step: Step, target: Target, gate: Gate, certify: Certify | None) -> Appraisal | None:
    match step.action:
        case "appraise":
            with target.reach(step.slot or "") as address:
                return gate(address)
        case "certify":
            assert certify is not None, "a certificate is awaited where one is asked for"
            certify(target.public)
        case "confirm":
            return gate(target.public())
    return None


def _back(
    begun: list[Step], plan: Plan, target: Target, old_gate: Gate, progress: Progress, *, refused: bool
) -> str | None:
    """After a failed step, the last one of `begun`: the new machine stopped, the old one serving. Returns the slot that

    clients are led to, if any. Only what was begun is undone: a copy that failed has left the old machine alone, and a
    new one that was confirmed serves on, whatever became of what is cleared away after it.
    """
    old, new = plan.fallback, plan.target
    if new is None or any(step.action == "confirm" for step in begun[:-1]):
        return new
    if old == new or not _touched(begun, plan):
        return old
    if old is None:
        if any(step.action == "switch" for step in begun):
            target.close()
        target.stop(new, refused=refused)
        progress.step(f"machine {new} was stopped, and none serves")
        return None
    there = target.look().machine(old)
    if there is not None and there.state == "running":
        if any(step.action == "switch" for step in begun):
            _lead_back(old, new, target, refused=refused)
        else:
            target.stop(new, refused=refused)
    else:
        progress.doing(f"stopping machine {new}, starting machine {old} again")
        target.stop(new, refused=refused)  # first: there may be room for one machine only
        _start_again(old, target, old_gate)
    progress.step(f"machine {new} was stopped; machine {old} serves")
    return old


def _touched(begun: list[Step], plan: Plan) -> bool:
    """Whether anything was done to a machine that may serve: the new one started or led to, the old one stopped."""
    return any(
        (step.slot == plan.target and step.action in ("start", "appraise", "switch"))
        or (step.slot == plan.fallback and step.action == "stop")
        for step in begun
    )


def _lead_back(old: str, new: str, target: Target, *, refused: bool) -> None:
    try:
        target.switch(old)
    except PlutoError:
        if refused:  # better no machine than one that is not what it should be
            target.stop(new, refused=True)
        raise
    target.stop(new, refused=refused)


def _start_again(old: str, target: Target, old_gate: Gate) -> None:
    target.start(old)
    try:
        with target.reach(old) as address:
            old_gate(address)
    except (RefusedError, VerificationError):
        target.stop(old, refused=True)
        raise
    target.switch(old)
