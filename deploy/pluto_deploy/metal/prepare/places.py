"""What is on a prepared host beyond `metal.layout`: files, services and IPv6 addresses. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pluto_deploy.metal import layout

RULES: Final = PurePosixPath("/etc/pluto/nftables.nft")  # all rules: includes the next two
BASE_RULES: Final = PurePosixPath("/etc/pluto/base.nft")
TRAFFIC_SERVICE: Final = "pluto-traffic.service"  # loads the rules; reload is atomic
FORWARDING_SERVICE: Final = "pluto-forwarding.service"  # only once the rules are there
MARKS: Final = PurePosixPath("/run/pluto-forwarding")  # rules on what is forwarded since that service runs
TAP_PREFIX: Final = "pt"
# Fixed rather than drawn by lot (RFC 4193): it never leaves the host, and machines' addresses must be known before.
NETWORK6: Final = ipaddress.IPv6Network("fd00:88::/64")
HOST_ADDRESS6: Final = ipaddress.IPv6Address("fd00:88::1")
BRIDGE_MAC: Final = "52:54:00:88:00:01"

QUOTE_USER: Final = "qgsd"  # made by tdx-qgs
QUOTE_SERVICE: Final = "qgsd.service"
PCCS_USER: Final = "pccs"  # made by sgx-dcap-pccs
PCCS_SERVICE: Final = "pccs.service"
PCCS_FOLDER: Final = PurePosixPath("/opt/intel/sgx-dcap-pccs")
PCCS_PORT: Final = 8081
REGISTRATION_SERVICE: Final = "mpa_registration_tool.service"
PROVISION_GROUP: Final = "sgx_prv"

# Where nothing of a trust domain's may go unless it is a resolver that was named. RFC 6890 and multicast.
INSIDE: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",  # among it the clouds' metadata services
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "224.0.0.0/3",
)
INSIDE6: Final = ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "ff00::/8")


_LINK_LOCAL: Final = ipaddress.IPv6Network("fe80::/64")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a number of the host stands for: tap, MAC address, address, IPv6 address, link-local address."""

    tap: str
    mac: str
    address: str
    address6: str
    local6: str


def leases() -> tuple[Lease, ...]:
    """Every lease there can be."""
    numbers = range(layout.FIRST_LEASE, layout.LAST_LEASE + 1)
    slots = (layout.Slot("any", "a", number) for number in numbers)
    return tuple(_lease(slot) for slot in slots)


def _lease(slot: layout.Slot) -> Lease:
    own = address6(slot.number)
    local = _LINK_LOCAL.network_address + (int(own) & int(_LINK_LOCAL.hostmask))
    return Lease(slot.tap, slot.mac, str(slot.address), str(own), str(local))


def address6(number: int) -> ipaddress.IPv6Address:
    """The address that a slot's machine makes of the host's prefix and its MAC address (RFC 4291, appendix A)."""
    parts = bytes.fromhex(layout.Slot("any", "a", number).mac.replace(":", ""))
    interface = bytes([parts[0] ^ 2, *parts[1:3], 0xFF, 0xFE, *parts[3:]])
    return NETWORK6.network_address + int.from_bytes(interface, "big")
