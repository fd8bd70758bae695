"""One machine on this computer: power on, wait until it is ready, power off, look at it, read its log.

Nothing is attested here: the engine does so before any client is led to the machine.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from pluto_deploy.local import console, machine, monitor, processes, swtpm
from pluto_deploy.local.console import Console, Malformed, Said
from pluto_deploy.local.machine import Machine, Wiring
from pluto_deploy.local.processes import Process
from pluto_deploy.local.state import LIVE, Record, StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.measurements import Measurements, measure
from pluto_measure.progress import Progress
from pluto_notary.config import encode_config_disk
from pluto_notary.events import Event

HOST: Final = "127.0.0.1"
PROFILE: Final = "local"
_POLL: Final = 0.1
_STOP_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """One start. `payload` is the run-time configuration; `timeout` counts seconds from power-on to evidence.

    `extra_arguments` and `serial_fd` let a test be the hostile host; no command sets them.
    """

    dist: Dist
    machine: Machine
    port: int
    payload: bytes = b""
    timeout: float = 300.0
    extra_arguments: tuple[str, ...] = ()
    serial_fd: int | None = None


def reference(dist: Dist, shape: Machine) -> Measurements:
    """What this build must measure on this machine: computed here, from digests, before anything runs."""
    return measure(dist.launch, shape.platform(Digests.of(dist.firmware.read_bytes())), PROFILE)


def stop(folder: StateFolder) -> Record | None:
    """End the machine. Returns what was stopped, None if nothing ran. SourceError if it does not end."""
    try:
        record = folder.record()
    except FormatError as error:
        raise SourceError(
            f"{folder.root}: {error}", hint="end its processes yourself, then run 'rm -r' on the folder"
        ) from error
    live = record is not None and record.state in LIVE
    if record is not None and live:
        # In this order: a machine that dies between the two questions has let go of the lock by the second one.
        if not processes.alive(record.qemu) and folder.locked():
            raise SourceError(f"{folder.root}: another command is starting a machine at this moment")
        power_off(folder, record, "stopped")
    if not folder.wait_unlocked(_STOP_TIMEOUT):
        raise SourceError(f"{folder.root}: another command is starting a machine at this moment")
    return record if live else None


def power_on(order: Order, tools: ToolsTree, folder: StateFolder, lock: int) -> Record:
    """Start TPM and machine, which inherits the descriptor `lock`, and write the record. Nothing is attested here."""
    folder.serial_log.unlink(missing_ok=True)
    folder.config.unlink(missing_ok=True)
    folder.config.write_bytes(encode_config_disk(order.payload))
    swtpm.prepare(tools, folder.tpm)
    ours, its = socket.socketpair()
    with ours, its, monitor.listening(folder.root) as monitor_fd:
        begun = [swtpm.serve(tools, folder.tpm, control_fd=its.fileno(), output=folder.output("swtpm"))]
        try:
            begun.append(_start_qemu(order, tools, folder, (ours.fileno(), monitor_fd, lock)))
            record = _record(order, begun[1], begun[0])
            folder.write(record)
        except BaseException:
            for process in reversed(begun):
                processes.end(process)
            raise
    return record


def power_off(folder: StateFolder, record: Record, state: str) -> None:
    """End both, forget the TPM, and note why (`state`)."""
    processes.end(record.qemu)
    processes.end(record.swtpm)  # it ends with QEMU; this makes sure
    folder.forget_tpm()
    folder.write(replace(record, state=state))


@dataclass(frozen=True, slots=True)
class Status:
    """`state` is the record's, or "absent", or "broken" when a process of a running machine is gone."""

    state: str
    record: Record | None
    gone: tuple[str, ...] = ()


def status(folder: StateFolder) -> Status:
    """How the machine is, looked at from outside: records are checked against processes."""
    record = folder.record()
    if record is None:
        return Status("absent", None)
    if record.state not in LIVE:
        return Status(record.state, record)
    programs: tuple[tuple[str, Process], ...] = (("qemu", record.qemu), ("swtpm", record.swtpm))
    gone = tuple(name for name, process in programs if not processes.alive(process))
    return Status("broken" if gone else record.state, record, gone)


