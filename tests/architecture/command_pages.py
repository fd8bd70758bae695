"""docs/commands: a page for each program, made of its parser.

    python tests/architecture/command_pages.py        writes the pages; a test compares them

argparse lays help out differently from version to version, so the pages are laid out here.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "docs/commands"
PROGRAMS = ("pluto_image", "pluto_measure", "pluto_notary", "pluto_deploy")
CODES = """| exit code | means |
|---|---|
| 0 | done, or accepted |
| 1 | a bug of ours |
| 2 | the call cannot work |
| 3 | an input is malformed |
| 4 | not authentic |
| 5 | refused by policy, or different |
| 6 | somebody else failed: network, tool, cloud |
| 130, 143 | interrupted, by Ctrl-C or SIGTERM; what was half written is taken away |

With `--json` one document goes to standard output at every exit code; people read standard error. `--version` tells the
program's version.
"""


def page(package: str) -> str:
    """The page of one program, in Markdown."""
    top = importlib.import_module(f"{package}.cli").build_parser()
    commands = list(walk(top))
    rows = [f"- [`{parser.prog}`](#{parser.prog.replace(' ', '-')}): {summary}" for parser, summary in commands]
    parts = [f"# {top.prog}", _text(top.description or ""), "\n".join(rows), CODES.rstrip()]
    for parser, _ in commands:
        parts += [f"## {parser.prog}", f"```\n{_synopsis(parser)}\n```", _text(parser.description or "")]
        parts += [table for table in (_options(parser),) if table]
    made = "This page is made of the program's parser by `make docs`."
    return "\n\n".join([*parts, made]) + "\n"


def walk(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Every command that does something, with its line in the list of commands."""
    for action in parser._actions:  # argparse has no public way to list its parts
        if isinstance(action, argparse._SubParsersAction):
            summaries = {one.dest: one.help or "" for one in action._choices_actions}
            for name, sub in action.choices.items():
                nested = list(walk(sub))
                yield from nested or [(sub, summaries[name])]


def _synopsis(parser: argparse.ArgumentParser) -> str:
    pieces = [_piece(action) for action in _shown(parser)]
    lines, line = [], parser.prog
    for piece in pieces:
        if len(line) + 1 + len(piece) > 100:
            lines.append(line)
            line = " " * 8 + piece
        else:
            line = f"{line} {piece}"
    return "\n".join([*lines, line])


def _piece(action: argparse.Action) -> str:
    values = _values(action)
    if not action.option_strings:
        return {"?": f"[{values}]", "*": f"[{values} …]", "+": f"{values} …"}.get(str(action.nargs), values)
    text = " ".join(filter(None, (action.option_strings[-1], values)))
    repeated = " …" if isinstance(action, argparse._AppendAction) else ""
    return f"{text}{repeated}" if action.required else f"[{text}]{repeated}"


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    metavar = action.metavar or action.dest.upper()
    return metavar if isinstance(metavar, str) else " ".join(metavar)


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| option | means |", "|---|---|"]
    for action in _shown(parser):
        names = ", ".join(action.option_strings)
        name = " ".join(filter(None, (names, _values(action)))).replace("|", r"\|")
        text = (action.help or "") % {**vars(action), "prog": parser.prog} if action.help else ""
        rows.append(f"| `{name}` | {_text(text).replace('|', chr(92) + '|')} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    actions = [one for one in parser._actions if not isinstance(one, hidden) and one.help is not argparse.SUPPRESS]
    return [*(one for one in actions if not one.option_strings), *(one for one in actions if one.option_strings)]


def _text(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def pages() -> dict[Path, str]:
    """What the folder must hold."""
    return {PAGES / f"{package.replace('_', '-')}.md": page(package) for package in PROGRAMS}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
