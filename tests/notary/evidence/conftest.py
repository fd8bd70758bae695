"""A real TPM's emulator, for tests of what the evidence helper says to a TPM."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.software_tpm import swtpm


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[socket.socket]:
    """Our end of a connection to a started TPM without any state."""
    start, environment = swtpm()
    ours, theirs = socket.socketpair()
    (tmp_path / "state").mkdir()
    command = [*start, "socket", "--tpm2", "--flags", "not-need-init,startup-clear"]
    command += ["--tpmstate", f"dir={tmp_path / 'state'}", "--fd", str(theirs.fileno())]
    handed = [theirs.fileno()]
    with subprocess.Popen(command, pass_fds=handed, env=environment, stderr=subprocess.DEVNULL) as process:
        theirs.close()
        yield ours
        ours.close()
        process.wait(20)
