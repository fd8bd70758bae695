"""What a guest can make of raw frames on a prepared host: nothing of what is not its own arrives, nor moves anything.

The frames come from the guest's end of its tap. Linux takes a frame with a tag of VLAN 0 for a plain one behind the
rules for plain ones, and learns senders from frames to 01:80:c2:00:00:0e that no rule sees; both are here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pluto_deploy.metal.layout import BRIDGE, HOST_ADDRESS, Slot
from pluto_deploy.metal.prepare import places
from simulators.metal import frames
from simulators.metal.frames import ARP, IP, IP6, SERVICE_VLAN, VLAN, Report, ethernet, mark
from simulators.metal.host import Host
from simulators.metal.preparing import eventually, listening, outside, prepare, rules
from simulators.metal.stand_in import CONNECT, SERVE, StandIn

pytestmark = [pytest.mark.root, pytest.mark.slow]

GUEST, OTHER, ABSENT = Slot("web", "a", 2), Slot("other", "a", 3), Slot("absent", "a", 9)
GATE, GATE6, GATE_MAC = str(HOST_ADDRESS), str(places.HOST_ADDRESS6), places.BRIDGE_MAC
GATE_LOCAL = "fe80::5054:ff:fe88:1"
LEASES = {lease.tap: lease for lease in places.leases()}
MINE, THEIRS = LEASES[GUEST.tap], LEASES[OTHER.tap]
TAGS = {
    "802.1Q, VLAN 0": [(VLAN, 0)],
    "802.1Q, VLAN 0 with priority": [(VLAN, 7 << 13)],
    "802.1Q, VLAN 1": [(VLAN, 1)],
    "802.1ad, VLAN 0": [(SERVICE_VLAN, 0)],
    "802.1ad with priority": [(SERVICE_VLAN, 5 << 13)],
    "802.1ad and 802.1Q": [(SERVICE_VLAN, 0), (VLAN, 0)],
    "802.1Q twice": [(VLAN, 0), (VLAN, 0)],
}
LAN = """
ip netns add lan
ip link add lan0 type veth peer name eth0 netns lan
ip link set lan0 addrgenmode none up
echo 1 >/proc/sys/net/ipv4/conf/lan0/forwarding
ip address add fe80::1/64 dev lan0 nodad
ip route add "$1" dev lan0
ip -6 route add "$2" dev lan0
ip -n lan link set eth0 up
ip -n lan address add "$1/32" dev eth0
ip -n lan address add "$2/128" dev eth0 nodad
ip -n lan route add "$3" dev eth0
ip -n lan route add default via "$3"
ip -n lan -6 route add default via fe80::1 dev eth0
"""
NAT = """
nft add table ip nat
nft add chain ip nat to '{{ type nat hook prerouting priority -100; }}'
nft add rule ip nat to tcp dport 8080 {to}
nft add chain ip nat out '{{ type nat hook postrouting priority 100; }}'
nft add rule ip nat out {out}
"""
RESERVED = [f"01:80:c2:00:00:{last:02x}" for last in (0x00, 0x02, 0x03, 0x0E)]


def proper(out4: str, out6: str) -> dict[str, bytes]:
    """Frames in order, to where they may go."""
    asks = frames.arp(frames.REQUEST, MINE.mac, MINE.address, GATE, mark("ARP"))
    return {
        "IPv4 out": ethernet(MINE.mac, GATE_MAC, IP, frames.udp4(MINE.address, out4, mark("IPv4 out"))),
        "IPv6 out": ethernet(MINE.mac, GATE_MAC, IP6, frames.udp6(MINE.address6, out6, mark("IPv6 out"))),
        "ARP": ethernet(MINE.mac, frames.BROADCAST, ARP, asks),
    }


def tagged(out4: str, out6: str) -> dict[str, bytes]:
    """Frames that would be in order without their tag, of each kind, to each end."""
    found = {}
    for tag, tags in TAGS.items():
        for to, (mac, address, address6) in {
            "the host": (GATE_MAC, GATE, GATE6),
            "the other guest": (OTHER.mac, THEIRS.address, THEIRS.address6),
            "out": (GATE_MAC, out4, out6),
        }.items():
            name = f"IPv4, {tag}, to {to}"
            found[name] = ethernet(MINE.mac, mac, IP, frames.udp4(MINE.address, address, mark(name)), *tags)
            name = f"IPv6, {tag}, to {to}"
            found[name] = ethernet(MINE.mac, mac, IP6, frames.udp6(MINE.address6, address6, mark(name)), *tags)
        name = f"ARP, {tag}"
        claim = frames.arp(frames.REPLY, MINE.mac, THEIRS.address, GATE, mark(name))
        found[name] = ethernet(MINE.mac, GATE_MAC, ARP, claim, *tags)
    return found


def spoofed(out4: str, out6: str) -> dict[str, bytes]:
    """Frames whose sender is somebody else: by MAC, IPv4 or IPv6 address."""
    found = {}
    for who, address in {"other": THEIRS.address, "host": GATE, "world": "198.51.100.9", "loop": "127.0.0.1"}.items():
        for to, target in {"the host": GATE, "out": out4}.items():
            name = f"from {who} by IPv4 to {to}"
            found[name] = ethernet(MINE.mac, GATE_MAC, IP, frames.udp4(address, target, mark(name)))
    senders = {"other": THEIRS.address6, "its link": THEIRS.local6, "host": GATE6, "world": "2001:db8::9", "none": "::"}
    for who, address in senders.items():
        for to, target in {"the host": GATE6, "out": out6}.items():
            name = f"from {who} by IPv6 to {to}"
            found[name] = ethernet(MINE.mac, GATE_MAC, IP6, frames.udp6(address, target, mark(name)))
    for who, mac in {"other": OTHER.mac, "host": GATE_MAC, "absent": ABSENT.mac, "world": "02:00:00:00:00:77"}.items():
        name = f"from {who} by MAC"
        found[name] = ethernet(mac, GATE_MAC, IP, frames.udp4(MINE.address, out4, mark(name)))
    name = "of another protocol"
    return {**found, name: ethernet(MINE.mac, frames.BROADCAST, 0x88B5, mark(name))}


def claimed() -> dict[str, bytes]:
    """ARP in which the guest is somebody else."""
    found = {}
    for who, address in {"other": THEIRS.address, "host": GATE, "absent": str(ABSENT.address)}.items():
        for operation in (frames.REQUEST, frames.REPLY):
            for hardware in (1, 6):
                name = f"ARP {operation} that it is {who}, of hardware {hardware}"
                body = frames.arp(operation, MINE.mac, address, GATE, mark(name), hardware=hardware)
                found[name] = ethernet(MINE.mac, frames.BROADCAST, ARP, body)
    name = "ARP that another has its address"
    body = frames.arp(frames.REPLY, OTHER.mac, MINE.address, GATE, mark(name))
    return {**found, name: ethernet(MINE.mac, GATE_MAC, ARP, body)}


def adverts() -> dict[str, bytes]:
    """IPv6 adverts in the guest's own name, in which it says to be somebody else, or a router."""
    found = {}
    subjects = {
        "other": THEIRS.address6, "other's link": THEIRS.local6, "host": GATE6, "host's link": GATE_LOCAL,
        "absent": str(places.address6(9)), "absent's link": LEASES[ABSENT.tap].local6,
    }  # fmt: skip
    for who, about in subjects.items():
        for source in (MINE.address6, MINE.local6):
            for to, target in {GATE_MAC: GATE6, frames.ALL_NODES_MAC: frames.ALL_NODES}.items():
                name = f"from {source} to {target} that it is {who}"
                body = frames.neighbour(frames.ADVERT, source, target, about, MINE.mac, mark(name))
                found[name] = ethernet(MINE.mac, to, IP6, body)
    name = "a router's"
    router = frames.router(MINE.local6, MINE.mac, mark(name))
    return {**found, name: ethernet(MINE.mac, frames.ALL_NODES_MAC, IP6, router)}


