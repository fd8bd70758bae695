"""Machines and addresses as Compute Engine describes them, and what they are to the engine. Pure.

A machine is made by one request, with all that it says of itself: it is there whole, or not at all. What it says holds
if it is whole in itself: the generation in its metadata, the same by digest in its labels.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pluto_deploy.engine.scene import SLOTS, Generation, Machine, State
from pluto_deploy.engine.target import Identity
from pluto_deploy.google import names
from pluto_deploy.google.names import Names, short
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import FormatError, SourceError, UsageError

OFF: Final = "TERMINATED"
LEAVING: Final = ("STOPPING", "PENDING_STOP", "SUSPENDING", "DEPROVISIONING")
_STATES: Final[Mapping[str, State]] = {
    # STOPPING and SUSPENDING are not over: a machine that is called stopped has let go of its disk and address.
    **dict.fromkeys(("PENDING", "PROVISIONING", "STAGING", "RUNNING", "REPAIRING"), "running"),
    **dict.fromkeys(LEAVING, "running"),
    **dict.fromkeys((OFF, "STOPPED"), "stopped"),
    "SUSPENDED": "broken",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine. `access`: names of its external addresses, and these, empty while it has none."""

    slot: str
    name: str
    identity: Identity
    status: str
    generation: Generation | None
    labels: Mapping[str, str]
    metadata: Mapping[str, str]
    access: tuple[tuple[str, str], ...]
    made: int
    since: str
    tdx: bool
    reply: Reply

    @property
    def address(self) -> str:
        """Its external address; empty where it has none."""
        return next((address for _, address in self.access if address), "")

    @property
    def state(self) -> State:
        found = _STATES[self.status]
        by_itself = found == "stopped" and self.labels.get(names.STATE) == names.STARTED
        return "broken" if by_itself else found

    def machine(self) -> Machine:
        """As the engine sees it."""
        refused = self.labels.get(names.STATE) == names.REFUSED
        if self.generation is None:
            return Machine(self.slot, None, "incomplete", made=self.made)
        return Machine(self.slot, self.generation, self.state, refused, self.since, self.made)


@dataclass(frozen=True, slots=True)
class Static:
    """The address that clients come to. `serving`: the slot that it says serves."""

    address: str
    serving: str | None
    labels: Mapping[str, str]
    reply: Reply


def instance(reply: Reply, of: Names, slot: str, project: str, zone: str) -> Instance:
    """A machine of ours. UsageError for one that has our name, and that we did not make."""
    name, labels, status = reply.text("name"), reply.texts("labels"), reply.text("status")
    if (labels.get(names.DEPLOYMENT), labels.get(names.SLOT)) != (of.deployment, slot):
        problem = f"project {project} has a machine {name} that is not of this deployment"
        raise UsageError(problem, hint="give the deployment another name")
    if status not in _STATES:
        raise SourceError(f"{reply.what}: status {status[:40]!r} is not known")
    items = {one.text("key"): one.maybe("value") for one in reply.sub("metadata").each("items")}
    made, started = reply.text("creationTimestamp"), reply.maybe("lastStartTimestamp")
    return Instance(
        slot=slot,
        name=name,
        identity=Identity(project, zone, str(reply.number("id")), name),
        status=status,
        generation=_generation(items, labels),
        labels=labels,
        metadata=items,
        access=_access(reply),
        made=int(_time(made, reply).timestamp() * 1000),
        since=_time(started, reply).astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if started else "",
        tdx=is_tdx(reply),
        reply=reply,
    )


def is_tdx(reply: Reply) -> bool:
    """Whether a machine asked for TDX."""
    return reply.sub("confidentialInstanceConfig").maybe("confidentialInstanceType") == "TDX"


def static(reply: Reply, of: Names, *, own: bool) -> Static:
    """The deployment's address. UsageError for one that has our name, and another's labels."""
    labels = reply.texts("labels")
    if labels.get(names.DEPLOYMENT, of.deployment) != of.deployment:
        which = "the deployment's name" if own else "platform.address"
        raise UsageError(
            f"the address {reply.text('name')} serves deployment {labels[names.DEPLOYMENT][:60]}; see {which}"
        )
    serving = labels.get(names.SERVING)
    return Static(reply.text("address"), serving if serving in SLOTS else None, labels, reply)


def _generation(items: Mapping[str, str], labels: Mapping[str, str]) -> Generation | None:
    try:
        found = Generation.parse(items.get(names.GENERATION_ITEM, ""))
    except FormatError:
        return None
    return found if labels.get(names.GENERATION) == short(found.id) else None


def _access(reply: Reply) -> tuple[tuple[str, str], ...]:
    interfaces = reply.each("networkInterfaces")
    return tuple((one.text("name"), one.maybe("natIP")) for card in interfaces for one in card.each("accessConfigs"))


def _time(text: str, reply: Reply) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise SourceError(f"{reply.what}: {text[:40]!r} is no time")
    return found
