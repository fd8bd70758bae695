"""Bare-metal hosts: planning, preparing, copying and upgrading on the namespaced host, beside ssh, scp and rsync.

Needs root, and the network the first time (`simulators.metal.rootfs`); without root there is nothing to show.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path

from figures import Row, timed

from simulators.metal import desk, intel, packages, preparing, releases, rootfs
from simulators.metal.desk import Desk
from simulators.metal.host import Host
from simulators.metal.keys import SshKey
from simulators.metal.tdx import Tdx

RUNS = 5
MIB = 1 << 20
IMAGE = 256 * MIB
PLUTO_DEPLOY = "import sys; from pluto_deploy.cli import main; sys.exit(main())"


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
        yield from _copying(mine)
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


def _copying(mine: Desk) -> Iterator[Row]:
    """The figures of `apply` with a large image, less what one with a small image takes."""
    small = timed(_process(mine, "apply", mine.deployment(mine.release(7))))
    release = mine.release(8, padding=IMAGE)
    large = timed(_process(mine, "apply", mine.deployment(release)))
    ssh = [word for word in mine.host.ssh_argv()[1:-1] if word]
    target = f"{mine.host.ssh_argv()[-1]}:/var/tmp/peer"
    scp = timed(["scp", "-q", *ssh, release / "pluto.efi", target])
    yield Row("apply, 256 MiB more of image: seconds more", "s", (large[0] - small[0],), None, "scp of it", (scp[0],))
    yield Row("peak memory of that apply", "MiB", (large[1],), 64, "scp of it", (scp[1],))
    if shutil.which("rsync"):
        remote = " ".join(["ssh", *ssh])
        copied = timed(["rsync", "-e", remote, release / "pluto.efi", target])
        yield Row("the same beside another peer", "s", (large[0] - small[0],), None, "rsync of it", (copied[0],))


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
