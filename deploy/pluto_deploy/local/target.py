"""This computer as a target of the engine: two slots, each with its own QEMU and software TPM, one port for clients.

ROOT/serving               which slot clients reach, on which port
ROOT/{a,b}/generation.json what the slot holds; written last
ROOT/{a,b}/...             the machine: pluto_deploy.local.state
ROOT/releases/DIGEST/      files of a release, so that a rollback finds them after the build was replaced
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pluto_deploy.engine.scene import SLOTS, Generation, Machine, Scene, State
from pluto_deploy.engine.target import Address, Belongings
from pluto_deploy.engine.wish import SIGNATURES, SMALL, Wish
from pluto_deploy.local import acceleration, files, monitor, power, processes
from pluto_deploy.local.machine import GUEST_PORT
from pluto_deploy.local.machine import Machine as Shape
from pluto_deploy.local.power import HOST, Order, free_port
from pluto_deploy.local.state import LIVE, Record, StateFolder
from pluto_image.artifact import Dist
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.launch import Launch
from pluto_measure.progress import Progress
from pluto_notary.config import decode_config_disk, encode_config_disk

_KEPT: Final = ("pluto.efi", "firmware.fd", "disk.raw", "lock.json")
_GENERATION: Final = "generation.json"
_SERIAL_TAIL: Final = 1 << 20
_STOP_SECONDS: Final = 5.0
_OTHER_PORT: Final = "name another one in the deployment file's ports, and run 'pluto-deploy plan' again"
_OTHER_OPTION: Final = "run 'pluto-deploy local' with another --port, or with --port 0 for any free one"
_NO_SUMS: Final[dict[str, str]] = {}


@dataclass(frozen=True, slots=True)
class LocalTarget:
    """The deployment below `root`. `wish` is None where nothing is to be made; `port` 0: any free one.

    `extra_arguments` let a test be the hostile host; no command sets them.
    """

    root: Path
    wish: Wish | None
    tools: Callable[[Lock], ToolsTree]
    progress: Progress
    port: int = 0
    accelerator: str = "auto"
    timeout: float = 300.0
    extra_arguments: tuple[str, ...] = ()

    def folder(self, slot: str) -> StateFolder:
        """The machine of a slot."""
        return StateFolder(self.root / slot)

    def look(self) -> Scene:
        machines = tuple(machine for slot in SLOTS if (machine := self._machine(slot)) is not None)
        releases = self.root / "releases"
        kept = {one.name for one in releases.iterdir() if not one.name.startswith(".")} if releases.is_dir() else set()
        serving = self._serving()
        tools = frozenset({self.wish.generation.tools}) if self.wish is not None else frozenset[str]()
        if serving is None:
            return Scene(frozenset(kept), tools, machines)
        return Scene(frozenset(kept), tools, machines, serving[0], led=self._led(*serving))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        StateFolder(self.root).create()
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{self.root}: another command is at work on this machine") from error
            yield
        finally:
            os.close(descriptor)

    def refuse_taken_port(self) -> None:
        """UsageError where nobody of ours has the port that clients are to come to, and it is taken. Only looks."""
        records = [record for slot in SLOTS if (record := self.folder(slot).record()) is not None]
        if self.port and not any(processes.listens(record.qemu, self.port) for record in records):
            by_file = self.wish is None or self.wish.deployment.trust is not None
            free_port(self.port, _OTHER_PORT if by_file else _OTHER_OPTION)

    def put_tools(self) -> None:
        self.tools(self._wished().lock)

    def put_release(self) -> None:
        wish = self._wished()
        place = self._release(wish.generation.release)
        if place.exists():
            return
        with files.working(place):
            place.parent.mkdir(exist_ok=True)
            for half in files.listed(place.parent):
                if half.name.startswith("."):  # what somebody who was killed left
                    shutil.rmtree(half)
        with files.working(place), tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as name:
            folder = Path(name) / "release"
            folder.mkdir()
            for one in _KEPT:
                files.link(wish.dist.root / one, folder / one)
            for path, content in wish.small.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_bytes(content)
            folder.rename(place)

    def create(self, slot: str) -> None:
        wish, folder = self._wished(), self.folder(slot)
        folder.create()
        with files.working(folder.root):
            folder.config.write_bytes(encode_config_disk(wish.deployment.payload))
            files.put(folder.root / _GENERATION, wish.generation.to_text())

    def start(self, slot: str) -> None:
        folder, generation = self.folder(slot), self._generation(slot)
        if (record := folder.record()) is not None and power.status(folder).state in LIVE:
            # Whoever started it was killed.
            power.wait_ready(self.timeout, folder, record, time.monotonic(), self.progress)
            return
        self._end(slot, "failed")
        if self.port and self._serving() is None:
            self._part(self.port)
        self.refuse_taken_port()  # said before a machine is started, which takes a while
        with files.working(self.root):
            lock_file = self._release(generation.release) / "lock.json"
            tools = self.tools(Lock.parse(lock_file.read_bytes()))
            shape = self._shape(generation, tools)
            dist = self._dist(generation)
            payload = decode_config_disk(folder.config.read_bytes())
        order = Order(dist, shape, free_port(0), payload, self.timeout, self.extra_arguments)
        with folder.lock() as lock:
            begun = time.monotonic()
            record = power.power_on(order, tools, folder, lock)
            self.progress.step(f"power-on ({shape.accelerator})")
            try:
                power.wait_ready(self.timeout, folder, record, begun, self.progress)
            except BaseException:
                power.power_off(folder, record, "failed")
                raise

    @contextlib.contextmanager
    def reach(self, slot: str) -> Iterator[Address]:
        yield Address(HOST, self.record(slot).port)

    def public(self) -> Address:
        serving = self._serving()
        if serving is None:
            raise UsageError("nothing serves here", hint="run 'pluto-deploy apply' or 'pluto-deploy local'")
        return Address(HOST, serving[1])

    def switch(self, slot: str) -> None:
        serving, folder = self._serving(), self.folder(slot)
        port = self.port or (serving[1] if serving is not None else free_port(0))
        for old in {port, *(serving[1:] if serving is not None else ())}:
            self._part(old)
        monitor.lead(folder.root, HOST, port, GUEST_PORT)
        folder.write(replace(self.record(slot), state="running"))
        files.put(self.root / "serving", pretty({"slot": slot, "port": port}).encode())

    def stop(self, slot: str, *, refused: bool = False) -> None:
        self._end(slot, "refused" if refused else "stopped")

    def remove(self, slot: str) -> None:
        self._end(slot, "stopped")
        folder = self.folder(slot).root
        with files.working(folder):
            (folder / _GENERATION).unlink(missing_ok=True)  # what is left after that is not complete
            if folder.is_dir():
                shutil.rmtree(folder)

    def close(self) -> None:
        if (serving := self._serving()) is not None:
            self._part(serving[1])
            (self.root / "serving").unlink()

    def tidy(self, *, all_of_it: bool = False) -> None:
        machines = self.look().machines
        used = {machine.generation.release for machine in machines if machine.generation is not None}
        with files.working(self.root):
            for path in files.listed(self.root / "releases"):
                if path.name not in used:
                    hidden = path.with_name(f".{path.name.lstrip('.')}")  # half of it is never taken for all of it
                    shutil.rmtree(path.rename(hidden) if path != hidden else path)
            if all_of_it and not machines:
                shutil.rmtree(self.root)

    def serial(self, slot: str) -> bytes:
        path = self.folder(slot).serial_log
        try:
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _SERIAL_TAIL))
                return file.read()
        except FileNotFoundError:
            return b""

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        folder = self._release(generation.release)
        try:
            names = [*SMALL, *(f"{SIGNATURES}{one.name}" for one in files.listed(folder / SIGNATURES)), "firmware.fd"]
            found = {name: (folder / name).read_bytes() for name in names}
            payload = decode_config_disk(self.folder(slot).config.read_bytes())
        except OSError as error:
            raise SourceError(f"{error.filename}: {error.strerror}") from error
        return Belongings(found, payload)

    def record(self, slot: str) -> Record:
        """The machine of a slot. UsageError where there was never one."""
        record = self.folder(slot).record()
        if record is None:
            raise UsageError(f"machine {slot} was never started")
        return record

    def _machine(self, slot: str) -> Machine | None:
        folder = self.folder(slot)
        if not folder.root.is_dir():
            return None
        status = power.status(folder)
        state: State = "running" if status.state in LIVE else "broken" if status.state == "broken" else "stopped"
        record = status.record
        try:
            generation = self._generation(slot)
        except SourceError:
            return Machine(slot, None, "incomplete")
        refused = record is not None and record.state == "refused"
        made = (folder.root / _GENERATION).stat().st_mtime_ns
        return Machine(slot, generation, state, refused, "" if record is None else record.started_at, made)

    def _generation(self, slot: str) -> Generation:
        path = self.folder(slot).root / _GENERATION
        try:
            return Generation.parse(path.read_bytes())
        except (FileNotFoundError, FormatError) as error:
            raise SourceError(f"{path}: {error}") from error

    def _serving(self) -> tuple[str, int] | None:
        try:
            fields = Fields(loads((self.root / "serving").read_bytes(), what="serving"), what="serving")
        except FileNotFoundError:
            return None
        slot, port = fields.take("slot", str), fields.take("port", int)
        if slot not in SLOTS or not 0 < port < 65536:
            raise FormatError("serving", f"slot {slot[:9]!r} on port {port} cannot be")
        return slot, port

    def _led(self, slot: str, port: int) -> bool:
        """Whether the machine that serves has clients led to it, on the port that is asked for."""
        record = self.folder(slot).record()
        return record is not None and record.state == "running" and self.port in (0, port)

    def _part(self, port: int) -> None:
        """Nobody is led to any machine by this port; noted first, so that whoever is killed here is seen."""
        for slot in SLOTS:
            folder = self.folder(slot)
            if (record := folder.record()) is not None and record.state == "running":
                folder.write(replace(record, state="starting"))
            monitor.part(folder.root, HOST, port)

    def _end(self, slot: str, state: str) -> None:
        """The machine of a slot off, also one that whoever started it had no time to note."""
        folder = self.folder(slot)
        if (record := folder.record()) is not None and record.state in LIVE:
            power.power_off(folder, record, state)
        elif folder.locked():
            monitor.quit_machine(folder.root)
            if not folder.wait_unlocked(_STOP_SECONDS):
                raise SourceError(f"{folder.root}: a machine that nobody noted does not end")

    def _shape(self, generation: Generation, tools: ToolsTree) -> Shape:
        accelerator = self.accelerator
        if accelerator == "auto":
            self.progress.doing("trying out KVM")
            firmware = self._release(generation.release) / "firmware.fd"
            accelerator = acceleration.choose(tools, firmware, self.root / "accelerator.json")
        return Shape(generation.profile.removeprefix("local-"), generation.cpus, generation.memory, accelerator)

    def _dist(self, generation: Generation) -> Dist:
        folder = self._release(generation.release)
        return Dist(folder, Launch.parse((folder / "launch.json").read_bytes()), _NO_SUMS)

    def _release(self, digest: str) -> Path:
        return self.root / "releases" / digest

    def _wished(self) -> Wish:
        assert self.wish is not None, "steps that make something come from a wish"
        return self.wish
