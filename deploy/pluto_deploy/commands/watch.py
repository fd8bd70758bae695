"""`pluto-deploy watch`: appraise again and again, and say early what will be amiss. Fit for cron, or its own timer."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pluto_deploy import session
from pluto_deploy.commands import words
from pluto_deploy.commands.verify import appraised
from pluto_deploy.engine.standing import Standing
from pluto_measure.command import Result, described, write
from pluto_measure.errors import PlutoError, UsageError
from pluto_measure.progress import Silent
from pluto_measure.wording import printable

DESCRIPTION: Final = """Appraise what clients reach, as 'verify' does, and warn of what is to come: a platform that
Intel's next set of documents finds wanting, collateral that is due, a relaunch that is advised. Once, for cron: silent
with --quiet where all is well. With --every it stays, appraises on its own timer until Ctrl-C, and writes each look to
stdout at once: with --json as a document in a line of its own. The exit code is that of 'verify', of the last look."""
QUIET: Final = """print nothing where all is accepted and nothing needs a look. A warning does, but for one of what the
policy itself permits by an insecure_ or allow word, such as insecure_software_tpm"""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("watch", help="appraise again and again, and warn early", description=DESCRIPTION)
    parser.set_defaults(run=run)
    session.add_options(parser)
    session.add_judging_options(parser)
    parser.add_argument("--every", type=float, metavar="SECONDS", help="stay, and appraise this often (default: once)")
    parser.add_argument("--times", type=int, metavar="N", help="with --every: end after N appraisals")
    parser.add_argument("--quiet", action="store_true", help=QUIET)


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
        return self.stands is not None and self.stands.accepted and not self.stands.news

    def to_json(self) -> dict[str, object]:
        error = None if self.error is None else described(self.error)
        known = {} if self.stands is None else self.stands.to_json()
        return {"at": self.at, "exitCode": self.exit_code, "error": error, **known}

    def text(self) -> str:
        if self.stands is not None:
            return f"{self.at}  " + words.standing(self.stands)
        hint = f"  hint: {self.error.hint}\n" if self.error is not None and self.error.hint else ""
        return printable(f"{self.at}  {self.error}\n{hint}")


def run(arguments: argparse.Namespace) -> Result:
    """Look once, or until N or Ctrl-C; each look is a document."""
    if arguments.every is None:
        if arguments.times is not None:
            raise UsageError("--times goes with --every")
        looked = _look(arguments)
        if looked.error is not None:
            raise looked.error
        shown = "" if arguments.quiet and looked.is_quiet else looked.text()
        return Result(_document(arguments, looked), shown, looked.exit_code)
    if arguments.every < 1 or (arguments.times is not None and arguments.times < 1):
        raise UsageError("--every is at least 1 second, --times at least 1")
    return _stay(arguments)


def _stay(arguments: argparse.Namespace) -> Result:
    looked, done = None, 0
    try:
        while arguments.times is None or done < arguments.times:
            if done:
                time.sleep(arguments.every)
            looked, done = _look(arguments), done + 1
            _tell(arguments, looked)
    except KeyboardInterrupt:
        if looked is None:
            raise
    assert looked is not None, "there is one look at least"
    return Result({}, exit_code=looked.exit_code, written=True)


def _tell(arguments: argparse.Namespace, looked: _Pass) -> None:
    """Each look as it is made: people and programs cannot wait for the last one."""
    if arguments.quiet and looked.is_quiet:
        return
    write(json.dumps(_document(arguments, looked)) + "\n" if arguments.json else looked.text())


def _document(arguments: argparse.Namespace, looked: _Pass) -> dict[str, object]:
    return {"deployment": str(arguments.deployment), **looked.to_json()}


def _look(arguments: argparse.Namespace) -> _Pass:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with session.opened(arguments, Silent(), wanted=True) as opened:
            stands, _ = appraised(opened)
    except PlutoError as error:
        return _Pass(at, None, error)
    return _Pass(at, stands, None)
