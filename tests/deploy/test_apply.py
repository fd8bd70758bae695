"""What becomes of a deployment when a step fails, or whoever carries a plan out is killed: on a target in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.engine.apply import carry_out
from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import Plan, destroy, plan, rollback
from pluto_deploy.engine.scene import Generation, Scene
from pluto_measure.errors import FormatError, PlutoError, RefusedError, SourceError, VerificationError
from pluto_measure.progress import Silent
from simulators.pretend_target import (
    BIG,
    NEW,
    OLD,
    STRATEGIES,
    Fault,
    Judge,
    Killed,
    PretendTarget,
    Slot,
    When,
    accept,
    assert_at_the_goal,
    gate_of,
    run,
    with_room,
)

Command = Callable[[Scene], Plan]


def empty(strategy: str) -> PretendTarget:
    return with_room(PretendTarget(OLD), strategy)


def serving_old(strategy: str) -> PretendTarget:
    """OLD serves, NEW is wanted."""
    target = empty(strategy)
    run(target, plan(OLD, target.look(), strategy=strategy))
    target.wanted = NEW
    return fresh(target)


def upgraded(strategy: str) -> PretendTarget:
    """NEW serves, OLD is kept, BIG is wanted."""
    target = serving_old(strategy)
    run(target, plan(NEW, target.look(), strategy=strategy))
    target.wanted = BIG
    return fresh(target)


def fresh(target: PretendTarget) -> PretendTarget:
    target.said.clear()
    target.served.clear()
    return target


def refusing(generation: Generation, *purposes: str, error: type[PlutoError] = RefusedError) -> Judge:
    """A gate's word about one generation."""

    def judge(found: Generation, purpose: str) -> None:
        if found == generation and purpose in (purposes or ("appraise", "confirm")):
            raise FormatError("evidence", "is none") if error is FormatError else error("not what was released")

    return judge


def apply(target: PretendTarget, strategy: str, **how: Any) -> PlutoError:
    """Plan and carry out what has to fail; the error."""
    with pytest.raises(PlutoError) as caught:
        run(target, plan(target.wanted, target.look(), strategy=strategy), **how)
    return caught.value


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [RefusedError, VerificationError, FormatError])
def test_a_new_machine_that_is_refused_is_stopped_and_the_old_one_serves(
    strategy: str, error: type[PlutoError]
) -> None:
    target = serving_old(strategy)
    raised = apply(target, strategy, judge=refusing(NEW, error=error))
    assert raised.exit_code == error.exit_code
    assert vars(raised)["serving"] == "a"
    assert vars(raised)["step"]["action"] == "appraise"
    assert "cleanup" not in vars(raised)
    assert_at_the_goal(target, OLD)
    assert target.slots["b"].refused
    assert strategy == "replace" or all(target.served), "the old one served all along"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_first_machine_that_is_refused_is_stopped_and_nothing_serves(strategy: str) -> None:
    target = empty(strategy)
    raised = apply(target, strategy, judge=refusing(OLD))
    assert (raised.exit_code, vars(raised)["serving"]) == (5, None)
    assert (target.slots["a"].state, target.slots["a"].refused, target.serving) == ("stopped", True, None)
    run(target, plan(OLD, target.look(), strategy=strategy))
    assert_at_the_goal(target, OLD)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_confirmation_that_fails_leads_clients_back(strategy: str) -> None:
    target = serving_old(strategy)
    raised = apply(target, strategy, judge=refusing(NEW, "confirm"))
    assert (raised.exit_code, vars(raised)["serving"]) == (5, "a")
    assert_at_the_goal(target, OLD)
    assert "switch b" in target.said


def test_a_confirmation_of_a_first_machine_that_fails_closes_the_ports() -> None:
    target = empty("blue-green")
    raised = apply(target, "blue-green", judge=refusing(OLD, "confirm"))
    assert vars(raised)["serving"] is None
    assert (target.serving, target.slots["a"].state) == (None, "stopped")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("when", ["before", "middle", "after"])
def test_a_step_that_fails_at_any_point_leaves_a_machine_that_serves(strategy: str, when: When) -> None:
    """The old one, or the new one once it was confirmed; and going on leads to the new one."""
    for at in range(20):
        target = serving_old(strategy)
        target.fault = Fault(at, when, SourceError("the disk is full"))
        steps = len(plan(NEW, target.look(), strategy=strategy).steps)
        try:
            run(target, plan(NEW, target.look(), strategy=strategy))
        except SourceError as error:
            serving = vars(error)["serving"]
        else:
            break
        assert target.serves, (at, target.said)
        assert target.serving == serving, (at, target.said)
        assert strategy == "replace" or all(
            good for number, good in enumerate(target.served) if not target.said[number].startswith("switch")
        )
        run(target, plan(NEW, target.look(), strategy=strategy))
        assert_at_the_goal(target, NEW)
    assert at >= steps - 3, "appraise and confirm change nothing"


