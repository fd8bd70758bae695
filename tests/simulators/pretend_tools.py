"""Tools whose programs only pretend, and `pluto-deploy` with them, for tests that run or kill it as a process.

kill_points.of("pretend_tools", ["apply", "DEPLOYMENT.toml", "--state", "state"])
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if (_TESTS := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.append(_TESTS)

from pluto_deploy import cli, tools
from pluto_image.tools import ToolsTree
from simulators import pretend_machine


class PretendTools(ToolsTree):
    """Tools whose programs are `simulators.pretend_machine`."""

    __slots__ = ()

    def command(self, program: str, *args: str | Path) -> list[str]:
        return [sys.executable, pretend_machine.__file__, program, *map(str, args)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def main(argv: list[str] | None = None) -> int:
    """The same as `pluto_deploy.cli.main`."""
    tools.tree_of = lambda *_: PretendTools(Path("/nowhere"))
    return cli.main(argv)


def running_below(folder: Path) -> list[int]:
    """Processes of pretended machines that have their files below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system-x86_64\0" in words and f"{folder}/".encode() in words:
                found.append(int(entry.name))
    return sorted(found)
