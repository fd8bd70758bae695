"""A hostile host: the things that whoever runs the machine can do to it. For tests alone."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pluto_deploy.local.machine import Machine
from pluto_deploy.local.power import Order
from pluto_image import sparse
from pluto_image.artifact import Dist
from pluto_image.formats import disk

TIMEOUT = 240.0  # seconds from power-on to evidence, on a busy computer
# (words on the serial line, what is typed then)
Script = Sequence[tuple[bytes, bytes]]
_KEY_PAUSE = 0.03  # seconds: the firmware's serial driver loses keys that come faster


def order(dist: Dist, *extra: str, boot: str = "uki-kernel", serial_fd: int | None = None) -> Order:
    """A start with more arguments for QEMU."""
    machine = Machine(boot=boot)
    return Order(dist, machine, port=0, timeout=TIMEOUT, extra_arguments=extra, serial_fd=serial_fd)


def with_other_disk(dist: Dist, folder: Path, files: Mapping[str, bytes]) -> Dist:
    """The same DIST, whose disk has more files on its ESP. All that is measured of the disk itself stays."""
    folder.mkdir()
    for path in dist.root.iterdir():
        if path != dist.disk:
            (folder / path.name).symlink_to(path)
    chunks = disk.disk(dist.uki.read_bytes(), extra=files)
    sparse.write_sparse(folder / dist.disk.name, chunks, disk.SIZE)
    return Dist(folder, dist.launch, dist.sums)


def shell_first(empty: Path) -> tuple[str, ...]:
    """Arguments that put an empty disk before the real one: firmware that may boot nothing else starts its shell."""
    empty.write_bytes(bytes(1 << 20))
    blockdev = f"driver=raw,node-name=empty,read-only=on,file.driver=file,file.filename={empty}"
    # fmt: off
    return (
        "-set", "device.boot.bootindex=-1",
        "-blockdev", blockdev, "-device", "virtio-blk-pci,drive=empty,bootindex=0",
    )
    # fmt: on


START_UKI_IN_SHELL: Script = (
    (b"startup.nsh", b"\x1b"),
    (b"Shell>", b"FS0:\\EFI\\BOOT\\BOOTX64.EFI\r"),
)


@contextmanager
def typist(script: Script) -> Iterator[int]:
    """Somebody at the serial line, who types when the words appear; yields the machine's end."""
    ours, its = socket.socketpair()
    ended = threading.Event()
    thread = threading.Thread(target=_type, args=(ours, script, ended))
    with ours, its:
        thread.start()
        try:
            yield its.fileno()
        finally:
            ended.set()
            thread.join()


def _type(line: socket.socket, script: Script, ended: threading.Event) -> None:
    line.settimeout(0.2)
    heard, todo = b"", list(script)
    while not ended.is_set():
        try:
            data = line.recv(4096)
        except TimeoutError:
            continue
        if not data:
            return
        heard = (heard + data)[-65536:]
        if todo and todo[0][0] in heard:
            _, keys = todo.pop(0)
            heard = b""
            time.sleep(0.3)
            for key in keys:
                line.sendall(bytes([key]))
                time.sleep(_KEY_PAUSE)


def pids_of(root: Path) -> list[int]:
    """Processes that have a file below `root` open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                targets = [os.readlink(fd) for fd in (entry / "fd").iterdir()]  # noqa: PTH115  not to be resolved
            except OSError:
                continue
            if any(target.startswith(f"{root}/") for target in targets):
                found.append(int(entry.name))
    return found
