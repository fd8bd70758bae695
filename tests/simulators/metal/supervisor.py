"""Keeps one namespaced host alive: wires it, boots it, boots it again after a reboot, and leaves nothing behind.

Started by machine.py in a mount namespace of its own as `python -m simulators.metal.supervisor FOLDER`; it ends when
its standard input ends, which also happens when the tester dies. A line there cuts the power of a host that is on,
and boots one that is off. Mounts go with its mount namespace, processes with the host's pid namespace.

FOLDER holds spec.json {"rootfs", "filter_macs"} and seed/ (files laid over the tree). What the supervisor says is in
FOLDER/state.json: {"number", "boot", "pid"} with pid 0 while the host is off.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from simulators.metal.network import NUMBERS, Wire, build_switch, plug_in, remove_switch

UNSHARE = "unshare --mount --net --pid --uts --ipc --time --fork --kill-child=KILL"


class Supervisor:
    """One host in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = json.loads((folder / "spec.json").read_text())
        self.lock, self.wire = _take_number()
        self.boots = 0
        self.console, self.tty = pty.openpty()
        os.set_blocking(self.console, False)

    @property
    def cgroup(self) -> Path:
        return self.folder / "cgroup" / self.wire.bridge

    def run(self) -> None:
        try:
            self._mount()
            build_switch(self.wire, filter_macs=self.spec["filter_macs"])
            self._live()
        finally:
            remove_switch(self.wire)
            self._remove_cgroups()

    def _live(self) -> None:
        wanted = True
        while True:
            if wanted:
                status = self._boot()
                if status is None:
                    return
                if status >= 0:
                    raise SystemExit("boot.sh failed")
                # reboot(2) in a pid namespace kills its first process by SIGHUP, power-off by SIGINT.
                wanted = status != -signal.SIGINT
            else:
                self._say(0)
                if not sys.stdin.readline():
                    return
                wanted = True

    def _mount(self) -> None:
        files, root = self.folder / "files", self.folder / "root"
        for folder in (files, root, self.folder / "cgroup"):
            folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "files", str(files))
        _run("mount", "-t", "cgroup2", "cgroup2", str(self.folder / "cgroup"))
        for name in ("upper", "work"):
            (files / name).mkdir()
        layers = f"lowerdir={self.spec['rootfs']},upperdir={files}/upper,workdir={files}/work"
        overlay = subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(root)], check=False)
        if overlay.returncode != 0:
            _run("cp", "-a", "--reflink=auto", f"{self.spec['rootfs']}/.", str(files / "upper"))
            _run("mount", "--bind", str(files / "upper"), str(root))
        _run("cp", "-r", "--preserve=mode", f"{self.folder}/seed/.", str(root))
        uplink = root / "etc/systemd/network/10-uplink.network"
        uplink.parent.mkdir(parents=True, exist_ok=True)
        uplink.write_text(self.wire.uplink())
        self._remove_cgroups()

    def _boot(self) -> int | None:
        """Boot once and wait for the end; None when the tester wants no more."""
        self.boots += 1
        self._remove_cgroups()
        self.cgroup.mkdir()
        (self.folder / "console.tty").write_text(os.ttyname(self.tty))
        process = self._start()
        try:
            init = _first_child(process)
            end = os.pidfd_open(init)
            try:
                plug_in(self.wire, init)
                assert process.stdin is not None
                process.stdin.write(b"go\n")
                process.stdin.close()
                self._say(init)
                return self._wait(process)
            finally:
                process.kill()
                process.wait()
                select.select([end], [], [], 10)  # the first process ends after all others of its namespace
                os.close(end)
        finally:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        since = [f"--boottime=-{int(time.clock_gettime(time.CLOCK_BOOTTIME))}"]
        since += [f"--monotonic=-{int(time.clock_gettime(time.CLOCK_MONOTONIC))}"]
        script = ["sh", str(Path(__file__).with_name("boot.sh")), str(self.folder), "", self.wire.bridge]
        argv = ["setpriv", "--pdeathsig=KILL", *UNSHARE.split(), *since, *script]
        with (self.folder / "boot.log").open("ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The status of `unshare`, which is that of the first process; None when standard input ended before."""
        end = os.pidfd_open(process.pid)
        try:
            with (self.folder / "console.log").open("ab") as log:
                while True:
                    ready, _, _ = select.select([sys.stdin, end, self.console], [], [])
                    if self.console in ready:
                        log.write(_drain(self.console))
                        log.flush()
                    if sys.stdin in ready:
                        if not sys.stdin.readline():
                            return None
                        process.kill()  # the tester cuts the power
                    if end in ready:
                        return process.wait()
        finally:
            os.close(end)

    def _say(self, pid: int) -> None:
        text = json.dumps({"number": self.wire.number, "boot": self.boots, "pid": pid})
        unfinished = self.folder / "state.unfinished"
        unfinished.write_text(text)
        unfinished.rename(self.folder / "state.json")

    def _remove_cgroups(self) -> None:
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            _patiently_remove(Path(folder))


def _take_number() -> tuple[socket.socket, Wire]:
    """The first number no other host has. The kernel gives an abstract name back when its owner dies."""
    for number in NUMBERS:
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0pluto-metal-{number}")
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return lock, Wire(number)
    raise SystemExit("every number is taken")


def _first_child(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := children.read_text().split():
            return int(found[0])
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise SystemExit("the namespaces cannot be made")


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def _patiently_remove(folder: Path) -> None:
    """A cgroup is busy until its last process is reaped, shortly after the namespace has ended."""
    for _ in range(200):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    Supervisor(Path(sys.argv[1])).run()
