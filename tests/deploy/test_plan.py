"""Plans, carried out on a target in memory that insists on the order of steps: from any scene to what is wanted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.engine.plan import Plan, Step, destroy, plan, rollback
from pluto_deploy.engine.scene import SLOTS, Generation, Scene
from pluto_measure.errors import UsageError
from simulators.pretend_target import (
    BIG,
    NEW,
    OLD,
    STRATEGIES,
    Fault,
    Killed,
    PretendTarget,
    Slot,
    accept,
    assert_at_the_goal,
    run,
    with_room,
)

generations = st.sampled_from((OLD, NEW, BIG))


@st.composite
def slots(draw: st.DrawFn) -> Slot | None:
    kind = draw(st.sampled_from(("none", "half", "stopped", "stopped", "running", "running", "broken")))
    if kind == "none":
        return None
    made = draw(st.integers(0, 3))
    if kind == "half":
        return Slot(None, made=made)
    appraised = kind == "running" and draw(st.booleans())
    refused = kind == "stopped" and draw(st.booleans())
    return Slot(draw(generations), kind, appraised, refused, made)  # type: ignore[arg-type]


@st.composite
def targets(draw: st.DrawFn) -> PretendTarget:
    """A target as anybody may have left it; but clients are led to no machine that was not appraised."""
    found = {name: one for name in SLOTS if (one := draw(slots())) is not None}
    serving = draw(st.sampled_from((None, *SLOTS)))
    server = found.get(serving or "")
    led = draw(st.booleans()) if server is None or server.state != "running" or server.appraised else False
    known = [one.generation for one in found.values() if one.generation is not None]
    target = PretendTarget(draw(generations), found, serving, led)
    target.releases = {one.release for one in known} | draw(st.sets(st.sampled_from((OLD.release, NEW.release))))
    target.tools = {one.tools for one in known} | draw(st.sets(st.sampled_from((OLD.tools, BIG.tools))))
    return target


@settings(max_examples=400, deadline=None)
@given(targets(), st.sampled_from(STRATEGIES), st.booleans())
def test_from_any_scene_a_plan_leads_to_the_wanted_machine_and_then_to_nothing(
    target: PretendTarget, strategy: str, relaunch: bool
) -> None:
    with_room(target, strategy)
    before = target.slots.get(target.serving or "")
    planned = plan(target.wanted, target.look(), strategy=strategy, relaunch=relaunch)
    done = run(target, planned)
    assert done.appraisal is not None
    assert done.steps == planned.steps
    assert_at_the_goal(target, target.wanted)
    if relaunch:
        assert target.slots[target.serving or ""] is not before, "a relaunch is another machine"
    again = plan(target.wanted, target.look(), strategy=strategy)
    assert (again.kind, again.changes) == ("nothing", False)


@settings(max_examples=400, deadline=None)
@given(targets(), st.sampled_from(STRATEGIES), st.booleans())
def test_a_switch_comes_after_an_appraisal_which_comes_after_the_last_start(
    target: PretendTarget, strategy: str, relaunch: bool
) -> None:
    """Said of the steps alone, whoever carries them out."""
    planned = plan(target.wanted, target.look(), strategy=strategy, relaunch=relaunch)
    for at, step in enumerate(planned.steps):
        if step.action == "switch":
            earlier = [one.action for one in planned.steps[:at] if one.slot == step.slot]
            assert earlier[-1] == "appraise"
            assert planned.steps[at + 1].action == "confirm"
    started = [one.slot for one in planned.steps if one.action == "start"]
    assert set(started) <= {planned.target}


@settings(max_examples=400, deadline=None)
@given(targets(), st.booleans())
def test_with_blue_green_the_machine_that_serves_is_stopped_only_after_its_successor_was_confirmed(
    target: PretendTarget, relaunch: bool
) -> None:
    serving = target.serving
    planned = plan(target.wanted, target.look(), strategy="blue-green", relaunch=relaunch)
    actions = [(one.action, one.slot) for one in planned.steps]
    touching = [at for at, one in enumerate(actions) if one[0] in ("stop", "remove", "close") and one[1] == serving]
    confirmed = next(at for at, one in enumerate(actions) if one[0] == "confirm")
    assert all(at > confirmed for at in touching)
    served = target.serves
    run(target, planned)
    halves = [at for at, one in enumerate(target.said) if one.startswith("switch")]
    assert not served or all(good for at, good in enumerate(target.served) if at not in halves)


@settings(max_examples=300, deadline=None)
@given(
    targets(),
    st.sampled_from(STRATEGIES),
    st.integers(0, 9),
    st.sampled_from(("before", "middle", "after")),
    generations,
)
def test_after_a_kill_at_any_step_planning_again_leads_there_or_elsewhere(
    target: PretendTarget, strategy: str, at: int, when: str, then: Generation
) -> None:
    """`then`: the file may have been changed meanwhile."""
    with_room(target, strategy)
    target.fault = Fault(at, when, Killed())  # type: ignore[arg-type]
    try:
        run(target, plan(target.wanted, target.look(), strategy=strategy))
    except Killed:
        target.wanted = then
    target.fault = None
    run(target, plan(target.wanted, target.look(), strategy=strategy))
    assert_at_the_goal(target, target.wanted)


@settings(max_examples=300, deadline=None)
@given(targets())
def test_destroy_leaves_nothing_whatever_was_there(target: PretendTarget) -> None:
    run(target, destroy(target.look()))
    assert (target.slots, target.serving, target.releases, target.tools) == ({}, None, set(), set())


def scene(strategy: str = "blue-green") -> PretendTarget:
    """An upgrade that came to its end: OLD in a, NEW serves in b."""
    target = with_room(PretendTarget(OLD), strategy)
    for wanted in (OLD, NEW):
        target.wanted = wanted
        run(target, plan(wanted, target.look(), strategy=strategy))
    assert_at_the_goal(target, NEW)
    target.said.clear()
    return target


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rollback_goes_back_once_however_often_it_is_asked_for(strategy: str) -> None:
    target = scene(strategy)
    for _ in range(3):
        run(target, rollback(target.look(), strategy=strategy))
        assert_at_the_goal(target, OLD)
    assert len(target.said) == 3, "start, switch, stop; and then nothing"
    again = plan(NEW, target.look(), strategy=strategy)
    run(target, again)
    assert_at_the_goal(target, NEW)
    run(target, rollback(target.look(), strategy=strategy))
    assert_at_the_goal(target, OLD)


def test_a_downgrade_by_the_file_is_gone_back_from_like_any_other_change() -> None:
    target = scene()
    target.wanted = OLD
    run(target, plan(OLD, target.look(), strategy="blue-green"))
    assert_at_the_goal(target, OLD)
    run(target, rollback(target.look(), strategy="blue-green"))
    assert_at_the_goal(target, NEW)


def test_a_rollback_never_goes_forward_to_what_an_upgrade_left() -> None:
    for at in range(9):
        target = scene()
        target.wanted, target.fault = BIG, Fault(at, "after", Killed())
        try:
            run(target, plan(BIG, target.look(), strategy="blue-green"))
        except Killed:
            switched = "switch a" in target.said
        else:
            break
        target.fault = None
        other = target.look().other
        if other is None or other.generation == OLD:
            continue  # the upgrade put nothing there yet: what is gone back to, if anything, is the earlier machine
        run(target, rollback(target.look(), strategy="blue-green"))
        server = target.slots[target.serving or ""]
        assert server.generation == NEW, (at, target.said)
        assert switched == (target.said.count("switch b") == 1)
    assert at == 7


def test_a_rollback_clears_away_what_was_refused() -> None:
    target = scene()
    target.slots["a"] = Slot(BIG, "stopped", refused=True, made=999)
    run(target, rollback(target.look(), strategy="blue-green"))
    assert_at_the_goal(target, NEW)
    assert target.said == ["remove a", "tidy"]


def test_an_earlier_machine_that_was_refused_once_is_tried_again() -> None:
    target = scene()
    target.slots["a"].refused = True  # for collateral that had come to its end, say
    planned = rollback(target.look(), strategy="blue-green")
    assert (planned.target, planned.steps[0]) == ("a", Step("start", "a", why="asked for"))


def test_there_must_be_something_to_go_back_to() -> None:
    target = PretendTarget(OLD)
    with pytest.raises(UsageError, match="no machine to go back to"):
        rollback(target.look(), strategy="blue-green")
    run(target, plan(OLD, target.look(), strategy="blue-green"))
    with pytest.raises(UsageError, match="no earlier machine"):
        rollback(target.look(), strategy="blue-green")
    target = scene()
    target.releases.clear()
    with pytest.raises(UsageError, match="not on the target any more"):
        rollback(target.look(), strategy="blue-green")


def test_where_nothing_serves_the_newest_machine_that_was_not_refused_is_gone_back_to() -> None:
    target = scene()
    target.serving, target.slots["b"].state = None, "stopped"
    run(target, rollback(target.look(), strategy="replace"))
    assert_at_the_goal(target, NEW)
    target = scene()
    target.serving, target.slots["b"] = None, Slot(NEW, "stopped", refused=True, made=999)
    run(target, rollback(target.look(), strategy="replace"))
    assert_at_the_goal(target, OLD)


def test_clients_that_are_led_otherwise_than_the_file_asks_are_led_anew() -> None:
    target = scene()
    target.led = False
    planned = plan(NEW, target.look(), strategy="blue-green")
    assert [one.action for one in planned.steps] == ["appraise", "switch", "confirm"]
    assert planned.kind == "repair"
    run(target, planned)
    assert_at_the_goal(target, NEW)


def test_a_release_that_vanished_from_the_target_is_put_there_again() -> None:
    target = scene()
    target.slots["b"].state = "broken"
    target.releases.clear()
    run(target, plan(NEW, target.look(), strategy="blue-green"))
    assert_at_the_goal(target, NEW)


def test_a_plan_says_what_it_does_and_why() -> None:
    target = scene()
    planned = plan(BIG, target.look(), strategy="blue-green")
    told = [(str(one), one.why) for one in planned.steps]
    assert told == [
        ("copy the tools tree dddddddddddd", "it is not on the target"),
        ("remove machine a", "its slot is needed"),
        (f"make machine a of generation {BIG.short}", ""),
        ("start machine a", "changed: release, tools, cpus"),
        ("appraise machine a: evidence, release, configuration, identity", ""),
        ("lead clients to machine a", ""),
        ("appraise what clients reach", ""),
        ("stop machine b", "another one serves; it is kept for a rollback"),
        ("remove releases and tools that no machine refers to", ""),
    ]
    assert planned.to_json()["kind"] == "upgrade"
    assert [one["action"] for one in planned.to_json()["steps"]] == [one.action for one in planned.steps]  # type: ignore[attr-defined]


def test_an_empty_target_is_created_on_and_nothing_is_left_to_say() -> None:
    planned = plan(NEW, Scene(), strategy="replace")
    assert planned == Plan(
        "create",
        (
            Step("put-tools", subject=NEW.tools, why="it is not on the target"),
            Step("put-release", subject=NEW.release, why="it is not on the target"),
            Step("create", "a", NEW.id),
            Step("start", "a", why="nothing serves yet"),
            Step("appraise", "a"),
            Step("switch", "a"),
            Step("confirm", "a"),
            Step("tidy"),
        ),
        "a",
    )
    target = PretendTarget(NEW)
    run(target, planned, accept)
    assert_at_the_goal(target, NEW)
