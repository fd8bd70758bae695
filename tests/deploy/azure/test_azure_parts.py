"""Names, bodies, preflight, what was seen, what is kept: the pure parts, and the small ones."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.azure import bodies, names, opening, preflight, seen
from pluto_deploy.azure.kept import Kept
from pluto_deploy.azure.names import Names
from pluto_deploy.azure.serial import is_ready
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.scene import Generation
from pluto_deploy.local import console
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Silent
from simulators import cloud_deployments
from simulators.azure_cloud.cloud import Fault, Refused
from simulators.azure_cloud.desk import PLATFORM, Desk
from simulators.azure_cloud.machines import sku
from simulators.azure_cloud.wire import Route, Schema

GENERATION = Generation("a" * 64, "b" * 64, "c" * 64, "p" * 128, 128, 1 << 40, "tdx", "address", "d" * 64)
SCHEMA = Schema()


def test_a_generation_in_tags() -> None:
    tags = names.generation_tags(GENERATION)
    assert len(tags) == 3
    assert all(len(value) <= 256 for value in tags.values())
    assert names.generation_of({**tags, "other": "x"}) == GENERATION
    assert names.generation_of(names.without_generation(tags)) is None
    assert names.generation_of({"pluto-generation-0": tags["pluto-generation-0"]}) is None, "half of it is nothing"


@given(st.binary(min_size=32, max_size=32))
def test_a_version_of_a_release(digest: bytes) -> None:
    numbers = names.version_of(digest.hex()).split(".")
    assert len(numbers) == 3
    assert all(int(one) < 2**31 for one in numbers)
    first = [int(one) for one in numbers]
    assert (first[0] << 60 | first[1] << 30 | first[2]) == int.from_bytes(digest[:12], "big") >> 6


def test_names_of_two_deployments_are_never_the_same() -> None:
    def all_of(one: Names) -> set[str]:
        slots = [place.name for slot in "ab" for place in (one.vm(slot), one.made_disk(slot), one.own_address(slot))]
        others = (one.open, one.closed, one.vnet, one.public(None), one.gallery, one.definition, one.disk("a" * 64, 0))
        return {*slots, *(place.name for place in others)}

    known = ("shop", "shop-a", "shop-b", "shop-a-os", "shop-open", "shop-net", "x", "x-a")
    everything = [name for one in known for name in all_of(Names(one, "g"))]
    assert len(everything) == len(set(everything))
    for one in known:
        mine, prefix = Names(one, "g"), f"pluto-{one}-"
        ours = {name for name in everything if mine.is_ours(name)}
        assert ours == {name for name in all_of(mine) if name.startswith(prefix) and not name.endswith("-image")}
    assert Names("shop", "g").gallery != Names("shop", "h").gallery


@pytest.mark.parametrize("state", list(bodies.SECURITY_TYPES))
@pytest.mark.parametrize("zone", [None, "2"])
def test_every_body_is_what_azure_knows(state: str, zone: str | None) -> None:
    platform = replace(PLATFORM, guest_state=state, zone=zone)
    tags = {"pluto-deployment": "shop"}
    made = {
        "disks": bodies.disk(platform, tags, (1 << 30) + 512, secured=True),
        "virtualMachines": bodies.machine(platform, tags, "/nic", disk="/d", image=None, disk_name="x", config=b"{}"),
        "networkInterfaces": bodies.interface(platform, tags, subnet="/s", rules="/r", address="/a"),
        "publicIPAddresses": bodies.address(platform, tags),
        "virtualNetworks": bodies.network(platform, tags),
        "networkSecurityGroups": bodies.rules(platform, tags, clients=False, egress=(("tcp", 443), ("udp", 123))),
        "galleries": bodies.gallery(platform, tags),
        "images": bodies.definition(platform, tags, "shop"),
        "versions": bodies.version(platform, tags, "/d"),
    }
    for kind, body in made.items():
        package = "network" if kind.startswith(("network", "public", "virtualNetworks")) else "compute"
        assert SCHEMA.problems(Route(package, "PUT", {}, kind, "", listing=False), body) == [], kind
    assert made["disks"]["properties"]["securityProfile"]["securityType"].startswith("ConfidentialVM_")
    machine = made["virtualMachines"]["properties"]
    assert machine["storageProfile"]["osDisk"]["managedDisk"]["securityProfile"]["securityEncryptionType"] == state
    assert "osProfile" not in machine
    assert ("zones" in made["disks"]) == (zone is not None)


def test_the_fake_refuses_what_azure_does_not_know() -> None:
    body = bodies.address(PLATFORM, {})
    route = Route("network", "PUT", {}, "publicIPAddresses", "", listing=False)
    for change, words in (
        ({"colour": "red"}, "unknown"),
        ({"etag": "x"}, "only Azure writes it"),
        ({"location": 5}, "is not str"),
        ({"sku": {"name": "Gold"}}, "is not one of"),
        ({"zones": "1"}, "is no list"),
        ({"tags": []}, "is no object"),
    ):
        problems = SCHEMA.problems(route, {**body, **change})
        assert problems, change
        assert words in problems[0], change
    disk = bodies.disk(PLATFORM, {}, (1 << 20) + 512, secured=True)
    del disk["properties"]["creationData"]
    assert "missing" in SCHEMA.problems(Route("compute", "PUT", {}, "disks", "", listing=False), disk)[0]
    assert SCHEMA.route("GET", "/subscriptions/s/nothing")[0] is None
    assert SCHEMA.problems(Route("compute", "POST", {}, "virtualMachines", "start", listing=False), {}) != []


def test_a_disk_has_whole_mebibytes_and_a_footer() -> None:
    for size in (0, 512, 1 << 20, (1 << 20) + 513):
        with pytest.raises(UsageError, match="footer"):
            bodies.disk(PLATFORM, {}, size, secured=True)


def test_user_data() -> None:
    assert base64.b64decode(bodies.user_data(b"")) == bytes(4)
    assert base64.b64decode(bodies.user_data(b"{}")) == b"\0\0\0\2{}"
    with pytest.raises(UsageError, match="65537 bytes"):
        bodies.user_data(b"x" * 65537)


def test_rules_let_operators_in_or_everybody() -> None:
    closed = bodies.rules(PLATFORM, {}, clients=False, egress=())["properties"]["securityRules"]
    assert closed[0]["properties"]["sourceAddressPrefixes"] == list(PLATFORM.operators)
    assert [rule["properties"]["access"] for rule in closed] == ["Allow", "Deny", "Deny"]
    opened = bodies.rules(PLATFORM, {}, clients=True, egress=())["properties"]["securityRules"]
    assert opened[0]["properties"]["sourceAddressPrefix"] == "Internet"


@pytest.mark.parametrize(
    ("ports", "wanted"),
    [
        ((8443,), [("8443", "Internet")]),
        ((443, 8443), [("443", "Internet"), ("8443", "Internet")]),
        ((443,), [("443", "Internet"), ("8443", "operators")]),
    ],
)
def test_clients_come_to_the_ports_of_the_file_and_operators_to_the_machines_own(
    ports: tuple[int, ...], wanted: list[tuple[str, str]]
) -> None:
    made = bodies.rules(PLATFORM, {}, clients=True, egress=(("tcp", 443),), ports=ports)
    assert SCHEMA.problems(Route("network", "PUT", {}, "networkSecurityGroups", "", listing=False), made) == []
    inwards = [one["properties"] for one in made["properties"]["securityRules"] if one["name"].startswith("in")]
    found = [(one["destinationPortRange"], one.get("sourceAddressPrefix", "operators")) for one in inwards]
    assert found == wanted
    assert len({one["priority"] for one in inwards}) == len(inwards)
    closed = bodies.rules(PLATFORM, {}, clients=False, egress=(), ports=ports)
    assert closed == bodies.rules(PLATFORM, {}, clients=False, egress=()), "operators have one way"


RESTRICTED: dict[str, Any] = {"type": "Location", "reasonCode": "NotAvailableForSubscription", "values": ["westeurope"]}
ZONAL: dict[str, Any] = {
    "type": "Zone",
    "reasonCode": "NotAvailableForSubscription",
    "restrictionInfo": {"zones": ["1"]},
}


@pytest.mark.parametrize(
    ("size", "zone", "words"),
    [
        (sku("Standard_DC8es_v6"), None, "is not offered in westeurope"),
        (sku(PLATFORM.size, tdx=False), None, "has no TDX"),
        (sku(PLATFORM.size, restrictions=(RESTRICTED,)), None, "not for this subscription"),
        (sku(PLATFORM.size, restrictions=(ZONAL,)), "1", "zone 1 of westeurope is not for this subscription"),
        (sku(PLATFORM.size), "3", "not offered in zone 3 of westeurope; zones: 1, 2"),
    ],
)
def test_a_size_that_cannot_be_had(size: dict[str, Any], zone: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        preflight.fitting([size], replace(PLATFORM, zone=zone))


def test_a_size_that_can_be_had() -> None:
    assert (
        preflight.fitting([sku(PLATFORM.size, restrictions=(ZONAL,))], replace(PLATFORM, zone="2"))
        == "standardDCEV6Family"
    )


def test_what_is_known_before(desk: Desk) -> None:
    desk.cloud.quota["standardDCEV6Family"] = (62, 64)
    with pytest.raises(UsageError, match=r"room for 2 vCPUs \(62 of 64 are in use\), and 4 are needed"):
        desk.plan(desk.making(5))
    desk.cloud.quota["standardDCEV6Family"] = (0, 64)
    desk.cloud.registered = False
    with pytest.raises(UsageError, match=r"not registered for Microsoft\.Compute") as refused:
        desk.plan(desk.making(5))
    assert "az provider register" in (refused.value.hint or "")
    desk.cloud.registered, desk.cloud.group_exists = True, False
    with pytest.raises(SourceError, match="notaries"):
        desk.plan(desk.making(5))


def test_an_address_and_a_subnet_that_are_the_operators(desk: Desk) -> None:
    subnet = desk.cloud.id("Microsoft.Network/virtualNetworks", "mine")
    desk.cloud.resources[subnet.lower()] = {
        "id": subnet,
        "name": "mine",
        "type": "Microsoft.Network/virtualNetworks",
        "properties": {"provisioningState": "Succeeded"},
    }
    desk.platform = replace(PLATFORM, address="given", subnet=f"{subnet}/subnets/default")
    with pytest.raises(UsageError, match="no public address given"):
        desk.apply(desk.making(5))
    address = desk.cloud.id("Microsoft.Network/publicIPAddresses", "given")
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "ipAddress": "203.0.113.99",
        "publicIPAllocationMethod": "Dynamic",
    }
    desk.cloud.resources[address.lower()] = {
        "id": address,
        "name": "given",
        "type": "Microsoft.Network/publicIPAddresses",
        "properties": properties,
    }
    with pytest.raises(UsageError, match="not static"):
        desk.apply(desk.making(5))
    properties |= {"publicIPAllocationMethod": "Static", "ipConfiguration": {"id": "/x"}}
    with pytest.raises(UsageError, match="in use by something else"):
        desk.apply(desk.making(5))
    del properties["ipConfiguration"]
    desk.apply(desk.making(5))
    desk.apply(desk.making(7))
    assert str(desk.target().public()) == "203.0.113.99:8443"
    assert desk.serves() == "7 honest"
    desk.destroy()
    assert desk.inventory() == ["publicIPAddresses given", "virtualNetworks mine"]


def test_where_it_may_go_is_changed_without_another_machine(desk: Desk) -> None:
    desk.apply(desk.making(5))
    desk.egress = (("tcp", 443),)
    assert desk.plan(desk.making(5)) == ["appraise a", "switch a", "confirm a"]
    with pytest.raises(Exception, match="not what was released"):
        desk.apply(desk.making(6, "other-image"))
    rules = desk.cloud.find(desk.cloud.id("Microsoft.Network/networkSecurityGroups", "pluto-shop-open"))
    assert len(rules["properties"]["securityRules"]) == 5, "a refused upgrade leaves exits as they were"
    desk.apply(desk.making(5))
    rules = desk.cloud.find(desk.cloud.id("Microsoft.Network/networkSecurityGroups", "pluto-shop-open"))
    assert len(rules["properties"]["securityRules"]) == 4
    assert desk.plan(desk.making(5)) == ["confirm a"]


def test_it_is_opened_and_closed(tmp_path: Path) -> None:
    path = cloud_deployments.write(tmp_path, cloud_deployments.AZURE, tmp_path / "release")
    deployment = Deployment.parse(path.read_text(), tmp_path)
    outside = opening.Outside({"AZURE_CLIENT_SECRET": "s"})
    with opening.opened(PLATFORM, deployment, None, Silent(), state=tmp_path, key="k", outside=outside) as target:
        assert (target.folder, target.room, target.making) == (tmp_path / "azure/k", True, None)
        assert (target.timeout, target.egress) == (60, (("tcp", 443),))
        assert target.names.deployment == "notary"


def test_replace_has_one_machine_at_a_time(desk: Desk) -> None:
    desk.strategy = "replace"
    desk.cloud.quota["standardDCEV6Family"] = (0, 4)
    desk.apply(desk.making(5))
    with pytest.raises(Exception, match="not what was released"):
        desk.apply(desk.making(6, "other-image"))
    assert desk.serves() == "5 honest"
    desk.apply(desk.making(7))
    assert desk.serves() == "7 honest"


def test_a_machine_that_ended_by_itself(desk: Desk) -> None:
    desk.apply(desk.making(5))
    place = desk.cloud.id("Microsoft.Compute/virtualMachines", "pluto-shop-a").lower()
    desk.cloud.hidden[place]["power"] = "stopped"
    assert desk.states() == {"a": "broken", "serves": "a"}
    assert any("still billed" in note for note in desk.target().look().notes)
    desk.apply(desk.making(5))
    assert desk.serves() == "5 honest"
    desk.platform = replace(PLATFORM, size="Standard_DC4eds_v6")
    assert any("asks for Standard_DC4eds_v6" in note for note in desk.target().look().notes)


def test_an_image_version_that_failed_is_made_anew(desk: Desk) -> None:
    desk.with_route("gallery")
    desk.cloud.faults = [Fault("PUT .*/versions/", Refused(409, "ReplicationFailed", "x"), when="later")]
    with pytest.raises(SourceError):
        desk.apply(desk.making(5))
    desk.apply(desk.making(5))
    assert desk.serves() == "5 honest"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"name": "n", "properties": {"ipConfigurations": []}}, "0 entries"),
        ({"name": "n", "properties": {"ipConfigurations": [{"properties": {}}]}}, r"properties\.subnet\.id is missing"),
        ({"properties": {}}, "name is missing"),
    ],
)
def test_an_interface_of_another_form(value: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        seen.nic(value)


def test_ready_is_what_the_last_start_says() -> None:
    started, ready = (
        b"pluto: started component=notary version=0.1.0\n",
        b"pluto: ready port=8443 buildid=" + b"ab" * 32 + b"\n",
    )
    for log, wanted in ((b"", False), (started, False), (started + ready, True), (started + ready + started, False)):
        assert is_ready(console.read(log)) == wanted


def test_what_is_kept_here(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state" / "shop")
    with kept.locked().locked():
        assert kept.holder() == kept.holder()
        kept.put("r" * 64, {"release.json": b"{}", "signatures/a.json": b"[]"}, b"config")
        kept.put("r" * 64, {"release.json": b"{}", "signatures/a.json": b"[]"}, b"config")
        with pytest.raises(UsageError, match="cannot be kept"):
            kept.put("r" * 64, {"../x": b""}, b"")
    assert kept.files("r" * 64) == {"release.json": b"{}", "signatures/a.json": b"[]"}
    digest = hashlib.sha256(b"config").hexdigest()
    assert kept.config(digest) == b"config"
    (tmp_path / "state/shop/configs" / digest).write_bytes(b"another")
    assert kept.config(digest) is None
    kept.forget_all_but([])
    with pytest.raises(SourceError, match="not on this computer"):
        kept.files("r" * 64)
