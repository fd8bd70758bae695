"""What goes wrong while a deployment on a bare-metal host is changed, and what serves then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pluto_deploy.commands import apply
from pluto_deploy.metal import copying, login
from pluto_notary.config import encode_config_disk, encode_payload
from simulators.metal import killed
from simulators.metal.desk import Desk, states
from simulators.metal.td_releases import build_id

pytestmark = [pytest.mark.root, pytest.mark.more_root, pytest.mark.slow]

MIB = 1 << 20
Upon = Callable[[str, Callable[[], Any]], None]


@pytest.fixture
def mine(shared: Desk) -> Iterator[Desk]:
    """A desk with a deployment that serves release 5."""
    before = shared.inventory()
    shared.ok("apply", shared.deployment(shared.release(5)))
    yield shared
    shared.clear()
    assert shared.inventory() == before, "a deployment leaves nothing behind"


@pytest.fixture
def upon(monkeypatch: pytest.MonkeyPatch) -> Upon:
    """upon("make machine", act): do that once the next `apply` of this process tells a step with these words."""

    def arm(words: str, act: Callable[[], Any]) -> None:
        waiting = [act]

        class Told:
            def step(self, text: str) -> None:
                if words in text and waiting:
                    waiting.pop()()

            def doing(self, text: str) -> None:
                """Nothing."""

        @contextmanager
        def progress() -> Iterator[Told]:
            yield Told()

        monkeypatch.setattr(apply, "on_stderr", progress)

    return arm


def led_to(mine: Desk) -> str:
    """The slot whose address is in the rules that a boot loads."""
    rules = mine.host.read("/etc/pluto/traffic/shop.nft").decode()
    (number,) = set(re.findall(r"10\.88\.0\.([0-9]+)", rules))
    return mine.host.read(f"/var/lib/pluto/leases/{number}").decode().split()[1]


def starts_with_its_host(mine: Desk) -> list[str]:
    """The slots whose machines a boot starts."""
    found = mine.host.run(["sh", "-c", "ls /etc/systemd/system/multi-user.target.wants"]).stdout
    return re.findall(r"^pluto-td-shop-([ab])\.service$", found, re.MULTILINE)


def strays(mine: Desk) -> list[str]:
    """Processes here that still have to do with the host."""
    time.sleep(1)
    found = subprocess.run(["pgrep", "-af", mine.host.address], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if "ssh" in line]


def test_killed_anywhere_it_is_resumed_and_clients_notice_nothing(mine: Desk) -> None:
    file = mine.deployment(mine.release(6))
    points = []
    with mine.client() as client:
        for point in killed.everywhere(mine.words("apply", file)):
            points.append(point)
            assert client.failures == [], point
            assert set(client.builds) <= {build_id(5), build_id(6)}, point
            led, starting = led_to(mine), starts_with_its_host(mine)
            assert led in starting, f"{point}: after a reboot clients were led to {led}, and {starting} would run"
        assert mine.ok("verify", file)["accepted"]
    assert client.failures == []
    assert client.builds == [build_id(5), build_id(6)], "it never went back and forth"
    assert starts_with_its_host(mine) == ["b"]
    verbs = ("enable", "disable", "start", "stop", "reload-or-restart", "daemon-reload")
    assert {f"systemctl {verb}" for verb in verbs} <= {" ".join(one.split()[:2]) for one in points}
    assert strays(mine) == []


def test_killed_anywhere_while_it_is_gone_back_from_or_removed(mine: Desk) -> None:
    file = mine.deployment(mine.release(6))
    mine.ok("apply", file)
    with mine.client() as client:
        back = list(killed.everywhere(mine.words("rollback", file)))
        assert mine.health() == build_id(5)
        assert starts_with_its_host(mine) == ["a"]
    assert (client.failures, client.builds) == ([], [build_id(6), build_id(5)])
    away = list(killed.everywhere(mine.words("destroy", file)))
    assert min(len(back), len(away)) > 7


def test_an_interrupt_is_no_reason_to_leave_anything_half_done(mine: Desk) -> None:
    """Ctrl-C reaches every process of the terminal, so also those that carry the connection."""
    process = mine.process("apply", mine.deployment(mine.release(6, "silent")), start_new_session=True)
    mine.wait_for("pluto-td-shop-b")
    with mine.client() as client:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, out + err
        status = mine.ok("status", mine.names["shop"])
        assert states(status) == {"a": "running", "b": "stopped", "serves": "a"}
    assert (client.failures, client.builds) == ([], [build_id(5)])
    assert strays(mine) == []


def test_a_cable_that_is_pulled_while_the_image_is_copied(
    mine: Desk, upon: Upon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_ALIVE_SECONDS", 1)
    file = mine.deployment(mine.release(6, padding=32 * MIB))
    upon("MiB of pluto.efi", mine.host.cut_network)
    lost = mine.call("apply", file)
    mine.host.restore_network()
    assert lost.code == 6
    assert lost.document["error"]["step"]["action"] == "put-release"
    (partial,) = mine.host.run(
        ["sh", "-c", "find /var/lib/pluto/images -name 'pluto.efi.partial' -size +1M"]
    ).stdout.split()
    begun = int(mine.host.run(["stat", "-c", "%s", partial]).stdout)
    assert MIB < begun < 32 * MIB
    assert mine.health() == build_id(5)
    assert states(mine.ok("status", file)) == {"a": "running", "serves": "a"}

    sent: list[int] = []
    put = copying.put_file

    def put_file(door: Any, source: Any, dest: Any, digest: Any, _: Any) -> None:
        put(door, source, dest, digest, lambda done, _: sent.append(done))

    monkeypatch.setattr(copying, "put_file", put_file)
    mine.ok("apply", file)
    assert begun <= sent[0] < 32 * MIB, "it went on where it was cut off"
    assert mine.health() == build_id(6)


def test_a_disk_that_fills_up_while_the_image_is_copied(mine: Desk, upon: Upon) -> None:
    file = mine.deployment(mine.release(6, padding=16 * MIB))
    mine.host.limit_disk("/var/lib/pluto/images", 24 * MIB)
    try:
        upon("MiB of pluto.efi", lambda: mine.host.run(["sh", "-c", "cat /dev/zero >/var/lib/pluto/images/other || :"]))
        full = mine.call("apply", file)
        assert full.code == 6
        assert "the disk is full" in full.document["error"]["message"]
        left = mine.host.run(["find", "/var/lib/pluto/images", "-name", "*.efi*"]).stdout
        assert left == "", "what cannot be finished gives its room back"
        mine.host.run(["rm", "/var/lib/pluto/images/other"])

        mine.host.run(["sh", "-c", "head -c 12M /dev/zero >/var/lib/pluto/images/other"])
        early = mine.call("apply", file)
        assert early.code == 6
        assert "MiB free, the release needs" in early.document["error"]["message"]
        assert mine.health() == build_id(5)
        assert states(mine.ok("status", file)) == {"a": "running", "serves": "a"}
    finally:
        mine.host.free_disk("/var/lib/pluto/images")
    mine.ok("apply", file)
    assert mine.health() == build_id(6)


def test_a_disk_without_room_for_the_tools(mine: Desk) -> None:
    file = mine.deployment(mine.release(5), name="other", ports="[444]")
    mine.host.limit_disk("/opt/pluto/tools", 8192)
    try:
        full = mine.call("apply", file)
        assert full.code == 6
        assert "the disk is full" in full.document["error"]["message"]
        assert mine.host.run(["ls", "/opt/pluto/tools"]).stdout == ""
    finally:
        mine.host.free_disk("/opt/pluto/tools")
    mine.ok("apply", file)
    assert mine.health(444) == mine.health() == build_id(5)


@pytest.mark.parametrize(
    ("pretend", "code", "words"),
    [
        ("silent", 6, "was not ready after 3 s"),
        ("dies", 6, "ended before it was ready"),
        ("other-image", 5, "not what was released"),
    ],
)
def test_a_machine_that_does_not_come_up_never_serves(mine: Desk, pretend: str, code: int, words: str) -> None:
    with mine.client() as client:
        done = mine.call("apply", mine.deployment(mine.release(6, pretend), timeout="3"))
        assert (done.code, done.document["error"]["serving"]) == (code, "a")
        assert words in done.document["error"]["message"]
        assert states(mine.ok("status", mine.names["shop"]))["serves"] == "a"
        assert mine.host.run(["systemctl", "is-active", "pluto-td-shop-b"], check=False).stdout != "active\n"
        assert starts_with_its_host(mine) == ["a"]
    assert (client.failures, client.builds) == ([], [build_id(5)])


def test_a_machine_on_other_hardware_is_refused(mine: Desk) -> None:
    with mine.client() as client:
        file = mine.deployment(mine.release(6), machine=f'"ppid:{"00" * 16}"')
        done = mine.call("apply", file)
        assert (done.code, done.findings) == (5, {"policy.machine"})
    assert (client.failures, client.builds) == ([], [build_id(5)])


def test_a_configuration_that_the_host_exchanged_is_refused(mine: Desk, upon: Upon) -> None:
    disk = encode_config_disk(encode_payload(deployment="somebody-elses"))
    upon("make machine b", lambda: mine.host.put("/var/lib/pluto/td/shop/b/config.disk", disk))
    done = mine.call("apply", mine.deployment(mine.release(6)))
    assert (done.code, done.document["error"]["serving"]) == (5, "a")
    assert "policy.config_digest" in done.findings


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("-smp 2", "-smp 3", "register.rtmr0"),
        ("pmu=off", "pmu=on", "td.attributes"),
        ('sept-ve-disable\\":true', 'sept-ve-disable\\":false', "td.sept_ve_disable"),
        ("-display none", "-display none -device pci-testdev", "register.rtmr0"),
    ],
)
def test_a_unit_that_the_host_changed_is_refused(mine: Desk, upon: Upon, before: str, after: str, finding: str) -> None:
    def change() -> None:
        path = "/etc/systemd/system/pluto-td-shop-b.service"
        text = mine.host.read(path).decode()
        assert before in text
        mine.host.put(path, text.replace(before, after).encode())
        mine.host.run(["systemctl", "daemon-reload"])

    upon("make machine b", change)
    done = mine.call("apply", mine.deployment(mine.release(6)))
    assert (done.code, done.document["error"]["serving"]) == (5, "a")
    assert finding in done.findings
    assert mine.health() == build_id(5)


def test_two_commands_at_once_on_one_deployment(mine: Desk) -> None:
    first = mine.process("apply", mine.deployment(mine.release(6, "silent"), timeout="4"))
    mine.wait_for("pluto-td-shop-b")
    for command in ("apply", "rollback", "destroy"):
        done = mine.call(command, mine.names["shop"])
        assert done.code == 2
        assert "another command is at work" in done.document["error"]["message"]
    assert mine.ok("status", mine.names["shop"])["target"]["serving"] == "a", "looking is always possible"
    assert first.wait(timeout=30) == 6
    first.communicate()


def test_a_port_that_another_deployment_has(mine: Desk) -> None:
    """A file of rules that cannot be loaded would keep those of all deployments from being loaded, at the next boot."""
    shop = mine.names["shop"]
    with mine.client() as client:
        other = mine.call("apply", mine.deployment(mine.release(5), name="other"))
        assert other.code == 2
        assert "another deployment has port 443" in other.document["error"]["message"]
        mine.ok("apply", mine.deployment(mine.release(5), name="other", ports="[444]"))
        for release in (mine.release(5), mine.release(6)):
            wanted = mine.call("apply", mine.deployment(release, ports="[443, 444]"))
            assert wanted.code == 2
            assert "another deployment has port 444: other" in wanted.document["error"]["message"]
        mine.host.run(["systemctl", "restart", "pluto-traffic.service"])
        assert not mine.ok("plan", shop)["plan"]["changes"]
        assert mine.health(444) == build_id(5)
    assert (client.failures, client.builds) == ([], [build_id(5)])


def test_a_refused_upgrade_leaves_ports_and_exits_as_they_were(mine: Desk) -> None:
    wide = mine.deployment(mine.release(5), egress='["udp:123"]')
    mine.ok("apply", wide)
    rules = mine.host.read("/etc/pluto/traffic/shop.nft")
    file = mine.deployment(mine.release(6, "other-image"), egress='["udp:123", "tcp:80"]', ports="[443, 444]")
    with mine.client() as client:
        assert mine.call("apply", file).code == 5
    assert (client.failures, client.builds) == ([], [build_id(5)])
    assert mine.host.read("/etc/pluto/traffic/shop.nft") == rules
    assert not mine.ok("plan", wide, "--accept-older")["plan"]["changes"]