def to_others() -> dict[str, bytes]:
    """Frames in order to the other guest, at once and by way of the host."""
    found = {}
    for how, mac in {"at once": OTHER.mac, "by the host": GATE_MAC, "to all": frames.BROADCAST}.items():
        name = f"IPv4 to the other guest, {how}"
        found[name] = ethernet(MINE.mac, mac, IP, frames.udp4(MINE.address, THEIRS.address, mark(name)))
        name = f"IPv6 to the other guest, {how}"
        found[name] = ethernet(MINE.mac, mac, IP6, frames.udp6(MINE.address6, THEIRS.address6, mark(name)))
    return found


def reserved() -> dict[str, bytes]:
    """Frames to addresses that end at a port of a bridge (IEEE 802.1Q, table 8-1), some in another's name."""
    found = {}
    for target in RESERVED:
        name = f"IPv4 to {target}"
        found[name] = ethernet(OTHER.mac, target, IP, frames.udp4(MINE.address, GATE, mark(name)))
        name = f"IPv6 to {target}"
        found[name] = ethernet(MINE.mac, target, IP6, frames.udp6(MINE.address6, GATE6, mark(name)))
        name = f"LLDP to {target}"
        found[name] = ethernet(OTHER.mac, target, 0x88CC, mark(name))
        name = f"ARP to {target}"
        claim = frames.arp(frames.REQUEST, MINE.mac, THEIRS.address, GATE, mark(name))
        found[name] = ethernet(MINE.mac, target, ARP, claim)
        name = f"advert to {target}"
        claim = frames.neighbour(frames.ADVERT, MINE.local6, GATE6, THEIRS.address6, MINE.mac, mark(name))
        found[name] = ethernet(MINE.mac, target, IP6, claim)
    return found


