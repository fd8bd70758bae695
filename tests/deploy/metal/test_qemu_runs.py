"""The command line in the locked QEMU: read to the end without TDX, and, emulated, it makes the platform's machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from pluto_deploy.engine.policy import mr_config_id
from pluto_deploy.metal import qemu
from pluto_deploy.metal.qemu import Wiring, arguments
from pluto_image.tools import ToolsTree
from simulators.metal.profiles import BARE_METAL, profile

pytestmark = [pytest.mark.interop, pytest.mark.slow]

LOCK = Path(__file__).parents[3] / "image/notary/lock.json"
CONFIG = mr_config_id(bytes(range(32)))
# What QEMU says when it has read all and wants what emulation has not: memory that is the guest's alone.
READ = "cannot set up private guest memory for tdx-guest: KVM required"
TAP = f"tap,id=net,fd={qemu.CARD_FD},vhost=off"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="pluto-") as name:
        yield Path(name)


@pytest.fixture
def wiring(tree: ToolsTree, tmp_path: Path, short: Path) -> Wiring:
    (tmp_path / "config.disk").write_bytes(bytes(1 << 15))
    (tmp_path / "pluto.efi").write_bytes(bytes(1 << 15))
    here = PurePosixPath(tmp_path)
    return Wiring(
        firmware=PurePosixPath(tree.firmware()),
        uki=here / "pluto.efi",
        config=here / "config.disk",
        monitor=PurePosixPath(short) / "qmp.sock",
        mac="52:54:00:88:00:02",
    )


@contextlib.contextmanager
def started(tree: ToolsTree, words: list[str]) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """QEMU with what a keeper gives it, and our end of its monitor. A tap needs privilege; a made-up card does not."""
    words = ["user,id=net,restrict=on" if word == TAP else word for word in words]
    serial, monitor = socket.socketpair(), socket.socketpair()
    for pair, number in ((serial, qemu.SERIAL_FD), (monitor, qemu.KEEPER_FD)):
        os.dup2(pair[1].fileno(), number, inheritable=True)
        pair[1].close()
    try:
        process = subprocess.Popen(
            tree.command("qemu-system-x86_64", *words),
            env=tree.environment(),
            pass_fds=(qemu.SERIAL_FD, qemu.KEEPER_FD),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(qemu.SERIAL_FD)
        os.close(qemu.KEEPER_FD)
    with process, serial[0], monitor[0]:
        try:
            yield process, monitor[0]
        finally:
            process.kill()


def said(tree: ToolsTree, words: list[str]) -> str:
    """QEMU's last words."""
    with started(tree, words) as (process, _):
        _, text = process.communicate(timeout=60)
    assert process.returncode not in (0, None), text
    return text.strip().splitlines()[-1]


def emulated(words: list[str], *, trust_domain: bool = False) -> list[str]:
    """A trust domain's words without what only KVM does; without TDX, too, unless `trust_domain`."""
    found = list(words)
    found[found.index("-accel") + 1] = "tcg"
    if not trust_domain:
        at = next(number for number, word in enumerate(found) if word.startswith("{"))
        del found[at - 1 : at + 1]
        at = found.index("-machine") + 1
        found[at] = ",".join(found[at].split(",")[:3])
        found[found.index("-cpu") + 1] = found[found.index("-cpu") + 1].replace("host,", "max,")
    return found


def edited(words: list[str], **changes: Any) -> list[str]:
    """With other properties of the trust domain's object; None removes one, and `_` stands for a hyphen."""
    at = next(number for number, word in enumerate(words) if word.startswith("{"))
    members = json.loads(words[at]) | {name.replace("_", "-"): value for name, value in changes.items()}
    found = [*words]
    found[at] = json.dumps({name: value for name, value in members.items() if value is not None})
    return found


@pytest.mark.parametrize("name", BARE_METAL)
def test_qemu_reads_all_of_it_and_then_wants_kvm(name: str, tree: ToolsTree, wiring: Wiring) -> None:
    words = emulated(arguments(profile(name, mr_config_id=CONFIG), wiring), trust_domain=True)
    assert said(tree, words).endswith(READ)


