"""The frame of every command: parse, run, one `try`, exit codes; JSON to stdout, words to stderr.

`--json` prints one JSON document to stdout at every exit code; people read stderr. A command function takes the
parsed arguments and returns a `Result`; it prints nothing itself except progress on stderr. One that stays, and tells
more than once, writes each time by `write` and returns a `written` result.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pluto_measure.errors import PlutoError, SourceError, UsageError
from pluto_measure.formats.strict_json import pretty
from pluto_measure.wording import printable

# What whoever carries steps out notes on any error that passes through: where it was, and what serves now.
_NOTED: Final = ("step", "serving", "cleanup")
_VERSION: Final = "--version"
_DISTRIBUTION: Final = "pluto-tee"  # pyproject.toml, [project] name


@dataclass(frozen=True, slots=True)
class Result:
    """What a command has to say: the JSON document, the same facts as text, and the exit code.

    `written`: it was said already, by `write`.
    """

    document: dict[str, object]
    text: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = field(default=())  # lines for stderr
    written: bool = False


Command = Callable[[argparse.Namespace], Result]


class _EndedError(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what it began to write is taken away."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **how: Any) -> None:
        # No abbreviations: `run` looks for the word --json, and a new option must not change what an old call means.
        super().__init__(**{**how, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"run '{self.prog} --help'")


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser whose mistakes are UsageErrors, so that they follow the same rules as all errors."""
    top = _Parser(prog=prog, description=description)
    top.add_argument(_VERSION, action="store_true", help="print the version of this program, and do nothing else")
    return top


def run(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command in `argv`; each subparser sets the default `run` to a Command. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        first = next((word for word in words if word != "--json"), None)
        with _ended_like_interrupted():
            result = _version(top.prog) if first == _VERSION else _asked(top, words)
        for note in result.notes:
            _tell(f"{top.prog}: {printable(note)}")
        if not result.written:
            write(pretty(result.document) if as_json else result.text)
    except PlutoError as error:
        _tell(f"{top.prog}: error: {printable(str(error))}")
        if error.hint:
            _tell(f"{top.prog}: hint: {printable(error.hint)}")
        return _failed(described(error), error.exit_code, as_json)
    except KeyboardInterrupt as error:
        how, code = ("ended by SIGTERM", 143) if isinstance(error, _EndedError) else ("interrupted", 130)
        _tell(f"{top.prog}: {how}")
        return _failed({**_described("Interrupted", how), **_noted(error)}, code, as_json)
    except Exception as error:  # noqa: BLE001  a bug of ours: its place for people, its name for programs
        import traceback  # only a bug of ours needs it

        _tell(traceback.format_exc().rstrip())
        _tell(f"{top.prog}: error: this is a bug in {top.prog}, not in what you gave it")
        return _failed({**_described(type(error).__name__, str(error)), **_noted(error)}, 1, as_json)
    return result.exit_code


@contextlib.contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """While a command runs, unless it or our caller has an answer of its own to SIGTERM."""

    def end(*_: object) -> NoReturn:
        raise _EndedError

    try:
        ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if ours:
            signal.signal(signal.SIGTERM, end)
    except ValueError:  # only the main thread is told of signals
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _asked(top: argparse.ArgumentParser, words: Sequence[str]) -> Result:
    arguments = top.parse_args(words)
    command: Command = arguments.run
    return _quietly(command, arguments)


def _version(prog: str) -> Result:
    """The version of the distribution that all four programs come from."""
    from importlib import metadata  # who asks is not in a hurry; all others are

    try:
        version = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise SourceError(f"{prog} does not know its version: it runs from sources that are not installed") from error
    return Result({"program": prog, "version": version}, f"{prog} {version}\n")


def described(error: PlutoError) -> dict[str, object]:
    """An error for programs: kind, message, hint and its own fields."""
    return {**_described(type(error).__name__, str(error), error.hint), **_plain(error.fields())}


def write(text: str) -> None:
    """Write to stdout at once, with ? for characters that it cannot show. SourceError where it takes nothing."""
    if not text:
        return
    if sys.stdout is None:  # it was closed before we were started
        raise SourceError("cannot write to stdout: it is closed")
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:
            sys.stdout.write(text.encode(error.encoding, "replace").decode(error.encoding))
        sys.stdout.flush()
    except OSError as error:
        _drop_the_rest()
        raise SourceError(f"cannot write to stdout: {error.strerror}") from error


def _quietly(command: Command, arguments: argparse.Namespace) -> Result:
    """Run a command. Libraries warn of odd input with places in their source, which says nothing to its reader."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        return command(arguments)


def _tell(line: str) -> None:
    """A line on stderr. Where nobody reads it, the exit code has to do."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr)


def _drop_the_rest() -> None:
    """What was not taken is tried again at the end of the process, which would change its exit code."""
    with contextlib.suppress(OSError):
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _failed(error: dict[str, object], code: int, as_json: bool) -> int:
    if as_json:
        with contextlib.suppress(SourceError):  # the error that is told is the first one
            write(pretty({"error": error}))
    return code


def _described(kind: str, message: str, hint: str | None = None) -> dict[str, object]:
    return {"kind": kind, "message": message, "hint": hint}


def _noted(error: BaseException) -> dict[str, object]:
    return _plain({name: value for name, value in vars(error).items() if name in _NOTED})


def _plain(fields: dict[str, object]) -> dict[str, object]:
    kept = (str, int, bool, list, dict, type(None))
    return {
        name: value.hex() if isinstance(value, bytes) else value if isinstance(value, kept) else str(value)
        for name, value in fields.items()
    }
