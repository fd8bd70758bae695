"""What leads clients to a slot: the text, what the real nft makes of it, and connections across a switch."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import files
from pluto_deploy.metal.traffic import rules
from pluto_measure.errors import FormatError

A, B = layout.Slot("web", "a", 2), layout.Slot("web", "b", 3)
HTTPS = [("tcp", 443)]


def lines(*, ports: Any = HTTPS, serving: Any = A, address: Any = None, egress: Any = (), **more: Any) -> list[str]:
    text = rules("web", ports, serving=serving, address=address, egress=egress, **more)
    assert text.endswith("\n")
    head, *rest = text.splitlines()
    assert head.startswith("# ")
    assert all(line.startswith("add element inet pluto ") for line in rest)
    return [line.removeprefix("add element inet pluto ") for line in rest]


def test_a_port_of_any_address_leads_to_the_serving_slot() -> None:
    assert lines() == ["slots { tcp . 443 : 10.88.0.2 . 8443 }"]
    assert lines(serving=B) == ["slots { tcp . 443 : 10.88.0.3 . 8443 }"]


def test_ipv6_where_the_host_leads_it() -> None:
    assert lines(ipv6=True, egress=[("tcp", 443)]) == [
        "slots { tcp . 443 : 10.88.0.2 . 8443 }",
        "slots6 { tcp . 443 : fd00:88::5054:ff:fe88:2 . 8443 }",
        "egress { 10.88.0.2 . tcp . 0.0.0.0/0 . 443 }",
        "egress6 { fd00:88::5054:ff:fe88:2 . tcp . ::/0 . 443 }",
    ]


def test_one_address_of_several() -> None:
    assert lines(address="198.51.100.7") == ["slots_at { 198.51.100.7 . tcp . 443 : 10.88.0.2 . 8443 }"]
    assert lines(address="2001:db8:0::7") == ["slots6_at { 2001:db8::7 . tcp . 443 : fd00:88::5054:ff:fe88:2 . 8443 }"]


def test_nothing_is_led_where_nothing_serves_and_nothing_goes_out_unasked() -> None:
    assert lines(serving=None) == []
    assert not [line for line in lines() if "egress" in line]


def test_the_slot_that_is_not_serving_yet_may_go_where_it_will_have_to() -> None:
    egress = [("udp", 4460), ("tcp", 443), ("tcp", 443)]
    assert lines(egress=egress, others=[B, A]) == [
        "slots { tcp . 443 : 10.88.0.2 . 8443 }",
        "egress { 10.88.0.2 . tcp . 0.0.0.0/0 . 443 }",
        "egress { 10.88.0.2 . udp . 0.0.0.0/0 . 4460 }",
        "egress { 10.88.0.3 . tcp . 0.0.0.0/0 . 443 }",
        "egress { 10.88.0.3 . udp . 0.0.0.0/0 . 4460 }",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"ports": [("tcp", 0)]},
        {"ports": [("tcp", 65536)]},
        {"ports": [("tcp", True)]},
        {"ports": [("sctp", 1)]},
        {"ports": [("tcp . 1 : 1.1.1.1 . 1 }\nflush ruleset\n", 1)]},
        {"egress": [("tcp", -1)]},
        {"address": "example.org"},
        {"address": "198.51.100.7 }\nflush ruleset"},
        {"address": "fe80::1%eth0"},
        {"serving": layout.Slot("other", "a", 2)},
        {"others": [layout.Slot("other", "a", 4)]},
    ],
)
def test_what_is_no_port_no_address_or_of_somebody_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        lines(**change)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(FormatError):
        rules("a\nb", HTTPS, serving=None, address=None, egress=())


SERVICES = st.lists(st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 65535)), max_size=6)
FORM = frozenset("0123456789abcdef.:/ {}") | frozenset("add element inet pluto slots_at egress tcp udp")


@given(SERVICES, SERVICES, st.none() | st.ip_addresses().map(str), st.booleans())
def test_every_line_is_of_the_form_that_the_hosts_rules_know(ports: Any, egress: Any, where: Any, ipv6: bool) -> None:
    for line in lines(ports=ports, egress=egress, address=where, others=[B], ipv6=ipv6):
        assert set(line) <= FORM
        name, _, rest = line.partition(" ")
        assert name in ("slots", "slots_at", "slots6", "slots6_at", "egress", "egress6")
        assert rest.startswith("{ ")
        assert rest.endswith(" }")


def nft(folder: Path, *deployments: str, namespace: str | None = None) -> subprocess.CompletedProcess[str]:
    """Load the host's rules with these deployments' in one transaction, and list them."""
    (folder / "all.nft").write_text("\n".join([files.rules(routed=True), *deployments]))
    inside = [] if os.geteuid() == 0 else ["--map-root-user"]
    enter = ["ip", "netns", "exec", namespace] if namespace else ["unshare", *inside, "--net"]
    script = 'nft -f "$1" && nft list table inet pluto'
    argv = [*enter, "sh", "-c", script, "sh", str(folder / "all.nft")]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.interop
def test_nft_takes_it_and_leads_each_port_to_one_slot(tmp_path: Path) -> None:
    inside = [] if os.geteuid() == 0 else ["--map-root-user"]
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        pytest.skip("no peer: nft is not installed")
    if subprocess.run(
        ["unshare", *inside, "--net", "nft", "add", "table", "inet", "x"], capture_output=True
    ).returncode:
        pytest.skip("no peer: nft needs a network namespace of its own")
    text = rules(
        "web", [("tcp", 443), ("udp", 443)], serving=A, address=None, egress=[("tcp", 443)], others=[B], ipv6=True
    )
    done = nft(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert "tcp . 443 : 10.88.0.2 . 8443" in done.stdout
    assert "10.88.0.3 . tcp . 0.0.0.0/0 . 443" in done.stdout
    assert "fd00:88::5054:ff:fe88:2 . 8443" in done.stdout
    other = rules("shop", HTTPS, serving=layout.Slot("shop", "a", 9), address=None, egress=())
    assert nft(tmp_path, text, other).returncode != 0
    elsewhere = rules("shop", HTTPS, serving=layout.Slot("shop", "a", 9), address="198.51.100.7", egress=())
    assert nft(tmp_path, text, elsewhere).returncode == 0


SERVER = """
import socket, sys, threading
def talk(one):
    for line in one.makefile("rb"):
        one.sendall(sys.argv[1].encode() + b" " + line)
