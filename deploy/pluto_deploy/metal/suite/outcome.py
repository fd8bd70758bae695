"""What a run of the suite found: parsed from what its plugin writes, shown to people and programs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, Self, get_args

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads
from pluto_measure.wording import counted

Word = Literal["passed", "failed", "error", "skipped"]
_WHAT: Final = "the suite's results"
_MARKS: Final = {"passed": "ok  ", "failed": "FAIL", "error": "ERR ", "skipped": "skip"}


@dataclass(frozen=True, slots=True)
class Check:
    """One test. `message`: why it failed, could not run or was left out."""

    id: str
    text: str
    outcome: Word
    seconds: float
    message: str | None

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "text": self.text,
            "outcome": self.outcome,
            "seconds": self.seconds,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """All tests of a run, in its order."""

    checks: tuple[Check, ...]

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Read the results: a list of {id, text, outcome, seconds, message}. FormatError."""
        value = loads(text, what=_WHAT)
        if not isinstance(value, list):
            raise FormatError(_WHAT, "must be a list")
        return cls(tuple(_check(Fields(one, what=_WHAT)) for one in value))

    @property
    def passed(self) -> bool:
        """Whether something was tested and nothing failed; what was left out counts as neither."""
        ran = [one for one in self.checks if one.outcome != "skipped"]
        return bool(ran) and all(one.outcome == "passed" for one in ran)

    def document(self, host: str) -> dict[str, object]:
        """For programs."""
        counts = {word: sum(one.outcome == word for one in self.checks) for word in get_args(Word)}
        return {
            "host": host,
            "passed": self.passed,
            "counts": counts,
            "checks": [one.to_json() for one in self.checks],
        }

    def text(self, host: str) -> str:
        """For people: the verdict in the first line."""
        bad = [one for one in self.checks if one.outcome in ("failed", "error")]
        verdict = f"as prepared, {counted(len(self.checks), 'test')}"
        if not self.passed:
            verdict = f"not as prepared: {len(bad)} of {counted(len(self.checks), 'test')} failed"
        lines = [f"{host}: {verdict}"]
        for group, members in groupby(self.checks, key=lambda one: one.id.partition(".")[0]):
            lines += ["", group.capitalize()]
            for one in members:
                lines.append(f"  {_MARKS[one.outcome]}  {one.text}  [{one.id}]")
                if one.message is not None and one.outcome != "passed":
                    lines.append(f"        {one.message}")
        if bad:
            lines += ["", f"to make it so again: pluto-deploy host prepare {host}"]
        return "\n".join(lines) + "\n"


def _check(fields: Fields) -> Check:
    outcome = fields.take("outcome", str)
    if outcome not in get_args(Word):
        raise FormatError(_WHAT, f"{outcome!r} is no outcome")
    seconds = fields.take("seconds", int, float)
    check = Check(
        id=fields.take("id", str),
        text=fields.take("text", str),
        outcome=outcome,
        seconds=round(float(seconds), 3),
        message=fields.take("message", str, type(None)),
    )
    fields.end()
    return check