def logs(folder: StateFolder) -> list[Said]:
    """Everything of interest that the last machine said on its serial line."""
    return list(Console(folder.serial_log).poll())


def follow(folder: StateFolder, record: Record, wait: Callable[[float], None] = time.sleep) -> Iterator[Said]:
    """What the machine says, until it ends."""
    reader = Console(folder.serial_log)
    while True:
        running = processes.alive(record.qemu)
        yield from reader.poll()
        if not running:
            return
        wait(_POLL)


def free_port(port: int, hint: str | None = None) -> int:
    """The port if nobody has it, a free one for 0. UsageError, with the hint."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            message = f"port {port} on {HOST} cannot be used: {error.strerror or error}"
            raise UsageError(message, hint=hint) from error
        return int(probe.getsockname()[1])


def _start_qemu(order: Order, tools: ToolsTree, folder: StateFolder, inherit: Sequence[int]) -> Process:
    wiring = Wiring(
        firmware=order.dist.firmware.resolve(),
        uki=order.dist.uki.resolve(),
        disk=order.dist.disk.resolve(),
        config=folder.config,
        serial_log=folder.serial_log,
        tpm_fd=inherit[0],
        monitor_fd=inherit[1],
        port=order.port,
        serial_fd=order.serial_fd,
        outside=order.dist.launch.flavour == "debug",
    )
    argv = tools.command("qemu-system-x86_64", *machine.arguments(order.machine, wiring, order.extra_arguments))
    kept = [*inherit, *([order.serial_fd] if order.serial_fd is not None else ())]
    return processes.start(argv, environment=tools.environment(), output=folder.output("qemu"), inherit=kept)


def _record(order: Order, qemu: Process, tpm: Process) -> Record:
    return Record(
        state="starting",
        dist=str(order.dist.root.resolve()),
        build_id=order.dist.launch.build_id,
        flavour=order.dist.launch.flavour,
        boot=order.machine.boot,
        cpus=order.machine.cpus,
        memory=order.machine.memory,
        accelerator=order.machine.accelerator,
        port=order.port,
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        qemu=qemu,
        swtpm=tpm,
    )


def wait_ready(
    timeout: float, folder: StateFolder, record: Record, begun: float, progress: Progress
) -> dict[str, float]:
    """Until the notary says that it is ready; what was reached on the way, in seconds since `begun`, the power-on.

    SourceError, with its last words, where the machine ends or `timeout` seconds go by.
    """
    reader, seconds = Console(folder.serial_log), dict[str, float]()
    progress.doing("booting")
    while True:
        running = processes.alive(record.qemu)
        for said in reader.poll():
            name = _tell(said, progress)
            seconds.setdefault(name, round(time.monotonic() - begun, 2))
            if isinstance(said, Event) and said.name == "ready":
                return seconds
        if not running:
            raise _ended(folder, "the machine ended before it was ready")
        if time.monotonic() - begun > timeout:
            raise _ended(folder, f"the machine was not ready after {timeout:.0f} s")
        time.sleep(_POLL)


def _tell(said: Said, progress: Progress) -> str:
    """Show it; returns a short name for it."""
    if isinstance(said, Event):
        progress.step(" ".join([said.name, *(f"{key}={value[:16]}" for key, value in said.values)]))
        return "-".join([said.name, *([said["component"]] if "component" in dict(said.values) else ())])
    if isinstance(said, Malformed):
        progress.step(f"a line on the serial console only looks like an event: {said.problem}")
        return "malformed"
    progress.step(said)
    return said


def _ended(folder: StateFolder, what: str) -> SourceError:
    words = [*console.tail(folder.output("qemu"), 2), *console.tail(folder.serial_log, 3)]
    said = "; ".join(words) or "it said nothing"
    return SourceError(f"{what}: {said}", hint=f"the serial log is {folder.serial_log}")
