"""The built image on another stub: its UKI, what a boot of it must measure, and evidence of one. For tests alone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from end_to_end.stub_packages import Stub
from pluto_deploy.engine import evidence
from pluto_deploy.engine.target import Address
from pluto_deploy.local import power, processes
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import Record, StateFolder
from pluto_image import sparse
from pluto_image.artifact import Dist
from pluto_image.formats import disk, uki
from pluto_image.tools import ToolsTree
from pluto_measure import describe
from pluto_measure.errors import SourceError
from pluto_measure.evidence import Envelope
from pluto_measure.formats import pe
from pluto_notary.events import Event

_POLL = 0.2  # seconds
_REQUEST_TIMEOUT = 60.0
_HEAD = 64 << 10  # bytes of a disk that hold its partition table
_SECTIONS = (".osrel", ".cmdline", ".uname", ".initrd", ".linux")


def put_on(dist: Dist, stub: Stub, folder: Path, more: Sequence[tuple[str, bytes]] = ()) -> Dist:
    """A DIST whose UKI is `stub` with the sections of `dist` and `more`; its digest list is not its own."""
    whole = dist.uki.read_bytes()
    data = {section.name: pe.section_data(whole, section) for section in pe.parse(whole).sections}
    data[".cmdline"] = b"\t" + data[".cmdline"] + b" \n"  # what becomes of blanks at the ends hangs on the version
    image = uki.build(stub.data, [*((name, data[name]) for name in _SECTIONS), *more])
    folder.mkdir()
    for path in dist.root.iterdir():
        if path not in (dist.uki, dist.disk):
            (folder / path.name).symlink_to(path)
    (folder / dist.uki.name).write_bytes(image)
    sparse.write_sparse(folder / dist.disk.name, disk.disk(image), disk.SIZE)
    with (folder / dist.disk.name).open("rb") as file:
        event = describe.gpt_event_of(file.read(_HEAD))
    launch = describe.of_uki(image, event, stub=stub.version, disk_size=disk.SIZE, flavour=dist.launch.flavour)
    return Dist(folder, launch, dist.sums)


def writable_disk(dist: Dist, copy: Path) -> tuple[str, ...]:
    """Arguments that boot a copy of the disk which the firmware may write to; the read-only one is left aside."""
    sparse.write_sparse(copy, disk.disk(dist.uki.read_bytes()), disk.SIZE)
    blockdev = f"driver=raw,node-name=writable,file.driver=file,file.filename={copy}"
    # fmt: off
    return (
        "-set", "device.boot.bootindex=-1",
        "-blockdev", blockdev, "-device", "virtio-blk-pci,drive=writable,bootindex=0",
    )
    # fmt: on


def boot(order: Order, tools: ToolsTree, folder: StateFolder) -> Envelope:
    """Start the machine, take its evidence, end it. The evidence is not appraised: that is the caller's matter."""
    with folder.lock() as lock:
        order = replace(order, port=power.free_port(order.port))
        record = power.power_on(order, tools, folder, lock)
        try:
            limit = time.monotonic() + order.timeout
            _wait_ready(folder, record, limit)
            return Envelope.parse(_ask(order, record, limit))
        finally:
            power.power_off(folder, record, "stopped")


def _wait_ready(folder: StateFolder, record: Record, limit: float) -> None:
    while True:
        running = processes.alive(record.qemu)
        if any(isinstance(said, Event) and said.name == "ready" for said in power.logs(folder)):
            return
        if not running or time.monotonic() > limit:
            words = folder.serial_log.read_bytes()[-2000:] if folder.serial_log.exists() else b"nothing"
            raise SourceError(f"the machine did not become ready; it said {words!r}")
        time.sleep(_POLL)


def _ask(order: Order, record: Record, limit: float) -> bytes:
    address = Address(power.HOST, order.port)
    while True:
        try:
            return evidence.fetch(address, secrets.token_bytes(32), timeout=_REQUEST_TIMEOUT).evidence
        except SourceError:
            # The port is forwarded before the guest listens, so the first connection may be reset.
            if time.monotonic() > limit or not processes.alive(record.qemu):
                raise
            time.sleep(_POLL)
