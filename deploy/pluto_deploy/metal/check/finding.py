"""One finding about a host: what was seen, how it is judged, what to do, and who can do it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pluto_measure.findings import Scalar, Verdict

FixedBy = Literal["hardware", "bios", "prepare", "operator"]


@dataclass(frozen=True, slots=True)
class HostFinding:
    """The outcome of one check. `action`: one sentence on what to do; `fixed_by`: who can, None where nobody need.

    hardware: another machine. bios: a switch of this one's firmware. prepare: `pluto-deploy host prepare` does it.
    operator: a person, on the system or with Intel.
    """

    id: str
    verdict: Verdict
    text: str
    expected: Scalar = None
    actual: Scalar = None
    action: str | None = None
    fixed_by: FixedBy | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "verdict": self.verdict,
            "expected": self.expected,
            "actual": self.actual,
            "text": self.text,
            "action": self.action,
            "fixedBy": self.fixed_by,
        }


def passed(check: str, text: str, *, expected: Scalar = None, actual: Scalar = None) -> HostFinding:
    """A check that holds."""
    return HostFinding(check, "pass", text, expected, actual)


def warned(
    check: str, text: str, action: str, fixed_by: FixedBy, *, expected: Scalar = None, actual: Scalar = None
) -> HostFinding:
    """Something that could not be seen, or that is not as it should be and yet no reason to refuse."""
    return HostFinding(check, "warning", text, expected, actual, action, fixed_by)


def failed(
    check: str, text: str, action: str, fixed_by: FixedBy, *, expected: Scalar = None, actual: Scalar = None
) -> HostFinding:
    """A check that does not hold: no trust domain runs, or none can be quoted, until it does."""
    return HostFinding(check, "fail", text, expected, actual, action, fixed_by)