def test_an_upgrade_that_was_confirmed_is_not_undone_by_what_comes_after() -> None:
    for step in ("stop a", "tidy"):
        target = serving_old("blue-green")
        order = ["put-release", "create b", "start b", "switch b", "stop a", "tidy"]
        target.fault = Fault(order.index(step), "before", SourceError("busy"))
        raised = apply(target, "blue-green")
        assert (raised.exit_code, vars(raised)["serving"]) == (6, "b")
        assert (target.slots["b"].state, target.said[-1]) == ("running", step)


def test_clients_that_cannot_be_led_back_reach_no_refused_machine() -> None:
    target = serving_old("blue-green")
    target.fault = Fault(4, "before", SourceError("no connection"))  # release, create, start, switch, and back
    raised = apply(target, "blue-green", judge=refusing(NEW, "confirm"))
    assert target.said[-2:] == ["switch a", "stop b"]
    assert raised.exit_code == 5, "what was found is told first"
    assert vars(raised)["cleanup"] == "no connection"
    assert vars(raised)["serving"] is None
    assert target.slots["b"].state == "stopped"


def test_an_old_machine_that_is_refused_when_it_is_started_again_does_not_serve() -> None:
    target = serving_old("replace")
    raised = apply(target, "replace", judge=refusing(NEW), old=refusing(OLD))
    assert (raised.exit_code, vars(raised)["serving"]) == (5, None)
    assert "not what was released" in vars(raised)["cleanup"]
    assert not target.serves
    assert {one.state for one in target.slots.values()} == {"stopped"}
    assert target.slots["a"].refused


def test_the_old_machine_is_judged_by_its_own_gate() -> None:
    """The new machine's expectations would refuse it."""
    target = serving_old("replace")
    apply(target, "replace", judge=refusing(NEW), old=refusing(NEW))
    assert_at_the_goal(target, OLD)
    asked: list[Generation] = []
    target = serving_old("replace")
    apply(target, "replace", judge=refusing(NEW), old=lambda found, _: asked.append(found))
    assert asked == [OLD]


def test_the_old_machine_comes_back_also_where_somebody_was_killed_after_it_was_stopped() -> None:
    target = serving_old("replace")
    target.fault = Fault(2, "after", Killed())
    with pytest.raises(Killed):
        run(target, plan(NEW, target.look(), strategy="replace"))
    assert target.said[-1] == "stop a"
    raised = apply(target, "replace", judge=refusing(NEW))
    assert vars(raised)["serving"] == "a"
    assert_at_the_goal(target, OLD)


def test_a_serving_machine_that_is_found_wanting_is_left_as_it_is() -> None:
    """Whoever reads that decides: nobody's service is ended by a look at it."""
    target = serving_old("blue-green")
    target.wanted = OLD
    raised = apply(target, "blue-green", judge=refusing(OLD))
    assert (raised.exit_code, vars(raised)["serving"], target.said) == (5, "a", [])
    target.led = False
    apply(target, "blue-green", judge=refusing(OLD))
    assert target.slots["a"].state == "running"


def test_a_rollback_that_finds_the_server_wanting_stops_nothing() -> None:
    target = upgraded("blue-green")
    target.slots["a"] = Slot(BIG, "stopped", refused=True, made=999)
    with pytest.raises(RefusedError) as caught:
        run(target, rollback(target.look(), strategy="blue-green"), refusing(NEW))
    assert vars(caught.value)["serving"] == "b"
    assert (target.said, target.slots["b"].state) == ([], "running")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rollback_to_a_machine_that_is_refused_now_leaves_the_newer_one(strategy: str) -> None:
    target = upgraded(strategy)
    with pytest.raises(RefusedError) as caught:
        run(target, rollback(target.look(), strategy=strategy), refusing(OLD))
    assert vars(caught.value)["serving"] == "b"
    assert_at_the_goal(target, NEW)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interrupt_is_seen_to_like_a_failure(strategy: str) -> None:
    for at in range(20):
        target = serving_old(strategy)
        target.fault = Fault(at, "middle", KeyboardInterrupt())
        serving = None
        try:
            run(target, plan(NEW, target.look(), strategy=strategy))
        except KeyboardInterrupt as error:
            serving = vars(error)["serving"]
        else:
            break
        assert target.serves
        assert target.serving == serving
    assert at > 5


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "deployments").write_text("in the way")
    told: list[str] = []

    class Told(Silent):
        def step(self, text: str) -> None:
            told.append(text)

    target = serving_old("blue-green")
    planned = plan(NEW, target.look(), strategy="blue-green")
    with target.lock():
        carry_out(planned, target, gate_of(target), Journal(tmp_path, "test"), Told())
    assert_at_the_goal(target, NEW)
    assert len([text for text in told if "the journal was not written" in text]) == 1
    assert len(told) == len(planned.steps) + 1


