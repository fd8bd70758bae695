"""The unit of a slot under a real systemd: what it makes, what it hides, how it ends and comes back.

QEMU is `simulators.pretend_qemu`, which stands where the tools tree has its loader and tells on the serial line what it
sees. `simulators.metal` is the host.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.metal import keeper, layout, unit
from pluto_deploy.metal.unit import Limits, quoted
from pluto_image.lint import hardening, unit_files
from pluto_image.tree import Entry, Kind
from simulators import pretend_qemu
from simulators.metal.host import Host
from simulators.metal.profiles import profile

pytestmark = [pytest.mark.root, pytest.mark.slow]

DIGEST = "5c" * 32
SLOT, OTHER = layout.Slot("web", "a", 2), layout.Slot("web", "b", 3)
ENOUGH = 20.0
PREPARE = f"""
getent group {layout.KVM_GROUP} >/dev/null || groupadd --system {layout.KVM_GROUP}
groupadd --system {layout.QUOTE_GROUP}
useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {layout.USER}
ip link add {layout.BRIDGE} type bridge
ip address add {layout.HOST_ADDRESS}/24 dev {layout.BRIDGE}
ip link set {layout.BRIDGE} up
"""


@pytest.fixture(scope="module")
def prepared(shared_metal_host: Host) -> Host:
    """A host with what a unit stands on, and a QEMU that pretends."""
    host = shared_metal_host
    host.run(["sh", "-ec", PREPARE])
    host.put(str(unit.KEEPER), Path(keeper.__file__).read_bytes(), 0o755)
    loader = layout.tools(DIGEST) / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    host.put(str(loader), Path(pretend_qemu.__file__).read_bytes(), 0o755)
    return host


class Placed:
    """Slots that were put on the host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.slots: list[layout.Slot] = []

    def put(self, slot: layout.Slot, mode: str = "honest", *, drop_in: str = "", **changes: Any) -> None:
        self.slots.append(slot)
        self.host.put(str(slot.config), mode.encode())
        self.host.put(str(slot.unit_file), text(slot, **changes).encode())
        if drop_in:
            self.host.put(f"{slot.unit_file}.d/test.conf", drop_in.encode())
        self.host.run(["systemctl", "daemon-reload"])

    def start(self, slot: layout.Slot = SLOT, mode: str = "honest", **changes: Any) -> dict[str, Any]:
        """Start a machine and return what it sees."""
        self.put(slot, mode, **changes)
        done = self.host.run(["systemctl", "start", slot.unit], check=False)
        assert done.returncode == 0, self.host.journal()[-3000:]
        return self.seen(slot)

    def seen(self, slot: layout.Slot = SLOT) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def said() -> bool:
            lines = self.serial(slot).splitlines()
            found[:] = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
            return bool(found)

        self.until(said)
        return found[-1]

    def serial(self, slot: layout.Slot = SLOT) -> str:
        return self.host.run(["cat", str(slot.serial_log)], check=False).stdout

    def show(self, name: str, slot: layout.Slot = SLOT) -> str:
        return self.host.run(["systemctl", "show", "--value", f"--property={name}", slot.unit]).stdout.strip()

    def until(self, truth: Callable[[], bool], seconds: float = ENOUGH) -> None:
        limit = time.monotonic() + seconds
        while not truth():
            assert time.monotonic() < limit, self.host.journal(SLOT.unit)[-3000:]
            time.sleep(0.05)

    def interfaces(self) -> list[str]:
        return [one["ifname"] for one in json.loads(self.host.run(["ip", "-j", "link"]).stdout)]

    def clear(self) -> None:
        for slot in self.slots:
            self.host.run(["systemctl", "stop", slot.unit], check=False)
            self.host.run(["rm", "-rf", str(slot.folder), str(slot.unit_file), f"{slot.unit_file}.d"])
        self.host.run(["systemctl", "daemon-reload"])
        self.host.run(["systemctl", "reset-failed"])


@pytest.fixture
def placed(prepared: Host) -> Iterator[Placed]:
    placed = Placed(prepared)
    yield placed
    placed.clear()


