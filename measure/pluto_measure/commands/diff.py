"""`pluto-measure diff`: the events in which a machine's log differs from the expected one, what they mean, and why."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.replay import LOG_LIMIT
from pluto_measure.compare.difference import THIS_RELEASE, Comparison, compare, expected_from_log
from pluto_measure.compare.explain import Known
from pluto_measure.compare.judged import Judged, judged_by_events, judged_by_rules, judged_by_values
from pluto_measure.compare.rows import align_logs
from pluto_measure.compare.side_by_side import DEFAULT_WIDTH, table, wrapped
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats import logs
from pluto_measure.formats.eventlog import EventLog, EventType
from pluto_measure.formats.strict_json import loads
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.predict import events
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.registers.replay import replay
from pluto_measure.registers.rules import RegisterRule

_JSON_LIMIT: Final = 64 * 1024 * 1024
_DIFFERENT: Final = 5
# What firmware and machine decide alone: all that can be compared where no build is given.
_OF_THE_MACHINE: Final = ("rtmr0", "pcr0", "pcr1", "pcr7")

# Predictions that were made before events had roles: what their other words say of it.
_OLD_SECTION: Final = re.compile(r"launch\.sections\[(.*)\]")
_ROLE_OF_SOURCE: Final = {
    "launch.uki.authenticode": "image:uki",
    "launch.kernel.authenticode": "image:kernel",
    "launch.commandLine": "load-options",
    "launch.handedInitrd": "initrd",
    "launch.disk.gptEvent": "gpt",
    "platform.secureBoot.db": "authority:db",
}
_ROLE_OF_TEXT: Final = {
    "boot option is started": "calling",
    events.EXIT_INVOKED.decode(): "exit-invoked",
    events.EXIT_DONE.decode(): "exit-done",
}

DESCRIPTION: Final = """Compare a machine's event log with the expected one, register by register: which events differ,
what that means, and what likely caused it. Registers are aligned by what their events are for, so one event too many
is one difference. Exit code 0 equal, 5 different."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What is expected: events, the registers to compare (None: all that are named), and what these are judged by."""

    events: tuple[ExpectedEvent, ...]
    registers: tuple[str, ...] | None
    judged: dict[str, Judged]
    known: Known = field(default_factory=Known)
    profile: str | None = None
    ours: str = THIS_RELEASE


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "diff", help="the events in which a machine's log differs, what they mean, and why", description=DESCRIPTION
    )
    sub.add_argument(
        "expected",
        metavar="EXPECTED",
        type=Path,
        help="measurements.json, the output of predict --json, or another log",
    )
    sub.add_argument("actual", metavar="ACTUAL", type=Path, help="the machine's log, of any form that replay reads")
    sub.add_argument("--profile", metavar="ID", help="the profile of measurements.json (default: the nearest)")
    sub.add_argument("--html", metavar="FILE", type=Path, help="write it as a page with every event, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Compare; the document has `equal`, `first`, `differences`, `cause`, `explainable`, `registers`."""
    files.refuse_no_place("--html", arguments.html)
    log = logs.parse(files.read(arguments.actual, what="event log", limit=LOG_LIMIT))
    data = files.read(arguments.expected, what="expected log", limit=_JSON_LIMIT)
    expected = _expected(data, log, arguments.profile)
    found = compare(expected.events, log, expected.registers, known=expected.known, ours=expected.ours)
    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else DEFAULT_WIDTH
    code = 0 if _is_equal(found, expected.judged) else _DIFFERENT
    if not any(found.rows.values()):
        raise FormatError("expected log", "says nothing of any register that this log extends")
    shown = document(found, expected.judged, expected.profile, log)
    if arguments.html is not None:
        _page(arguments, shown, found)
    notes = () if arguments.html is None else (f"wrote {arguments.html}",)
    return Result(shown, text(found, expected.judged, width, _scope(found, log, expected.profile)), code, notes)


def _page(arguments: argparse.Namespace, shown: dict[str, object], found: Comparison) -> None:
    from pluto_measure.compare.page import page

    profile = [] if arguments.profile is None else ["--profile", arguments.profile]
    words = ["pluto-measure", "diff", str(arguments.expected), str(arguments.actual), *profile]
    command = shlex.join([*words, "--html", str(arguments.html)])
    names = (str(arguments.expected), str(arguments.actual))
    files.write(arguments.html, page(shown, found.rows, command=command, names=names))


def document(found: Comparison, judged: dict[str, Judged], profile: str | None, log: EventLog) -> dict[str, object]:
    """The JSON document."""
    counts, cause = found.counts, found.cause
    return {
        "equal": _is_equal(found, judged),
        "profile": profile,
        "first": found.first.to_json() if found.first else None,
        "cause": cause.to_json() if cause else None,
        "explainable": list(found.explainable),
        "notCompared": list(_not_compared(found, log)),
        "differences": [difference.to_json() for difference in found.differences],
        "registers": {name: {**one.to_json(), "differences": counts.get(name)} for name, one in judged.items()},
    }


def text(found: Comparison, judged: dict[str, Judged], width: int, scope: Sequence[str] = ()) -> str:
    """The same for people; no line longer than `width`. `scope`: sentences on what was compared."""
    side_by_side = table(found, {name: one.equal for name, one in judged.items()}, width)
    if _is_equal(found, judged):
        lines = ["equal: every compared register has the expected events"]
        for sentence in scope:
            lines += wrapped(sentence, width, rest="  ")
        return "\n".join(lines) + "\n\n" + side_by_side
    lines = ["different:"]
    for name in _odd(found, judged):
        lines.append(f"  {name}: every event is allowed, but not all of them together")
    for difference in found.firsts:
        attack = f"  (attack: {difference.attack})" if difference.attack else ""
        said = f"event {difference.index}, {difference.register}: {difference.meaning}{attack}"
        lines += wrapped(said, width, "  ", "      ")
    if (cause := found.cause) is not None:
        lines += ["", *wrapped(f"likely cause: {cause.text}", width, rest="  ")]
        lines += wrapped(f"hint: {cause.hint}", width, rest="  ") if cause.hint else []
    explainable = ", ".join(name for name in found.explainable if found.rows[name]) or "none"
    for sentence in (f"registers that stay explainable: {explainable}", *scope):
        lines += wrapped(sentence, width, rest="  ")
    return "\n".join(lines) + "\n\n" + side_by_side


def _is_equal(found: Comparison, judged: dict[str, Judged]) -> bool:
    return not found.differences and not _odd(found, judged)


def _scope(found: Comparison, log: EventLog, profile: str | None) -> list[str]:
    named = [] if profile is None else [f"compared with profile {profile}"]
    left_out = _not_compared(found, log)
    return named + ([f"not compared, since nothing is expected of them: {', '.join(left_out)}"] if left_out else [])


def _not_compared(found: Comparison, log: EventLog) -> tuple[str, ...]:
    """Registers that the log extends and that were not compared."""
    extended = (log.register(event) for event in log.events if event.type != EventType.EV_NO_ACTION)
    return tuple(dict.fromkeys(name for name in extended if name not in found.rows))


def _odd(found: Comparison, judged: dict[str, Judged]) -> list[str]:
    """Compared registers that have the wrong value although each of their events is allowed: of several machines."""
    return [
        name for name, count in found.counts.items() if not count and name in judged and judged[name].equal is False
    ]


def _expected(data: bytes, log: EventLog, wanted: str | None) -> _Expected:
    parsed = loads(data, what="expected log") if data.lstrip()[:1] == b"{" else None
    if isinstance(parsed, dict) and "profiles" in parsed and "version" not in parsed:
        return _prediction(_one_prediction(parsed["profiles"], wanted), log)
    if isinstance(parsed, dict) and "profiles" in parsed:
        return _nearest(Measurements.parse(data), log, wanted)
    if wanted is not None:
        raise UsageError("--profile needs measurements.json, and EXPECTED is none")
    if isinstance(parsed, dict) and isinstance(parsed.get("events"), list):
        return _prediction(parsed, log)
    if isinstance(parsed, dict) and "event_log" not in parsed:
        raise FormatError("expected log", "is neither measurements.json nor the output of predict --json, nor a log")
    other = logs.parse(data)
    expected = expected_from_log(other)
    named = [event.register for event in (*expected, *expected_from_log(log))]
    registers = tuple(dict.fromkeys(named))
    return _Expected(expected, registers, judged_by_values(replay(other), log, registers), ours="the expected log")


def _nearest(measurements: Measurements, log: EventLog, wanted: str | None) -> _Expected:
    profiles = [p for p in measurements.profiles if wanted in (None, p.id)]
    if not profiles:
        raise UsageError(f"measurements.json has no profile {wanted}" if wanted else "measurements.json has no profile")
    if len({p.platform for p in profiles}) > 1:
        # Nearest would be who says least: a kind that leaves registers to the log differs in fewer of them.
        names = ", ".join(p.id for p in profiles)
        raise UsageError(f"measurements.json has machines of several kinds: {names}", hint="name one with --profile ID")
    profile = min(profiles, key=lambda one: _distance(one, log)) if len(profiles) > 1 else profiles[0]
    judged = judged_by_rules(profile.registers, log)
    return _Expected(profile.events, profile.logged, judged, Known.of(profile.inputs), profile.id)


def _one_prediction(listed: object, wanted: str | None) -> dict[str, Any]:
    """One of the predictions that predict --json makes for several machines."""
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    chosen = [one for one in found if wanted in (None, one.get("profile")) and isinstance(one.get("events"), list)]
    if len(chosen) != 1:
        names = ", ".join(str(one.get("profile")) for one in found)
        raise UsageError(f"the prediction is of several machines: {names}", hint="name one with --profile ID")
    return chosen[0]


def _distance(profile: Profile, log: EventLog) -> tuple[int, int, int]:
    """How many registers differ, how many events do, and how many do not: the more, the nearer.

    A profile with other banks than the log is farthest.
    """
    try:
        rows = align_logs(profile.events, log, profile.logged)
    except FormatError:
        return sys.maxsize, 0, 0
    wrong = [sum(not row.equal for row in of_register) for of_register in rows.values()]
    return sum(map(bool, wrong)), sum(wrong), sum(wrong) - sum(map(len, rows.values()))


def _prediction(parsed: dict[str, Any], log: EventLog) -> _Expected:
    """The output of predict --json. Older ones have neither roles nor rules."""
    expected = tuple(
        ExpectedEvent.from_json(_with_role(item), what=f"events[{i}]") for i, item in enumerate(parsed["events"])
    )
    inputs = parsed.get("inputs")
    known = Known.of(inputs) if isinstance(inputs, dict) else Known()
    judged = judged_by_events(expected, log)
    given, named_as = parsed.get("rules"), parsed["profile"] if isinstance(parsed.get("profile"), str) else None
    if not isinstance(given, dict):
        return _Expected(expected, None, judged, known)
    rules = {name: RegisterRule.from_json(rule, what=f"rules.{name}") for name, rule in given.items()}
    listed = {event.register for event in expected}
    if parsed.get("buildId") is None:
        return _Expected(expected, tuple(name for name in _OF_THE_MACHINE if name in listed), judged, known, named_as)
    named = [name for name, rule in rules.items() if name in listed or rule.match not in ("replay", "any")]
    return _Expected(expected, tuple(named), judged | judged_by_rules(rules, log), known, named_as)


def _with_role(event: object) -> object:
    """An expected event in JSON, with a role also where the prediction was made before events had one."""
    if not isinstance(event, dict) or "role" in event:
        return event
    described, source = str(event.get("description")), str(event.get("source"))
    return {**event, "role": _ROLE_OF_SOURCE.get(source) or _described(described, source, event.get("register"))}


def _described(description: str, source: str, register: object) -> str:
    section = _OLD_SECTION.fullmatch(source)
    if section:
        return f"section-name:{section[1]}" if description.startswith("name of") else f"section:{section[1]}"
    if description.startswith("variable "):
        return description.partition(":")[0].replace(" ", ":")
    if description.startswith("end of"):
        return "separator:secure-boot" if register == "pcr7" else "separator:ready"
    return _ROLE_OF_TEXT.get(description, "")
