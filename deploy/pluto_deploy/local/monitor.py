"""QEMU's monitor (QMP) of a local machine: leads the loopback port of clients to it, or away from it again.

The machine is handed a socket that is bound here, so that the state folder's path may be of any length.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats.strict_json import loads

_SECONDS: Final = 10.0
_LARGEST: Final = 1 << 16
_NAME: Final = "monitor"


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[int]:
    """A listening socket in `folder`, for a machine to inherit; ours is closed again at the end."""
    (folder / _NAME).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, _short(folder) as path:
        listener.bind(path)
        listener.listen(1)
        yield listener.fileno()


def lead(folder: Path, host: str, port: int, guest_port: int) -> None:
    """Lead `host`:`port` of this computer to the machine. SourceError where the port is taken."""
    _human(folder, f"hostfwd_add net tcp:{host}:{port}-:{guest_port}")


def part(folder: Path, host: str, port: int) -> None:
    """Lead it there no more. A machine that is gone, or was not led to, is as wanted."""
    with contextlib.suppress(SourceError):
        _human(folder, f"hostfwd_remove net tcp:{host}:{port}")


def quit_machine(folder: Path) -> None:
    """Ask a machine to end at once. One that is gone has ended."""
    with contextlib.suppress(SourceError):
        _command(folder, "quit", {})


def _human(folder: Path, line: str) -> None:
    """One line for QEMU's human monitor, which says nothing if all is well (or that something was removed)."""
    said = str(_command(folder, "human-monitor-command", {"command-line": line})).strip()
    if said and "removed" not in said:
        raise SourceError(f"QEMU refused '{line}': {said[:200]}")


def _command(folder: Path, name: str, arguments: dict[str, object]) -> object:
    """Run one QMP command; returns what it returned. SourceError."""
    import json  # as QMP wants it: any order, any spaces

    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(folder) as path:
            connection.settimeout(_SECONDS)
            connection.connect(path)
            with connection.makefile("rwb") as stream:
                _answer(stream.readline(_LARGEST), "QMP")
                for execute, given in (("qmp_capabilities", {}), (name, arguments)):
                    stream.write(json.dumps({"execute": execute, "arguments": given}).encode() + b"\n")
                    stream.flush()
                    while "event" in (answer := _answer(stream.readline(_LARGEST))):
                        continue
                return answer["return"]
    except OSError as error:
        raise SourceError(f"QEMU's monitor does not answer: {error.strerror or error}") from error


def _answer(line: bytes, member: str = "") -> dict[str, Any]:
    try:
        value = loads(line, what="QMP")
    except FormatError as error:
        raise SourceError(f"QEMU's monitor answers nonsense: {error}") from error
    known = (member,) if member else ("return", "event")
    if not isinstance(value, dict) or not any(name in value for name in known):
        raise SourceError(f"QEMU's monitor answers {line[:200]!r}")
    return value


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name of the socket that is short enough for sun_path (108 bytes, unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