@pytest.fixture(scope="module")
def host(shared_metal_host: Host) -> Host:
    """A prepared host that leads machines by IPv6, too."""
    prepare(shared_metal_host, "--insecure-no-tdx", "--ipv6")
    # Not even before the first machine has come: what waits to be asked for then is asked for, and may be answered.
    assert Known.of(shared_metal_host).doubted == []
    return shared_metal_host


@pytest.fixture(scope="module")
def guests(host: Host) -> Iterator[None]:
    """Two guests. The first may send to a port out there."""
    sender, other = StandIn(host, GUEST).start(), StandIn(host, OTHER).start()
    port = frames.PORT
    rules(
        host,
        "web",
        f"egress {{ {MINE.address} . udp . 198.18.0.0/15 . {port} }}",
        f"egress6 {{ {MINE.address6} . udp . ::/0 . {port} }}",
    )
    yield
    sender.stop()
    other.stop()


@dataclass(frozen=True)
class Known:
    """What the host knows: neighbours (interface and address: MAC), where the bridge has learned that a MAC address is

    (MAC: port), and which of the host's own addresses on the bridge are in doubt.
    """

    neighbours: dict[tuple[str, str], str | None]
    learned: dict[str, str]
    doubted: list[str]

    @classmethod
    def of(cls, host: Host) -> Known:
        def told(*argv: str) -> Any:
            return json.loads(host.run([argv[0], "-json", *argv[1:]]).stdout)

        entries = [one for family in ("-4", "-6") for one in told("ip", family, "neigh", "show")]
        learned = {one["mac"]: one["ifname"] for one in told("bridge", "fdb", "show", "br", BRIDGE)}
        ours = [one for link in told("ip", "-6", "address", "show", "dev", BRIDGE) for one in link["addr_info"]]
        return cls(
            {(one["dev"], one["dst"]): one.get("lladdr") for one in entries if one["dev"] != "eth0"},
            {mac: port for mac, port in learned.items() if mac.startswith("52:54:00:88:")},
            [one["local"] for one in ours if one.get("tentative") or one.get("dadfailed")],
        )


