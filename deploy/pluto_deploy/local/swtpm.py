"""The software TPM: made afresh for every start, with the PCR banks that evidence is made of, then handed to QEMU.

It proves nothing to a stranger: who runs the machine holds its keys. That is why only `local` uses it.
Commands: TPM 2.0 Library, Part 3, sections 22.5 (PCR_Allocate) and 9.4 (Shutdown); sizes and tags: Part 2, 6.9 and 18.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import pack, unpack_from
from typing import Final

from pluto_deploy.local import processes
from pluto_deploy.local.processes import Process
from pluto_image.tools import ToolsTree
from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import SourceError
from pluto_measure.evidence import BANKS

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_PCR_ALLOCATE, _SHUTDOWN = 0x12B, 0x145
_RH_PLATFORM, _RS_PW = 0x4000000C, 0x40000009
ALLOCATE: Final = "PCR_Allocate"
_TIMEOUT: Final = 10.0  # seconds
_LARGEST_ANSWER: Final = 4096


def pcr_allocate(banks: Sequence[str]) -> bytes:
    """The command that makes exactly `banks` active from the next start on. Names as in ALGORITHMS."""
    selection = pack(">I", len(ALGORITHMS))
    for name, (number, _) in ALGORITHMS.items():
        selection += pack(">HB3s", number, 3, b"\xff\xff\xff" if name in banks else bytes(3))
    password = pack(">IHBH", _RS_PW, 0, 0, 0)  # empty nonce, no attributes, empty password
    return _command(_SESSIONS, _PCR_ALLOCATE, pack(">II", _RH_PLATFORM, len(password)) + password + selection)


def shutdown() -> bytes:
    """The command after which the next start is orderly (TPM_SU_CLEAR)."""
    return _command(_NO_SESSIONS, _SHUTDOWN, pack(">H", 0))


def check_answer(answer: bytes, what: str) -> None:
    """SourceError unless the TPM answered with success."""
    if len(answer) < 10 or unpack_from(">I", answer, 2)[0] != len(answer):
        raise SourceError(f"swtpm: the answer to {what} is cut off")
    if code := unpack_from(">I", answer, 6)[0]:
        raise SourceError(f"swtpm: {what} failed with code {code:#x}")
    if what == ALLOCATE and answer[14:15] != b"\x01":  # after the header and the size of the parameters
        raise SourceError("swtpm: has no such PCR banks")


def prepare(tools: ToolsTree, state: Path, banks: Sequence[str] = BANKS) -> None:
    """Make a new TPM in the folder `state`, whatever was there before, with `banks` active. SourceError."""
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700)
    ours, its = socket.socketpair()
    with ours, its:
        ours.settimeout(_TIMEOUT)
        # fmt: off
        argv = tools.command(
            "swtpm", "socket", "--tpm2",
            "--tpmstate", f"dir={state}",
            "--flags", "not-need-init,startup-clear",
            "--fd", str(its.fileno()),
            "--terminate",
        )
        # fmt: on
        with subprocess.Popen(
            argv,
            env=tools.environment(),
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            its.close()
            _talk(ours, banks, process)


def serve(tools: ToolsTree, state: Path, *, control_fd: int, output: Path) -> Process:
    """Start the TPM on its control channel, an inherited stream socket. It ends when the other end is closed."""
    # fmt: off
    argv = tools.command(
        "swtpm", "socket", "--tpm2",
        "--tpmstate", f"dir={state}",
        "--flags", "startup-clear",
        "--ctrl", f"type=unixio,clientfd={control_fd}",
        "--terminate",
    )
    # fmt: on
    return processes.start(argv, environment=tools.environment(), output=output, inherit=[control_fd])


def _talk(channel: socket.socket, banks: Sequence[str], process: subprocess.Popen[bytes]) -> None:
    try:
        for what, command in ((ALLOCATE, pcr_allocate(banks)), ("Shutdown", shutdown())):
            channel.sendall(command)
            check_answer(channel.recv(_LARGEST_ANSWER), what)
        channel.close()
        _, words = process.communicate(timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        process.kill()
        raise SourceError(f"swtpm: cannot be set up: {error}") from error
    except SourceError:
        process.kill()
        raise
    if process.returncode:
        raise SourceError(f"swtpm: exited {process.returncode}: {words.decode(errors='replace').strip()[-200:]}")


def _command(tag: int, code: int, body: bytes) -> bytes:
    return pack(">HII", tag, 10 + len(body), code) + body
