"""The nft rules of a deployment: which slot its public ports lead to, and where its machines may go. Pure.

The text only adds elements to the maps and sets of the host's own rules, in the forms that stand at the head of
`templates/nftables.nft.j2`. pluto-traffic.service loads everything in one transaction, so a switch from one slot to the
other is one act: a new connection goes to the one or to the other. Connections that are open stay with the slot where
they began, since the kernel looks an address up for the first packet alone (conntrack), until that slot is stopped.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pluto_deploy.metal import layout
from pluto_deploy.metal.layout import GUEST_PORT, TABLE, Slot
from pluto_deploy.metal.prepare.places import address6
from pluto_measure.errors import FormatError

PROTOCOLS: Final = ("tcp", "udp")

Service = tuple[str, int]  # protocol and port
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def rules(
    name: str,
    ports: Sequence[Service],
    *,
    serving: Slot | None,
    address: str | None,
    egress: Collection[Service],
    others: Sequence[Slot] = (),
    ipv6: bool = False,
) -> str:
    """The text of /etc/pluto/traffic/NAME.nft. FormatError for what is no port, no protocol or no address.

    serving  the slot that the public `ports` lead to; None: to none
    address  the one of the host's addresses that they are on; None: all of them
    egress   what a machine may connect to, by protocol and port, anywhere but in private networks
    others   slots beside the serving one whose machines may connect there, too
    ipv6     whether machines have IPv6 on this host; where they have not, a client had better not find it open
    """
    layout.checked_name(name)
    slots = ((serving,) if serving else ()) + tuple(slot for slot in others if slot != serving)
    if stranger := [slot for slot in slots if slot.name != name]:
        raise FormatError("traffic", f"slot {stranger[0].letter} is of the deployment {stranger[0].name}, not {name}")
    where = None if address is None else _address(address)
    services, exits = sorted({*map(_service, ports)}), sorted({*map(_service, egress)})
    both = ipv6 or (where is not None and where.version == 6)
    lines = [
        *(_lead(services, serving, where, ipv6=both) if serving else ()),
        *(line for slot in slots for line in _let_out(exits, slot, ipv6=both)),
    ]
    head = f"# Traffic of the deployment {name}. Written by `pluto-deploy apply`; do not edit.\n"
    return head + "".join(f"add element inet {TABLE} {line}\n" for line in lines)


def _lead(services: Sequence[Service], slot: Slot, where: _Address | None, *, ipv6: bool) -> Iterator[str]:
    places = {"": str(slot.address), **({"6": str(address6(slot.number))} if ipv6 else {})}
    given, suffix = "", ""
    if where is not None:
        given, suffix = f"{where} . ", "_at"
        places = {"6": places["6"]} if where.version == 6 else {"": places[""]}
    for protocol, port in services:
        for family, place in places.items():
            yield f"slots{family}{suffix} {{ {given}{protocol} . {port} : {place} . {GUEST_PORT} }}"


def _let_out(services: Sequence[Service], slot: Slot, *, ipv6: bool) -> Iterator[str]:
    for protocol, port in services:
        yield f"egress {{ {slot.address} . {protocol} . 0.0.0.0/0 . {port} }}"
        if ipv6:
            yield f"egress6 {{ {address6(slot.number)} . {protocol} . ::/0 . {port} }}"


def _service(service: Service) -> Service:
    protocol, port = service
    if protocol not in PROTOCOLS or isinstance(port, bool) or not 0 < port < 65536:
        raise FormatError("traffic", f"{str(protocol)[:20]}:{port} is not a protocol and a port")
    return protocol, port


def _address(text: str) -> _Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise FormatError("traffic", f"{text[:60]!r} is not an address") from error
    if getattr(found, "scope_id", None):
        raise FormatError("traffic", f"{text[:60]!r} has a scope, which nft does not know")
    return found