@dataclass(frozen=True)
class Outcome:
    """What was seen of the frames, and what the host knew before and after."""

    report: Report
    before: Known
    after: Known

    def stray(self, sent: Iterable[str], *allowed: str) -> dict[str, list[str]]:
        """Of those frames, the ones that came further than to the guest's own tap and where is `allowed`."""
        limits = {GUEST.tap, *allowed}
        assert [name for name in sent if GUEST.tap not in self.report.seen.get(name, ())] == [], "were never sent"
        return {name: sorted(where) for name in sent if (where := self.report.seen[name] - limits)}


@pytest.fixture(scope="module")
def world(host: Host) -> tuple[str, str]:
    """The tester's addresses."""
    return host.wire.gateway, f"2001:db8:ffff:{host.wire.number:x}::1"


@pytest.fixture(scope="module")
def outcome(host: Host, guests: None, world: tuple[str, str]) -> Outcome:
    """All frames, sent at once."""
    # The host has spoken with the other guest, so that there is something to be moved.
    for address in (THEIRS.address, f"{THEIRS.local6}%{BRIDGE}"):
        ping = ["ping", "-c1", "-W1", address]
        assert eventually(lambda: host.run(ping, check=False).returncode == 0), address  # noqa: B023 - called at once
    sets = [proper(*world), tagged(*world), spoofed(*world), claimed(), adverts(), to_others(), reserved()]
    before = Known.of(host)
    report = frames.sent(host, f"td{GUEST.number}", {name: one for given in sets for name, one in given.items()})
    return Outcome(report, before, Known.of(host))


class TestFrames:
    def test_what_is_in_order_arrives(self, outcome: Outcome, world: tuple[str, str]) -> None:
        assert {name: outcome.report.seen[name] for name in proper(*world)} == {
            "IPv4 out": {"pt2", "pluto0", "eth0"}, "IPv6 out": {"pt2", "pluto0", "eth0"}, "ARP": {"pt2", "pluto0"},
        }  # fmt: skip

    def test_what_has_a_tag_ends_at_the_tap(self, outcome: Outcome, world: tuple[str, str]) -> None:
        assert outcome.stray(tagged(*world)) == {}

    def test_what_comes_in_anothers_name_ends_at_the_tap(self, outcome: Outcome, world: tuple[str, str]) -> None:
        assert outcome.stray(spoofed(*world)) == {}
        assert outcome.stray(claimed()) == {}

    def test_what_is_told_of_others_comes_to_the_host_alone(self, outcome: Outcome) -> None:
        assert outcome.stray(adverts(), BRIDGE) == {}

    def test_no_way_leads_to_the_other_guest(self, outcome: Outcome) -> None:
        assert outcome.stray(to_others(), BRIDGE) == {}

    def test_what_passes_the_bridge_by_comes_to_nobody(self, outcome: Outcome) -> None:
        assert outcome.stray(reserved(), BRIDGE) == {}
        assert outcome.report.heard == frozenset()

    def test_nothing_moves_a_neighbour(self, outcome: Outcome) -> None:
        before, after = outcome.before.neighbours, outcome.after.neighbours
        assert before[BRIDGE, THEIRS.local6] == before[BRIDGE, THEIRS.address] == OTHER.mac
        assert {name: mac for name, mac in after.items() if before.get(name) != mac} == {}
        assert before.keys() == after.keys()

    def test_nothing_moves_a_machine_to_another_port_of_the_bridge(self, host: Host, outcome: Outcome) -> None:
        host.run(["ping", "-c1", "-W1", THEIRS.address])
        learned = Known.of(host).learned
        assert learned[OTHER.mac] == OTHER.tap
        frames.sent(host, f"td{GUEST.number}", reserved(), seconds=0.02)  # before the other guest says a word
        assert Known.of(host).learned == learned

    def test_the_hosts_addresses_are_never_in_doubt(self, host: Host, outcome: Outcome) -> None:
        assert outcome.before.doubted == outcome.after.doubted == []
        host.run(["ip", "link", "set", BRIDGE, "down"])
        host.run(["ip", "link", "set", BRIDGE, "up"])
        assert Known.of(host).doubted == []

    def test_the_rules_count_what_they_drop(self, host: Host, outcome: Outcome) -> None:
        listed = host.run(["nft", "list", "table", "bridge", "pluto"]).stdout
        counted = [int(found) for found in re.findall(r"counter packets (\d+)", listed)]
        assert len(counted) == 6
        assert min(counted) > 0


