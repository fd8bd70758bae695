"""The frame of every command: parse, run, one `try`, exit codes; JSON to stdout, words to stderr.

`--json` prints one JSON document to stdout at every exit code; people read stderr. A command function takes the
parsed arguments and returns a `Result`; it prints nothing itself except progress on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from pluto_measure.errors import PlutoError, UsageError
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
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"run '{self.prog} --help'")


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser whose mistakes are UsageErrors, so that they follow the same rules as all errors."""
    return _Parser(prog=prog, description=description)


def run(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command in `argv`; each subparser sets the default `run` to a Command. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        arguments = top.parse_args(words)
        result: Result = arguments.run(arguments)
    except PlutoError as error:
        print(f"{top.prog}: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"{top.prog}: hint: {error.hint}", file=sys.stderr)
        if as_json:
            kind = type(error).__name__
            document = {"error": {"kind": kind, "message": str(error), "hint": error.hint, **_plain(error.fields())}}
            sys.stdout.write(pretty(document))
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{top.prog}: interrupted", file=sys.stderr)
        return 130
    for note in result.notes:
        print(f"{top.prog}: {note}", file=sys.stderr)
    sys.stdout.write(pretty(result.document) if as_json else result.text)
    return result.exit_code


def _plain(fields: dict[str, object]) -> dict[str, object]:
    kept = (str, int, bool, list, dict, type(None))
    return {
        name: value.hex() if isinstance(value, bytes) else value if isinstance(value, kept) else str(value)
        for name, value in fields.items()
    }
