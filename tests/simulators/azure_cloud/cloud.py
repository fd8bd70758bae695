"""The state of the pretended Azure: resources, operations that go on, keys to disks, tokens, and what is injected."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.azure_cloud.wire import Schema

Json = dict[str, Any]
SUBSCRIPTION = "22222222-2222-2222-2222-222222222222"
GROUP = "notaries"
LOCATION = "westeurope"
ROOT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str = "refused", *, bare: bool = False, **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        inner = {"code": code, "message": message}
        self.body: Json = inner if bare else {"error": inner}


class LostError(Exception):
    """The connection ends, and nothing is answered."""


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Operation:
    """`left`: requests until it ends. `end`: what it brings about, or raises."""

    left: int
    end: Callable[[], Any]
    status: str = "InProgress"
    error: Json | None = None
    output: Any = None


@dataclass
class Fault:
    """At the `at`-th request (from 1) whose "METHOD path" matches: `error` is answered, or raised before or after.

    `later`: the operation that it begins fails with `error`, behind its 202.
    """

    match: str
    error: Exception
    at: int = 1
    when: str = "before"
    times: int = 1
    seen: int = 0


@dataclass
class Cloud:
    """One subscription with one resource group."""

    base: str = ""
    resources: dict[str, Json] = field(default_factory=dict)  # ids in lower case
    hidden: dict[str, Json] = field(default_factory=dict)  # what of a resource is never shown
    operations: dict[str, Operation] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # the signature of a URL → the id of the disk
    tokens: dict[str, float] = field(default_factory=dict)  # → the time of its end
    faults: list[Fault] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    served: list[str | None] = field(default_factory=list)  # after each change: the machine that clients reach
    slowness: int = 2
    now: float = 1_800_000_000.0
    quota: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {"standardDCEV6Family": (0, 64), "cores": (0, 100)}
    )
    registered: bool = True
    group_exists: bool = True
    sizes: list[Json] = field(default_factory=list)
    second_key: str = "refused"  # or "given": what a second beginGetAccess gets
    schema: Schema = field(default_factory=Schema)

    def id(self, kind: str, name: str) -> str:
        return f"{ROOT}/providers/{kind}/{name}"

    def of_kind(self, kind: str) -> list[Json]:
        return [one for one in self.resources.values() if one["type"].lower() == kind.lower()]

    def find(self, place: str | None) -> Json | None:
        return None if place is None else self.resources.get(place.lower())

    def need(self, place: str, status: int = 404, code: str = "ResourceNotFound") -> Json:
        found = self.find(place)
        if found is None:
            raise Refused(status, code, f"The Resource '{place}' was not found.")
        return found

    # Requests

    def handle(self, method: str, path: str, query: dict[str, str], body: bytes, token: str) -> Answer:
        """One request to Resource Manager."""
        said = f"{method} {path}"
        self.log.append(said)
        self._tick()
        fault = self._fault(said)
        if fault is not None and fault.when == "before":
            if isinstance(fault.error, Refused):
                return Answer(fault.error.status, fault.error.body, fault.error.headers)
            raise fault.error
        try:
            self._authorized(token)
            answer = self._answered(method, path, query, body, fault)
        except Refused as error:
            answer = Answer(error.status, error.body, error.headers)
        self._look_who_serves(method)
        if fault is not None and fault.when == "after":
            raise fault.error
        return answer

    def _fault(self, said: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.match, said):
                fault.seen += 1
                if fault.at <= fault.seen < fault.at + fault.times:
                    return fault
        return None

    def _authorized(self, token: str) -> None:
        if self.tokens.get(token, 0.0) <= self.now:
            raise Refused(401, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now.")

    def _answered(self, method: str, path: str, query: dict[str, str], body: bytes, fault: Fault | None) -> Answer:
        if path.startswith("/operations/"):
            return self._operation(path, query)
        if found := re.fullmatch(rf"/subscriptions/{SUBSCRIPTION}/providers/(Microsoft\.\w+)", path):
            state = "Registered" if self.registered else "NotRegistered"
            return Answer(200, {"namespace": found[1], "registrationState": state})
        route, version, names = self.schema.route(method, path)
        if route is None:
            return self._wrong(f"{method} {path}: there is no such operation")
        if query.get("api-version") != version:
            return self._wrong(f"{method} {path}: version {query.get('api-version')}, not {version}")
        if unknown := set(query) - set(names) - {"$skiptoken"}:
            return self._wrong(f"{method} {path}: unknown query {sorted(unknown)}")
        document = json.loads(body) if body else None
        if problems := self.schema.problems(route, document):
            return self._wrong(f"{method} {path}: {'; '.join(problems)}")
        if route.names["subscriptionId"] != SUBSCRIPTION:
            raise Refused(404, "SubscriptionNotFound", "The subscription could not be found.")
        if "resourceGroupName" in route.names and (route.names["resourceGroupName"] != GROUP or not self.group_exists):
            raise Refused(
                404, "ResourceGroupNotFound", f"Resource group '{route.names['resourceGroupName']}' not found."
            )
        from simulators.azure_cloud import acts

        return acts.act(self, route, path, query, document, fault)

    def _wrong(self, problem: str) -> Answer:
        self.failures.append(problem)
        return Answer(400, {"error": {"code": "InvalidRequestContent", "message": problem}})

    # Operations

    def begin(self, end: Callable[[], Any], fault: Fault | None = None) -> str:
        """An operation that ends some requests later. Its id."""
        name = secrets.token_hex(8)

        def ended() -> Any:
            if fault is not None and fault.when == "later":
                raise fault.error
            return end()

        self.operations[name] = Operation(self.slowness, ended)
        return name

    def _tick(self) -> None:
        self.now += 1
        for one in self.operations.values():
            if one.status == "InProgress":
                one.left -= 1
                if one.left <= 0:
                    try:
                        one.output, one.status = one.end(), "Succeeded"
                    except Refused as error:
                        one.status, one.error = "Failed", error.body["error"]

    def watch(self, name: str, *, location: bool = False) -> dict[str, str]:
        """Headers that say where an operation can be watched."""
        header = "Location" if location else "Azure-AsyncOperation"
        # URLs are longer than some think they may be.
        path = f"{self.base}/operations/{name}?t={'x' * 4200}&c=1"
        return {header: path + ("&location=1" if location else ""), "Retry-After": "1"}

    def _operation(self, path: str, query: dict[str, str]) -> Answer:
        one = self.operations.get(path.rpartition("/")[2])
        if one is None:
            raise Refused(404, "NotFound", "no such operation")
        if "location" in query:
            if one.status == "InProgress":
                return Answer(202, None, {"Retry-After": "1", "Location": f"{self.base}{path}?location=1"})
            if one.error is not None:
                return Answer(400, {"error": one.error})
            return Answer(200, one.output) if one.output is not None else Answer(204)
        body: Json = {"status": one.status}
        if one.error is not None:
            body["error"] = one.error
        elif one.output is not None and one.status == "Succeeded":
            body["properties"] = {"output": one.output}
        return Answer(200, body, {"Retry-After": "1"} if one.status == "InProgress" else {})

    # What must always hold

    def reached(self, address: str | None, *, by: str, port: int | None = None) -> Json | None:
        """The machine that answers at an address, to "clients" or "operators"; at this port (None: at any)."""
        for nic in self.of_kind("Microsoft.Network/networkInterfaces"):
            here = nic["properties"]["ipConfigurations"][0]["properties"].get("publicIPAddress")
            public = self.find(here["id"]) if here else None
            if public is None or public["properties"].get("ipAddress") != address:
                continue
            rules = self.need(nic["properties"]["networkSecurityGroup"]["id"])
            sources = [
                source
                for rule in rules["properties"]["securityRules"]
                if rule["properties"]["access"] == "Allow" and rule["properties"]["direction"] == "Inbound"
                if port is None or rule["properties"]["destinationPortRange"] == str(port)
                for source in (
                    *rule["properties"].get("sourceAddressPrefixes", ()),
                    rule["properties"].get("sourceAddressPrefix"),
                )
            ]
            holder = self.find((nic["properties"].get("virtualMachine") or {}).get("id"))
            if holder is not None and self.hidden[holder["id"].lower()]["power"] == "running":
                return holder if "Internet" in sources or (by == "operators" and any(sources)) else None
        return None

    @property
    def clients_address(self) -> str | None:
        for one in self.of_kind("Microsoft.Network/publicIPAddresses"):
            if one["name"].endswith("-public") or one["name"] == "given":
                found: str | None = one["properties"].get("ipAddress")
                return found
        return None

    def _look_who_serves(self, method: str) -> None:
        machine = self.reached(self.clients_address, by="clients") if self.clients_address else None
        if machine is not None and not self.hidden[machine["id"].lower()]["appraised"]:
            self.failures.append(f"clients reach {machine['name']}, which was not appraised: {self.log[-3:]}")
        if method != "GET":
            self.served.append(None if machine is None else machine["name"])