@pytest.fixture(scope="module")
def lan(host: Host, guests: None) -> Iterator[tuple[str, str]]:
    """Another network of the host's, to which the tester's way is by the host: the addresses of a server on it."""
    address, address6 = host.wire.routed, host.wire.address6.replace("::2", "::99")
    host.run(["sh", "-ec", LAN, "sh", address, address6, host.address])
    inside = ["ip", "netns", "exec", "lan", "python3", "-c"]
    host.run(["systemd-run", "--quiet", "--unit=lan", *inside, SERVE, "lan"])
    argv = ["python3", "-c", CONNECT, address, "8443", "1"]
    assert eventually(lambda: host.run(argv).stdout.startswith("open"))
    yield address, address6
    host.run(["systemctl", "stop", "lan"])
    host.run(["ip", "netns", "del", "lan"])


def reached(*addresses: str) -> list[str]:
    """What the tester gets there."""
    return [outside(address, 8443, seconds=0.5) for address in addresses]


class TestForwarding:
    """The host is a router for its machines, not for whoever sends to it."""

    def test_what_was_not_forwarded_before_is_not_now(self, host: Host, lan: tuple[str, str]) -> None:
        assert reached(*lan) == ["silence", "silence"]
        host.run(["systemctl", "restart", "pluto-forwarding"])
        assert reached(*lan) == ["silence", "silence"]

    @pytest.mark.parametrize("unit", ["pluto-traffic", "nftables"])
    def test_nor_when_the_rules_are_loaded_anew(self, host: Host, lan: tuple[str, str], unit: str) -> None:
        host.run(["systemctl", "start", unit])
        host.run(["systemctl", "reload", unit])
        rules_of_all = ["nft", "list", "ruleset"]
        assert eventually(lambda: host.run(rules_of_all).stdout.count("jump no_others") == 2)
        assert reached(*lan) == ["silence", "silence"]

    def test_what_the_host_leads_there_by_rules_of_its_own_passes(self, host: Host, lan: tuple[str, str]) -> None:
        """As programs do that run containers: they lead a port to one, and it asks for things itself."""
        to, out = f"dnat to {lan[0]}:8443", "iifname lan0 masquerade"
        host.run(["sh", "-ec", NAT.format(to=to, out=out)])
        try:
            assert outside(host.address, 8080).startswith("lan ")
            with listening(host.wire.gateway) as (port, peers):
                argv = ["ip", "netns", "exec", "lan", "python3", "-c", CONNECT, host.wire.gateway, str(port), "1"]
                assert host.run(argv).stdout.startswith("open")
                assert len(peers) == 1
        finally:
            host.run(["nft", "delete", "table", "ip", "nat"])

    def test_machines_are_forwarded(self, host: Host, lan: tuple[str, str]) -> None:
        rules(host, "web", f"slots {{ tcp . 443 : {MINE.address} . 8443 }}")
        assert outside(host.address, 443).startswith("td2")

    def test_what_was_forwarded_before_still_is(self, host: Host, lan: tuple[str, str]) -> None:
        """As after a boot on which somebody else had switched it on."""
        host.run(["sh", "-ec", "systemctl stop pluto-forwarding; rm /run/pluto-forwarding/*.nft"])
        host.run(["sh", "-ec", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"])
        host.run(["systemctl", "start", "pluto-forwarding"])
        assert [said[:4] for said in reached(*lan)] == ["lan ", "lan "]
