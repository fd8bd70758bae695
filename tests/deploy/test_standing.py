"""What `verify` and `watch` say of a deployment; what is on a target, as text; the journal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import Plan, Step, plan
from pluto_deploy.engine.scene import Generation, Machine, Scene, opposite
from pluto_deploy.engine.standing import Standing, standing
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.findings import Finding
from pluto_measure.formats.strict_json import canonical
from pluto_measure.verify.tcb import Tcb
from simulators.pretend_target import ACCEPTED

OLD = Generation("a" * 64, "0" * 64, "c" * 64, "local", 2, 1 << 30, "insecure_none", "local")
NEW = replace(OLD, release="b" * 64)
SERVER = Machine("a", OLD, "running")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def stood(machine: Machine = SERVER, *beside: Machine, wanted: Generation = OLD, **how: Any) -> Standing:
    scene = Scene(frozenset({"a" * 64}), frozenset(), (machine, *beside), machine.slot)
    appraisal = how.pop("appraisal", ACCEPTED)
    return standing(wanted, scene, machine, appraisal, strategy="blue-green", older=how.pop("older", False))


def verdicts(found: Standing) -> dict[str, str]:
    return {one.id: one.verdict for one in found.findings}


def test_the_machine_that_was_asked_for_is_in_order() -> None:
    found = stood()
    assert (found.accepted, found.exit_code, found.warnings, found.relaunch) == (True, 0, (), None)
    assert verdicts(found) == {"deployment.generation": "pass"}


def test_another_machine_than_was_asked_for_is_refused_though_it_is_genuine() -> None:
    found = stood(wanted=NEW)
    assert (found.accepted, found.exit_code) == (False, 5)
    assert found.to_json()["accepted"] is False
    older = stood(wanted=NEW, older=True)
    assert (older.accepted, older.exit_code) == (True, 0)
    assert [one.id for one in older.warnings] == ["deployment.generation"]


def test_of_another_machine_it_is_said_which_serves_and_what_its_evidence_is() -> None:
    [found] = stood(wanted=NEW).findings
    said = "machine a serves, which is accepted and another one than the file asks for"
    assert found.text == f"{said}; --accept-older accepts that"
    assert stood(wanted=NEW, older=True).findings[0].text == said
    refused = replace(ACCEPTED, accepted=False, findings=(Finding("register.pcr4", "fail", "differs"),))
    [found] = stood(wanted=NEW, appraisal=refused).findings
    assert found.text == "machine a serves, which is refused and another one than the file asks for"


@pytest.mark.parametrize(
    ("check", "news"),
    [
        ("policy.ak_trust", False),
        ("policy.insecure_root", False),
        ("policy.reference_signature", False),
        ("td.debug", False),
        ("tcb.forecast", True),
        ("collateral.expired", True),
        ("td.sept_ve_disable", True),
    ],
)
def test_a_warning_that_the_policy_permits_by_a_word_of_its_own_is_no_news(check: str, news: bool) -> None:
    found = stood(appraisal=replace(ACCEPTED, findings=(Finding(check, "warning", "so"),)))
    assert [one.id for one in found.warnings] == [check]
    assert bool(found.news) == news


def test_what_is_amiss_with_the_deployment_is_news() -> None:
    assert [one.id for one in stood(SERVER, Machine("b", NEW, "running")).news] == ["deployment.leftover"]


def test_a_refused_machine_is_refused_whatever_else_holds() -> None:
    refused = replace(ACCEPTED, accepted=False, findings=(Finding("register.pcr4", "fail", "differs"),))
    assert stood(appraisal=refused).exit_code == 5
    assert stood(appraisal=replace(refused, authentic=False)).exit_code == 4


@pytest.mark.parametrize(("state", "told"), [("running", True), ("stopped", False), ("broken", False)])
def test_a_machine_that_a_command_left_beside_it_is_told(state: Any, told: bool) -> None:
    found = stood(SERVER, Machine("b", NEW, state))
    assert ("deployment.leftover" in verdicts(found)) == told
    assert found.accepted


def test_half_a_machine_is_told() -> None:
    assert verdicts(stood(SERVER, Machine("b", None, "incomplete")))["deployment.leftover"] == "warning"


@pytest.mark.parametrize("status", ["TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"])
def test_an_advised_relaunch_is_planned_for_the_machine_that_serves(status: str) -> None:
    tcb = Tcb.__new__(Tcb)
    object.__setattr__(tcb, "status", status)
    found = stood(wanted=NEW, older=True, appraisal=replace(ACCEPTED, tcb=tcb))
    assert found.relaunch is not None
    assert (found.relaunch.kind, found.relaunch.target, found.relaunch.fallback) == ("relaunch", "b", "a")
    assert [one.id for one in found.warnings] == ["deployment.generation", "deployment.relaunch"]


digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
generations = st.builds(
    Generation,
    digests,
    digests,
    digests | st.just(""),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.integers(1, 512),
    st.integers(1, 1 << 42),
    st.sampled_from(["tdx", "insecure_none"]),
    st.sampled_from(["local", "routed", "bridge:br0", "macvtap:eth0.7"]),
)


@given(generations)
def test_a_generation_survives_the_disk_and_its_id_is_of_all_of_it(generation: Generation) -> None:
    assert Generation.parse(generation.to_text()) == generation
    assert replace(generation, cpus=generation.cpus + 1).id != generation.id


@given(generations, generations)
def test_two_generations_have_one_id_only_where_they_are_one(one: Generation, other: Generation) -> None:
    assert (one.id == other.id) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"more": 1},
        {"cpus": "2"},
        {"cpus": 0},
        {"memory": -1},
        {"release": "A" * 64},
        {"tee": None},
        {"tee": "none"},
        {"tools": "../.."},
        {"profile": "a\n[Service]"},
        {"profile": ""},
        {"network": "bridge:a b"},
    ],
)
def test_a_damaged_generation_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        Generation.parse(canonical({**OLD.to_json(), **change}))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_generation_or_malformed(data: bytes) -> None:
    with pytest.raises(FormatError):
        Generation.parse(data)


def test_a_scene_knows_who_serves_and_who_is_beside() -> None:
    other = Machine("b", NEW, "stopped")
    scene = Scene(machines=(SERVER, other), serving="a")
    assert (scene.server, scene.other) == (SERVER, other)
    nobody = Scene(machines=(other,))
    assert (nobody.server, nobody.other) == (None, other)
    assert Scene(machines=(other,), serving="a").server is None
    assert [opposite("a"), opposite("b")] == ["b", "a"]
    assert json.loads(json.dumps(scene.to_json()))["machines"][1]["generation"]["id"] == NEW.id


PLANNED = plan(OLD, Scene(), strategy="blue-green")


def journal(state: Path | None) -> Journal:
    return Journal(state, "local-notary", now=lambda: NOW)


def test_the_journal_tells_the_step_that_a_command_was_at(tmp_path: Path) -> None:
    kept = journal(tmp_path)
    assert kept.last() is None
    kept.note(PLANNED, PLANNED.steps[2])
    assert kept.last() == {
        "at": "2026-11-20T12:00:00Z",
        "state": "at work",
        "step": PLANNED.steps[2].to_json(),
        "reason": None,
        "plan": PLANNED.to_json(),
    }
    kept.failed(PLANNED, PLANNED.steps[2], "the disk is full")
    found = journal(tmp_path).last()
    assert found is not None
    assert (found["state"], found["reason"]) == ("failed", "the disk is full")
    kept.finished(PLANNED)
    assert (kept.last() or {})["state"] == "done"


def test_the_journal_is_for_its_user_alone_and_another_deployment_has_another(tmp_path: Path) -> None:
    journal(tmp_path).finished(PLANNED)
    path = tmp_path / "deployments/local-notary.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Journal(tmp_path, "local-other").last() is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\0" * 9, b'{"a":1,"a":2}'])
def test_a_journal_that_cannot_be_read_is_none(tmp_path: Path, text: bytes) -> None:
    kept = journal(tmp_path)
    kept.finished(PLANNED)
    (tmp_path / "deployments/local-notary.json").write_bytes(text)
    assert kept.last() is None
    kept.note(PLANNED, Step("tidy"))
    assert kept.last() is not None


def test_a_journal_that_cannot_be_written_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    (tmp_path / "deployments").write_text("in the way")
    with pytest.raises(UsageError):
        journal(tmp_path).finished(PLANNED)


def test_no_state_keeps_no_journal() -> None:
    kept = journal(None)
    kept.finished(Plan("nothing", (), "a"))
    assert kept.last() is None
