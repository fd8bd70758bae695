"""Runs the machine of a shape until its guest has said everything: QEMU, and a software TPM where the shape has one.

The only IO of a harvest. Both programs are children of this process, are unprivileged, and end with it.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pluto_measure.errors import SourceError
from pluto_measure.harvest import kit as kits
from pluto_measure.harvest import qemu, transcript
from pluto_measure.harvest.kit import Kit
from pluto_measure.harvest.qemu import Wiring
from pluto_measure.machine.platform import Platform

_BLANK: Final = 64 * 1024  # bytes of a disk that nobody reads
_GRACE: Final = 10.0  # seconds that the TPM has to end after the machine
_TAIL: Final = 300  # characters of what a program said


def harvest(
    kit: Kit,
    folder: Path,
    platform: Platform,
    firmware: Path,
    memory: int,
    *,
    timeout: float,
    extra: Sequence[str] = (),
) -> dict[str, bytes]:
    """What the guest says in this machine, by name. `folder` is the kit's; `memory` in bytes, `timeout` in seconds.

    SourceError: a program cannot be started, fails, or the guest says nothing in time. FormatError: what it says is
    not whole.
    """
    with tempfile.TemporaryDirectory(prefix="pluto-harvest-") as name, contextlib.ExitStack() as stack:
        work = Path(name)
        blank = work / "blank"
        blank.write_bytes(bytes(_BLANK))
        wiring = Wiring(
            firmware=str(firmware.resolve()),
            uki=str((folder / kits.UKI).resolve()),
            disk=str((folder / kits.DISK).resolve()),
            blank=str(blank),
            transcript=str(work / "transcript"),
        )
        if platform.kind == "qemu-vtpm":
            wiring = replace(wiring, tpm_fd=stack.enter_context(software_tpm(kit, work / "tpm")))
        arguments = qemu.arguments(platform, wiring, memory, extra)
        return run(kit, arguments, Path(wiring.transcript), tpm_fd=wiring.tpm_fd, timeout=timeout)


def run(
    kit: Kit, arguments: Sequence[str], said: Path, *, tpm_fd: int | None = None, timeout: float
) -> dict[str, bytes]:
    """Run QEMU to its end; what the guest wrote to the file `said`, by name. The errors of `harvest`."""
    try:
        done = subprocess.run(
            [*kit.qemu, *arguments],
            env=dict(kit.environment),
            pass_fds=() if tpm_fd is None else (tpm_fd,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"the machine did not end within {timeout:.0f} s", hint="give --timeout more") from error
    except OSError as error:
        raise SourceError(f"QEMU cannot be started: {error.strerror or error}") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-_TAIL:]
        raise SourceError(f"QEMU ended with {done.returncode}: {words or 'it said nothing'}")
    try:
        with said.open("rb") as file:
            return transcript.parse(file.read(transcript.LIMIT + 1))
    except OSError as error:
        raise SourceError(f"QEMU left no transcript: {error.strerror or error}") from error


@contextlib.contextmanager
def software_tpm(kit: Kit, state: Path) -> Iterator[int]:
    """A new software TPM in the folder `state`; yields our end of its control channel, at whose closing it ends."""
    state.mkdir()
    ours, its = socket.socketpair()
    with ours, its:
        # fmt: off
        argv = [
            *kit.swtpm, "socket", "--tpm2",
            "--tpmstate", f"dir={state}",
            "--flags", "startup-clear",
            "--ctrl", f"type=unixio,clientfd={its.fileno()}",
            "--terminate",
        ]
        # fmt: on
        try:
            process = subprocess.Popen(
                argv,
                env=dict(kit.environment),
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise SourceError(f"swtpm cannot be started: {error.strerror or error}") from error
        its.close()
        try:
            yield ours.fileno()
        finally:
            ours.close()
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
