"""A bare-metal host as a target of the engine, over one SSH connection. Decides nothing; `slots` says what is written.

Each method brings about a state: files are compared before they are written, units before they are started, and a
slot names its generation last. So whoever was killed, or lost the connection, is resumed by doing it again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pluto_deploy.deployment import ROUTED, BareMetal, Deployment
from pluto_deploy.engine.scene import SLOTS, Generation, Machine, Scene, State, opposite
from pluto_deploy.engine.target import Address, Belongings
from pluto_deploy.engine.wish import SMALL, TDX, Wish
from pluto_deploy.local import console, swtpm
from pluto_deploy.metal import copying, layout, slots, unit
from pluto_deploy.metal.connection import Connection
from pluto_deploy.metal.layout import GUEST_PORT, Slot
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.prepare.record import Record
from pluto_deploy.metal.slots import Placed
from pluto_deploy.progress import Progress
from pluto_image.lockfile import Lock
from pluto_image.tools import ToolsTree
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.evidence import format_time
from pluto_measure.formats.strict_json import loads
from pluto_notary.config import decode_config_disk
from pluto_notary.events import Event

_IMAGE: Final = ("pluto.efi", "firmware.fd")
_TAIL: Final = 1 << 20
_POLL: Final = 1.0
_LARGEST_ANSWER: Final = 256 << 20
_STOP_SECONDS: Final = 180.0
_OVERHEAD: Final = 512 << 20  # of memory beside the guest's own: QEMU, page tables, what the TDX module keeps
_EMPTY: Final[Mapping[str, Any]] = {"unit": {}}
_PREPARE: Final = "run 'pluto-deploy host prepare'"


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
    def name(self) -> str:
        return self.deployment.name

    def look(self) -> Scene:
        found = self._look()
        machines = tuple(one for slot in SLOTS if (one := _machine(slot, found["slots"].get(slot))) is not None)
        serving = found["serving"] if found["serving"] in SLOTS else None
        host = _host(found)
        if self.wish is not None:
            self._refuse_unfit(host)
        notes = () if host is not None else ("the host was not prepared: " + _PREPARE,)
        led = serving is None or self._is_led(found, serving)
        releases, tools = frozenset(found["releases"]), frozenset(found["tools"])
        return Scene(releases, tools, machines, serving, notes, led)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        return self.connection.held(str(layout.lock(self.name)))

    def put_tools(self) -> None:
        lock = self._wished().lock
        place = layout.tools(lock.tools_digest)
        dest = place.with_name(f"{place.name}.{self.name}")  # another deployment may be copying the same
        tree = self.tools(lock)
        copying.put_tree(self.connection, tree.root, dest, self._told("the tools"))
        self._remote("take", {"partial": f"{dest}.partial", "place": str(place)})

    def put_release(self) -> None:
        wish = self._wished()
        place = layout.image(wish.generation.release)
        partial = PurePosixPath(f"{place}.{self.name}.partial")
        self._refuse_small_disk(sum((wish.dist.root / name).stat().st_size for name in _IMAGE))
        for name in _IMAGE:
            copying.put_file(
                self.connection, wish.dist.root / name, partial / name, wish.dist.sums[name], self._told(name)
            )
        root = ("root", "root")
        folders = sorted({str((partial / name).parent) for name in wish.small})
        small = [Placed(partial / name, 0o444, root, content) for name, content in wish.small.items()]
        self._write(small, folders=[(folder, 0o755, root) for folder in folders])
        self._remote("take", {"partial": str(partial), "place": str(place)})

    def create(self, slot: str) -> None:
        wish, place = self._wished(), self._slot(slot, lease=True)
        found = self._look()
        self._refuse_rules(slots.traffic(self.deployment, place, ipv6=_has_ipv6(found)), found)
        made = slots.files(wish, place, self._software_tpm() if wish.generation.tee != TDX else None)
        self._write(made.files, folders=made.folders)
        self._systemctl("daemon-reload")
        if made.lease is not None:
            self._write([made.lease])
            self._check(["networkctl", "reload"])
        self._write([slots.record(wish, place)])

    def _software_tpm(self) -> dict[str, bytes]:
        """The state of a new software TPM, made on this computer."""
        with tempfile.TemporaryDirectory() as name:
            swtpm.prepare(self.tools(self._wished().lock), Path(name) / "tpm")
            return {path.name: path.read_bytes() for path in (Path(name) / "tpm").iterdir() if path.is_file()}

    def start(self, slot: str) -> None:
        place, machine = self._slot(slot), self._machine(slot)
        generation = machine.generation
        assert generation is not None, "only a complete machine is started"
        self._gone([place.folder / "refused"])
        if machine.state != "running":
            self._refuse_small_memory(generation)
            self._let_out(place)
            log = str(place.serial_log)  # what is read after this is of this start
            self._check(["sh", "-c", 'if [ -e "$1" ]; then mv -f "$1" "$1.old"; fi', "sh", log])
            self._systemctl("reset-failed", place.unit, may_fail=True)
            self._systemctl("start", place.unit)
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
        self._systemctl("enable", "--quiet", place.unit)
        found = self._look()
        self._put_rules(slots.traffic(self.deployment, place, ipv6=_has_ipv6(found)), found)
        self._write([slots.serving(place)])
        self._systemctl("disable", "--quiet", other.unit, may_fail=True)

    def stop(self, slot: str, *, refused: bool = False) -> None:
        place = self._slot(slot)
        if refused:
            self._write([Placed(place.folder / "refused", 0o444, ("root", "root"), b"")])
        self._systemctl("stop", place.unit, may_fail=True, seconds=_STOP_SECONDS)
        machine = self._machine(slot)
        if machine.state == "running":
            raise SourceError(f"{self.connection.login}: {place.unit} does not end")
        self._keep_in(place)

    def remove(self, slot: str) -> None:
        place = self._slot(slot)
        self._systemctl("disable", "--quiet", "--now", place.unit, may_fail=True, seconds=_STOP_SECONDS)
        # The record first: what is left after that is a machine whose making was interrupted.
        self._gone([place.record, *slots.places(place), place.folder])
        self._systemctl("daemon-reload")
        self._check(["networkctl", "reload"])

    def close(self) -> None:
        self._gone([layout.traffic(self.name)])
        self._reload_traffic()
        self._gone([layout.serving(self.name)])

    def tidy(self, *, all_of_it: bool = False) -> None:
        found = self._look()
        mine = [found["slots"][slot]["record"] for slot in SLOTS if found["slots"].get(slot)]
        used = [Generation.parse(text) for text in (*mine, *found["others"]) if text]
        releases = {one.release for one in used}
        gone = [layout.image(one) for one in found["releases"] if one not in releases]
        gone += [layout.tools(one) for one in found["tools"] if one not in {one.tools for one in used}]
        gone += map(PurePosixPath, found["partials"])
        if all_of_it and not mine:
            owners = {f"{self.name} {slot}" for slot in SLOTS}
            gone += [layout.LEASES / number for number, owner in found["leases"].items() if owner in owners]
            gone += [layout.domain(self.name), *((unit.KEEPER.parent,) if found["alone"] else ())]
        self._gone(gone)

    def serial(self, slot: str) -> bytes:
        path = str(self._slot(slot).serial_log)
        return self._read([path], tail=_TAIL)[path] or b""

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        folder, config = layout.image(generation.release), str(self._slot(slot).config)
        names = [name for name in self._remote("list", {"folder": str(folder)})["paths"] if name != "pluto.efi"]
        found = self._read([*(str(folder / name) for name in names), config])
        if missing := [path for path, data in found.items() if data is None]:
            raise SourceError(f"{self.connection.login}: {missing[0]} is gone")
        files = {name: found[str(folder / name)] or b"" for name in names}
        if lacking := [name for name in (*SMALL, "firmware.fd") if name not in files]:
            raise SourceError(f"{self.connection.login}: {lacking[0]} of release {generation.release[:12]} is gone")
        return Belongings(files, decode_config_disk(found[config] or b""))

    def _refuse_unfit(self, host: Record | None) -> None:
        """UsageError where the host was not made ready for what the deployment file asks for."""
        if host is None:
            raise UsageError(f"{self.connection.login} was not prepared", hint=_PREPARE)
        if host.network != self.platform.network:
            asked = f"the deployment asks for {self.platform.network}"
            raise UsageError(f"{self.connection.login} was prepared with network {host.network}, and {asked}")
        if self.platform.tee == TDX and host.tee != TDX:
            raise UsageError(f"{self.connection.login} was prepared without TDX", hint=_PREPARE)

    def _is_led(self, found: Mapping[str, Any], serving: str) -> bool:
        """Whether clients are led as the deployment file asks for, also after the host was booted again."""
        starts = [one for one in SLOTS if (found["slots"].get(one) or _EMPTY)["unit"].get("UnitFileState") == "enabled"]
        if starts != [serving]:
            return False
        if self.platform.network != ROUTED:
            return True
        owners = {owner: int(number) for number, owner in found["leases"].items() if number.isdigit()}
        number = owners.get(f"{self.name} {serving}")
        if number is None:
            return False
        wanted = slots.traffic(self.deployment, Slot(self.name, serving, number), ipv6=_has_ipv6(found))
        return bool(wanted.content.decode().strip() == found["traffic"])

    def _let_out(self, place: Slot) -> None:
        """Before a start: the machine may go where it may go, as it may need the time of day before it is ready.

        Where it served before, clients are kept away until it was appraised again and is switched to.
        """
        found = self._look()
        ipv6 = _has_ipv6(found)
        if self.platform.network == ROUTED and found["serving"] == place.letter:
            self._put_rules(slots.traffic(self.deployment, None, place, ipv6=ipv6), found)
        elif self.deployment.network.egress:
            self._put_rules(slots.let_out(self.deployment, place, found["traffic"] or "", ipv6=ipv6), found)

    def _keep_in(self, place: Slot) -> None:
        """The contrary, for a machine that was stopped."""
        found = self._look()
        if found["serving"] != place.letter and found["traffic"]:
            wanted = slots.kept_in(self.name, place, found["traffic"])
            if wanted.content.decode().strip() != found["traffic"]:
                self._put_rules(wanted, found)

    def _put_rules(self, placed: Placed, found: Mapping[str, Any]) -> None:
        """Have the rules of this deployment in force. UsageError, SourceError; then those that were stay.

        Loaded even where the file is the same: whoever wrote it may have been killed before he loaded it.
        """
        if self.platform.network == ROUTED:
            self._refuse_rules(placed, found)
            self._write([placed])
            self._reload_traffic()

    def _refuse_rules(self, placed: Placed, found: Mapping[str, Any]) -> None:
        """Try rules out with those of everybody else: a file that cannot be loaded would keep all others from it."""
        if self.platform.network != ROUTED:
            return
        includes = "".join(f'include "{path}"\n' for path in (places.BASE_RULES, *found["rules"]))
        answer = self.connection.run(["nft", "-c", "-f", "-"], data=includes.encode() + placed.content)
        if answer.code and "File exists" in answer.errors:
            ports = ", ".join(map(str, self.deployment.network.ports))
            raise UsageError(f"{self.connection.login}: another deployment has port {ports}, or one of these")
        if answer.code:
            raise SourceError(f"{self.connection.login}: nft does not take the rules: {answer.errors.splitlines()[0]}")

    def _look(self) -> dict[str, Any]:
        slots_asked = {
            letter: {
                "folder": str(layout.domain(self.name) / letter),
                "record": str(layout.domain(self.name) / letter / "slot.json"),
                "unit": f"pluto-td-{self.name}-{letter}.service",
            }
            for letter in SLOTS
        }
        ask: dict[str, Any] = {
            "name": self.name,
            "slots": slots_asked,
            "images": str(layout.IMAGES),
            "tools": str(layout.TOOLS),
            "domains": str(layout.DOMAINS),
            "leases": str(layout.LEASES),
            "prepared": str(layout.PREPARED),
            "serving": str(layout.serving(self.name)),
            "traffic": str(layout.traffic(self.name)),
        }
        return self._remote("look", ask)

    def _machine(self, slot: str) -> Machine:
        machine = self.look().machine(slot)
        if machine is None:
            raise UsageError(f"there is no machine {slot}")
        return machine

    def _slot(self, letter: str, *, lease: bool = False) -> Slot:
        """The slot with the number that it has; `lease`: it gets one where it has none."""
        found = self._look()["leases"]
        numbers = {owner: int(number) for number, owner in found.items() if number.isdigit()}
        number = numbers.get(f"{self.name} {letter}")
        if number is None and lease:
            ask: dict[str, Any] = {"name": self.name, "letters": list(SLOTS), "leases": str(layout.LEASES)}
            ask |= {"first": layout.FIRST_LEASE, "last": layout.LAST_LEASE}
            number = int(self._remote("lease", ask)["numbers"][letter])
        # A slot without a number holds nothing; any number names its files.
        return Slot(self.name, letter, layout.FIRST_LEASE if number is None else number)

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

    def _reload_traffic(self) -> None:
        if self.platform.network == ROUTED:
            self._systemctl("reload-or-restart", "pluto-traffic.service")

    def _refuse_small_disk(self, needed: int) -> None:
        free = int(self._look()["free"])
        if free < needed:
            raise SourceError(
                f"{self.connection.login}: {layout.IMAGES} has {free >> 20} MiB free, the release needs {needed >> 20}"
            )

    def _refuse_small_memory(self, generation: Generation) -> None:
        available = int(self._look()["memory"])
        if available < generation.memory + _OVERHEAD:
            needed = (generation.memory + _OVERHEAD) >> 20
            raise SourceError(
                f"{self.connection.login}: {available >> 20} MiB of memory are available, the machine needs {needed}",
                hint="write strategy = \"replace\" where there is room for one machine, and run 'pluto-deploy plan'",
            )

    def _told(self, what: str) -> copying.Told:
        quarters = 0

        def tell(done: int, total: int) -> None:
            nonlocal quarters
            self.progress.doing(f"copying {what}: {done >> 20} of {total >> 20} MiB")
            if total and done * 4 // total > quarters:
                quarters = done * 4 // total
                self.progress.step(f"copied {done >> 20} of {total >> 20} MiB of {what}")

        return tell

    def _write(self, placed: Sequence[Placed], *, folders: Sequence[tuple[str, int, tuple[str, str]]] = ()) -> None:
        files = [[str(one.path), one.mode, list(one.owner), base64.b64encode(one.content).decode()] for one in placed]
        self._remote("write", {"folders": [[path, mode, list(owner)] for path, mode, owner in folders], "files": files})

    def _gone(self, paths: Sequence[PurePosixPath]) -> None:
        self._remote("write", {"gone": [str(path) for path in paths]})

    def _read(self, paths: Sequence[str], *, tail: int | None = None) -> Mapping[str, bytes | None]:
        answer = self._remote("read", {"paths": list(paths), "tail": tail})["files"]
        return {path: None if answer[path] is None else base64.b64decode(answer[path]) for path in paths}

    def _systemctl(self, verb: str, *words: str, may_fail: bool = False, seconds: float = 120.0) -> None:
        argv = ["systemctl", verb, *words]
        answer = self.connection.run(argv, timeout=seconds)
        if answer.code and not may_fail:
            said = answer.errors.splitlines()[0] if answer.errors else f"exit code {answer.code}"
            raise SourceError(f"{self.connection.login}: {shlex.join(argv)}: {said}")

    def _check(self, argv: Sequence[str]) -> bytes:
        return self.connection.check(argv)

    def _remote(self, verb: str, ask: Mapping[str, Any]) -> dict[str, Any]:
        """One call of `remote.py` on the host. SourceError with what it says."""
        program = resources.files("pluto_deploy.metal").joinpath("remote.py").read_text()
        program += f"\nsys.exit(main({verb!r}, {json.dumps(ask)!r}))\n"
        output = self.connection.check(["python3", "-I", "-"], data=program.encode())
        try:
            answer = loads(output, what="host", limit=_LARGEST_ANSWER)
        except FormatError as error:
            raise SourceError(f"{self.connection.login}: answers nonsense: {error}") from error
        if not isinstance(answer, dict) or "error" in answer:
            said = answer.get("error") if isinstance(answer, dict) else "no object"
            raise SourceError(f"{self.connection.login}: {said}")
        return answer

    def _wished(self) -> Wish:
        assert self.wish is not None, "steps that make something come from a wish"
        return self.wish


def _host(found: Mapping[str, Any]) -> Record | None:
    """What `host prepare` left; None where it was never there. FormatError for an older preparation."""
    return None if found["prepared"] is None else Record.parse(found["prepared"])


def _machine(slot: str, found: Mapping[str, Any] | None) -> Machine | None:
    """What a host says of one slot. A record that is none of ours counts as a machine that is not complete."""
    if found is None:
        return None
    shown = found["unit"]
    try:
        generation = Generation.parse(found["record"] or "")
    except FormatError:
        return Machine(slot, None, "incomplete")
    if shown.get("LoadState") != "loaded":
        return Machine(slot, None, "incomplete")
    since, made = _time(str(shown.get("ActiveEnterTimestamp", ""))), int(found["made"])
    return Machine(slot, generation, _state(shown), bool(found["refused"]), since, made)


def _has_ipv6(found: Mapping[str, Any]) -> bool:
    host = _host(found)
    return host is not None and host.ipv6


def _time(text: str) -> str:
    """RFC 3339 of what systemctl(1) says with --timestamp=unix; empty where it says nothing."""
    seconds = text.removeprefix("@")
    return format_time(datetime.fromtimestamp(int(seconds), UTC)) if seconds.isdigit() else ""


def _state(shown: Mapping[str, str]) -> State:
    active, sub = shown.get("ActiveState"), shown.get("SubState")
    if active == "failed" or sub in ("auto-restart", "auto-restart-queued"):
        return "broken"
    return "running" if active in ("active", "activating", "deactivating", "reloading") else "stopped"


def _words(one: object) -> str:
    return one.to_line().removeprefix("pluto: ") if isinstance(one, Event) else "a line that only looks like an event"
