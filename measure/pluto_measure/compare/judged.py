"""The registers of a log beside the ones expected: equal, not equal, or not to be told from a log alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pluto_measure.digests import ALGORITHMS
from pluto_measure.formats.eventlog import EventLog, EventType
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.registers.replay import Registers, replay, replay_expected
from pluto_measure.registers.rules import RegisterRule


@dataclass(frozen=True, slots=True)
class Judged:
    """One register: the values that are expected and the one that the log replays to, by bank.

    `equal` is None where a log alone cannot say: a register that nothing extends in the log, one of which an event is
    open, or one whose rule needs the quote. `match` is the rule's, None where there is no rule.
    """

    equal: bool | None
    expected: Mapping[str, tuple[bytes, ...]]
    actual: Mapping[str, bytes]
    match: str | None = None

    def to_json(self) -> dict[str, object]:
        expected: dict[str, object] = {
            bank: values[0].hex() if self.match is None else [value.hex() for value in values]
            for bank, values in self.expected.items()
        }
        return {
            "equal": self.equal,
            **({} if self.match is None else {"match": self.match}),
            "expected": expected,
            "actual": {bank: value.hex() for bank, value in self.actual.items()},
        }


def judged_by_events(events: Iterable[ExpectedEvent], log: EventLog) -> dict[str, Judged]:
    """All registers that the events or the log extend, by the value that the events replay to."""
    listed = tuple(events)
    return judged_by_values(replay_expected(listed), log, (event.register for event in listed))


def judged_by_values(values: Registers, log: EventLog, more: Iterable[str] = ()) -> dict[str, Judged]:
    """All registers that the log extends, and `more`, by the values that they should have. FormatError as `replay`."""
    actual = replay(log)
    extended = (log.register(event) for event in log.events if event.type != EventType.EV_NO_ACTION)
    found = {}
    for name in dict.fromkeys([*more, *extended]):
        ours = {bank: of_bank[name] for bank, of_bank in values.items() if name in of_bank}
        theirs = {bank: of_bank[name] for bank, of_bank in actual.items() if name in of_bank}
        banks = ours.keys() & theirs.keys()
        equal = all(ours[bank] == theirs[bank] for bank in banks) if banks else None
        found[name] = Judged(equal, {bank: (value,) for bank, value in ours.items()}, theirs)
    return found


def judged_by_rules(rules: Mapping[str, RegisterRule], log: EventLog) -> dict[str, Judged]:
    """All registers that have a rule, by it. FormatError as `replay`."""
    actual = replay(log)
    found = {}
    for name, rule in rules.items():
        theirs = {bank: values[name] for bank, values in actual.items() if name in values}
        allowed = {bank: rule.accepted(name, bank, actual) for bank in theirs if bank in ALGORITHMS}
        # What the kernel extends after the log's end is not in it, so a rule that replays says nothing here; nor does a
        # list to which nobody has added a value yet.
        waits = rule.match == "replay" or (rule.match == "oneOf" and not rule.values)
        judged = {bank: values for bank, values in allowed.items() if values and not waits}
        equal = all(theirs[bank] in values for bank, values in judged.items()) if judged else None
        found[name] = Judged(equal, judged, theirs, rule.match)
    return found
