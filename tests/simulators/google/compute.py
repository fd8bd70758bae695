"""What Compute Engine does beyond its schema: what fits together, what is taken, what becomes of what. For tests alone.

PROVISIONING ──operation done──▶ RUNNING ──stop──▶ STOPPING ──done──▶ TERMINATED ──start──▶ STAGING ──done──▶ RUNNING
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.google.rules import ADDRESSES, check_labels, check_machine, check_rule, filter_of, use_address
from simulators.google.schema import Call
from simulators.google.state import (
    LINK,
    PROJECT,
    REGION,
    SPACE,
    ZONE,
    RefusedError,
    State,
    Thing,
    fingerprint,
    labelled,
)

Boot = Callable[[Thing], bytes]  # what a machine says on its serial line as it starts
CPUS = (4, 8, 22, 44, 88, 176)
__all__ = ["ADDRESSES", "DISKS", "FIREWALLS", "IMAGES", "INSTANCES", "Compute", "ready"]
INSTANCES = f"{PROJECT}/zones/{ZONE}/instances"
DISKS = f"{PROJECT}/zones/{ZONE}/disks"
IMAGES = f"{PROJECT}/global/images"
FIREWALLS = f"{PROJECT}/global/firewalls"


def ready(instance: Thing) -> bytes:
    """A machine that comes up."""
    del instance
    return (
        b"EFI stub: Loaded initrd\r\n[    1.000000] pluto: started component=notary version=0.1.0\r\n"
        b"[    1.100000] pluto: ready port=8443 buildid=" + b"a" * 64 + b"\r\n"
    )


@dataclass
class Compute:
    """Methods by name. `stock`: None, or the code with which there is no room; `boot`: what machines say."""

    state: State
    boot: Boot = ready
    stock: str | None = None
    image_status: str = "READY"
    zone_status: str = "UP"
    types: tuple[int, ...] = CPUS
    enabled: bool = True
    serial: dict[str, bytes] = field(default_factory=dict)
    newest: str = "confidential-space-260800"

    def __post_init__(self) -> None:
        self.space_image("confidential-space-260800", "confidential-space")

    def space_image(self, name: str, family: str, *, features: tuple[str, ...] = ("TDX_CAPABLE", "GVNIC")) -> None:
        """An image of Google's."""
        thing = {"name": name, "family": family, "guestOsFeatures": [{"type": one} for one in features]}
        self.state.add(f"{SPACE}/global/images", thing | {"status": "READY", "diskSizeGb": "11"}, "image")
        self.newest = name

    def answer(self, call: Call) -> Thing:
        """What one call is answered. RefusedError."""
        noun, verb = call.method.split(".")
        self.state.go_on()
        if not self.enabled:
            text = "Compute Engine API has not been used in project 42 before or it is disabled. Enable it by visiting"
            raise RefusedError(403, "accessNotConfigured", f"{text} /apis/api/compute.googleapis.com/overview")
        if noun.endswith("Operations"):
            return self._operation(call)
        if verb in ("get", "getFromFamily"):
            return self._get(noun, call)
        if verb in ("list", "aggregatedList"):
            return self._list(noun, call)
        if verb == "getSerialPortOutput":
            return self._serial(call)
        if (again := self.state.asked.get(call.query["requestId"])) is not None:
            return again.thing
        act: Callable[[str, Call], Thing] = getattr(self, f"_{_snake(verb)}")
        return act(noun, call)

    def _operation(self, call: Call) -> Thing:
        place = _place(call)
        if (found := self.state.operations.get(f"{place}/operations/{call.at['operation']}")) is None:
            raise RefusedError(404, "notFound", "there is no such operation")
        return found.thing

    def _get(self, noun: str, call: Call) -> Thing:
        if noun == "zones":
            if call.at["zone"] != ZONE:
                raise RefusedError(404, "notFound", f"zone {call.at['zone']} was not found")
            return {"name": ZONE, "status": self.zone_status, "region": f"{LINK}/projects/{PROJECT}/regions/{REGION}"}
        if noun == "machineTypes":
            cpus = int(call.at["machineType"].rpartition("-")[2])
            if call.at["zone"] != ZONE or cpus not in self.types:
                raise RefusedError(404, "notFound", "the machine type was not found")
            return {"name": call.at["machineType"], "guestCpus": cpus, "memoryMb": cpus * 4096}
        if call.method == "images.getFromFamily":
            return self.state.get(_collection(noun, call), self.newest)
        found = self.state.get(
            _collection(noun, call), call.at[noun.removesuffix("es" if noun == "addresses" else "s")]
        )
        if noun == "images" and found["status"] == "PENDING":
            found["status"] = self.image_status
        return found

    def _list(self, noun: str, call: Call) -> Thing:
        keep = filter_of(call.query.get("filter", ""))
        if call.method.endswith(".list"):
            found = [one for one in self.state.collection(_collection(noun, call)).values() if keep(one)]
            return {"kind": f"compute#{noun}List", "items": found} if found else {"kind": f"compute#{noun}List"}
        scopes: dict[str, Thing] = {}
        for path, things in self.state.things.items():
            project, *scope, kind = path.split("/")
            if project == call.at["project"] and kind == noun:
                found = [one for one in things.values() if keep(one)]
                empty = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "no results"}}
                scopes["/".join(scope)] = {noun: found} if found else empty
        return {"items": scopes}

    def _serial(self, call: Call) -> Thing:
        machine = self.state.get(INSTANCES, call.at["instance"])
        if machine["status"] not in ("RUNNING", "STOPPING"):
            raise RefusedError(400, "resourceNotReady", f"The resource {machine['name']} is not ready")
        log, start = self.serial.get(machine["name"], b""), int(call.query.get("start", "0"))
        begun = min(len(log), start if start >= 0 else max(0, len(log) + start))
        if log.endswith(b"off\r\n"):  # it is heard once, and then it is gone
            machine["status"] = "TERMINATED"
            self._loose(machine)
        return {"contents": log[begun:].decode(), "start": str(begun), "next": str(len(log))}

    def _insert(self, noun: str, call: Call) -> Thing:
        make: Callable[[Call], tuple[Thing, Callable[[], tuple[str, str] | None]]] = getattr(self, f"_insert_{noun}")
        thing, finish = make(call)
        return self._begin(call, "insert", finish, thing["name"])

    def _insert_instances(self, call: Call) -> tuple[Thing, Callable[[], tuple[str, str] | None]]:
        body = call.body
        check_machine(self.state, body)
        if call.at["zone"] != ZONE:
            raise RefusedError(404, "notFound", "the zone was not found")
        made = self.state.add(INSTANCES, body, "instance")
        name = made["name"]
        parameters = body["disks"][0]["initializeParams"]
        disk = {"name": parameters["diskName"], "sizeGb": parameters["diskSizeGb"], "labels": parameters["labels"]}
        disk |= {"zone": f"{LINK}/projects/{PROJECT}/zones/{ZONE}", "status": "READY"}
        try:
            labelled(self.state.add(DISKS, disk, "disk"))
        except RefusedError:
            del self.state.things[INSTANCES][name]
            raise
        made["disks"] = [{"boot": True, "autoDelete": True, "source": f"{LINK}/projects/{DISKS}/{disk['name']}"}]
        made |= {"status": "PROVISIONING", "zone": f"{LINK}/projects/{PROJECT}/zones/{ZONE}"}
        made["networkInterfaces"][0]["name"] = "nic0"
        made["metadata"]["fingerprint"] = fingerprint(made["metadata"])
        labelled(made)

        def finish() -> tuple[str, str] | None:
            if self.stock is not None:
                self._gone(name)
                return (
                    self.stock,
                    f"The zone 'projects/{PROJECT}/zones/{ZONE}' does not have enough resources available",
                )
            if name in self.state.collection(INSTANCES):
                self._up(made)
            return None

        return made, finish

    def _insert_images(self, call: Call) -> tuple[Thing, Callable[[], tuple[str, str] | None]]:
        body = call.body
        source = body["rawDisk"]["source"].removeprefix("https://storage.googleapis.com/our-bucket/")
        if source not in self.state.objects:
            raise RefusedError(400, "invalid", f"rawDisk.source {source} is not there")
        if {one["type"] for one in body["guestOsFeatures"]} < {"UEFI_COMPATIBLE", "TDX_CAPABLE", "GVNIC"}:
            raise AssertionError("an image without what a TDX machine needs")
        made = labelled(self.state.add(IMAGES, body, "image") | {"status": "PENDING", "diskSizeGb": "1"})
        self.state.things[IMAGES][made["name"]] = made
        return made, lambda: None

    def _insert_firewalls(self, call: Call) -> tuple[Thing, Callable[[], tuple[str, str] | None]]:
        check_rule(call.body)
        return self.state.add(FIREWALLS, call.body, "firewall"), lambda: None

    def _insert_addresses(self, call: Call) -> tuple[Thing, Callable[[], tuple[str, str] | None]]:
        if "labels" in call.body:
            raise RefusedError(400, "invalid", "labels are set by setLabels")
        made = labelled(self.state.add(ADDRESSES, call.body, "address"))
        made |= {"status": "RESERVED", "address": f"203.0.113.{next(self.state.numbers) % 200 + 10}"}
        made["region"] = f"{LINK}/projects/{PROJECT}/regions/{REGION}"
        return made, lambda: None

    def _delete(self, noun: str, call: Call) -> Thing:
        path = _collection(noun, call)
        name = call.at[noun.removesuffix("es" if noun == "addresses" else "s")]
        thing = self.state.get(path, name)
        if noun == "addresses" and thing["status"] == "IN_USE":
            raise RefusedError(400, "resourceInUseByAnotherResource", f"{name} is used")
        if noun == "disks" and name in self.state.collection(INSTANCES):
            raise RefusedError(400, "resourceInUseByAnotherResource", f"{name} is used")
        if noun == "instances":
            thing["status"] = "STOPPING"

        def finish() -> None:
            if noun == "instances":
                self._gone(name)
            else:
                self.state.things[path].pop(name, None)

        return self._begin(call, "delete", finish, name)

    def _patch(self, noun: str, call: Call) -> Thing:
        thing = self.state.get(_collection(noun, call), call.at["firewall"])
        merged = {key: value for key, value in thing.items() if key in call.body} | call.body
        check_rule(merged)
        if merged["network"] != thing["network"]:
            raise RefusedError(400, "invalid", "the network of a rule does not change")
        thing |= call.body
        return self._begin(call, "patch", lambda: None, thing["name"])

    def _set_labels(self, noun: str, call: Call) -> Thing:
        name = call.at["instance" if noun == "instances" else "resource"]
        thing = self.state.get(_collection(noun, call), name)
        if call.body["labelFingerprint"] != thing["labelFingerprint"]:
            raise RefusedError(
                412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed"
            )
        check_labels(call.body["labels"])
        thing["labels"] = call.body["labels"]
        labelled(thing)
        return self._begin(call, "setLabels", lambda: None, name)

    def _start(self, noun: str, call: Call) -> Thing:
        machine = self.state.get(_collection(noun, call), call.at["instance"])
        if machine["status"] not in ("TERMINATED", "RUNNING"):
            raise RefusedError(400, "resourceNotReady", f"The resource {machine['name']} is not ready")

        def finish() -> tuple[str, str] | None:
            if self.stock is not None and machine["status"] == "STAGING":
                machine["status"] = "TERMINATED"
                return self.stock, "there is no room"
            if machine["status"] == "STAGING":
                self._up(machine)
            return None

        if machine["status"] == "TERMINATED":
            machine["status"] = "STAGING"
        return self._begin(call, "start", finish, machine["name"])

    def _stop(self, noun: str, call: Call) -> Thing:
        machine = self.state.get(_collection(noun, call), call.at["instance"])
        if machine["status"] not in ("RUNNING", "TERMINATED", "STOPPING"):
            raise RefusedError(400, "resourceNotReady", f"The resource {machine['name']} is not ready")
        if machine["status"] == "RUNNING":
            machine["status"] = "STOPPING"

        def finish() -> None:
            machine["status"] = "TERMINATED"
            self._loose(machine)

        return self._begin(call, "stop", finish, machine["name"])

    def _add_access_config(self, noun: str, call: Call) -> Thing:
        machine = self.state.get(_collection(noun, call), call.at["instance"])
        card = machine["networkInterfaces"][0]
        if card.get("accessConfigs"):
            raise RefusedError(400, "invalid", "At most one access config currently supported.")
        access = dict(call.body)
        if "natIP" in access:
            use_address(self.state, access["natIP"], machine)
        elif machine["status"] == "RUNNING":
            access["natIP"] = self._any_address()
        card["accessConfigs"] = [access]
        return self._begin(call, "addAccessConfig", lambda: None, machine["name"])

    def _delete_access_config(self, noun: str, call: Call) -> Thing:
        machine = self.state.get(_collection(noun, call), call.at["instance"])
        card = machine["networkInterfaces"][0]
        if [one["name"] for one in card.get("accessConfigs", [])] != [call.query["accessConfig"]]:
            raise RefusedError(400, "invalid", "Invalid value for field 'accessConfig': it is not there")
        self._free(machine)
        del card["accessConfigs"]
        return self._begin(call, "deleteAccessConfig", lambda: None, machine["name"])

    def _begin(self, call: Call, kind: str, finish: Callable[[], tuple[str, str] | None], name: str) -> Thing:
        place = _place(call)
        return self.state.begin(place, kind, call.query["requestId"], finish, f"{place}/{name}")

    def _up(self, machine: Thing) -> None:
        machine |= {"status": "RUNNING", "lastStartTimestamp": self.state.now()}
        for access in machine["networkInterfaces"][0].get("accessConfigs", []):
            access.setdefault("natIP", self._any_address())
        self.serial[machine["name"]] = self.boot(machine)

    def _any_address(self) -> str:
        return f"198.51.100.{next(self.state.numbers) % 200 + 10}"

    def _loose(self, machine: Thing) -> None:
        """What is off has no address but a static one."""
        kept = [one["address"] for one in self.state.collection(ADDRESSES).values()]
        for access in machine["networkInterfaces"][0].get("accessConfigs", []):
            if access.get("natIP") not in kept:
                access.pop("natIP", None)

    def _free(self, machine: Thing) -> None:
        for access in machine["networkInterfaces"][0].get("accessConfigs", []):
            for one in self.state.collection(ADDRESSES).values():
                if one["address"] == access.get("natIP"):
                    one["status"] = "RESERVED"
                    one.pop("users", None)

    def _gone(self, name: str) -> None:
        if (machine := self.state.things[INSTANCES].pop(name, None)) is not None:
            self._free(machine)
            self.state.collection(DISKS).pop(name, None)


def _place(call: Call) -> str:
    project = call.at["project"]
    for kind in ("zone", "region"):
        if kind in call.at:
            return f"{project}/{kind}s/{call.at[kind]}"
    return f"{project}/global"


def _collection(noun: str, call: Call) -> str:
    return f"{_place(call)}/{noun}"


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)