server = socket.create_server(("", 8443))
print("up", flush=True)
while True:
    threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
"""


class Wires:
    """A host in a network namespace, two machines behind its bridge, and the test as its client."""

    address = "198.19.77.2"

    def __init__(self) -> None:
        self.host, self.machines = f"pl{os.getpid()}h", {A: f"pl{os.getpid()}a", B: f"pl{os.getpid()}b"}
        self.cable = f"plt{os.getpid() % 100000}"
        self.servers: list[subprocess.Popen[str]] = []

    def ip(self, *words: str, inside: str | None = None) -> None:
        subprocess.run(["ip", *(("-n", inside) if inside else ()), *words], check=True, capture_output=True)

    def build(self) -> None:
        for name in (self.host, *self.machines.values()):
            self.ip("netns", "add", name)
        self.ip("link", "add", self.cable, "type", "veth", "peer", "name", "up0", "netns", self.host)
        self.ip("addr", "add", "198.19.77.1/30", "dev", self.cable)
        self.ip("link", "set", self.cable, "up")
        self.ip("addr", "add", f"{self.address}/30", "dev", "up0", inside=self.host)
        self.ip("link", "set", "up0", "up", inside=self.host)
        self.ip("link", "add", layout.BRIDGE, "type", "bridge", inside=self.host)
        self.ip("addr", "add", f"{layout.HOST_ADDRESS}/24", "dev", layout.BRIDGE, inside=self.host)
        self.ip("link", "set", layout.BRIDGE, "up", inside=self.host)
        forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
        subprocess.run(["ip", "netns", "exec", self.host, "sh", "-c", forward], check=True)
        for slot, name in self.machines.items():
            self.ip("link", "add", slot.tap, "type", "veth", "peer", "name", "eth0", "netns", name, inside=self.host)
            self.ip("link", "set", slot.tap, "master", layout.BRIDGE, "up", inside=self.host)
            self.ip("link", "set", slot.tap, "type", "bridge_slave", "isolated", "on", inside=self.host)
            self.ip("link", "set", "eth0", "address", slot.mac, inside=name)
            self.ip("addr", "add", f"{slot.address}/24", "dev", "eth0", inside=name)
            self.ip("link", "set", "eth0", "up", inside=name)
            self.ip("route", "add", "default", "via", str(layout.HOST_ADDRESS), inside=name)
            argv = ["ip", "netns", "exec", name, sys.executable, "-c", SERVER, slot.letter]
            server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            self.servers.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "up\n"

    def remove(self) -> None:
        for server in self.servers:
            server.kill()
            server.communicate()
        for argv in (
            ["link", "del", self.cable],
            *(["netns", "del", name] for name in (self.host, *self.machines.values())),
        ):
            subprocess.run(["ip", *argv], capture_output=True, check=False)

    def client(self) -> Client:
        return Client(self.address)

    def reaches(self, source: layout.Slot, address: str) -> bool:
        code = "import socket, sys; socket.create_connection((sys.argv[1], 8443), timeout=1)"
        argv = ["ip", "netns", "exec", self.machines[source], sys.executable, "-c", code, address]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0


class Client:
    """One connection to the public port."""

    def __init__(self, address: str) -> None:
        self.socket = socket.create_connection((address, 443), timeout=5)
        self.stream = self.socket.makefile("rwb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def ask(self) -> str:
        self.stream.write(b"who\n")
        self.stream.flush()
        return self.stream.readline().decode().split()[0]


@pytest.fixture
def wires() -> Iterator[Wires]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    wires = Wires()
    with contextlib.ExitStack() as stack:
        stack.callback(wires.remove)
        wires.build()
        yield wires


def switched(wires: Wires, folder: Path, serving: layout.Slot | None) -> None:
    text = rules("web", HTTPS, serving=serving, address=None, egress=(), others=[A, B])
    done = nft(folder, text, namespace=wires.host)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
@pytest.mark.slow
def test_a_switch_is_one_act_and_open_connections_stay_where_they_are(wires: Wires, tmp_path: Path) -> None:
    switched(wires, tmp_path, A)
    seen: list[tuple[float, str]] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def connect_again_and_again() -> None:
        while not stop.is_set():
            try:
                with wires.client() as one:
                    seen.append((time.monotonic(), one.ask()))
            except (OSError, IndexError) as error:
                failed.append(error)

    with wires.client() as old:
        assert old.ask() == "a"
        others = [threading.Thread(target=connect_again_and_again) for _ in range(2)]
        for other in others:
            other.start()
        time.sleep(0.3)
        switched(wires, tmp_path, B)
        done_at = time.monotonic()
        assert old.ask() == "a"
        time.sleep(0.3)
        switched(wires, tmp_path, B)  # the same again changes nothing
        time.sleep(0.1)
        stop.set()
        for other in others:
            other.join()
        assert old.ask() == "a"
        with wires.client() as new:
            assert new.ask() == "b"
    assert failed == []
    assert {who for at, who in seen if at > done_at + 0.1} == {"b"}
    assert [who for _, who in seen].count("a") > 10

    switched(wires, tmp_path, None)
    with pytest.raises(OSError, match=r"refused|timed out"):
        wires.client()


@pytest.mark.root
@pytest.mark.slow
def test_machines_reach_neither_each_other_nor_the_host(wires: Wires, tmp_path: Path) -> None:
    switched(wires, tmp_path, A)
    server = subprocess.Popen(
        ["ip", "netns", "exec", wires.host, sys.executable, "-c", SERVER, "host"], stdout=subprocess.PIPE, text=True
    )
    wires.servers.append(server)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    assert not wires.reaches(A, str(B.address))
    assert not wires.reaches(A, str(layout.HOST_ADDRESS))
    assert not wires.reaches(B, "198.19.77.1")
    listed = subprocess.run(
        ["ip", "-n", wires.host, "-j", "-d", "link", "show", A.tap], capture_output=True, check=True
    )
    assert json.loads(listed.stdout)[0]["linkinfo"]["info_slave_data"]["isolated"] is True
