"""The process that pyinfra runs in: one job from stdin, one result to stdout, progress to stderr.

gevent is patched before anything else is imported: unpatched, pyinfra's SSH connections do not keep to `_timeout`, and
what was still running counts as done. Started by `process.run` as `python -m pluto_deploy.metal.worker`.

stdin:  one line of JSON, {login, job, parameters, plan}; its end ends this process, so that none outlives its parent
stdout: one line of JSON, {operations: [{name, changed}], facts, error}
stderr: lines of JSON, {doing} or {step}; anything else is a cry of distress
"""

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
import gevent.os  # type: ignore[import-untyped]  # noqa: E402

from pluto_deploy.metal.worker import jobs  # noqa: E402


def main() -> int:
    """Do the job. Nothing but the result comes to stdout, whatever a library prints."""
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    ask = json.loads(_line())
    gevent.spawn(_end_with_parent)
    answer = jobs.perform(ask, _tell)
    result.write(json.dumps(answer) + "\n")
    result.flush()
    return 0


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            raise EOFError("no job was given")
        line += piece
    return line


def _end_with_parent() -> None:
    while gevent.os.tp_read(0, 1):
        pass
    os._exit(1)


def _tell(kind: str, text: str) -> None:
    sys.stderr.write(json.dumps({kind: text}) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    # Without the interpreter's own end: a connection's threads would hold it up.
    sys.stderr.flush()
    os._exit(main())
