"""Google Cloud at its worst: lost connections, refusals, operations that fail in an answer with status 200."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.cloud.door import CloudError
from pluto_deploy.google.wanted import TDX_KIND
from pluto_measure.errors import PlutoError, SourceError, UsageError
from simulators.google.cloud import Fault, Lost, LostAnswer, OperationError, Other, Status
from simulators.google.compute import DISKS, IMAGES, INSTANCES
from simulators.google.state import PROJECT, labelled
from simulators.google.worlds import World, refusing, world

CHANGES = (
    "objects.insert",
    "objects.delete",
    "instances.insert",
    "instances.setLabels",
    "instances.stop",
    "instances.addAccessConfig",
    "instances.deleteAccessConfig",
    "images.insert",
    "firewalls.insert",
    "addresses.insert",
    "addresses.setLabels",
)
PASSING = {
    "lost": Lost(),
    "lost-answer": LostAnswer(),
    "429": Status(429, "rateLimitExceeded", headers=(("Retry-After", "7"),)),
    "500": Status(500),
    "503": Status(503),
    "busy": Status(400, "resourceNotReady", "The resource is not ready"),
}


@pytest.fixture
def one(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, TDX_KIND) as made:
        made.release("one")
        yield made


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_waited_for(one: World, fault: Fault) -> None:
    """Each kind of change meets it once, and again in the upgrade."""
    methods = [name for name in CHANGES if fault is not PASSING["busy"] or not name.startswith("objects")]
    for name in ("one", "two"):
        one.release(name)
        for method in methods:
            one.cloud.fail(method, fault)
        one.apply()
        assert one.serving() == name
    assert not [name for name, left in one.cloud.faults.items() if len(left) > 1], "they were met"


@pytest.mark.parametrize("method", [*CHANGES, "images.list", "instances.get", "objects.list", "globalOperations.get"])
def test_what_does_not_pass_is_said_and_resumed(one: World, method: str) -> None:
    permission = "storage.objects.create" if "objects" in method else "compute.instances.create"
    one.apply()
    one.release("two")
    one.insist = False  # a refusal in between may take the address from both
    one.cloud.fail(method, Status(403, "forbidden", f"Required '{permission}' permission for 'projects/p'"))
    if method in ("addresses.insert", "firewalls.insert"):  # it is there already
        one.destroy()
    with pytest.raises(CloudError, match=permission) as caught:
        one.apply()
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
    assert "roles/" in str(caught.value.hint)
    one.cloud.faults.clear()
    one.apply()
    assert one.serving() == "two"


def test_a_token_that_runs_out_is_renewed(one: World) -> None:
    one.apply()
    one.cloud.watch = one.cloud.tokens.end  # after every change
    one.release("two")
    one.apply()
    assert one.serving() == "two"
    assert one.cloud.tokens.given > 10


def test_an_api_that_is_not_enabled_is_named(one: World) -> None:
    one.cloud.compute.enabled = False
    with pytest.raises(CloudError) as caught:
        one.look()
    assert caught.value.hint == f"enable it: gcloud services enable compute.googleapis.com --project {PROJECT}"


def test_a_bucket_that_is_not_there_is_named(one: World) -> None:
    one.cloud.state.buckets.clear()
    with pytest.raises(CloudError) as caught:
        one.look()
    assert "gcloud storage buckets create gs://our-bucket" in str(caught.value.hint)


CODES = ["ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"]


@pytest.mark.parametrize("code", CODES)
def test_no_room_in_a_zone_that_may_have_no_tdx(one: World, code: str) -> None:
    one.cloud.compute.stock = code
    with pytest.raises(CloudError, match="either now, or ever") as caught:
        one.apply()
    assert caught.value.code == code
    assert "another zone" in str(caught.value.hint)
    assert one.cloud.state.collection(INSTANCES) == {}
    one.cloud.compute.stock = None
    one.apply()
    assert one.serving() == "one"


def test_no_room_beside_a_machine_that_runs_is_a_stock_out(one: World) -> None:
    one.apply()
    one.release("two")
    one.cloud.compute.stock = CODES[0]
    with pytest.raises(CloudError, match="it has TDX, since a machine runs there"):
        one.apply()
    assert one.serving() == "one"


def test_no_room_for_the_old_machine_is_said(tmp_path: Path) -> None:
    with world(tmp_path, TDX_KIND) as one:
        for name in ("one", "two"):
            one.release(name)
            one.apply()
        one.cloud.compute.stock = CODES[1]
        with pytest.raises(CloudError, match="has no room"):
            one.rollback()
        assert one.serving() == "two"


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"types": (8,)}, UsageError, "has no c3-standard-4"),
        ({"zone_status": "DOWN"}, SourceError, "is DOWN"),
    ],
)
def test_a_zone_that_cannot_be_is_found_before_anything_is_made(
    one: World, change: dict[str, Any], kind: type[PlutoError], words: str
) -> None:
    for name, value in change.items():
        setattr(one.cloud.compute, name, value)
    with pytest.raises(kind, match=words):
        one.apply()
    assert one.left() == []


@pytest.mark.parametrize("method", ["instances.insert", "images.insert", "firewalls.insert"])
def test_an_operation_that_fails_in_a_good_answer(one: World, method: str) -> None:
    one.cloud.fail(method, OperationError("QUOTA_EXCEEDED", "Quota 'C3_CPUS' exceeded.  Limit: 0.0"))
    with pytest.raises(CloudError, match="C3_CPUS") as caught:
        one.apply()
    assert caught.value.code == "QUOTA_EXCEEDED"
    assert "project-info describe" in str(caught.value.hint)
    one.apply()
    assert one.serving() == "one"


def test_an_image_that_fails_is_made_anew(one: World) -> None:
    one.cloud.compute.image_status = "FAILED"
    with pytest.raises(SourceError, match="is FAILED"):
        one.apply()
    one.cloud.compute.image_status = "READY"
    one.apply()
    assert one.serving() == "one"


def test_labels_that_somebody_else_writes_too(one: World) -> None:
    one.apply()
    one.release("two")
    one.cloud.fail("instances.setLabels", Status(412, "conditionNotMet", "changed"))
    one.apply()
    assert one.serving() == "two"


@pytest.mark.parametrize("method", ["instances.get", "images.list", "firewalls.list", "addresses.get", "zones.get"])
def test_answers_that_are_none(one: World, method: str) -> None:
    one.apply()
    for body in (b"", b"[]", b"{", b'{"name": 1}', b"<html></html>", b'{"error": []}', b"[" * 9999):
        one.cloud.fail(method, Other(body))
        # SourceError or UsageError, and nothing else; some are as good as an empty list.
        with contextlib.suppress(SourceError, UsageError):
            one.look()
        assert not one.cloud.faults[method]


@pytest.mark.parametrize("name", ["status", "id", "creationTimestamp", "name", "labelFingerprint"])
def test_a_member_that_is_missing_is_named(one: World, name: str) -> None:
    one.apply()
    machine = one.machine("a")
    assert machine is not None
    kept = {key: value for key, value in machine.items() if key != name}
    one.cloud.fail("instances.get", *[Other(json.dumps(kept).encode())] * 9)
    with pytest.raises(SourceError, match=name):
        if name == "labelFingerprint":
            one.destroy()
        else:
            one.look()


def test_a_machine_that_is_not_ours_is_left_alone(one: World) -> None:
    one.cloud.state.add(INSTANCES, {"name": "pluto-notary-a", "status": "RUNNING"}, "instance")
    for act in (one.look, one.apply, one.destroy):
        with pytest.raises(UsageError, match="not of this deployment"):
            act()
    assert "pluto-notary-a" in one.cloud.state.collection(INSTANCES)


def test_a_machine_whose_generation_does_not_hold_is_a_half_one(one: World) -> None:
    one.apply()
    machine = one.machine("a")
    assert machine is not None
    machine["labels"]["pluto-generation"] = "0" * 40
    found = one.look().machine("a")
    assert found is not None
    assert (found.state, found.generation) == ("incomplete", None)


def test_a_machine_that_stops_while_it_serves_is_broken_and_started_again(one: World) -> None:
    one.apply()
    machine = one.machine("a")
    assert machine is not None
    machine["status"] = "TERMINATED"
    found = one.look().machine("a")
    assert found is not None
    assert found.state == "broken"
    one.insist = False  # it has its address still, and is appraised before anything else happens
    one.apply()
    assert one.serving() == "one"


def test_rules_that_somebody_changed_are_put_right(one: World) -> None:
    one.apply()
    rules = one.cloud.state.collection(f"{PROJECT}/global/firewalls")
    rules["pluto-notary-in"]["sourceRanges"] = ["10.0.0.0/8"]
    rules["pluto-notary-in-none"]["disabled"] = True
    del rules["pluto-notary-out"]
    assert not one.look().led
    one.apply()
    assert one.look().led


def test_a_rule_of_another_network_is_made_anew(one: World) -> None:
    one.apply()
    rules = one.cloud.state.collection(f"{PROJECT}/global/firewalls")
    rules["pluto-notary-out-none"]["network"] = "https://x/projects/our-project/global/networks/other"
    assert not one.look().led
    one.apply()
    assert one.look().led


def test_a_zone_that_is_not_there_is_found_before_anything_is_made(one: World) -> None:
    one.cloud.fail("zones.get", Status(404, "notFound", "no zone"))
    with pytest.raises(UsageError, match="there is no zone europe-west4-a"):
        one.apply()
    assert one.left() == []


def test_an_address_that_was_reserved_meanwhile_is_taken(one: World) -> None:
    address = {"name": "pluto-notary", "address": "203.0.113.7", "status": "RESERVED", "region": "https://x/regions/y"}
    made = labelled(one.cloud.state.add(f"{PROJECT}/regions/europe-west4/addresses", address, "address"))
    one.cloud.fail("addresses.get", *[Status(404, "notFound", "not yet")] * 2)
    one.apply()
    assert made["status"] == "IN_USE"


def test_an_address_of_another_deployment_is_left_alone(one: World) -> None:
    address = {"name": "pluto-notary", "address": "203.0.113.7", "labels": {"pluto-deployment": "other"}}
    labelled(one.cloud.state.add(f"{PROJECT}/regions/europe-west4/addresses", address, "address"))
    with pytest.raises(UsageError, match="serves deployment other"):
        one.apply()


def test_egress_that_the_file_takes_back_is_closed(one: World) -> None:
    one.apply()
    one.egress = ()
    assert not one.look().led
    one.apply()
    assert one.look().led
    assert "pluto-notary-out" not in one.cloud.state.collection(f"{PROJECT}/global/firewalls")


def test_destroy_says_what_is_left(one: World) -> None:
    one.apply()
    disk = {"name": "forgotten", "sizeGb": "10", "status": "READY", "labels": {"pluto-deployment": "notary"}}
    one.cloud.state.add(DISKS, disk | {"zone": "https://x/zones/elsewhere"}, "disk")
    with pytest.raises(SourceError, match="not everything is gone: disk forgotten"):
        one.destroy()


def test_costs_are_listed(one: World) -> None:
    one.apply()
    with one.target() as target:
        found = target.costs()
    assert str(found[0]).startswith("machine pluto-notary-a (europe-west4-a, RUNNING)")
    assert set(found[0].to_json()) == {"what", "where", "why", "until"}
    assert sorted({cost.what.partition(" ")[0] for cost in found}) == ["address", "disk", "image", "machine", "object"]


def test_an_image_that_is_there_without_our_label_is_left_alone(one: World) -> None:
    assert one.wish is not None
    name = f"pluto-notary-{one.wish.generation.release[:40]}"
    one.cloud.state.add(IMAGES, {"name": name, "status": "READY"}, "image")
    with pytest.raises(UsageError, match="not of this deployment"):
        one.apply()


def test_clients_are_led_back_also_if_that_has_to_be_asked_for_twice(one: World) -> None:
    one.apply()
    one.release("two")
    one.judge = refusing("two", at=("confirm",))
    one.insist = False
    one.cloud.fail("instances.deleteAccessConfig", Status(503))
    with pytest.raises(PlutoError):
        one.apply()
    assert one.serving() == "one"
