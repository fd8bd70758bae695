"""Run the commands that a section of README.md shows: python3 tests/readme.py "HEADING".

All commands of the section's console blocks are run, in one shell, stopping at the first failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from documents.shown import shown

ROOT = Path(__file__).resolve().parents[1]


def commands(text: str, heading: str) -> list[str]:
    """What is typed below `## heading`."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [one.command for one in shown(section)]


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
