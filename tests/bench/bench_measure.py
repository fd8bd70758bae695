"""Predictions and replays: one profile, a thousand, from files, MRTD and logs, beside hashlib alone and beside peers.

Inputs are made here: a UKI of the size of ours, firmware of 4 MiB with OVMF's sections, logs of 1 MiB. What hashlib
alone is given is said where it is measured. Peers come from `make peers`; one that is not there is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from figures import Row, timed

from interop import peers
from interop.peers import Log
from pluto_image.formats import uki
from pluto_measure import cli
from pluto_measure.formats import eventlog, pe, tdvf
from pluto_measure.formats.eventlog import EventType
from pluto_measure.launch import Launch
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.mrtd import mrtd
from pluto_measure.measurements import profile_for
from pluto_measure.predict import stub
from pluto_measure.registers.replay import Registers, replay
from simulators import event_logs, machines, pe_images, tdvf_images
from simulators.launches import LAUNCH

RUNS = 11
STUB = "257.13-1~deb13u1"
KERNEL_SIZE, INITRD_SIZE = 12 << 20, 15 << 20  # of our image, about
LOG_SIZE = 1 << 20
CPUS, MEMORY, FIRMWARE = range(2, 22, 2), range(4, 104, 4), range(4)  # a thousand shapes

# From the end of the interpreter's own start to the result.
WITH_IMPORTS = (
    "import time; started = time.perf_counter(); import sys; from pluto_measure.cli import main; "
    "code = main(sys.argv[1:]); print(time.perf_counter() - started, file=sys.stderr); sys.exit(code)"
)


def rows(work: Path) -> Iterator[Row]:
    (work / "launch.json").write_text(LAUNCH.to_text())
    (work / "firmware.fd").write_bytes(tdvf_images.large())
    (work / "platform.json").write_text(json.dumps(trust_domain()))
    launch, program = str(work / "launch.json"), Path(sys.executable).parent / "pluto-measure"
    vtpm = [launch, "--platform", "qemu-vtpm"]
    tdx = [launch, "--platform-file", str(work / "platform.json")]
    # As installed: with byte code, which the first run writes and which is not counted.
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(work / "byte-code")}
    bare = process([sys.executable, "-c", "pass"], environment)
    for name, arguments in (("one profile from launch.json", vtpm), ("one for TDX, firmware of 4 MiB read", tdx)):
        yield Row(f"{name}, once started", "ms", times(partial(predicted, *arguments)), 60)
        yield Row(f"{name}, with its imports", "ms", with_imports(arguments, environment))
        yield Row(f"{name}, the process", "ms", process([program, "predict", *arguments, "--json"], environment), 250,
                  "python -c pass", bare)  # fmt: skip
    yield from of_files(work)
    yield Row("1000 profiles for TDX, 4 firmware images read", "ms", times(thousand, 5), 2000)
    yield from of_firmware(work)
    yield from of_logs(work)


def trust_domain() -> dict[str, object]:
    """A platform file of a machine with TDX."""
    acpi = machines.acpi().to_json()
    shape = {"cpus": 4, "memory": "8G", "edk2Generation": 202502}
    return {"platform": "qemu-tdx", "firmware": {"file": "firmware.fd"}, "acpi": acpi, **shape}


def with_imports(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, ...]:
    argv = [sys.executable, "-c", WITH_IMPORTS, "predict", *arguments, "--json"]

    def once() -> float:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, **environment})
        return 1000 * float(done.stderr.split()[-1])

    once()
    return tuple(once() for _ in range(RUNS))


def process(argv: Sequence[str | Path], environment: Mapping[str, str]) -> tuple[float, ...]:
    timed(argv, environment=environment)
    return tuple(1000 * timed(argv, environment=environment)[0] for _ in range(RUNS))


def of_files(work: Path) -> Iterator[Row]:
    """`predict --uki FILE` in this process, and hashlib over the bytes that such a prediction cannot do without.

    These are the image and the kernel inside it as Authenticode has them, each measured section, and the initrd as the
    stub hands it over: in SHA-256 and SHA-384 for a TPM, which has both banks, and in SHA-384 for TDX, with MRTD and
    the variable store of the firmware. Both sides read the files first. We hash in two threads, so hashlib does too.
    """
    path = work / "bench.efi"
    path.write_bytes(image())
    firmware = mrtd_stream(tdvf_images.large())

    def theirs(threads: int, banks: Sequence[str], more: Sequence[Sequence[bytes]]) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(partial(in_banks, banks), [*measured_parts(path.read_bytes()), *more]))

    name = f"predict --uki, {path.stat().st_size / 1e6:.0f} MB"
    both, large = ("sha256", "sha384"), ("sha384",)
    own = times(partial(predicted, "--uki", str(path), "--platform", "qemu-vtpm"))
    hashed = times(partial(theirs, 2, both, ()))
    yield Row(f"{name}, both banks", "ms", own, limit(hashed), "hashlib, the same bytes, two threads", hashed)
    yield Row(f"{name}, both banks", "ms", own, None, "hashlib, one thread", times(partial(theirs, 1, both, ())))
    own = times(partial(predicted, "--uki", str(path), "--platform-file", str(work / "platform.json")))
    hashed = times(partial(theirs, 2, large, (firmware, [bytes(0x84000)])))
    yield Row(f"{name}, TDX", "ms", own, limit(hashed), "hashlib, the same bytes, two threads", hashed)


def limit(hashed: Sequence[float]) -> float:
    return round(1.5 * median(hashed), 1)


def predicted(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["predict", *arguments, "--json"]) == 0


def image() -> bytes:
    chance = Random(1)
    magic = f"#### LoaderInfo: systemd-stub {STUB} ####".encode()
    code = [(".text", b"\xc3" * 70_000), (".data", b"d" * 33), (".sdmagic", magic), (".sbat", b"sbat,1\n")]
    kernel = pe_images.image([(".text", chance.randbytes(KERNEL_SIZE))], headers=0x600)
    sections = [(".osrel", b"ID=pluto\n"), (".cmdline", b"console=ttyS0"), (".uname", b"6.12.0")]
    sections += [(".initrd", chance.randbytes(INITRD_SIZE)), (".linux", kernel)]
    return uki.build(pe_images.image(code, headers=0x600), sections)


def measured_parts(data: bytes) -> list[list[bytes]]:
    """What must be hashed of a UKI, each entry into digests of its own; laid out by hand, not by what is measured."""
    parsed = pe.parse(data)
    version = stub.version(STUB)
    contents = {section.name: pe.section_data(data, section) for section in parsed.sections}
    listed = [[contents[name]] for name in version.measured_sections if name in contents]
    return [[data], [contents[".linux"]], [contents[".initrd"]], *listed]


def in_banks(banks: Iterable[str], parts: Sequence[bytes]) -> None:
    for bank in banks:
        digest = hashlib.new(bank)
        for part in parts:
            digest.update(part)
        digest.digest()


def mrtd_stream(firmware: bytes) -> list[bytes]:
    """As many bytes as MRTD of this firmware is the hash of."""
    sections = tdvf.parse(firmware)
    return [bytes(sum(s.memory_size // 4096 * (128 + 16 * 384 * (s.attributes & tdvf.EXTEND)) for s in sections))]


def thousand() -> None:
    launch = Launch.parse(LAUNCH.to_text())
    images = [Firmware.of(data, "interleaved", 202502) for data in IMAGES]
    plain = machines.bare_metal()
    for firmware in images:
        for cpus in CPUS:
            for gib in MEMORY:
                shape = replace(plain, cpus=cpus, memory=gib << 30, firmware=firmware, acpi=ACPI[cpus, gib])
                profile_for(launch, shape)


IMAGES = [tdvf_images.image(tdvf_images.ovmf(4 << 20, 0x84000), size=4 << 20, seed=str(number)) for number in FIRMWARE]
ACPI = {(cpus, gib): (machines.acpi(f"{cpus} {gib} "),) for cpus in CPUS for gib in MEMORY}


def of_firmware(work: Path) -> Iterator[Row]:
    data, path = tdvf_images.large(), work / "firmware.fd"
    name = "MRTD of 4 MiB of firmware"

    def ours() -> None:
        mrtd(data, tdvf.parse(data))

    (stream,) = mrtd_stream(data)
    own = times(ours)
    hashed = times(partial(hashlib.sha384, stream))
    yield Row(name, "ms", own, 25, "hashlib, as many bytes at once", hashed)
    yield from beside(name, own, "mosaik (Rust)", partial(rust_times, "time-mrtd", path))


def of_logs(work: Path) -> Iterator[Row]:
    """Parse and replay. The events of recorded logs have 158 bytes of data in the mean; the smallest ones have none."""
    for name, size, target in (("as recorded", 160, 30), ("the most events that fit", 0, None)):
        data, path = log(size), work / f"events-{size}.log"
        path.write_bytes(data)
        row, own = f"replay a log of 1 MiB, {name}", times(partial(replayed, data))
        yield Row(row, "ms", own, target)
        registers = {int(register[4:]): value for register, value in replayed(data)["sha384"].items()}
        yield from beside(row, own, "go-eventlog", partial(go_times, Log(path, "cc", "sha384", registers)))
        yield from beside(row, own, "eventlog-rs", partial(rust_times, "time-log", path))
        if size:  # it cannot read an event without data
            yield from beside(row, own, "cctrusted-base", partial(peers.python, "time-log", path, 3))


def log(size: int) -> bytes:
    """As many events as fit into the log area."""
    chance = Random(size)
    record = 66 + size
    events = (
        event_logs.measured(chance.randint(1, 4), EventType.EV_EVENT_TAG, chance.randbytes(size), ("sha384",))
        for _ in range((LOG_SIZE - 65) // record)
    )
    return event_logs.encode(events, ("sha384",), cc=True).ljust(LOG_SIZE, b"\xff")


def beside(name: str, own: tuple[float, ...], peer: str, measure: Callable[[], Iterable[float]]) -> Iterator[Row]:
    try:
        yield Row(name, "ms", own, None, peer, tuple(1000 * value for value in measure()))
    except peers.AbsentError as why:
        print(f"bench: {peer} left out: {why}", file=sys.stderr)


def go_times(case: Log) -> list[float]:
    (answer,) = peers.go("time", [case], RUNS)
    return [float(value) for value in answer["seconds"]]


def rust_times(command: str, path: Path) -> list[float]:
    return [float(line[0]) for line in peers.rust(command, path, RUNS)]


def replayed(data: bytes) -> Registers:
    return replay(eventlog.parse(data))


def times(action: Callable[[], object], runs: int = RUNS) -> tuple[float, ...]:
    """Milliseconds of each run."""

    def once() -> float:
        start = time.perf_counter()
        action()
        return 1000 * (time.perf_counter() - start)

    return tuple(once() for _ in range(runs))
