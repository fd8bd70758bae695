"""What was meant to be done to a deployment, and how far it came: a hint for people. What is true is on the target.

STATE/deployments/<name>.json   the plan of the last command, the step that it was at, and how it ended
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pluto_deploy.engine.plan import Plan, Step
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads, pretty
from pluto_measure.state_folder import StateFolder

LIMIT: Final = 1 << 20


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """The journal of one deployment, below the state directory `state`; None keeps none."""

    def __init__(self, state: Path | None, name: str, now: Callable[[], datetime] = _now) -> None:
        self._folder = None if state is None else StateFolder(state / "deployments", f"{name}.json")
        self._path = None if state is None else state / "deployments" / f"{name}.json"
        self._now = now

    def note(self, plan: Plan, step: Step) -> None:
        """Before each step."""
        self._write(plan, "at work", step)

    def failed(self, plan: Plan, step: Step, reason: str) -> None:
        """A step failed, and the old machine was seen to."""
        self._write(plan, "failed", step, reason)

    def finished(self, plan: Plan) -> None:
        """The plan was carried out."""
        self._write(plan, "done", None)

    def last(self) -> dict[str, object] | None:
        """The last entry. A journal that cannot be read is none: nothing depends on it."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            value = loads(self._path.read_bytes(), what="journal", limit=LIMIT)
        except (FormatError, OSError):
            return None
        return value if isinstance(value, dict) else None

    def _write(self, plan: Plan, state: str, step: Step | None, reason: str | None = None) -> None:
        if self._folder is None or self._path is None:
            return
        entry = {
            "at": self._now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "state": state,
            "step": None if step is None else step.to_json(),
            "reason": reason,
            "plan": plan.to_json(),
        }
        with self._folder.locked(), self._folder.prepared(self._path, pretty(entry)) as rename:
            rename()
