"""How clients come to one machine of a deployment: a static address that is moved, and rules that let them in. Thin IO.

The address says by a label which slot serves; the label is written after the address was moved. So whoever is killed in
between has left the old slot named, and clients led elsewhere: `is_led` says so, and `settle` puts it right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pluto_deploy.cloud.door import CloudError
from pluto_deploy.engine.scene import opposite
from pluto_deploy.google import bodies, names
from pluto_deploy.google.compute import Compute
from pluto_deploy.google.errors import EXISTS
from pluto_deploy.google.machines import Instance, Static, static
from pluto_deploy.google.names import Names
from pluto_deploy.google.reply import Reply
from pluto_deploy.google.wanted import Place
from pluto_measure.errors import SourceError, UsageError

# What decides what a rule does; a cloud adds more to what it was given.
_DECIDES: Final = ("direction", "priority", "targetTags", "sourceRanges", "destinationRanges", "allowed", "denied")
Machines = Mapping[str, Instance]


@dataclass(frozen=True, slots=True)
class Leading:
    """Of one deployment. `egress`: what machines may connect to; `ports`: where clients come."""

    compute: Compute
    names: Names
    place: Place
    egress: tuple[tuple[str, int], ...]
    ports: tuple[int, ...]

    @property
    def address_name(self) -> str:
        return self.place.address or self.names.address

    def static(self) -> Static | None:
        """The address as it is. UsageError where it is another deployment's, or was to be there and is not."""
        reply = self.compute.get("addresses", self.address_name)
        if reply is None:
            if self.place.address is not None:
                hint = f"reserve it: gcloud compute addresses create {self.place.address} --region {self.place.region}"
                raise UsageError(f"there is no address {self.place.address} in {self.place.region}", hint=hint)
            return None
        return static(reply, self.names, own=self.place.address is None)

    def reserved(self) -> Static:
        """The address, reserved if it was not."""
        if (found := self.static()) is None:
            try:
                act = f"reserving the address {self.address_name}"
                self.compute.insert("addresses", bodies.address(self.address_name), act)
            except CloudError as error:
                if error.code not in EXISTS:
                    raise
            found = self.static()
        if found is None:
            raise SourceError(f"the address {self.address_name} was reserved, and is not there")
        if found.labels.get(names.DEPLOYMENT) != self.names.deployment:
            self.compute.set_labels("addresses", found.reply, {**found.labels, **self.names.labels})
            return self.reserved()
        return found

    def is_led(self, found: Static, machines: Machines) -> bool:
        """Whether clients come to the slot that is named, and all rules are as the file has them."""
        machine = machines.get(found.serving or "")
        return machine is not None and machine.address == found.address and not self._wrong_rules()

    def rules(self) -> None:
        """All rules as they should be; rules that allow too much go first."""
        wanted = {one["name"]: one for one in bodies.firewalls(self.names, self.place, self.egress, self.ports)}
        for name in sorted(self._wrong_rules(), key=lambda name: name in wanted):
            there = self.compute.get("firewalls", name)
            if name not in wanted:
                self.compute.delete("firewalls", name)
            elif there is None:
                self._insert_rule(wanted[name])
            elif _network(there) != self.place.network:  # a rule cannot move to another network
                self.compute.delete("firewalls", name)
                self._insert_rule(wanted[name])
            else:
                self.compute.patch("firewalls", name, wanted[name], f"changing the firewall rule {name}")

    def door(self) -> None:
        """Rules for the first machine, and a way in for whoever asks it for evidence.

        Where there are some they are those of what serves, and stay until clients are led elsewhere.
        """
        if self.compute.get("firewalls", self.names.rule("in")) is None:
            self.rules()

    def lead(self, slot: str, machines: Machines) -> None:
        """The address to this machine, then its label."""
        self.rules()
        found = self.reserved()
        self._move(found, slot, machines)
        if found.serving != slot:
            self.compute.set_labels("addresses", found.reply, {**found.labels, names.SERVING: slot})

    def settle(self, leaving: str, machines: Machines) -> None:
        """Before a machine is stopped: clients are led to the one that serves by its label, if that runs.

        Somebody who was killed may have led them half-way to the machine that is to be stopped.
        """
        found = self.static()
        if found is None or found.serving in (None, leaving):
            return
        serving = machines.get(found.serving or "")
        if serving is not None and serving.state == "running" and serving.address != found.address:
            self._move(found, serving.slot, machines)

    def own(self, machine: Instance) -> None:
        """Give a machine an external address of its own where it has none: it is asked for evidence by it."""
        if not machine.access:
            self.compute.give_address(machine.name, bodies.access(None))

    def close(self, machines: Machines) -> None:
        """Nobody comes in by any address; then the label."""
        self.compute.delete("firewalls", self.names.rule("in"))
        found = self.static()
        if found is None:
            return
        for machine in machines.values():
            if machine.address == found.address:
                self._take(machine)
        if names.SERVING in found.labels:
            kept = {key: value for key, value in found.labels.items() if key != names.SERVING}
            self.compute.set_labels("addresses", found.reply, kept)

    def forget(self, slot: str) -> None:
        """The label, where it names a machine that is being removed."""
        found = self.static()
        if found is not None and found.serving == slot:
            kept = {key: value for key, value in found.labels.items() if key != names.SERVING}
            self.compute.set_labels("addresses", found.reply, kept)

    def give_up(self) -> None:
        """Rules and address away; an address that was reserved by somebody else loses our labels alone."""
        for reply in self._own_rules():
            self.compute.delete("firewalls", reply.text("name"))
        found = self.static()
        if found is None:
            return
        if self.place.address is None:
            self.compute.delete("addresses", self.address_name)
            return
        ours = (names.DEPLOYMENT, names.SERVING)
        if any(key in found.labels for key in ours):
            kept = {key: value for key, value in found.labels.items() if key not in ours}
            self.compute.set_labels("addresses", found.reply, kept)

    def _move(self, found: Static, slot: str, machines: Machines) -> None:
        """One address has one machine, and a machine has one: both are taken first, which is when nobody serves."""
        machine, other = machines[slot], machines.get(opposite(slot))
        if machine.address == found.address:
            return
        self._take(machine)
        if other is not None and other.address == found.address:
            self._take(other)
        self.compute.give_address(machine.name, bodies.access(found.address))

    def _take(self, machine: Instance) -> None:
        for access, _ in machine.access:
            self.compute.take_address(machine.name, access)

    def _insert_rule(self, body: Mapping[str, Any]) -> None:
        try:
            self.compute.insert("firewalls", body, f"making the firewall rule {body['name']}")
        except CloudError as error:
            if error.code not in EXISTS:
                raise

    def _own_rules(self) -> list[Reply]:
        wanted = " OR ".join(f"(name = {self.names.rule(which)})" for which in names.RULES)
        return self.compute.listed("firewalls", wanted)

    def _wrong_rules(self) -> set[str]:
        """Names of rules that are not there, not wanted, or not as they should be."""
        wanted = {one["name"]: one for one in bodies.firewalls(self.names, self.place, self.egress, self.ports)}
        found = {one.text("name"): one for one in self._own_rules()}
        right = {name for name, one in found.items() if name in wanted and _is_rule(one, wanted[name])}
        return (set(wanted) | set(found)) - right


def _is_rule(found: Reply, wanted: Mapping[str, Any]) -> bool:
    """Whether a rule does what the wanted one does. A member that is not wanted must not be there."""
    same = all(found.plain(name) == wanted.get(name) for name in _DECIDES)
    return same and not found.plain("disabled") and _network(found) == wanted["network"].rpartition("/")[2]


def _network(found: Reply) -> str:
    return found.text("network").rpartition("/")[2]
