"""`pluto-deploy watch`: appraise again and again, and say early what will be amiss. Fit for cron, or its own timer."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.commands import words
from pluto_deploy.commands.verify import appraised
from pluto_deploy.engine.standing import Standing
from pluto_deploy.progress import Silent
from pluto_image import inputs
from pluto_measure.command import Result
from pluto_measure.errors import PlutoError, UsageError
from pluto_measure.formats.strict_json import pretty

DESCRIPTION: Final = """Appraise what clients reach, as 'verify' does, and warn of what is to come: a platform that
Intel's next set of documents finds wanting, collateral that is due, a relaunch that is advised. Once, for cron: silent
with --quiet where all is well. With --every it stays and appraises on its own timer."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("watch", help="appraise again and again, and warn early", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    parser.add_argument("--every", type=float, metavar="SECONDS", help="stay, and appraise this often (default: once)")
    parser.add_argument("--times", type=int, metavar="N", help="with --every: end after N appraisals")
    parser.add_argument("--quiet", action="store_true", help="print nothing where all is accepted without a warning")
    inputs.add_options(parser)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One look. `stands` is None where there was no appraisal; `error` says why."""

    at: str
    stands: Standing | None
    error: PlutoError | None

    @property
    def exit_code(self) -> int:
        return self.stands.exit_code if self.stands is not None else self.error.exit_code if self.error else 1

    @property
    def is_quiet(self) -> bool:
        return self.stands is not None and self.stands.accepted and not self.stands.warnings

    def to_json(self) -> dict[str, object]:
        error = None if self.error is None else {"kind": type(self.error).__name__, "message": str(self.error)}
        known = {} if self.stands is None else self.stands.to_json()
        return {"at": self.at, "exitCode": self.exit_code, "error": error, **known}

    def text(self) -> str:
        if self.stands is None:
            return f"{self.at}  {self.error}\n"
        return f"{self.at}  " + words.standing(self.stands)


def run(arguments: argparse.Namespace) -> Result:
    """Look once, or until N or Ctrl-C; the document has the last look, or all of them."""
    if arguments.every is None:
        if arguments.times is not None:
            raise UsageError("--times goes with --every")
        looked = _look(arguments)
        if looked.error is not None:
            raise looked.error
        shown = "" if arguments.quiet and looked.is_quiet else looked.text()
        return Result({"deployment": str(arguments.deployment), **looked.to_json()}, shown, looked.exit_code)
    if arguments.every < 1 or (arguments.times is not None and arguments.times < 1):
        raise UsageError("--every is at least 1 second, --times at least 1")
    return _stay(arguments)


def _stay(arguments: argparse.Namespace) -> Result:
    done: list[_Pass] = []
    try:
        while arguments.times is None or len(done) < arguments.times:
            if done:
                time.sleep(arguments.every)
            looked = _look(arguments)
            done = [*done[-999:], looked]
            _tell(arguments, looked)
    except KeyboardInterrupt:
        if not done:
            raise
    document: dict[str, object] = {"deployment": str(arguments.deployment), "passes": [one.to_json() for one in done]}
    return Result(document, "", done[-1].exit_code)


def _tell(arguments: argparse.Namespace, looked: _Pass) -> None:
    """Each look as it is made: people and logs cannot wait for the last one."""
    if arguments.quiet and looked.is_quiet:
        return
    sys.stderr.write(pretty(looked.to_json()) if arguments.json else looked.text())
    sys.stderr.flush()


def _look(arguments: argparse.Namespace) -> _Pass:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with session.opened(arguments, Silent(), wanted=True) as opened:
            stands, _ = appraised(opened)
    except PlutoError as error:
        return _Pass(at, None, error)
    return _Pass(at, stands, None)
