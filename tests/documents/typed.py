"""Types the commands of a page, one after the other, in one shell, and keeps what came of each. For tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from documents.shown import Shown, pattern, shown

DOCS = Path(__file__).resolve().parents[2] / "docs"
_SECONDS = 300  # for a page


@dataclass(frozen=True)
class Page:
    """A page of the documents, by its path below docs."""

    name: str

    @property
    def text(self) -> str:
        return (DOCS / f"{self.name}.md").read_text()

    @property
    def commands(self) -> tuple[Shown, ...]:
        return tuple(shown(self.text))

    @property
    def each(self) -> pytest.MarkDecorator:
        """A test for each of its commands, by its place."""
        ids = [one.command[:50] for one in self.commands]
        return pytest.mark.parametrize("place", range(len(ids)), ids=ids)


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    code: int
    out: str
    err: str

    @classmethod
    def of(cls, done: subprocess.CompletedProcess[str]) -> Self:
        return cls(done.returncode, done.stdout, done.stderr)


def typed(
    page: Page,
    work: Path,
    *,
    bin_folder: Path,
    words: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    unseen: Mapping[int, str] | None = None,
) -> list[Outcome]:
    """Run all commands of the page in `work`, whose neighbours are the home and what was said.

    `words`: what is meant for each of the page's; `more`: of the environment; `unseen`: what is typed before the
    command at a place, or after the last one, and is not on the page.
    """
    said, home = work.parent / "said", work.parent / "home"
    said.mkdir()
    home.mkdir(exist_ok=True)
    commands, between = page.commands, unseen or {}
    script = ""
    for place, one in enumerate(commands):
        line, to = meant(one.command, words or {}), said / str(place)
        script += f"{between.get(place, '')}\n{{ {line}\n}} > {to}.out 2> {to}.err; echo $? > {to}.code\n"
    script += between.get(len(commands), "")
    path = [str(bin_folder), str(Path(sys.executable).parent), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    env = {"PATH": os.pathsep.join(path), "HOME": str(home), "LC_ALL": "C.UTF-8", **(more or {})}
    subprocess.run(["bash", "-uc", script], cwd=work, env=env, check=True, timeout=_SECONDS, capture_output=True)
    return [_outcome(said / str(place)) for place in range(len(commands))]


def check(one: Shown, outcome: Outcome, words: Mapping[str, str] | None = None) -> None:
    """Whether a command did what the page says: its exit code, and the output that the page shows."""
    assert outcome.code == one.code, f"{one.command}\n{outcome.out}{outcome.err}"
    assert "Traceback" not in outcome.err
    if one.output:
        wanted = tuple(meant(line, words or {}) for line in one.output)
        end = "\n" if one.command.startswith("curl ") else ""  # what a server says need not end its last line
        assert pattern(wanted).fullmatch(outcome.out + end), f"{one.command}\n{outcome.out}"


def meant(text: str, words: Mapping[str, str]) -> str:
    """The text with what is meant for each word of the page's."""
    for name, value in words.items():
        text = text.replace(name, value)
    return text


def _outcome(said: Path) -> Outcome:
    code, out, err = (said.with_name(f"{said.name}.{kind}").read_text() for kind in ("code", "out", "err"))
    return Outcome(int(code), out, err)
