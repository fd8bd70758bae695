"""Runs a command again and again, each time killed (SIGKILL) at another thing that it does to a host. For tests.

    for point in killed.everywhere(words):      # "systemctl start …", "write …"
        ...                                     # the command was killed before it did that: look at what it left

Every command to the host that changes something is a point. One that was met once is passed the next time, so each call
comes further than the last one did, and the iteration ends when a call came to its end. What the host was left with
after a point is what the next point begins with, so there is no need to kill after each as well.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[2]
_PATHS = (TESTS, *(TESTS.parent / part for part in ("image", "measure", "notary", "deploy")))
_LOOKING = frozenset({"look", "read", "list", "id", "sha256sum", "journalctl"})
_ASKED = re.compile(rb"sys\.exit\(main\('([a-z]+)', (.*)\)\)\s*\Z", re.DOTALL)
_LIMIT = 200
_BUSY = 2  # what the one that was killed held is free only when its connection was seen to end


def everywhere(words: Sequence[str]) -> Iterator[str]:
    """One text per kill. Raises AssertionError if the command fails otherwise, or never ends."""
    # One process imports everything, and a fork of it is killed.
    argv = [sys.executable, "-B", __file__, *words]
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="killed-"))  # nobody else tidies it
        environment = {**os.environ, "TMPDIR": scratch, "XDG_RUNTIME_DIR": ""}
        driver = stack.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
        assert driver.stdin is not None
        assert driver.stdout is not None
        passed: list[str] = []
        for _ in range(_LIMIT):
            driver.stdin.write(json.dumps(passed) + "\n")
            driver.stdin.flush()
            answer = json.loads(driver.stdout.readline())
            if answer["code"] == _BUSY and passed:
                time.sleep(0.1)
                continue
            if answer["code"] != -signal.SIGKILL:
                assert answer["code"] == 0, answer
                driver.stdin.close()
                return
            passed.append(answer["point"])
            yield answer["point"]
    raise AssertionError(f"more than {_LIMIT} points")


def _name(argv: Sequence[str], data: bytes) -> str:
    """What a command to the host does, in words; empty where it changes nothing."""
    found = _ASKED.search(data)
    words = [argv[0]] if found is None else [found[1].decode()]
    if words[0] in _LOOKING:
        return ""
    if found is None:
        return " ".join(argv[:6])
    ask = json.loads(ast.literal_eval(found[2].decode()))
    paths = [*(path for path, *_ in ask.get("files", [])), *ask.get("gone", []), ask.get("place", "")]
    return " ".join([*words, *paths[:2]])


def _arm(passed: set[str], told: int) -> None:
    """Have this process killed at the first point that is not in `passed`, of which `told` then has a line."""
    from pluto_deploy.metal.connection import Connection

    def reached(point: str) -> None:
        if point not in passed:
            os.write(told, point.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(original: Any) -> Any:
        def call(self: Connection, argv: Sequence[str], *more: Any, **options: Any) -> Any:
            if name := _name(argv, options.get("data", b"")):
                reached(name)
            return original(self, argv, *more, **options)

        return call

    for method in ("run", "send"):
        setattr(Connection, method, wrapped(getattr(Connection, method)))


def _drive(words: Sequence[str]) -> None:
    from pluto_deploy.cli import main

    for line in sys.stdin:
        heard, told = os.pipe()
        errors = os.memfd_create("errors")
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors, 2)
            _arm(set(json.loads(line)), told)
            os._exit(main(words))
        os.close(told)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        point = os.read(heard, 4096).decode()
        os.close(heard)
        said = os.pread(errors, 4000, 0).decode(errors="replace")
        os.close(errors)
        sys.stdout.write(json.dumps({"code": code, "point": point, "errors": said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path[:0] = map(str, _PATHS)
    _drive(sys.argv[1:])