MISSPELT: Mapping[str, tuple[dict[str, Any], str]] = {
    "mrconfigid": ({"mrconfigid": None, "mr_config_id": "x"}, "Parameter 'mr-config-id' is unexpected"),
    "sept-ve-disable": ({"sept_ve_disable": None, "sept_ve_disabled": True}, "'sept-ve-disabled' is unexpected"),
    "its value": ({"sept_ve_disable": "yes"}, "'sept-ve-disable', expected: boolean"),
    "quote-generation-socket": (
        {"quote_generation_socket": None, "quote_generation_service": "x"},
        "'quote-generation-service' is unexpected",
    ),
    "its type": ({"quote_generation_socket": {"type": "unixx", "path": "/x"}}, "does not accept value 'unixx'"),
    "its path": ({"quote_generation_socket": {"type": "unix"}}, "'quote-generation-socket.path' is missing"),
    "more of it": (
        {"quote_generation_socket": {"type": "unix", "path": "/x", "port": "1"}},
        "'quote-generation-socket.port' is unexpected",
    ),
    "qom-type": ({"qom_type": "tdx-gest"}, "does not accept value 'tdx-gest'"),
    "id": ({"id": "td"}, "Device 'tdx' not found"),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_property_that_is_misspelt_is_not_read_over(name: str, tree: ToolsTree, wiring: Wiring) -> None:
    change, message = MISSPELT[name]
    words = emulated(arguments(profile("bare-metal", mr_config_id=CONFIG), wiring), trust_domain=True)
    assert message in said(tree, edited(words, **change))


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("smm=off", "smmm=off", "smmm"),
        ("kernel-irqchip=", "kernel-irqchips=", "kernel-irqchips"),
        ("romfile=,", "romfil=,", "romfil"),
        ("serial=pluto-config", "serials=pluto-config", "serials"),
        ("read-only=on", "readonly=on", "readonly"),
        ("kvm-steal-time=off", "kvm-steal=off", "kvm-steal"),
        ("pmu=off", "pmuu=off", "pmuu"),
        ("pks=off", "pkss=off", "pkss"),
        ("spawn=deny", "spawns=deny", "spawns"),
        ("monitor-qmp", "monitor-qmpp", "monitor-qmpp"),
        ("wait=off", "waits=off", "waits"),
    ],
)
def test_so_is_no_other_word(right: str, wrong: str, message: str, tree: ToolsTree, wiring: Wiring) -> None:
    words = arguments(profile("bare-metal", mr_config_id=CONFIG), wiring)
    assert sum(right in word for word in words) >= 1
    words = [word.replace(right, wrong) for word in words]
    # Devices and the processor are made later than the trust domain's memory, which emulation does not get beyond.
    words = emulated(words, trust_domain="irqchip" in right)
    text = said(tree, words)
    assert message in text
    assert READ not in text


def test_the_cards_own_word_is_read_too(tree: ToolsTree, wiring: Wiring) -> None:
    for word, message in ((TAP, "Bad file descriptor"), (TAP.replace("vhost", "vhosts"), "Invalid parameter 'vhosts'")):
        done = subprocess.run(
            tree.command("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-netdev", word),
            env=tree.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert message in done.stderr


class Monitor:
    """QMP, as far as these tests ask."""

    def __init__(self, channel: socket.socket) -> None:
        channel.settimeout(60)
        self.stream = channel.makefile("rwb")
        self.stream.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **given: object) -> Any:
        self.stream.write(json.dumps({"execute": command, "arguments": given}).encode() + b"\n")
        self.stream.flush()
        while "event" in (answer := json.loads(self.stream.readline())):
            continue
        return answer["return"]


def test_the_object_has_every_property_that_is_used(tree: ToolsTree) -> None:
    words = ["-machine", "none", "-nodefaults", "-display", "none", "-chardev", f"socket,id=m,fd={qemu.KEEPER_FD}"]
    with started(tree, [*words, "-object", "monitor-qmp,id=q,chardev=m"]) as (_, channel):
        listed = {one["name"] for one in Monitor(channel).ask("qom-list-properties", typename="tdx-guest")}
    assert {"mrconfigid", "sept-ve-disable", "quote-generation-socket"} <= listed


@dataclass(frozen=True, slots=True)
class Seen:
    """A machine by its own account."""

    cpus: int
    memory: int
    machine: str
    smm: str
    pic: str
    devices: list[str]
    disks: list[tuple[str, bool]]


def seen(monitor: Monitor) -> Seen:
    def of(path: str, name: str) -> Any:
        return monitor.ask("qom-get", path=path, property=name)

    functions = sorted(
        (one for bus in monitor.ask("query-pci") for one in bus["devices"]), key=lambda one: int(one["slot"])
    )
    return Seen(
        cpus=len(monitor.ask("query-cpus-fast")),
        memory=monitor.ask("query-memory-size-summary")["base-memory"],
        machine=of("/machine", "type").removesuffix("-machine"),
        smm=of("/machine", "smm"),
        pic=of("/machine", "pic"),
        devices=[NAMES[one["id"]["device"]] for one in functions if one["id"]["vendor"] == 0x1AF4],
        disks=[(one["inserted"]["node-name"], one["inserted"]["ro"]) for one in monitor.ask("query-block")],
    )


# Devices by what PCI says they are (virtio 1.2, section 4.1.2, transitional).
NAMES = {0x1000: "virtio-net-pci,romfile=", 0x1001: "virtio-blk-pci"}


@pytest.mark.parametrize("swapped", [False, True])
def test_the_machine_is_the_platforms_by_its_own_account(swapped: bool, tree: ToolsTree, wiring: Wiring) -> None:
    platform = profile("bare-metal-4", mr_config_id=CONFIG, memory=3 << 30)
    if swapped:
        platform = replace(platform, devices=(*reversed(platform.devices[:-1]), "serial"), cpus=3, memory=1 << 30)
    with started(tree, [*emulated(arguments(platform, wiring)), "-S"]) as (_, channel):
        assert seen(Monitor(channel)) == Seen(
            cpus=platform.cpus,
            memory=platform.memory,
            machine=platform.machine_type,
            smm="off",
            pic="off",
            devices=list(platform.devices[:-1]),
            disks=[("config", True)],
        )


def test_the_monitor_for_people_answers_beside_the_keepers(tree: ToolsTree, wiring: Wiring) -> None:
    words = emulated(arguments(profile("bare-metal", mr_config_id=CONFIG), wiring))
    with started(tree, [*words, "-S"]) as (_, channel), socket.socket(socket.AF_UNIX) as second:
        assert Monitor(channel).ask("query-status")["status"] == "prelaunch"
        limit = time.monotonic() + 30
        while second.connect_ex(str(wiring.monitor)) and time.monotonic() < limit:
            time.sleep(0.05)
        assert Monitor(second).ask("query-status")["running"] is False
