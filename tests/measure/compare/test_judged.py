"""Registers beside the expected ones: equal, not equal, or not to be told."""

from __future__ import annotations

from dataclasses import replace

from pluto_measure.compare.difference import expected_from_log
from pluto_measure.compare.judged import judged_by_events, judged_by_rules, judged_by_values
from pluto_measure.formats.eventlog import EventType
from pluto_measure.measurements import profile_for
from pluto_measure.registers.replay import replay
from pluto_measure.registers.rules import RegisterRule
from simulators import boot_logs
from simulators.boot_logs import MACHINES
from simulators.edited_logs import change
from simulators.event_logs import log_of, measured
from simulators.launches import LAUNCH


def test_registers_are_judged_by_the_events_that_are_expected() -> None:
    expected, log = boot_logs.machine("tdx")
    judged = judged_by_events(expected, log)
    assert {name: one.equal for name, one in judged.items()} == {"rtmr0": True, "rtmr1": True, "rtmr2": True}
    events = list(log.events)
    change("tdx", "initrd", b"other")(events)
    judged = judged_by_events(expected, replace(log, events=tuple(events)))
    assert [one.equal for one in judged.values()] == [True, True, False]
    document = judged["rtmr2"].to_json()
    assert document["actual"] == {"sha384": replay(replace(log, events=tuple(events)))["sha384"]["rtmr2"].hex()}
    assert set(document) == {"equal", "expected", "actual"}
    assert isinstance(document["expected"]["sha384"], str) if isinstance(document["expected"], dict) else False


def test_an_open_register_and_one_that_nobody_predicts_cannot_be_told() -> None:
    judged = judged_by_events(*boot_logs.machine("google open"))
    assert judged["rtmr0"].equal is None
    assert judged["rtmr1"].equal is True
    more = measured(0, EventType.EV_S_CRTM_VERSION, b"x")
    judged = judged_by_events((), log_of([more]))
    assert (judged["pcr0"].equal, judged["pcr0"].expected) == (None, {})


def test_another_log_is_judged_by_what_it_replays_to() -> None:
    locality = measured(0, EventType.EV_NO_ACTION, b"StartupLocality\0\3")
    log = log_of([locality, measured(0, EventType.EV_S_CRTM_VERSION, b"x"), measured(17, EventType.EV_IPL, b"y")])
    judged = judged_by_values(replay(log), log, {event.register for event in expected_from_log(log)})
    assert {name: one.equal for name, one in judged.items()} == {"pcr0": True, "pcr17": True}


def test_registers_are_judged_by_rules() -> None:
    _, log = boot_logs.machine("tpm")
    judged = judged_by_rules(profile_for(LAUNCH, MACHINES["tpm"][1]).registers, log)
    assert {judged[name].equal for name in ("pcr4", "pcr9", "pcr11", "pcr12", "pcr17")} == {True}
    assert {judged[name].equal for name in ("pcr0", "pcr1", "pcr10")} == {None}
    assert judged["pcr4"].to_json()["match"] == "exact"
    document = judged["pcr4"].to_json()["expected"]
    assert isinstance(document, dict)
    assert isinstance(document["sha256"], list)
    rules = {
        "pcr4": RegisterRule("zero", (), "computed"),
        "pcr5": RegisterRule("oneOf", (), "observed"),
        "pcr9": RegisterRule("any", (), "observed"),
        "rtmr0": RegisterRule("zero", (), "computed"),
    }
    assert [one.equal for one in judged_by_rules(rules, log).values()] == [False, None, None, None]
