"""Types the commands of a page, one after the other, in one shell, and keeps what came of each. For tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simulators.shown_commands import Shown, pattern, shown

DOCS = Path(__file__).resolve().parents[2] / "docs"


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


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    code: int
    out: str
    err: str


def typed(
    page: Page,
    work: Path,
    *,
    bin_folder: Path,
    meant: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Run all commands of the page in `work`; a command whose output the reader sends to a file shows none."""
    said = work.parent / "said"
    said.mkdir()
    script = ""
    for place, one in enumerate(page.commands):
        line = one.command
        for name, value in (meant or {}).items():
            line = line.replace(name, value)
        kept = "" if re.search(r"(?<!2)>>? \S+$", line) else f" > {said}/{place}.out"
        script += f"{{ {line}\n}}{kept} 2> {said}/{place}.err; echo $? > {said}/{place}.code\n"
    home = work.parent / "home"
    home.mkdir(exist_ok=True)
    path = os.pathsep.join(
        [str(bin_folder), str(Path(sys.executable).parent), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    )
    env = {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", **(more or {})}
    subprocess.run(["bash", "-uc", script], cwd=work, env=env, check=True, timeout=300, capture_output=True)
    return [_outcome(said, place) for place in range(len(page.commands))]


def _outcome(said: Path, place: int) -> Outcome:
    out = said / f"{place}.out"
    text = out.read_text() if out.exists() else ""
    return Outcome(int((said / f"{place}.code").read_text()), text, (said / f"{place}.err").read_text())


def check(one: Shown, outcome: Outcome, meant: Mapping[str, str] | None = None) -> None:
    """Whether a command did what the page says: its exit code, and the output that the page shows."""
    assert outcome.code == one.code, outcome.err + outcome.out
    assert "Traceback" not in outcome.err
    wanted = list(one.output)
    for name, value in (meant or {}).items():
        wanted = [line.replace(name, value) for line in wanted]
    if wanted:
        assert pattern(tuple(wanted)).fullmatch(outcome.out.rstrip("\n") + "\n"), outcome.out
