"""The frame of every command: parse, run, one `try`, exit codes; JSON to stdout, words to stderr.

`--json` prints one JSON document to stdout at every exit code; people read stderr. A command function takes the
parsed arguments and returns a `Result`; it prints nothing itself except progress on stderr.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pluto_measure.errors import PlutoError, SourceError, UsageError
from pluto_measure.formats.strict_json import pretty


@dataclass(frozen=True, slots=True)
class Result:
    """What a command has to say: the JSON document, the same facts as text, and the exit code."""

    document: dict[str, object]
    text: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = field(default=())  # lines for stderr


Command = Callable[[argparse.Namespace], Result]


class _Parser(argparse.ArgumentParser):
    def __init__(self, **how: Any) -> None:
        # No abbreviations: `run` looks for the word --json, and a new option must not change what an old call means.
        super().__init__(**{**how, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"run '{self.prog} --help'")


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser whose mistakes are UsageErrors, so that they follow the same rules as all errors."""
    return _Parser(prog=prog, description=description)


def counted(number: int, noun: str) -> str:
    """ "1 file", "2 files": a number with a noun whose plural is regular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Words that others may have had a hand in, such as a host's, without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def run(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command in `argv`; each subparser sets the default `run` to a Command. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        arguments = top.parse_args(words)
        result: Result = _quietly(arguments.run, arguments)
    except PlutoError as error:
        print(f"{top.prog}: error: {printable(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"{top.prog}: hint: {printable(error.hint)}", file=sys.stderr)
        return _failed(type(error).__name__, str(error), error.hint, error.fields(), error.exit_code, as_json)
    except KeyboardInterrupt:
        print(f"{top.prog}: interrupted", file=sys.stderr)
        return _failed("Interrupted", "interrupted", None, {}, 130, as_json)
    except Exception as error:  # noqa: BLE001  a bug of ours: its place for people, its name for programs
        import traceback  # only a bug of ours needs it

        traceback.print_exc()
        print(f"{top.prog}: error: this is a bug in {top.prog}, not in what you gave it", file=sys.stderr)
        return _failed(type(error).__name__, str(error), None, {}, 1, as_json)
    for note in result.notes:
        print(f"{top.prog}: {printable(note)}", file=sys.stderr)
    return _write(top.prog, pretty(result.document) if as_json else result.text) or result.exit_code


def _quietly(command: Command, arguments: argparse.Namespace) -> Result:
    """Run a command. Libraries warn of odd input with places in their source, which says nothing to its reader."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        return command(arguments)


def _write(prog: str, text: str) -> int:
    """Write to stdout, with ? for characters that it cannot show. 0, or 6 where it takes nothing."""
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:
            sys.stdout.write(text.encode(error.encoding, "replace").decode(error.encoding))
        sys.stdout.flush()
    except OSError as error:
        print(f"{prog}: error: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return SourceError.exit_code
    return 0


def _failed(kind: str, message: str, hint: str | None, fields: dict[str, object], code: int, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(pretty({"error": {"kind": kind, "message": message, "hint": hint, **_plain(fields)}}))
    return code


def _plain(fields: dict[str, object]) -> dict[str, object]:
    kept = (str, int, bool, list, dict, type(None))
    return {
        name: value.hex() if isinstance(value, bytes) else value if isinstance(value, kept) else str(value)
        for name, value in fields.items()
    }
