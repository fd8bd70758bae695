"""Run the commands that a section of README.md shows: python3 tests/readme.py "HEADING".

Each line that begins with `$ ` in the section's console blocks is run, in one shell, stopping at the first failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def commands(text: str, heading: str) -> list[str]:
    """The `$ ` lines of the console blocks below `## heading`; a trailing backslash continues a command."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found: list[str] = []
    inside = continued = False
    for line in section.splitlines():
        if line.startswith("```"):
            inside, continued = line == "```console", False
        elif inside and (continued or line.startswith("$ ")):
            found += [line if continued else line.removeprefix("$ ")]
            continued = line.endswith("\\")
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print('usage: readme.py "HEADING"', file=sys.stderr)
        return 2
    lines = commands((ROOT / "README.md").read_text(), arguments[0])
    if not lines:
        print(f"README.md shows no command below {arguments[0]!r}", file=sys.stderr)
        return 3
    return subprocess.run(["bash", "-euxc", "\n".join(lines)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
