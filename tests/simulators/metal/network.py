"""The wire between the tester and a namespaced host: addresses, a switch, a cable.

Everything follows from a number, so that hosts run side by side. The switch is a bridge on the tester's side; it can
drop frames whose source is not the host's registered MAC address, as the switches of some providers do.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

NUMBERS = range(1, 255)


@dataclass(frozen=True, slots=True)
class Wire:
    """Names and addresses of host `number` (1…254). 198.18.0.0/15 is kept for tests of devices (RFC 2544)."""

    number: int

    @property
    def bridge(self) -> str:
        return f"plm{self.number}"

    @property
    def cable(self) -> str:
        """The tester's end of the cable."""
        return f"plm{self.number}c"

    @property
    def mac(self) -> str:
        return f"02:00:c6:12:00:{self.number:02x}"

    @property
    def gateway(self) -> str:
        """The tester's address, where a host finds its archives."""
        return f"198.18.{self.number}.1"

    @property
    def address(self) -> str:
        return f"198.18.{self.number}.2"

    @property
    def routed(self) -> str:
        """A further IPv4 address, routed to the host as a /32."""
        return f"203.0.113.{self.number}"

    @property
    def prefix6(self) -> str:
        """A /64 routed to the host; it holds ::2 of it."""
        return f"2001:db8:{self.number:x}::/64"

    @property
    def address6(self) -> str:
        return f"2001:db8:{self.number:x}::2"

    @property
    def link_local(self) -> str:
        """The host's link-local address: EUI-64 of its MAC address."""
        return f"fe80::c6ff:fe12:{self.number:x}"

    def uplink(self) -> str:
        """The host's own network file for systemd-networkd."""
        return (
            f"[Match]\nMACAddress={self.mac}\n\n[Network]\nAddress={self.address}/30\nGateway={self.gateway}\n"
            f"Address={self.address6}/64\nGateway=fe80::1\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n"
            "IPv6LinkLocalAddressGenerationMode=eui64\nIPv6DuplicateAddressDetection=0\n\n[Link]\nRequiredForOnline=yes\n"
        )


def build_switch(wire: Wire, *, filter_macs: bool) -> None:
    """Make the tester's side: bridge, addresses, routes, and the filter."""
    remove_switch(wire)
    ip("link", "add", wire.bridge, "type", "bridge")
    ip("addr", "add", f"{wire.gateway}/30", "dev", wire.bridge)
    ip("addr", "add", "fe80::1/64", "dev", wire.bridge, "nodad")
    ip("addr", "add", f"2001:db8:ffff:{wire.number:x}::1/128", "dev", wire.bridge, "nodad")
    ip("link", "set", wire.bridge, "up")
    # Known from the start: asking an address that is not up yet costs a second's wait.
    for address in (wire.address, wire.link_local):
        ip("neigh", "replace", address, "lladdr", wire.mac, "dev", wire.bridge, "nud", "permanent")
    ip("route", "add", f"{wire.routed}/32", "via", wire.address)
    ip("-6", "route", "add", wire.prefix6, "via", wire.link_local, "dev", wire.bridge)
    if filter_macs:
        chain = "type filter hook prerouting priority -300;"
        rule = f'iifname "{wire.cable}" ether saddr != {wire.mac} counter drop'
        text = f"table bridge {wire.bridge} {{\nchain port {{\n{chain}\n{rule}\n}}\n}}\n"
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def remove_switch(wire: Wire) -> None:
    """Remove all of the tester's side; what is not there is no error."""
    for argv in (
        ["ip", "link", "del", wire.cable],
        ["ip", "link", "del", wire.bridge],
        ["nft", "delete", "table", "bridge", wire.bridge],
    ):
        subprocess.run(argv, capture_output=True, check=False)


def plug_in(wire: Wire, pid: int) -> None:
    """Put a cable from the switch to a new card `eth0` in the network namespace of process `pid`."""
    subprocess.run(["ip", "link", "del", wire.cable], capture_output=True, check=False)
    peer = ["peer", "name", "eth0", "address", wire.mac, "netns", str(pid)]
    ip("link", "add", wire.cable, "type", "veth", *peer)
    ip("link", "set", wire.cable, "master", wire.bridge, "addrgenmode", "none", "up")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
