"""A plan with a certificate to wait for: its place, and what becomes of clients where it does not come."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.test_plan import targets
from pluto_deploy.engine.plan import LOOKS, Plan, Step, certified, destroy, plan, rollback
from pluto_deploy.engine.target import Address
from pluto_measure.errors import SourceError
from simulators.pretend_target import (
    NEW,
    OLD,
    STRATEGIES,
    Killed,
    PretendTarget,
    assert_at_the_goal,
    run,
    with_room,
)

NAME = "notary.of.somebody.example"
Certify = Callable[[Callable[[], Address]], None]


def wanted(target: PretendTarget, strategy: str) -> Plan:
    return certified(plan(target.wanted, target.look(), strategy=strategy), NAME)


def given_one(public: Callable[[], Address]) -> None:
    assert str(public()) == "public:8443"


def raising(error: BaseException) -> Certify:
    def certify(public: Callable[[], Address]) -> None:
        assert public()
        raise error

    return certify


def serving_old(strategy: str) -> PretendTarget:
    """OLD serves, NEW is wanted."""
    target = with_room(PretendTarget(OLD), strategy)
    run(target, wanted(target, strategy), certify=given_one)
    target.wanted = NEW
    target.said.clear()
    return target


@settings(max_examples=200, deadline=None)
@given(targets(), st.sampled_from(STRATEGIES), st.booleans())
def test_it_is_awaited_after_the_switch_and_before_the_last_appraisal(
    target: PretendTarget, strategy: str, relaunch: bool
) -> None:
    plain = plan(target.wanted, target.look(), strategy=strategy, relaunch=relaunch)
    planned = certified(plain, NAME)
    assert certified(plain, None) == plain
    assert [one for one in planned.steps if one.action != "certify"] == list(plain.steps)
    assert planned.changes == plain.changes
    actions = [one.action for one in planned.steps]
    at = actions.index("certify")
    assert actions[at + 1] == "confirm"
    assert at == 0 or actions[at - 1] in ("switch", "put-tools", "put-release")
    assert planned.steps[at] == Step("certify", planned.target, NAME)
    run(with_room(target, strategy), planned, certify=given_one)
    assert_at_the_goal(target, target.wanted)


def test_a_plan_says_so_and_names_the_whole_of_the_name() -> None:
    planned = wanted(serving_old("blue-green"), "blue-green")
    step = next(one for one in planned.steps if one.action == "certify")
    assert str(step) == f"wait for the certificate of {NAME}"
    assert step.to_json() == {"action": "certify", "slot": "b", "subject": NAME, "text": str(step), "why": ""}
    assert "certify" in LOOKS
    assert "certify" not in [one.action for one in certified(destroy(serving_old("replace").look()), NAME).steps]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [SourceError("it signed itself"), KeyboardInterrupt()])
def test_where_it_does_not_come_clients_are_led_back(strategy: str, error: BaseException) -> None:
    target = serving_old(strategy)
    with pytest.raises(type(error)) as caught:
        run(target, wanted(target, strategy), certify=raising(error))
    assert vars(caught.value)["serving"] == "a"
    assert vars(caught.value)["step"]["action"] == "certify"
    assert "cleanup" not in vars(caught.value)
    assert_at_the_goal(target, OLD)
    assert not target.slots["b"].refused, "nothing is known against it"
    run(target, wanted(target, strategy), certify=given_one)
    assert_at_the_goal(target, NEW)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_first_machine_without_one_is_stopped_and_the_ports_are_closed(strategy: str) -> None:
    target = with_room(PretendTarget(OLD), strategy)
    with pytest.raises(SourceError) as caught:
        run(target, wanted(target, strategy), certify=raising(SourceError("no answer")))
    assert vars(caught.value)["serving"] is None
    assert (target.serving, target.slots["a"].state, target.slots["a"].refused) == (None, "stopped", False)
    assert target.said[-2:] == ["close", "stop a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_whoever_is_killed_while_it_is_awaited_is_resumed(strategy: str) -> None:
    target = serving_old(strategy)
    with pytest.raises(Killed):
        run(target, wanted(target, strategy), certify=raising(Killed()))
    assert target.serving == "b"
    again = wanted(target, strategy)
    assert [one.action for one in again.steps][:2] == ["certify", "confirm"]
    run(target, again, certify=given_one)
    assert_at_the_goal(target, NEW)


def test_what_a_resumed_wait_finds_wanting_serves_on_and_a_rollback_goes_back() -> None:
    """Nobody knows any more that it was only just led to: what serves is not stopped by a look at it."""
    target = serving_old("blue-green")
    with pytest.raises(Killed):
        run(target, wanted(target, "blue-green"), certify=raising(Killed()))
    begun = len(target.said)
    with pytest.raises(SourceError) as caught:
        run(target, wanted(target, "blue-green"), certify=raising(SourceError("no answer")))
    assert vars(caught.value)["serving"] == "b"
    assert target.said[begun:] == []
    run(target, certified(rollback(target.look(), strategy="blue-green"), NAME), certify=given_one)
    assert_at_the_goal(target, OLD)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rollback_awaits_it_and_goes_forward_again_where_it_does_not_come(strategy: str) -> None:
    target = serving_old(strategy)
    run(target, wanted(target, strategy), certify=given_one)
    planned = certified(rollback(target.look(), strategy=strategy), NAME)
    with pytest.raises(SourceError) as caught:
        run(target, planned, certify=raising(SourceError("no answer")))
    assert vars(caught.value)["serving"] == "b"
    assert_at_the_goal(target, NEW)
    run(target, certified(rollback(target.look(), strategy=strategy), NAME), certify=given_one)
    assert_at_the_goal(target, OLD)


def test_a_machine_that_is_refused_after_it_got_one_is_stopped_like_any_other() -> None:
    def refuse(found: object, purpose: str) -> None:
        if found == NEW and purpose == "confirm":
            raise SourceError("no evidence")

    target = serving_old("blue-green")
    with pytest.raises(SourceError):
        run(target, wanted(target, "blue-green"), refuse, certify=given_one)
    assert_at_the_goal(target, OLD)