def upgrade_to(wanted: Generation) -> Callable[[str], Command]:
    return lambda strategy: lambda found: plan(wanted, found, strategy=strategy)


# What is there at first, the command, what the gate says, and what may serve in the end.
COMMANDS: dict[str, tuple[Callable[[str], PretendTarget], Callable[[str], Command], Judge, tuple[Generation, ...]]] = {
    "create": (empty, upgrade_to(OLD), accept, (OLD,)),
    "upgrade": (serving_old, upgrade_to(NEW), accept, (NEW,)),
    "upgrade over another": (upgraded, upgrade_to(BIG), accept, (BIG,)),
    "upgrade that fails": (serving_old, upgrade_to(NEW), refusing(NEW), (OLD,)),
    # It was accepted before clients were led to it: it is not stopped by a later look that finds it wanting.
    "upgrade that fails late": (serving_old, upgrade_to(NEW), refusing(NEW, "confirm"), (OLD, NEW)),
    "rollback": (upgraded, lambda how: lambda found: rollback(found, strategy=how), accept, (OLD,)),
    "destroy": (upgraded, lambda how: destroy, accept, ()),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_at_any_change_is_resumed_by_the_same_command(
    name: str, when: When, strategy: str
) -> None:
    """Also where it is killed while it clears away after a failure."""
    begin, command, judge, goals = COMMANDS[name]
    planned = command(strategy)
    start = begin(strategy)
    for at in range(40):
        target = copy.deepcopy(start)
        target.fault = Fault(at, when, Killed())
        try:
            carried_out(target, planned, judge)
        except Killed:
            assert strategy == "replace" or name in ("create", "destroy") or not target.led or target.serves
            carried_out(target, planned, judge)
        else:
            break
        if len(goals) == 1:
            assert_at_the_goal(target, goals[0])
        elif goals:
            if not target.serves:  # there was room for one, and the one that was tried again was refused again
                run(target, rollback(target.look(), strategy=strategy))
            assert target.serves
            assert target.slots[target.serving or ""].generation in goals
        else:
            assert (target.slots, target.serving, target.releases, target.tools) == ({}, None, set(), set())
    assert at >= 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_relaunch_that_is_killed_is_resumed_and_is_another_machine(strategy: str) -> None:
    for at in range(40):
        target = serving_old(strategy)
        target.wanted = OLD
        before = target.slots["a"]
        target.fault = Fault(at, "middle", Killed())
        try:
            run(target, plan(OLD, target.look(), strategy=strategy, relaunch=True))
        except Killed:
            run(target, plan(OLD, target.look(), strategy=strategy, relaunch=True))
        else:
            break
        assert_at_the_goal(target, OLD)
        assert target.serving == "b" or target.slots["a"] is not before
    assert at == 5


def carried_out(target: PretendTarget, planned: Command, judge: Judge) -> None:
    """An upgrade that is refused is what its test is about; all else must come to its end."""
    try:
        run(target, planned(target.look()), judge)
    except RefusedError:
        assert judge is not accept


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("purpose", ["appraise", "confirm"])
def test_an_error_that_nobody_thought_of_leads_no_client_to_the_new_machine(strategy: str, purpose: str) -> None:
    """A machine chooses the bytes that are judged, so it must not matter which error they provoke."""

    def judge(found: Generation, asked: str) -> None:
        if found == NEW and asked == purpose:
            raise ValueError("read length must be non-negative")

    target = serving_old(strategy)
    with pytest.raises(ValueError, match="read length"):
        run(target, plan(NEW, target.look(), strategy=strategy), judge=judge)
    assert_at_the_goal(target, OLD)
    assert target.slots["b"].refused
