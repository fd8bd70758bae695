"""Findings: what each check of a verification or an appraisal looked at and what it says of it. Pure values.

Every check has an id that never changes its meaning; the list is in docs/formats/policy.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pluto_measure.errors import VerificationError

Verdict = Literal["pass", "warning", "fail"]
Scalar = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `expected` and `actual` are as people read them; digests in hex."""

    id: str
    verdict: Verdict
    text: str
    expected: Scalar = None
    actual: Scalar = None

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "verdict": self.verdict,
            "expected": self.expected,
            "actual": self.actual,
            "text": self.text,
        }


class NotAuthentic(VerificationError):
    """Evidence whose signatures or digests do not hold. `findings` has every check that ran, passed ones too."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{f.id}: {f.text}" for f in failures(findings)))

    def fields(self) -> dict[str, object]:
        return {"findings": [finding.to_json() for finding in self.findings]}


def judge(
    check_id: str, holds: bool, text: str, *, otherwise: str, expected: Scalar = None, actual: Scalar = None
) -> Finding:
    """A finding that passes with `text` or fails with `otherwise`."""
    return Finding(check_id, "pass" if holds else "fail", text if holds else otherwise, expected, actual)


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that refuse."""
    return [finding for finding in findings if finding.verdict == "fail"]
