"""The commands that a page of the documents shows, with the exit code and the output that it shows. For tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CODE = re.compile(r"\s+# exit code (\d)$")


@dataclass(frozen=True)
class Shown:
    """A command of the page: what is typed, the exit code, and the lines below it."""

    command: str
    code: int
    output: tuple[str, ...]


def shown(text: str) -> Iterator[Shown]:
    """The commands of all console blocks; a backslash continues a line."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            size = next(place for place, line in enumerate(lines, 1) if not line.endswith("\\"))
            typed = "\n".join(lines[:size])
            found = CODE.search(typed)
            yield Shown(CODE.sub("", typed), int(found[1]) if found else 0, tuple(lines[size:]))


def pattern(lines: tuple[str, ...]) -> re.Pattern[str]:
    """The output that the page shows: "…" stands for the rest of a line, alone for any lines, none too."""
    parts = [
        r"(?:.*\n)*" if line.strip() == "…" else r"[^\n]*".join(map(re.escape, line.split("…"))) + "\n"
        for line in lines
    ]
    return re.compile("".join(parts))
