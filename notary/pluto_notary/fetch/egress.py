"""Where the notary may connect: ports, names, and every address of a name's answer. Pure.

Addresses: a block of IANA's special-purpose registries (IPv4 and IPv6, both as of 2025-10-09; RFC 6890, RFC 8190) is
refused, also those that are globally reachable but hold no web sites (AS112, AMT, 6to4 relays); so are multicast
(RFC 5771, RFC 4291), everything in IPv6 beyond 2000::/3, and the metadata services of clouds.
An IPv4 address inside an IPv6 one: NAT64's well-known prefix (RFC 6052) is allowed where the address within is; all
other forms (mapped, compatible, 6to4, Teredo, ISATAP, NAT64's local prefixes) are refused, whatever lies within.

One forbidden address refuses the whole name: an answer that mixes public and inner addresses is either a mistake or an
attempt, and to choose from it would make the outcome depend on order and luck.
"""

from __future__ import annotations

import ipaddress

from pluto_measure.record import record
from pluto_notary.fetch.errors import TargetError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@record
class EgressRules:
    """What may be connected. Everything else is refused; no value but the `insecure_` one admits an inner address."""

    ports: frozenset[int] = frozenset({443})
    allow_literals: bool = False  # hosts that are addresses; they are judged as any other address
    insecure_allow_private: bool = False  # loopback and private addresses: development and tests only


# Never reachable, whatever the rules: https://… in each cloud's documentation of its instance metadata.
METADATA: Final = (
    "169.254.169.254",  # Amazon, Google (metadata.google.internal), Azure, and most others
    "169.254.170.2",  # Amazon: credentials of containers
    "169.254.170.23",  # Amazon: credentials of pods
    "168.63.129.16",  # Azure's wire server, an address that is public by its number
    "100.100.100.200",  # Alibaba
    "192.0.0.192",  # Oracle
    "fd00:ec2::254",  # Amazon
    "fd00:ec2::23",  # Amazon: credentials of pods
    "fd20:ce::254",  # Google
)
# What `insecure_allow_private` admits.
PRIVATE: Final = {
    "127.0.0.0/8": "loopback",
    "10.0.0.0/8": "private",
    "172.16.0.0/12": "private",
    "192.168.0.0/16": "private",
    "::1/128": "loopback",
    "fc00::/7": "unique local",
}
SPECIAL: Final = {
    "0.0.0.0/8": "this network",
    "100.64.0.0/10": "shared by a carrier",
    "169.254.0.0/16": "link-local",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",  # 255.255.255.255 among them
    "2001::/23": "protocol assignments",  # Teredo, benchmarking, ORCHID, AMT among them
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
}
# Names that no public authority answers for: RFC 6761, 6762, 7686, 8375, 9476, and ICANN's for private use.
INNER_NAMES: Final = ("localhost", "local", "internal", "onion", "home.arpa", "alt")

_NAT64: Final = 0x0064_FF9B << 96 >> 32  # 64:ff9b::/96, without the 32 bits of the address within
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214, section 6.1: the interface identifier before the address
_LABEL: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz")


def is_allowed(address: str, rules: EgressRules) -> bool:
    """Whether this address, in numbers, may be connected. What is no address is not allowed."""
    parsed = _parse(address)
    return parsed is not None and refusal(parsed, rules) is None


def refusal(address: Address, rules: EgressRules) -> str | None:
    """Why this address may not be connected; None if it may."""
    if (address.version, int(address)) in _METADATA:
        return "a metadata service"
    why = _first(_PRIVATE, address)
    if why is not None:
        return None if rules.insecure_allow_private else why
    why = _first(_SPECIAL, address)
    if why is not None or address.version == 4:
        return why
    number = int(address)
    if number >> 32 == _NAT64:
        return refusal(ipaddress.IPv4Address(number & 0xFFFF_FFFF), rules)
    if number >> 125 != 1:
        return "not a global unicast address"
    return "ISATAP" if number >> 32 & 0xFFFF_FFFF in _ISATAP else None


def check_target(host: str, port: int, rules: EgressRules) -> None:
    """Refuse a host name or port before anything is resolved. Raises TargetError (egress)."""
    if port not in rules.ports:
        raise TargetError("egress", "this port is not allowed")
    if (address := _parse(host)) is not None:
        if not rules.allow_literals or str(address) != host:
            raise TargetError("egress", "the host must be a name, not an address")
        return
    if not _is_name(host):
        raise TargetError("egress", "the host is not a public DNS name in lower-case ASCII")
    if any(host.endswith(f".{name}") for name in INNER_NAMES):
        raise TargetError("egress", "the host name is not a public one")


def check_addresses(addresses: Sequence[str], rules: EgressRules) -> None:
    """Refuse a whole answer if one of its addresses may not be connected. Raises TargetError (egress, resolve)."""
    if not addresses:
        raise TargetError("resolve", "the name has no address")
    for text in addresses:
        if (address := _parse(text)) is None:
            raise TargetError("resolve", "the answer is not an address")
        if (why := refusal(address, rules)) is not None:
            raise TargetError("egress", f"the name has an address that may not be connected: {why}")


def _parse(text: str) -> Address | None:
    """An address without a zone: a zone names an interface, and so a network of ours."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    labels = host.split(".")
    if len(labels) < 2 or len(host) > 253:
        return False
    last = labels[-1]
    # A last label of letters alone also keeps out every spelling of an address: 127.1, 0x7f.1, 2130706433.
    return all(map(_is_label, labels)) and (last.startswith("xn--") or (len(last) > 1 and _LETTERS.issuperset(last)))


def _is_label(label: str) -> bool:
    """A letter-digit-hyphen label (RFC 5890, section 2.3.1); with hyphens third and fourth it must be an A-label."""
    if not 0 < len(label) < 64 or not _LABEL.issuperset(label) or label[0] == "-" or label[-1] == "-":
        return False
    return label[2:4] != "--" or (label[:2] == "xn" and _is_punycode(label[4:]))


def _is_punycode(text: str) -> bool:
    """Whether this is the one spelling (RFC 3492) of a label that needs it."""
    try:
        label = text.encode("ascii").decode("punycode")
        return not label.isascii() and label.encode("punycode").decode("ascii") == text
    except UnicodeError:
        return False


def _blocks(table: dict[str, str]) -> tuple[tuple[int, int, int, str], ...]:
    """(version, bits to drop, prefix, why) of each block."""
    networks = ((ipaddress.ip_network(text), why) for text, why in table.items())
    return tuple(
        (block.version, shift := block.max_prefixlen - block.prefixlen, int(block.network_address) >> shift, why)
        for block, why in networks
    )


def _first(blocks: Iterable[tuple[int, int, int, str]], address: Address) -> str | None:
    number, version = int(address), address.version
    return next((why for v, shift, prefix, why in blocks if v == version and number >> shift == prefix), None)


_PRIVATE: Final = _blocks(PRIVATE)
_SPECIAL: Final = _blocks(SPECIAL)
_METADATA: Final = frozenset((a.version, int(a)) for a in map(ipaddress.ip_address, METADATA))
