"""The network of trust domains: a bridge of networkd's, and the tables of nft that guard it."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.suite.promises import found, lines, only_routed, recorded, roots_alone, running


def test_rules_are_in_force(host: Host) -> None:
    """The service that puts the rules in force ran, and runs after a reboot."""
    if recorded(host).network.startswith("macvtap"):
        pytest.skip("with macvtap the host filters nothing")
    running(host, places.TRAFFIC_SERVICE)
    assert lines(host, "nft", "list", "table", "bridge", layout.TABLE)


@pytest.mark.parametrize("name", ["systemd-networkd.service", places.FORWARDING_SERVICE])
def test_service(host: Host, name: str) -> None:
    """A service of the network runs, now and after a reboot."""
    only_routed(host)
    running(host, name)


def test_bridge(host: Host) -> None:
    """The bridge is there with the host's addresses on it."""
    only_routed(host)
    text = "".join(lines(host, "ip", "-json", "address", "show", "dev", layout.BRIDGE))
    given = {f"{one['local']}/{one['prefixlen']}" for one in json.loads(text)[0]["addr_info"]}
    for address, network in ((layout.HOST_ADDRESS, layout.NETWORK), (places.HOST_ADDRESS6, places.NETWORK6)):
        wanted = f"{address}/{network.prefixlen}"
        assert wanted in given, f"{layout.BRIDGE} has {', '.join(sorted(given)) or 'no address'}, not {wanted}"


def test_senders(host: Host) -> None:
    """The bridge learns where a machine is from nothing that passes its rules by."""
    only_routed(host)
    text = "".join(lines(host, "ip", "-json", "-details", "link", "show", "dev", layout.BRIDGE))
    learns = json.loads(text)[0]["linkinfo"]["info_data"].get("no_linklocal_learn") != 1
    assert not learns, f"{layout.BRIDGE} learns from frames to reserved addresses"


def test_forwarding(host: Host) -> None:
    """Packets are forwarded to and from the bridge; by IPv6 only where that was asked for."""
    only_routed(host)
    assert host.sysctl(f"net.ipv4.conf.{layout.BRIDGE}.forwarding") == 1, f"{layout.BRIDGE} does not forward"
    if recorded(host).ipv6:
        assert host.sysctl("net.ipv6.conf.all.forwarding") == 1, "IPv6 is not forwarded"


def test_nothing_passes_unasked(host: Host) -> None:
    """What comes from or to trust domains, and to the host from them, is dropped unless a rule lets it pass."""
    only_routed(host)
    rules = json.loads("".join(lines(host, "nft", "--json", "list", "table", "inet", layout.TABLE)))["nftables"]
    ends = {one["rule"]["chain"]: list(one["rule"]["expr"][-1]) for one in rules if "rule" in one}
    for chain in ("from_slots", "to_slots", "to_host", "no_others"):
        assert ends.get(chain) in (["drop"], ["reject"]), f"chain {chain} lets pass what no rule names"
    jumps: dict[str, str] = {}
    for one in (one["rule"] for one in rules if "rule" in one):
        jumps[one["chain"]] = jumps.get(one["chain"], "") + json.dumps(one["expr"])
    for chain, into in (("forward", "to_slots"), ("input", "to_host")):
        assert into in jumps.get(chain, ""), f"chain {chain} does not lead to {into}"


def test_rules_are_roots(host: Host) -> None:
    """Nobody but root writes rules."""
    if recorded(host).network.startswith("macvtap"):
        pytest.skip("with macvtap the host filters nothing")
    for path in (str(places.RULES), str(places.BASE_RULES), *found(host, [str(layout.TRAFFIC)], "-name", "*.nft")):
        roots_alone(host, path)
