"""Runs a command again and again, each time killed (SIGKILL) one change of the file system later.

    for step in kill_points.of("pluto_image.cli", words):
        ...  # the command was killed just before its change number `step`; look at what it left

The iteration ends when the command came to its end. Changes are seen by an audit hook (PEP 578): files opened for
writing, renames, removals, new folders, modes, and the system call that exchanges two folders.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_CHANGES = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.symlink"})
_PATHS = tuple(str(Path(__file__).resolve().parents[2] / part) for part in ("image", "measure", "notary", "deploy"))
_LIMIT = 400


def of(module: str, words: Sequence[str]) -> Iterator[int]:
    """One number per kill. Raises AssertionError if the command fails otherwise, or never ends."""
    # One process imports everything, and a fork of it is killed: a start of Python per step would take minutes.
    argv = [sys.executable, "-B", __file__, module, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for step in range(1, _LIMIT):
            driver.stdin.write(f"{step}\n")
            driver.stdin.flush()
            answer = int(driver.stdout.readline())
            if answer != -signal.SIGKILL:
                assert answer == 0, f"the command ended with {answer}"
                driver.stdin.close()
                return
            yield step
    raise AssertionError(f"more than {_LIMIT} changes")


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in _CHANGES or (event == "ctypes.dlsym" and arguments[1] == "renameat2")


def _arm(step: int) -> None:
    left = step

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if _is_change(event, arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _drive(module: str, words: Sequence[str]) -> None:
    main = import_module(module).main
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            _arm(int(line))
            os._exit(main(words))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path[:0] = _PATHS
    _drive(sys.argv[1], sys.argv[2:])
