"""What requests do that the schema allows: find, list, make, change, remove. The rest is by type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from simulators.azure_cloud import disks, galleries, machines, network
from simulators.azure_cloud.cloud import Answer, Cloud, Fault, Json, Refused
from simulators.azure_cloud.wire import Route

PAGE = 2  # resources in one answer of a list
SUBSCRIPTION_LISTS = ("skus", "usages")


def act(cloud: Cloud, route: Route, path: str, query: dict[str, str], body: Any, fault: Fault | None) -> Answer:
    """Answer one request."""
    if route.kind == "skus" or path.endswith("/usages"):
        return machines.subscription_list(cloud, path, query)
    if route.listing:
        return listed(cloud, path, query)
    if route.method == "GET":
        return Answer(200, shown(cloud, path, query))
    if route.method == "PATCH":
        return changed(cloud, route, path, body)
    if route.method == "DELETE":
        return removed(cloud, route, path, fault)
    if route.method == "POST":
        post = disks.post if route.kind == "disks" else machines.post
        return post(cloud, path.rpartition("/")[0], route.action, body, fault)
    return made(cloud, route, path, body, fault)


def listed(cloud: Cloud, path: str, query: dict[str, str]) -> Answer:
    """Some at a time."""
    parent = path.rpartition("/")[0]
    if "/providers/Microsoft.Compute/galleries/" in path:
        cloud.need(parent, code="ParentResourceNotFound")
    prefix = f"{path}/".lower()
    found = [
        one
        for name, one in sorted(cloud.resources.items())
        if name.startswith(prefix) and "/" not in name[len(prefix) :]
    ]
    begin = int(query.get("$skiptoken", "0"))
    page: Json = {"value": copy.deepcopy(found[begin : begin + PAGE])}
    if begin + PAGE < len(found):
        more = f"api-version={query['api-version']}&$skiptoken={begin + PAGE}"
        page["nextLink"] = f"{cloud.base}{path}?{more}"
    return Answer(200, page)


def shown(cloud: Cloud, path: str, query: dict[str, str]) -> Json:
    found = copy.deepcopy(cloud.need(path))
    if query.get("$expand") == "instanceView":
        found["properties"]["instanceView"] = machines.instance_view(cloud, found)
    if query.get("$expand") == "userData":
        found["properties"]["userData"] = cloud.hidden[path.lower()].get("userData")
    return found


def changed(cloud: Cloud, route: Route, path: str, body: Json) -> Answer:
    """Tags, which are all that is ever changed so."""
    found = cloud.need(path)
    if set(body) != {"tags"}:
        cloud.failures.append(f"PATCH {path}: {sorted(body)}")
    found["tags"] = check_tags(dict(body["tags"]))
    if route.package == "network":
        return Answer(200, copy.deepcopy(found))
    return Answer(202, None, cloud.watch(cloud.begin(lambda: None)))


def check_tags(tags: Json) -> Json:
    if len(tags) > 50 or any(
        len(name) > 512 or len(value) > 256 or set(name) & set("<>%&\\?/") for name, value in tags.items()
    ):
        raise Refused(400, "InvalidTagValueLength", "a tag is too long, or has a character that may not be")
    return tags


def made(cloud: Cloud, route: Route, path: str, body: Json, fault: Fault | None) -> Answer:
    """Make or replace; which answer that has differs with the type, as it does there."""
    check_tags(body.get("tags", {}))
    maker: dict[str, Callable[..., Any]] = {
        "disks": disks.make,
        "virtualMachines": machines.make,
        "galleries": galleries.make_gallery,
        "images": galleries.make_definition,
        "versions": galleries.make_version,
        "networkInterfaces": network.make_interface,
        "publicIPAddresses": network.make_address,
        "networkSecurityGroups": network.make_rules,
        "virtualNetworks": network.make_network,
    }
    old = cloud.find(path)
    if old is not None and old["properties"]["provisioningState"] in ("Creating", "Updating", "Deleting"):
        raise Refused(409, "AnotherOperationInProgress", "Another operation on this resource is in progress.")
    kind = path.partition("/providers/")[2]
    parts = kind.split("/")
    value: Json = copy.deepcopy(body)
    value |= {"id": path, "name": parts[-1], "type": "/".join((parts[0], *parts[1::2]))}
    end = maker[route.kind](cloud, path, value, old)
    value["properties"]["provisioningState"] = "Creating" if old is None else "Updating"
    cloud.resources[path.lower()] = value
    cloud.hidden.setdefault(path.lower(), {})

    def done() -> None:
        if path.lower() in cloud.resources:
            value["properties"]["provisioningState"] = "Succeeded"
            end()

    return _begun(cloud, route, path, value, done, fault, new=old is None)


def _begun(
    cloud: Cloud, route: Route, path: str, value: Json, done: Callable[[], None], fault: Fault | None, *, new: bool
) -> Answer:
    def ended() -> None:
        try:
            if fault is not None and fault.when == "later":
                raise fault.error
            done()
        except Refused:
            value["properties"]["provisioningState"] = "Failed"
            raise

    operation = cloud.begin(ended)
    body = copy.deepcopy(value)
    if route.kind == "disks":
        headers = cloud.watch(operation) | cloud.watch(operation, location=True)
        return Answer(202, body, headers)
    if route.kind in ("virtualMachines", "publicIPAddresses", "networkInterfaces", "galleries"):
        return Answer(201 if new else 200, body, cloud.watch(operation))
    return Answer(201 if new else 200, body)  # to be watched by its provisioningState


def removed(cloud: Cloud, route: Route, path: str, fault: Fault | None) -> Answer:
    """Away, if nothing holds it."""
    found = cloud.find(path)
    if found is None:
        return Answer(204)
    refuse: dict[str, Callable[..., Any]] = {
        "disks": disks.refuse_removal,
        "galleries": galleries.refuse_removal,
        "images": galleries.refuse_removal,
        "networkInterfaces": network.refuse_interface,
        "publicIPAddresses": network.refuse_address,
        "networkSecurityGroups": network.refuse_rules,
        "virtualNetworks": network.refuse_network,
    }
    if route.kind in refuse:
        refuse[route.kind](cloud, found)
    found["properties"]["provisioningState"] = "Deleting"

    def end() -> None:
        if route.kind == "virtualMachines":
            machines.let_go(cloud, found)
        if route.kind == "networkInterfaces":
            network.let_go(cloud, found)
        cloud.resources.pop(path.lower(), None)
        cloud.hidden.pop(path.lower(), None)

    operation = cloud.begin(end, fault)
    return Answer(202, None, cloud.watch(operation, location=route.package == "network"))
