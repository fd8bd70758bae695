"""OpenSSH's own server for this very user on a free port of the loopback interface. For tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pluto_deploy.metal.login import Login


@dataclass
class SshServer:
    """A running server. `login` reaches it; `known_hosts` has its key, and no other."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def login(self) -> Login:
        user = pwd.getpwuid(os.getuid()).pw_name
        return Login("127.0.0.1", user, self.port, self.folder / "key", self.known_hosts)

    def sessions(self) -> list[int]:
        """The processes that serve connections: one each as root, a chain of them for any other user."""
        found, parents = [], [self.process.pid]
        while parents:
            children = subprocess.run(
                ["pgrep", "-P", ",".join(map(str, parents)), "sshd"], capture_output=True, text=True
            )
            parents = [int(word) for word in children.stdout.split()]
            found += parents
        return found

    def cut(self) -> None:
        """Lose every connection at once, as a network does."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[SshServer]:
    """Start one; its files lie in `folder`. Skips where there is none."""
    program = shutil.which("sshd", path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}")
    if program is None or shutil.which("ssh") is None:
        pytest.skip("no peer: sshd is not here")
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copyfile(folder / "key.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxSessions 20\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", folder / "config"], stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield SshServer(folder, port, process)
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError("the server does not listen")
