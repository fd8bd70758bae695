"""How clients come to one machine of a deployment: a network, two sets of rules, addresses that are moved. IO.

A machine is reached through its interface, which has at most one public address: its own, behind rules that let
operators in, or the clients', behind rules that let everybody in. Address and rules of an interface
change in one request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pluto_deploy.azure import bodies
from pluto_deploy.azure.answers import SERVICE, Json, find, need, same_id, tags
from pluto_deploy.azure.arm import Arm, Place
from pluto_deploy.azure.names import BODY, LEFT, OWNER, Names
from pluto_deploy.azure.seen import Nic
from pluto_deploy.azure.seen import nic as parsed
from pluto_deploy.azure.wanted import GUEST_PORT, Azure
from pluto_deploy.engine.scene import opposite
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.formats.strict_json import canonical


@dataclass(frozen=True, slots=True)
class Leading:
    """Of one deployment. `ports`: where clients come."""

    arm: Arm
    names: Names
    platform: Azure
    egress: tuple[tuple[str, int], ...]
    ports: tuple[int, ...] = (GUEST_PORT,)

    @property
    def public(self) -> Place:
        return self.names.public(self.platform.address)

    @property
    def subnet(self) -> str:
        return self.platform.subnet or f"{self.arm.id(self.names.vnet)}/subnets/{bodies.SUBNET}"

    @property
    def open_rules(self) -> Json:
        """The rules in front of the machine that serves, as the file asks for them."""
        own = self.names.tags
        return bodies.rules(self.platform, own, clients=True, egress=self.egress, ports=self.ports)

    def make(self) -> None:
        """What all machines share: network, rules, the clients' address. The rules of what serves are as they were."""
        own = self.names.tags
        if self.platform.subnet is None:
            self._own(self.names.vnet, bodies.network(self.platform, own))
        self._close()
        if self.arm.get(self.names.open) is None:
            self._own(self.names.open, self.open_rules)
        if self.platform.address is None:
            self._own(self.public, bodies.address(self.platform, own))
        else:
            self._check_given()

    def record(self, slot: str, marks: Mapping[str, str]) -> None:
        """An interface without an address, whose tags say what the slot's machine is."""
        self._put(slot, {**self.names.tags, **marks}, self.names.closed, None)

    def nic(self, slot: str) -> Nic:
        """UsageError where there is none."""
        found = self.arm.get(self.names.nic(slot))
        if found is None:
            raise UsageError(f"there is no machine {slot}")
        return parsed(found)

    def mark(self, slot: str, changes: Mapping[str, str | None]) -> None:
        """Change a record's tags; None takes one away."""
        nic = self.nic(slot)
        marks: dict[str, str | None] = {**nic.tags, **changes}
        kept = {name: value for name, value in marks.items() if value is not None}
        if kept != nic.tags:
            self.arm.patch(self.names.nic(slot), {"tags": kept})

    def operators_only(self, slot: str) -> None:
        """Clients reach it no more, operators do: by the clients' address if it has that one, else by its own."""
        self._close()
        nic, closed = self.nic(slot), self.arm.id(self.names.closed)
        if nic.address is not None and same_id(nic.rules, closed):
            return
        address = self.names.own_address(slot)
        if same_id(nic.address, self.arm.id(self.public)):
            address = self.public
        else:
            self._own(address, bodies.address(self.platform, self.names.tags))
        self._put(slot, nic.tags, self.names.closed, address)

    def clients(self, slot: str) -> None:
        """Give it the clients' address, which nobody else has, and let everybody in."""
        self._own(self.names.open, self.open_rules)
        nic, public = self.nic(slot), self.arm.id(self.public)
        if not same_id(nic.address, public) or not same_id(nic.rules, self.arm.id(self.names.open)):
            self._put(slot, _but(nic.tags, LEFT), self.names.open, self.public)
        self.arm.delete(self.names.own_address(slot))

    def move(self, slot: str) -> bool:
        """Take the clients' address from the machine in the other slot, and give it to this one. Whether it moved.

        In between nobody has it; who had it is written where it is taken from, in the same request.
        """
        other, public = opposite(slot), self.arm.id(self.public)
        found = self.arm.get(self.names.nic(other))
        nic = None if found is None else parsed(found)
        had = nic is not None and same_id(nic.address, public)
        if nic is not None and had:
            self._put(other, {**nic.tags, LEFT: "yes"}, self.names.closed, None)
        self.clients(slot)
        if found is not None:
            self.mark(other, {LEFT: None})
        return had

    def take_away(self, slot: str, *, clients: bool) -> None:
        """The machine's own address, and with `clients` theirs, too."""
        nic = self.nic(slot)
        marks = _but(nic.tags, LEFT) if clients else nic.tags
        theirs = same_id(nic.address, self.arm.id(self.public))
        if (nic.address is not None and (clients or not theirs)) or marks != nic.tags:
            self._put(slot, marks, self.names.closed, None)
        self.arm.delete(self.names.own_address(slot))

    def ip(self, slot: str) -> str:
        """The public address that the slot's interface has, in digits."""
        nic = self.nic(slot)
        if nic.address is None:
            raise SourceError(f"{SERVICE}: machine {slot} has no public address")
        return self.ip_of(Place(self.public.kind, (nic.address.rpartition("/")[2],)))

    def ip_of(self, place: Place) -> str:
        """SourceError where the address is not there, or has no digits yet."""
        found = self.arm.get(place)
        if found is None:
            raise SourceError(f"{SERVICE}: {place} is not there")
        return need(found, "properties.ipAddress", str, str(place))

    def _put(self, slot: str, marks: Mapping[str, str], rules: Place, address: Place | None) -> None:
        given = None if address is None else self.arm.id(address)
        body = bodies.interface(self.platform, marks, subnet=self.subnet, rules=self.arm.id(rules), address=given)
        self.arm.put(self.names.nic(slot), body)

    def _close(self) -> None:
        self._own(self.names.closed, bodies.rules(self.platform, self.names.tags, clients=False, egress=self.egress))

    def _own(self, place: Place, body: Json) -> None:
        """Make it so, if it is not; keep tags that are there."""
        digest = digest_of(body)
        found = self.arm.get(place)
        there = {} if found is None else tags(found, str(place))
        if found is not None and there.get(OWNER) != self.names.deployment:
            raise UsageError(f"{place} is there already, and is not of this deployment")
        state = None if found is None else find(found, "properties.provisioningState", str, str(place))
        if there.get(BODY) != digest or state != "Succeeded":
            self.arm.put(place, {**body, "tags": {**there, **body["tags"], BODY: digest}})

    def _check_given(self) -> None:
        """UsageError where the operator's address cannot be used."""
        found = self.arm.get(self.public)
        if found is None:
            raise UsageError(f"platform.address: the resource group has no public address {self.public.name}")
        what = str(self.public)
        if need(found, "properties.publicIPAllocationMethod", str, what) != "Static":
            raise UsageError(f"platform.address: {self.public.name} is not static, and would change")
        holder = find(found, "properties.ipConfiguration.id", str, what)
        nics = [self.arm.id(self.names.nic(slot)) for slot in ("a", "b")]
        if holder is not None and not any(holder.lower().startswith(f"{nic.lower()}/") for nic in nics):
            raise UsageError(f"platform.address: {self.public.name} is in use by something else")


def digest_of(body: Json) -> str:
    """By which what was sent last is known again."""
    return hashlib.sha256(canonical(body)).hexdigest()[:16]


def _but(marks: Mapping[str, str], name: str) -> dict[str, str]:
    return {one: value for one, value in marks.items() if one != name}
