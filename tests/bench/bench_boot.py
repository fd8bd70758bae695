"""From power-on to attested evidence, beside the same kernel with nothing but an init that says that it runs.

Both boot on the same machine with the same command line, by turns, so that a busy computer slows both.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from struct import pack

from figures import Row

from pluto_deploy.local import power, processes
from pluto_deploy.local.machine import LEAST_MEMORY, Machine
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.debian import deb
from pluto_image.formats import cpio, uki
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree, ensure_tools
from pluto_image.tree import Entry, Kind
from pluto_measure.formats import pe
from simulators import local_runs

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
SAYS = b"pluto-bench: init\n"
TIMEOUT = 300.0


def rows(work: Path) -> Iterator[Row]:
    dist = _build(work / "dist")
    store = Store(default_root())
    lock = Lock.parse(dist.lock.read_bytes())
    tools = ensure_tools(lock, store)
    bare = _bare(dist, lock, store, work / "bare")
    ours, theirs = [], []
    for _ in range(RUNS):
        theirs.append(_until_init(bare, tools, StateFolder(work / "state")))
        ours.append(_until_attested(dist, Machine(), tools, StateFolder(work / "state")))
    name = "power-on to attested, 2 vCPUs, TCG"
    yield Row(name, "s", tuple(ours), round(2 * median(theirs), 2), "same kernel, bare initrd", tuple(theirs))
    _until_attested(dist, Machine(memory=LEAST_MEMORY), tools, StateFolder(work / "state"))
    yield Row("guest memory with which that works", "MiB", (LEAST_MEMORY >> 20,), 320)


def _build(out: Path) -> Dist:
    program = Path(sys.executable).parent / "pluto-image"
    words: list[str | Path] = ["build", ROOT / "image/notary", "--out", out, "--flavour", "debug", "--offline"]
    subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)
    return Dist.open(out)


def _until_attested(dist: Dist, machine: Machine, tools: ToolsTree, folder: StateFolder) -> float:
    started = local_runs.start(Order(dist, machine, 0, timeout=TIMEOUT), tools, folder)
    power.stop(folder)
    return started.seconds["attested"]


def _until_init(dist: Dist, tools: ToolsTree, folder: StateFolder) -> float:
    with folder.lock() as lock:
        begun = time.monotonic()
        record = power.power_on(Order(dist, Machine(), power.free_port(0)), tools, folder, lock)
        try:
            while SAYS.strip() not in (folder.serial_log.read_bytes() if folder.serial_log.exists() else b""):
                if not processes.alive(record.qemu) or time.monotonic() - begun > TIMEOUT:
                    raise RuntimeError("the bare kernel did not come up")
                time.sleep(0.05)
            return time.monotonic() - begun
        finally:
            power.power_off(folder, record, "stopped")


def _bare(dist: Dist, lock: Lock, store: Store, folder: Path) -> Dist:
    """The DIST with another UKI: same stub, kernel and command line, an initrd of one file."""
    image = dist.uki.read_bytes()
    sections = {section.name: bytes(pe.section_data(image, section)) for section in pe.parse(image).sections}
    stub = _from_package(lock, store, "systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    initrd = b"".join(cpio.newc([Entry("init", Kind.FILE, 0o755, init_program(), "bench")], 0))
    kept = [(name, sections[name]) for name in (".osrel", ".cmdline", ".uname")]
    folder.mkdir()
    for path in dist.root.iterdir():
        if path != dist.uki:
            (folder / path.name).symlink_to(path)
    bare = Dist(folder, dist.launch, dist.sums)
    bare.uki.write_bytes(uki.build(stub, [*kept, (".initrd", initrd), (".linux", sections[".linux"])]))
    return bare


def _from_package(lock: Lock, store: Store, name: str, path: str) -> bytes:
    data = store.get(lock.package(name).sha256)
    assert data is not None
    return next(member.data for member in deb.read(data, want=lambda found: found == path).members)


def init_program() -> bytes:
    """A static ELF for x86-64 that writes SAYS to its standard output and then waits for ever."""
    base, start = 0x400000, 0x78

    def code(address: int) -> bytes:
        # mov eax, 1 (write); mov edi, 1; mov rsi, address; mov edx, length; syscall
        write = (
            b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\xbe"
            + pack("<Q", address)
            + b"\xba"
            + pack("<I", len(SAYS))
            + b"\x0f\x05"
        )
        # mov eax, 34 (pause); syscall; again
        return write + b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7"

    body = code(base + start + len(code(0))) + SAYS
    size = start + len(body)
    header = b"\x7fELF\2\1\1" + bytes(9) + pack("<HHIQQQIHHHHHH", 2, 62, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + body
