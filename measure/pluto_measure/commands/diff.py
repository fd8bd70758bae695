"""`pluto-measure diff`: the first event in which a machine's log differs from the expected one, and what it means."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.replay import LOG_LIMIT
from pluto_measure.difference import Difference, differences, expected_from_log
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.formats.strict_json import loads
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.replay import replay, replay_expected

_JSON_LIMIT: Final = 64 * 1024 * 1024
_DIFFERENT: Final = 5

Registers = dict[str, dict[str, object]]


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "diff",
        help="the first event in which a machine's log differs, and what it means",
        description="Compare a machine's event log with the expected one, register by register, and say what the "
        "first differing event means. Exit code 0 equal, 5 different.",
    )
    sub.add_argument(
        "expected",
        metavar="EXPECTED",
        type=Path,
        help="measurements.json, the output of predict --json, or another log",
    )
    sub.add_argument("actual", metavar="ACTUAL", type=Path, help="the machine's log (TPM or CCEL)")
    sub.add_argument("--profile", metavar="ID", help="the profile of measurements.json (default: the nearest)")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Compare; the document has `equal`, `first`, `differences`, `registers`."""
    log = eventlog.parse(files.read(arguments.actual, what="event log", limit=LOG_LIMIT))
    data = files.read(arguments.expected, what="expected log", limit=_JSON_LIMIT)
    if data.lstrip()[:1] != b"{":
        if arguments.profile is not None:
            raise UsageError("--profile needs measurements.json, and EXPECTED is a log")
        events = expected_from_log(eventlog.parse(data))
        return _result(differences(events, log, _all_registers(events, log)), _registers(events, log), None)
    parsed = loads(data, what="expected log")
    if isinstance(parsed, dict) and "profiles" in parsed:
        profile, found = _nearest(Measurements.parse(data), log, arguments.profile)
        return _result(found, _judged(profile, log), profile.id)
    events, command_line = _prediction(parsed)
    return _result(differences(events, log, command_line=command_line), _registers(events, log), None)


def _nearest(measurements: Measurements, log: EventLog, wanted: str | None) -> tuple[Profile, tuple[Difference, ...]]:
    profiles = [p for p in measurements.profiles if wanted in (None, p.id)]
    if not profiles:
        raise UsageError(f"measurements.json has no profile {wanted}" if wanted else "measurements.json has no profile")
    compared = []
    for profile in profiles:
        line = profile.inputs.get("commandLine")
        known = line if isinstance(line, str) else None
        compared.append((profile, differences(profile.events, log, profile.logged, command_line=known)))
    return min(compared, key=lambda pair: len(pair[1]))


def _prediction(parsed: object) -> tuple[tuple[ExpectedEvent, ...], str | None]:
    if not isinstance(parsed, dict) or not isinstance(parsed.get("events"), list):
        raise FormatError("expected log", "is neither measurements.json nor the output of predict --json")
    events = tuple(ExpectedEvent.from_json(item, what=f"events[{i}]") for i, item in enumerate(parsed["events"]))
    inputs = parsed.get("inputs")
    line = inputs.get("commandLine") if isinstance(inputs, dict) else None
    return events, line if isinstance(line, str) else None


def _all_registers(events: tuple[ExpectedEvent, ...], log: EventLog) -> list[str]:
    logged = [log.register(event) for event in log.events if event.type != eventlog.EventType.EV_NO_ACTION]
    return list(dict.fromkeys([*(event.register for event in events), *logged]))


def _registers(events: tuple[ExpectedEvent, ...], log: EventLog) -> Registers:
    expected, actual = replay_expected(events), replay(log)
    shown: Registers = {}
    for name in _all_registers(events, log):
        ours = {bank: values[name].hex() for bank, values in expected.items() if name in values}
        theirs = {bank: values[name].hex() for bank, values in actual.items()}
        banks = set(ours) & set(theirs)
        equal = all(ours[bank] == theirs[bank] for bank in banks) if banks else None
        shown[name] = {"equal": equal, "expected": ours, "actual": theirs}
    return shown


def _judged(profile: Profile, log: EventLog) -> Registers:
    actual = replay(log)
    shown: Registers = {}
    for name, rule in profile.registers.items():
        theirs = {bank: values[name] for bank, values in actual.items() if name in values}
        allowed = {bank: rule.accepted(name, bank, actual) for bank in theirs if bank in ("sha256", "sha384")}
        # A log cannot say what the kernel extends after it, so rules that need the quote are left open.
        judged = {bank: values for bank, values in allowed.items() if values is not None and rule.match != "replay"}
        shown[name] = {
            "equal": all(theirs[bank] in values for bank, values in judged.items()) if judged else None,
            "match": rule.match,
            "expected": {bank: [value.hex() for value in values] for bank, values in judged.items()},
            "actual": {bank: value.hex() for bank, value in theirs.items()},
        }
    return shown


def _result(found: tuple[Difference, ...], registers: Registers, profile: str | None) -> Result:
    document: dict[str, object] = {
        "equal": not found,
        "profile": profile,
        "first": found[0].to_json() if found else None,
        "differences": [difference.to_json() for difference in found],
        "registers": registers,
    }
    if not found:
        return Result(document, "equal: every compared register has the expected events\n")
    lines = [_line(difference) for difference in found]
    return Result(document, "different:\n" + "".join(lines), exit_code=_DIFFERENT)


def _line(difference: Difference) -> str:
    attack = f"  (attack: {difference.attack})" if difference.attack else ""
    return f"  event {difference.index}, {difference.register}: {difference.meaning}{attack}\n"
