"""A bare-metal host as a target of the engine, over one SSH connection. Decides nothing; `slots` says what is written.

Each method brings about a state: files are compared before they are written, units before they are started, and a
slot names its generation last. So whoever was killed, or lost the connection, is resumed by doing it again.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pluto_deploy.deployment import ROUTED, BareMetal, Deployment
from pluto_deploy.engine.scene import Generation, Machine, Scene, opposite
from pluto_deploy.engine.target import Address, Belongings
from pluto_deploy.engine.wish import SMALL, TDX, Wish
from pluto_deploy.local import console, swtpm
from pluto_deploy.metal import copying, layout, refusals, slots
from pluto_deploy.metal.connection import Connection
from pluto_deploy.metal.hands import Hands
from pluto_deploy.metal.layout import GUEST_PORT, Slot
from pluto_deploy.metal.leading import Leading
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.seen import Seen
from pluto_deploy.metal.slots import Placed
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Progress
from pluto_notary.config import decode_config_disk
from pluto_notary.events import Event

_TAIL: Final = 1 << 20
_POLL: Final = 1.0
_STOP_SECONDS: Final = 180.0
_HOST_LOCK_SECONDS: Final = 120


@dataclass(slots=True)
class MetalTarget:
    """One deployment on one host. `wish` is None where nothing is to be made."""

    connection: Connection
    deployment: Deployment
    wish: Wish | None
    tools: Callable[[Lock], ToolsTree]
    progress: Progress

    @property
    def platform(self) -> BareMetal:
        assert isinstance(self.deployment.platform, BareMetal)
        return self.deployment.platform

    @property
    def login(self) -> Login:
        return self.connection.login

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def hands(self) -> Hands:
        return Hands(self.connection)

    @property
    def leading(self) -> Leading:
        return Leading(self.hands, self.deployment, routed=self.platform.network == ROUTED)

    def look(self) -> Scene:
        seen = self._look()
        if self.wish is not None:
            refusals.unfit(self.login, self.platform, seen)
            self._refuse_taken_ports(seen)
        notes = () if seen.prepared is not None else ("the host was not prepared: " + refusals.PREPARE,)
        return Scene(seen.releases, seen.tools, seen.machines, seen.serving, notes, self.leading.is_led(seen))

    def lock(self) -> contextlib.AbstractContextManager[None]:
        return self.connection.held(str(layout.lock(self.name)))

    def put_tools(self) -> None:
        lock = self._wished().lock
        place = layout.tools(lock.tools_digest)
        dest = place.with_name(f"{place.name}.{self.name}")  # another deployment may be copying the same
        tree = self.tools(lock)
        copying.put_tree(self.connection, tree.root, dest, self._told("the tools"))
        self.hands.take(f"{dest}.partial", place)

    def put_release(self) -> None:
        wish = self._wished()
        place = layout.image(wish.generation.release)
        partial = PurePosixPath(f"{place}.{self.name}.partial")
        needed = sum((wish.dist.root / name).stat().st_size for name in wish.image)
        refusals.small_disk(self.login, self._look().free, needed)
        for name, digest in wish.image.items():
            copying.put_file(self.connection, wish.dist.root / name, partial / name, digest.hex(), self._told(name))
        root = ("root", "root")
        folders = sorted({str((partial / name).parent) for name in wish.small})
        small = [Placed(partial / name, 0o444, root, content) for name, content in wish.small.items()]
        self.hands.write(small, folders=[(folder, 0o755, root) for folder in folders])
        self.hands.take(partial, place)

    def create(self, slot: str) -> None:
        wish = self._wished()
        with self._host_lock():
            self._create(wish, slot)
            seen = self._look()
        # What the slot's record names stays. Until now another deployment could take it for something nobody needs.
        if wish.generation.release not in seen.releases:
            self.put_release()
        if wish.generation.tools not in seen.tools:
            self.put_tools()

    def _create(self, wish: Wish, slot: str) -> None:
        self.hands.lease(self.name)
        seen = self._look()
        place = seen.slot(self.name, slot)
        self.leading.refuse(self.leading.wanted(seen, place), seen)
        made = slots.files(wish, place, self._software_tpm() if wish.generation.tee != TDX else None)
        self.hands.write(made.files, folders=made.folders)
        self.hands.systemctl("daemon-reload")
        if made.lease is not None:
            self.hands.write([made.lease])
            self.connection.check(["networkctl", "reload"])
        self.hands.write([slots.record(wish, place)])

    def _host_lock(self) -> contextlib.AbstractContextManager[None]:
        """Held for a moment by whoever changes what deployments share."""
        return self.connection.held(str(layout.HOST_LOCK), wait=_HOST_LOCK_SECONDS)

    def _software_tpm(self) -> dict[str, bytes]:
        """The state of a new software TPM, made on this computer."""
        with tempfile.TemporaryDirectory() as name:
            swtpm.prepare(self.tools(self._wished().lock), Path(name) / "tpm")
            return {path.name: path.read_bytes() for path in (Path(name) / "tpm").iterdir() if path.is_file()}

    def start(self, slot: str) -> None:
        place, machine = self._slot(slot), self._machine(slot)
        generation = machine.generation
        assert generation is not None, "only a complete machine is started"
        self.hands.remove([place.folder / "refused"])
        if machine.state != "running":
            refusals.small_memory(self.login, self._look().memory, generation)
            self.leading.let_out(place, self._look())
            log = str(place.serial_log)  # what is read after this is of this start
            self.connection.check(["sh", "-c", 'if [ -e "$1" ]; then mv -f "$1" "$1.old"; fi', "sh", log])
            self.hands.systemctl("reset-failed", place.unit, may_fail=True)
            self.hands.systemctl("start", place.unit)
        self._wait_ready(place)

    @contextlib.contextmanager
    def reach(self, slot: str) -> Iterator[Address]:
        if self.platform.network != ROUTED:
            yield self._own_address(GUEST_PORT)
            return
        place = self._slot(slot)
        address = str(place.address)
        with self.connection.forward(address, GUEST_PORT) as socket:
            yield Address(address, GUEST_PORT, socket)

    def public(self) -> Address:
        return self._own_address(self.deployment.network.ports[0])

    def switch(self, slot: str) -> None:
        place, other = self._slot(slot), self._slot(opposite(slot))
        # A host that loses its power in between starts the machine that clients are led to, and perhaps the other too.
        self.hands.systemctl("enable", "--quiet", place.unit)
        self.leading.lead(place, self._look())
        self.hands.write([slots.serving(place)])
        self.hands.systemctl("disable", "--quiet", other.unit, may_fail=True)

    def stop(self, slot: str, *, refused: bool = False) -> None:
        place = self._slot(slot)
        if refused:
            self.hands.write([Placed(place.folder / "refused", 0o444, ("root", "root"), b"")])
        self.hands.systemctl("stop", place.unit, may_fail=True, seconds=_STOP_SECONDS)
        machine = self._machine(slot)
        if machine.state == "running":
            raise SourceError(f"{self.login}: {place.unit} does not end")
        self.leading.keep_in(place, self._look())

    def remove(self, slot: str) -> None:
        place = self._slot(slot)
        self.hands.systemctl("disable", "--quiet", "--now", place.unit, may_fail=True, seconds=_STOP_SECONDS)
        # The record first: what is left after that is a machine whose making was interrupted.
        self.hands.remove([place.record, *slots.places(place), place.folder])
        self.hands.systemctl("daemon-reload")
        self.connection.check(["networkctl", "reload"])

    def close(self) -> None:
        self.leading.close()
        self.hands.remove([layout.serving(self.name)])

    def tidy(self, *, all_of_it: bool = False) -> None:
        with self._host_lock():
            self.hands.remove(slots.unused(self.name, self._look(), all_of_it=all_of_it))

    def serial(self, slot: str) -> bytes:
        path = self._slot(slot).serial_log
        return self.hands.read([path], tail=_TAIL)[path] or b""

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        folder, config = layout.image(generation.release), self._slot(slot).config
        names = [name for name in self.hands.listed(folder) if name != "pluto.efi"]
        if lacking := [name for name in (*SMALL, "firmware.fd") if name not in names]:
            raise SourceError(f"{self.login}: {lacking[0]} of release {generation.release[:12]} is gone")
        found = self.hands.read([*(folder / name for name in names), config])
        if missing := [path for path, data in found.items() if data is None]:
            raise SourceError(f"{self.login}: {missing[0]} is gone")
        return Belongings(
            {name: found[folder / name] or b"" for name in names}, decode_config_disk(found[config] or b"")
        )

    def _refuse_taken_ports(self, seen: Seen) -> None:
        """UsageError where a port is the host's own, or another deployment's: clients would come to the wrong one."""
        if self.platform.network == ROUTED:
            rules = self.hands.read([PurePosixPath(one) for one in seen.rules]) if seen.rules else {}
            refusals.taken_ports(self.login, self.deployment.network, seen, rules)

    def _look(self) -> Seen:
        return self.hands.look(self.name)

    def _machine(self, slot: str) -> Machine:
        machine = self.look().machine(slot)
        if machine is None:
            raise UsageError(f"there is no machine {slot}")
        return machine

    def _slot(self, letter: str) -> Slot:
        """The slot with the number that it has."""
        return self._look().slot(self.name, letter)

    def _wait_ready(self, place: Slot) -> None:
        limit = time.monotonic() + self.deployment.timeout
        told = 0
        while True:
            heard = console.read(self.serial(place.letter))
            for one in heard[told:]:
                self.progress.step(f"machine {place.letter}: {one if isinstance(one, str) else _words(one)}")
            told = len(heard)
            if any(isinstance(one, Event) and one.name == "ready" for one in heard):
                return
            if self._machine(place.letter).state != "running":
                raise SourceError(f"machine {place.letter} ended before it was ready: {self._last_words(place)}")
            if time.monotonic() > limit:
                seconds = self.deployment.timeout
                raise SourceError(f"machine {place.letter} was not ready after {seconds} s: {self._last_words(place)}")
            time.sleep(_POLL)

    def _last_words(self, place: Slot) -> str:
        argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "3", "-u", place.unit]
        answer = self.connection.run(argv)
        lines = console.printable(answer.output, 3) + console.printable(self.serial(place.letter), 2)
        return "; ".join(lines) or "it said nothing"

    def _own_address(self, port: int) -> Address:
        network = self.deployment.network
        return Address(network.address or network.domain or self.platform.login.host, port)

    def _told(self, what: str) -> copying.Told:
        quarters = 0

        def tell(done: int, total: int) -> None:
            nonlocal quarters
            self.progress.doing(f"copying {what}: {done >> 20} of {total >> 20} MiB")
            if total and done * 4 // total > quarters:
                quarters = done * 4 // total
                self.progress.step(f"copied {done >> 20} of {total >> 20} MiB of {what}")

        return tell

    def _wished(self) -> Wish:
        assert self.wish is not None, "steps that make something come from a wish"
        return self.wish


def _words(one: object) -> str:
    return one.to_line().removeprefix("pluto: ") if isinstance(one, Event) else "a line that only looks like an event"