def text(slot: layout.Slot = SLOT, name: str = "bare-metal", **changes: Any) -> str:
    wanted: dict[str, Any] = {
        "platform": profile(name),
        "image_digest": DIGEST,
        "tools_digest": DIGEST,
        "config_digest": bytes(32),
        "tee": "tdx" if profile(name).kind == "qemu-tdx" else "insecure_none",
        "network": "routed",
    }
    return unit.unit(slot, **{**wanted, **changes})


@pytest.mark.parametrize("name", ["bare-metal", "local-uki-kernel"])
@pytest.mark.parametrize("network", ["routed", "bridge:br0", "macvtap:eth0"])
def test_systemd_has_nothing_to_say_about_it_and_scores_it_as_we_do(name: str, network: str, placed: Placed) -> None:
    placed.put(SLOT, name=name, network=network, limits=Limits(cpu_quota=200, cpus=(0,)))
    verified = placed.host.run(["systemd-analyze", "verify", str(SLOT.unit_file)], check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = placed.host.run(["systemd-analyze", "security", "--no-pager", "--offline=yes", str(SLOT.unit_file)])
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert found
    assert float(found[1]) <= 2.0
    content = placed.host.read(str(SLOT.unit_file))
    entry = Entry(f"usr/lib/systemd/system/{SLOT.unit}", Kind.FILE, 0o644, content, "recipe:x")
    assert hardening.score(unit_files.units([entry])[SLOT.unit]).text == found[1]


def test_the_sandbox_leaves_a_machine_what_it_needs_and_nothing_else(placed: Placed) -> None:
    placed.host.put(str(OTHER.config), b"another's")
    seen = placed.start()
    assert seen["uid"] == int(placed.host.run(["id", "-u", layout.USER]).stdout)
    assert seen["uid"] != 0
    assert set(seen["capabilities"]) == {"0" * 16}
    assert seen["seccomp"] == "2"
    assert seen["interfaces"] == ["lo"]
    assert seen["inet"] is False
    assert seen["domains"] == ["web", "web/a", "web/a/config.disk"]
    assert [path for path in seen["runtime"] if "qmp" not in path] == ["web-a"]
    assert seen["writable"] == ["/tmp"]
    assert "kvm" in seen["devices"]
    assert not {"net", "sgx_enclave", "sgx_provision", "vhost-net", "vhost-vsock", "cpu", "tty0"} & set(seen["devices"])
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} & seen["environment"].keys()
    assert seen["environment"]["OPENSSL_CONF"] == "/dev/null"
    placed.host.run(["rm", "-rf", str(OTHER.folder)])


def test_qemu_gets_the_very_words_of_the_platform(placed: Placed) -> None:
    """Read by systemd, handed on by the keeper; the first word after the loader is not ours to see."""
    seen = placed.start()
    [line] = [line for line in text().splitlines() if line.startswith("ExecStart=")]
    assert seen["argv"] == line.partition(" -- ")[2].replace('\\"', "'").replace('"', "").replace("'", '"').split()[1:]


