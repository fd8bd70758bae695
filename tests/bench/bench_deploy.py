"""Bare-metal hosts: planning, preparing, copying and upgrading on the namespaced host, beside ssh, scp and rsync.

Needs root, and the network the first time (`simulators.metal.rootfs`); without root there is nothing to show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path

from figures import Row, timed

from pluto_image import artifact
from simulators.metal import desk, intel, packages, preparing, releases, rootfs
from simulators.metal.desk import Desk
from simulators.metal.host import Host
from simulators.metal.keys import SshKey
from simulators.metal.tdx import Tdx

RUNS = 5
MIB = 1 << 20
IMAGE = 256 * MIB
PLUTO_DEPLOY = "import sys; from pluto_deploy.cli import main; sys.exit(main())"
COPY = """
import sys, time
from pathlib import Path, PurePosixPath
from pluto_deploy.metal import copying
from pluto_deploy.metal.connection import opened
from pluto_deploy.metal.login import Login
host, key, known, source, digest, dest = sys.argv[1:]
begun = time.monotonic()
with opened(Login(host, "root", 22, Path(key), Path(known))) as connection:
    copying.put_file(connection, Path(source), PurePosixPath(dest), digest, lambda *_: None)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.monotonic() - begun, int(peak) / 1024)
"""


def rows(work: Path) -> Iterator[Row]:
    if os.geteuid() != 0:
        sys.stderr.write("bench: deploy needs root\n")
        return
    with ExitStack() as stack:
        login = SshKey.new()
        hosts = [
            stack.enter_context(Host(rootfs.tree(), login, tdx=Tdx.healthy(), release=releases.UBUNTU_26_04))
            for _ in range(2)
        ]
        yield from _preparing(hosts[0], work)
        folder = work / "desk"
        folder.mkdir()
        with redirect_stderr(StringIO()):
            mine = stack.enter_context(desk.at(hosts[1], folder))
        yield from _planning(mine)
        yield from _copying(mine, work)
        yield from _upgrading(mine)


def _preparing(host: Host, work: Path) -> Iterator[Row]:
    with packages.serving(host.wire.gateway, intel.packages()) as archive, redirect_stderr(StringIO()):
        words = preparing.words_of(archive, work)
        seconds = []
        for _ in range(1 + RUNS):
            begun = time.monotonic()
            preparing.prepare(host, *words)
            seconds.append(time.monotonic() - begun)
    yield Row("prepare a host, packages from a fake archive beside it", "s", tuple(seconds[:1]), 60)
    yield Row("prepare it again, which changes nothing", "s", tuple(seconds[1:]), 10)


def _planning(mine: Desk) -> Iterator[Row]:
    file = mine.deployment(mine.release(5))
    peer = [timed([*mine.host.ssh_argv(), "true"])[0] for _ in range(RUNS)]
    empty = [timed(_process(mine, "plan", file))[0] for _ in range(RUNS)]
    yield Row("plan, nothing there, as a process", "s", tuple(empty), 1, "ssh HOST true", tuple(peer))
    mine.ok("apply", file)
    upgrade = mine.deployment(mine.release(6))
    there = [timed(_process(mine, "plan", upgrade))[0] for _ in range(RUNS)]
    yield Row("plan of an upgrade, as a process", "s", tuple(there), 1, "ssh HOST true", tuple(peer))


def _copying(mine: Desk, work: Path) -> Iterator[Row]:
    """An image alone. Memory is what the process itself saw: what wait4(2) tells begins with that of its parent."""
    image, host = work / "image", mine.host
    with image.open("wb") as file:
        for _ in range(IMAGE // MIB):
            file.write(os.urandom(MIB))
    words = [host.address, str(host.key), str(host.known_hosts), str(image), artifact.file_digest(image)]
    seconds, memory = [], []
    for number in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", COPY, *words, f"/var/tmp/{number}/image"], check=True, capture_output=True
        )
        took, peak = map(float, done.stdout.split())
        seconds.append(took)
        memory.append(peak)
    ssh = host.ssh_argv()
    target = f"{ssh[-1]}:/var/tmp/peer"
    scp = [timed(["scp", "-q", *ssh[1:-1], image, target])[0] for _ in range(RUNS)]
    yield Row("copy an image of 256 MiB, hashed there", "s", tuple(seconds), None, "scp, not hashed", tuple(scp))
    if shutil.which("rsync"):
        rsync = [timed(["rsync", "-I", "-e", " ".join(ssh[:-1]), image, target])[0] for _ in range(RUNS)]
        yield Row("copy an image of 256 MiB, hashed there", "s", tuple(seconds), None, "rsync", tuple(rsync))
    yield Row("peak memory of that", "MiB", tuple(memory), 64)


def _upgrading(mine: Desk) -> Iterator[Row]:
    """A machine that is ready at once, so what is left is ours: files, units, rules, evidence, the old one's end."""
    seconds = []
    for sequence in range(10, 10 + RUNS):
        file = mine.deployment(mine.release(sequence))
        seconds.append(timed(_process(mine, "apply", file))[0])
    yield Row("an upgrade of a machine that is ready at once, as a process", "s", tuple(seconds))
    verify = [timed(_process(mine, "verify", file))[0] for _ in range(RUNS)]
    yield Row("verify what serves, as a process", "s", tuple(verify))


def _process(mine: Desk, command: str, file: Path) -> list[str]:
    return [sys.executable, "-c", PLUTO_DEPLOY, *mine.words(command, file)]