def test_any_word_comes_through_systemd_as_it_was(prepared: Host) -> None:
    choice = random.Random(7)
    printable = [chr(code) for code in range(32, 127)]
    odd = [" ", "%", "$", "\\", '"', "'", ";", "{", "}", "#"]
    words = ["%n", "$HOME", "${HOME}", "$$", "%%", ";", "\\;", "-", "", " ", "\\x41", '"', "'", "a b", "a'b c'd", "#"]
    words += ["".join(choice.choices(printable + odd * 4, k=choice.randint(1, 12))) for _ in range(300)]
    program = ["/usr/bin/python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    line = " ".join(map(quoted, [*program, *words]))
    prepared.put("/run/systemd/system/words.service", f"[Service]\nType=oneshot\nExecStart={line}\n".encode())
    prepared.run(["systemctl", "daemon-reload"])
    prepared.run(["systemctl", "start", "words.service"])
    prepared.run(["journalctl", "--sync"])
    said = prepared.run(["journalctl", "-u", "words.service", "-o", "json", "--output-fields=MESSAGE"]).stdout
    messages = [json.loads(one)["MESSAGE"] for one in said.splitlines()]
    assert words in [json.loads(message) for message in messages if message.startswith("[")]


def test_its_card_is_an_isolated_port_of_the_bridge_and_goes_when_it_stops(placed: Placed) -> None:
    seen = placed.start()
    assert seen["card"]["name"] == SLOT.tap
    [link] = json.loads(placed.host.run(["ip", "-j", "-d", "link", "show", SLOT.tap]).stdout)
    assert link["master"] == layout.BRIDGE
    assert link["linkinfo"]["info_slave_data"]["isolated"] is True
    assert link["linkinfo"]["info_data"]["user"] == layout.USER
    assert "LOWER_UP" in link["flags"]
    [address] = json.loads(placed.host.run(["ip", "-j", "address", "show", SLOT.tap]).stdout)
    assert address["addr_info"] == []
    placed.host.run(["systemctl", "stop", SLOT.unit])
    assert SLOT.tap not in placed.interfaces()
    assert placed.show("ActiveState") == "inactive"
    assert placed.show("Result") == "success"
    assert placed.host.run(["ls", str(layout.RUNTIME)]).stdout == ""
    assert placed.host.run(["pgrep", "-u", layout.USER], check=False).stdout == ""


def test_two_machines_run_side_by_side_and_see_nothing_of_each_other(placed: Placed) -> None:
    first, second = placed.start(SLOT), placed.start(OTHER)
    assert second["domains"] == ["web", "web/b", "web/b/config.disk"]
    assert [path for path in second["runtime"] if "qmp" not in path] == ["web-b"]
    assert {first["card"]["name"], second["card"]["name"]} == {SLOT.tap, OTHER.tap}
    placed.host.run(["systemctl", "stop", SLOT.unit])
    assert placed.show("ActiveState", OTHER) == "active"
    assert OTHER.tap in placed.interfaces()


@pytest.mark.parametrize("mode", ["reset", "fails"])
def test_a_machine_that_ended_by_itself_comes_back_and_one_that_was_stopped_does_not(mode: str, placed: Placed) -> None:
    placed.put(SLOT, mode)
    placed.host.run(["systemctl", "start", SLOT.unit], check=False)
    placed.until(lambda: placed.serial().count(f"mode={mode}") >= 2)
    assert SLOT.tap in placed.interfaces() or placed.show("ActiveState") in ("activating", "deactivating")
    placed.host.put(str(SLOT.config), b"honest")
    placed.until(lambda: placed.show("ActiveState") == "active")
    assert int(placed.show("NRestarts")) >= 2
    placed.host.run(["systemctl", "stop", SLOT.unit])
    time.sleep(3)
    assert placed.show("ActiveState") == "inactive"


def test_a_qemu_or_a_keeper_that_is_killed_comes_back_and_leaves_nothing(placed: Placed) -> None:
    placed.start()
    for killed, pattern in enumerate(("^/usr/bin/python3 /opt/pluto", "^/usr/bin/python3 -I -B")):
        placed.host.run(["pkill", "-KILL", "-u", layout.USER, "-f", pattern])
        placed.until(lambda: int(placed.show("NRestarts")) > killed)  # noqa: B023 - called at once
        placed.until(lambda: placed.show("ActiveState") == "active")
    assert len(placed.host.run(["pgrep", "-u", layout.USER]).stdout.split()) == 2  # keeper and QEMU


@pytest.mark.parametrize("mode", ["hangs", "stopped"])
def test_a_machine_that_does_not_run_any_more_is_ended_by_the_watchdog(mode: str, placed: Placed) -> None:
    placed.put(SLOT, mode, drop_in="[Service]\nWatchdogSec=2\n")
    placed.host.run(["systemctl", "start", SLOT.unit])
    placed.host.put(str(SLOT.config), b"honest")
    placed.until(lambda: placed.serial().count("mode=honest") >= 1)
    placed.until(lambda: placed.show("ActiveState") == "active")
    assert "Watchdog timeout" in placed.host.journal(SLOT.unit)
    assert placed.show("NRestarts") == "1"
    time.sleep(3)
    assert placed.show("NRestarts") == "1"  # fed again


def test_a_guest_that_does_not_mind_the_button_is_gone_after_the_grace(placed: Placed) -> None:
    placed.start(mode="deaf", limits=Limits(grace=1))
    begun = time.monotonic()
    placed.host.run(["systemctl", "stop", SLOT.unit])
    assert 0.9 < time.monotonic() - begun < 8
    assert placed.show("Result") == "success"


def test_a_chatty_guest_fills_neither_its_log_nor_the_journal(placed: Placed) -> None:
    placed.put(SLOT, "chatty", limits=Limits(log=64 << 10))
    placed.host.run(["systemctl", "start", SLOT.unit])
    placed.until(lambda: len(placed.serial()) > 16 << 10)
    for _ in range(10):
        assert len(placed.serial()) <= 64 << 10
        time.sleep(0.1)
    assert "nobody wants to read this" not in placed.host.journal()
    assert placed.host.run(["stat", "-c", "%U %a", str(SLOT.serial_log)]).stdout.split() == ["root", "600"]


def test_a_full_disk_ends_no_machine(placed: Placed) -> None:
    placed.put(SLOT, "chatty")
    placed.host.limit_disk(str(SLOT.folder), 64 << 10)
    try:
        placed.host.put(str(SLOT.config), b"chatty")
        placed.host.run(["systemctl", "start", SLOT.unit])
        placed.until(lambda: len(placed.serial()) >= 48 << 10)
        time.sleep(1)
        assert placed.show("ActiveState") == "active"
        assert placed.show("NRestarts") == "0"
        placed.host.run(["systemctl", "stop", SLOT.unit])
    finally:
        placed.host.free_disk(str(SLOT.folder))


def test_what_it_may_use_is_bounded(placed: Placed) -> None:
    placed.start(limits=Limits(cpu_quota=150))
    platform = profile("bare-metal")
    assert int(placed.show("MemoryMax")) == platform.memory + unit.overhead(platform)
    assert placed.show("MemorySwapMax") == "0"
    assert placed.show("TasksMax") == str(platform.cpus + 128)
    assert placed.show("CPUQuotaPerSecUSec") == "1.500000s"
    assert placed.show("LimitCORE") == "0"


# The host has no devtmpfs, which makes the device of a macvtap on a real one.
NODE = """[Service]
DeviceAllow=char-macvtap m
ExecStartPre=+sh -c 'n=$(cat /sys/class/net/pt2/ifindex); f=/sys/class/net/pt2/macvtap/tap$n/dev; \
mknod /dev/tap$n c $(cut -d: -f1 $f) $(cut -d: -f2 $f)'
ExecStopPost=+sh -c 'rm -f /dev/tap[0-9]*'
""".replace("$", "$$")


def test_a_macvtap_is_a_card_of_the_uplinks(placed: Placed) -> None:
    tried = placed.host.run(["ip", "link", "add", "link", "eth0", "name", "try0", "type", "macvtap"], check=False)
    if tried.returncode:
        pytest.skip("no peer: this kernel has no macvtap")
    placed.host.run(["ip", "link", "delete", "try0"])
    seen = placed.start(network="macvtap:eth0", mac="02:00:00:00:00:77", drop_in=NODE)
    assert seen["card"]["name"] == SLOT.tap
    [link] = json.loads(placed.host.run(["ip", "-j", "-d", "link", "show", SLOT.tap]).stdout)
    assert link["address"] == "02:00:00:00:00:77"
    assert link["linkinfo"]["info_data"]["mode"] == "private"
    placed.host.run(["systemctl", "stop", SLOT.unit])
    assert SLOT.tap not in placed.interfaces()
    assert placed.host.run(["ls", str(layout.RUNTIME)]).stdout == ""
    assert "card" not in placed.host.run(["ls", "/run"]).stdout
