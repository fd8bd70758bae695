"""The parts of a Google Cloud target one by one: answers, errors, operations, the lease, names, readiness."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from pluto_deploy.engine.scene import Generation
from pluto_deploy.google import bodies, errors, machines, operations
from pluto_deploy.google.lease import LASTS, Lease
from pluto_deploy.google.names import Names, machine_labels
from pluto_deploy.google.objects import Objects
from pluto_deploy.google.readiness import wait_ready
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Silent
from simulators.google import schema
from simulators.google.cloud import Cloud, serving
from simulators.google.compute import ready
from simulators.google.worlds import PLACE

BASE = "https://compute.googleapis.com/compute/v1/projects/p"
GENERATION = Generation("a" * 64, "b" * 64, "", "google", 4, 1 << 34, "tdx", "routed")


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda reply: reply.text("none"), "the answer has no none"),
        (lambda reply: reply.text("number"), "number is no text"),
        (lambda reply: reply.number("text"), "text is no number"),
        (lambda reply: reply.number("truth"), "truth is no number"),
        (lambda reply: reply.sub("text"), "x.text: the answer is no object"),
        (lambda reply: reply.each("text"), "text is no list"),
        (lambda reply: reply.each("list"), r"x.list\[0\]: the answer is no object"),
        (lambda reply: reply.texts("object"), "x.object: a is no text"),
        (lambda reply: reply.listed("list2"), "list2 is no list of texts"),
    ],
)
def test_answers_name_what_is_missing(read: Callable[[Reply], object], words: str) -> None:
    value = {"number": 1, "text": "t", "truth": True, "list": [1], "list2": [1], "object": {"a": 1}}
    with pytest.raises(SourceError, match=words):
        read(Reply(value, "x"))


def test_answers_give_what_is_there() -> None:
    reply = Reply({"number": "18446744073709551615", "list": ["a"], "labels": {"a": "b"}}, "x")
    assert reply.number("number") == 2**64 - 1
    assert (reply.listed("list"), reply.texts("labels"), reply.texts("none"), reply.maybe("none")) == (
        ["a"],
        {"a": "b"},
        {},
        "",
    )
    assert "list" in reply


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"error": {"code": 403, "message": "m", "errors": [{"reason": "forbidden"}]}}, ("forbidden", "m")),
        ({"error": {"message": "m", "status": "PERMISSION_DENIED"}}, ("PERMISSION_DENIED", "m")),
        ({"error": {"message": "m", "details": [{"reason": "SERVICE_DISABLED"}]}}, ("SERVICE_DISABLED", "m")),
        ({"error": "invalid_grant", "error_description": "d"}, ("invalid_grant", "d")),
        ({"error": "invalid_grant"}, ("invalid_grant", "")),
        ({"error": {"errors": "x", "message": 1}}, ("", "")),
        ({"error": [1]}, ("", "")),
        ([], ("", "")),
    ],
)
def test_errors_in_bodies(body: object, found: tuple[str, str]) -> None:
    assert errors.explain(Answer(403, {}, json.dumps(body).encode())) == found


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_bodies_of_proxies_explain_nothing(body: bytes) -> None:
    assert errors.explain(Answer(502, {}, body)) == ("", "")


@pytest.mark.parametrize(
    ("permission", "role"),
    [
        ("compute.instances.create", "roles/compute.instanceAdmin.v1"),
        ("compute.firewalls.create", "roles/compute.securityAdmin"),
        ("compute.addresses.create", "roles/compute.networkAdmin"),
        ("iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"),
        ("storage.objects.create", "roles/storage.objectAdmin"),
        ("artifactregistry.repositories.uploadArtifacts", "roles/artifactregistry.repoAdmin"),
        ("iam.roles.get", "a role that"),
    ],
)
def test_a_permission_that_is_lacking_names_its_role(permission: str, role: str) -> None:
    words = f"Required '{permission}' permission for 'projects/p/zones/z/instances/i'"
    error = errors.advised(CloudError("s", "a", words, status=403, code="forbidden"), "p")
    assert str(error.hint).startswith(f"{permission} is in {role}")


def test_a_disabled_api_is_named() -> None:
    words = "Artifact Registry API has not been used: https://x/apis/api/artifactregistry.googleapis.com/overview"
    error = errors.advised(CloudError("s", "a", words, status=403, code="SERVICE_DISABLED"), "p")
    assert error.hint == "enable it: gcloud services enable artifactregistry.googleapis.com --project p"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("answer", "url"),
    [
        ({"name": "o-1", "zone": f"{BASE}/zones/z-1"}, f"{BASE}/zones/z-1/operations/o-1"),
        ({"name": "o-1", "region": f"{BASE}/regions/r-1"}, f"{BASE}/regions/r-1/operations/o-1"),
        ({"name": "o-1"}, f"{BASE}/global/operations/o-1"),
        ({"name": "o-1", "selfLink": "https://example.org/o"}, f"{BASE}/global/operations/o-1"),
    ],
)
def test_where_an_operation_is_asked_for(answer: dict[str, Any], url: str) -> None:
    assert operations.where(BASE, Reply(answer, "x")) == url


@pytest.mark.parametrize("answer", [{"name": "../x"}, {"name": "o", "zone": "a/b?c"}, {"name": ""}, {}])
def test_operations_that_lead_elsewhere(answer: dict[str, Any]) -> None:
    with pytest.raises(SourceError):
        operations.where(BASE, Reply(answer, "x"))


def test_an_operation_that_does_not_end_is_given_up() -> None:
    clock = Clock()
    with serving() as cloud:
        cloud.state.polls = 10**9
        door = storage_door(cloud, clock)
        thing = cloud.state.begin("our-project/global", "insert", "r", lambda: None, "our-project/global/x")
        url = f"{cloud.url}/compute/v1/projects/our-project"
        with pytest.raises(CloudError, match="it goes on by itself"):
            operations.finished(door, url, Reply(thing, "x"), "making it", seconds=60)
    assert 50 < clock.now < 70


def test_warnings_of_an_operation_are_told() -> None:
    door = Door("s", errors.explain)
    done = {"name": "o", "status": "DONE", "warnings": [{"code": "DISK_SIZE_LARGER", "message": "larger\n"}]}
    found = operations.finished(door, BASE, Reply(done, "x"), "a", seconds=1)
    assert len(found) == 1
    assert found[0].startswith("DISK_SIZE_LARGER: larger")


@pytest.mark.parametrize(
    "more",
    [
        {"httpErrorStatusCode": 403, "httpErrorMessage": "FORBIDDEN"},
        {"error": {"errors": [{"code": "C", "message": "m"}]}},
        {"error": {"errors": [{}]}},
    ],
)
def test_an_operation_that_failed_says_so_however_it_does(more: dict[str, Any]) -> None:
    found = errors.failed(Reply({"name": "o", "status": "DONE", **more}, "x"), "making it")
    assert found is not None
    assert errors.failed(Reply({"name": "o", "status": "DONE", "error": {}}, "x"), "making it") is None


def storage_door(cloud: Cloud, clock: Clock) -> Door:
    token = f"Bearer {cloud.tokens.new('test')}"

    class Always:
        def __call__(self, *, fresh: bool = False) -> str:
            del fresh
            return token

    waiting = Waiting(clock=clock, sleep=clock.sleep)
    return Door("Google Cloud Storage", errors.explain, token=Always(), patience=Patience(total=1e9), waiting=waiting)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serving() as made:
        yield made


def lease(cloud: Cloud, folder: Path, clock: Clock) -> Lease:
    folder.mkdir(exist_ok=True, mode=0o755)
    objects = Objects(storage_door(cloud, clock), "our-bucket", "p", root=cloud.url)
    return Lease(objects, "pluto/notary/lease", folder, "key", clock)


def test_another_computer_waits_until_the_lease_has_run_out(tmp_path: Path, cloud: Cloud) -> None:
    clock = Clock()
    one, two = lease(cloud, tmp_path / "one", clock), lease(cloud, tmp_path / "two", clock)
    with one.held(), pytest.raises(UsageError, match=r"another computer's command.*ends at"), two.held():
        pass
    with two.held():
        pass
    assert cloud.state.objects == {}
    killed = one.held()
    killed.__enter__()
    cloud.state.wall += LASTS + 1
    with two.held():
        clock.now += 1000
        with pytest.raises(SourceError, match="took this deployment over"):
            one.renew()


def test_what_a_killed_command_left_is_taken_over_on_the_same_computer(tmp_path: Path, cloud: Cloud) -> None:
    first = lease(cloud, tmp_path / "one", Clock())
    cloud.state.objects["pluto/notary/lease"] = (b"", 1, 0.0)
    with first.held():
        held = cloud.state.objects["pluto/notary/lease"]
    cloud.state.objects["pluto/notary/lease"] = held
    with lease(cloud, tmp_path / "one", Clock()).held():
        pass
    assert cloud.state.objects == {}


def test_a_lease_is_renewed_now_and_then(tmp_path: Path, cloud: Cloud) -> None:
    clock = Clock()
    one = lease(cloud, tmp_path / "one", clock)
    with one.held():
        for _ in range(10):
            clock.now += 60
            one.renew()
        assert cloud.asked.count("objects.insert") == 6
    one.renew()
    assert cloud.state.objects == {}


def test_names_fit_whatever_the_deployment_is_called() -> None:
    names = Names("n" * 32)
    found = [names.address, names.tag, names.image("a" * 64), *(names.instance(slot) for slot in ("a", "b"))]
    found += [names.rule(which) for which in ("in", "in-none", "out", "out-none")]
    assert all(len(name) <= 63 for name in found)
    labels = machine_labels(names, "a", GENERATION, "confidential-space-260800")
    assert all(len(value) <= 63 for value in labels.values())


@pytest.mark.parametrize("ports", [(8443,), (443,), (443, 8443)])
def test_clients_come_to_the_ports_of_the_file_and_operators_to_the_machines_own(ports: tuple[int, ...]) -> None:
    rule = next(one for one in bodies.firewalls(Names("notary"), PLACE, (), ports) if one["name"].endswith("-in"))
    assert [one["ports"] for one in rule["allowed"]] == [[str(port)] for port in sorted({*ports, 8443})]
    schema.check("compute.v1", {"$ref": "Firewall"}, rule, "rule", asked="compute.firewalls.insert")


def test_bodies_are_what_the_description_of_the_interface_allows() -> None:
    names = Names("notary")
    boot = bodies.Boot("projects/p/global/images/i", 10)
    one = bodies.instance("n", PLACE, boot, labels={}, metadata={"k": "v"}, tag="t", account=None, secure_boot=False)
    assert "serviceAccounts" not in one
    state = {"pk": {"content": "AA==", "fileType": "X509"}}
    made = {
        "instances.insert": one,
        "images.insert": bodies.image("i", "https://x", labels={"a": "b"}, initial_state=state),
        "addresses.insert": bodies.address("a"),
        "firewalls.insert": bodies.firewalls(names, PLACE, (("tcp", 443), ("udp", 123)))[2],
    }
    for method, body in made.items():
        found = schema.documents()["compute.v1"]["methods"][method]
        schema.check("compute.v1", {"$ref": found["request"]}, body, method, asked=found["id"])


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "words"),
    [
        ("POST", "instances", {}, {"name": "n", "colour": "red"}, "has no member colour"),
        ("POST", "instances", {}, {"name": "n", "status": "RUNNING"}, "is the service's to say"),
        ("POST", "instances", {}, {"name": "N"}, "does not match"),
        ("POST", "instances", {}, {"machineType": "x"}, "name is missing"),
        ("POST", "instances", {}, {"name": 1}, "is no string"),
        ("POST", "instances", {}, {"name": "n", "disks": {}}, "is no array"),
        ("POST", "instances", {}, {"name": "n", "scheduling": {"onHostMaintenance": "STAY"}}, "is not one of"),
        ("POST", "instances", {}, {"name": "n", "canIpForward": "yes"}, "is no boolean"),
        ("POST", "instances", {}, None, "the body is missing"),
        ("POST", "instances", {"colour": "red"}, {"name": "n"}, "there is no parameter colour"),
        ("POST", "instances", {"requestId": "x"}, {"name": "n"}, "no UUID"),
        ("GET", "instances/n/serialPort", {"start": "x"}, None, "is no number"),
        ("POST", "instances/n/addAccessConfig", {}, {}, "networkInterface is missing"),
        ("PUT", "instances", {}, {"name": "n"}, "no method"),
        ("GET", "clusters", {}, None, "no method"),
    ],
)
def test_the_fake_refuses(verb: str, path: str, query: dict[str, str], body: Any, words: str) -> None:
    given = query if verb == "GET" else {"requestId": "8ad8a5a5-2f0e-4f58-8d7e-000000000001"} | query
    with pytest.raises(schema.WrongRequestError, match=words):
        schema.call_of("compute.v1", verb, f"projects/our-project/zones/europe-west4-a/{path}", given, body)


def machine(**changes: Any) -> Reply:
    labels = machine_labels(Names("notary"), "a", GENERATION, "i")
    item = {"key": "pluto-generation", "value": GENERATION.to_text().decode()}
    value = {"name": "pluto-notary-a", "id": "7", "status": "RUNNING", "labels": labels, "metadata": {"items": [item]}}
    return Reply({**value, "creationTimestamp": "2026-11-26T07:11:28.123-08:00", **changes}, "machine")


@pytest.mark.parametrize(
    ("status", "label", "state", "refused"),
    [
        ("PROVISIONING", "started", "running", False),
        ("RUNNING", "stopped", "running", False),
        ("STOPPING", "stopped", "running", False),
        ("TERMINATED", "stopped", "stopped", False),
        ("TERMINATED", "refused", "stopped", True),
        ("TERMINATED", "started", "broken", False),
        ("SUSPENDED", "started", "broken", False),
    ],
)
def test_what_a_status_means(status: str, label: str, state: str, *, refused: bool) -> None:
    labels = machine_labels(Names("notary"), "a", GENERATION, "i") | {"pluto-state": label}
    found = machines.instance(machine(status=status, labels=labels), Names("notary"), "a", "p", "z").machine()
    assert (found.state, found.refused, found.generation) == (state, refused, GENERATION)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "DREAMING"}, "status 'DREAMING' is not known"),
        ({"creationTimestamp": "yesterday"}, "is no time"),
        ({"creationTimestamp": "2026-11-26T07:11:28"}, "is no time"),
        ({"metadata": {"items": [{"value": "x"}]}}, "the answer has no key"),
        ({"networkInterfaces": [{"accessConfigs": [{}]}]}, "the answer has no name"),
    ],
)
def test_a_machine_that_cannot_be_read(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        machines.instance(machine(**change), Names("notary"), "a", "p", "z")


def test_a_ready_from_before_the_start_does_not_count() -> None:
    clock, log = Clock(), ready({})
    said = [log, log, log + b"more\r\n", log + ready({})]

    def serial(start: int) -> tuple[bytes, int]:
        now = said.pop(0) if start else said[0]
        return now[start:], len(now)

    waiting = Waiting(clock=clock, sleep=clock.sleep)
    wait_ready("a", serial, lambda: "RUNNING", mark=len(log), seconds=60, waiting=waiting, progress=Silent())
    assert said == []


def test_a_serial_line_that_begins_anew_is_read_from_its_beginning() -> None:
    clock = Clock()
    waiting = Waiting(clock=clock, sleep=clock.sleep)

    def serial(start: int) -> tuple[bytes, int]:
        return ready({})[start:], max(start, len(ready({}))) if start else len(ready({}))

    wait_ready("a", serial, lambda: "RUNNING", mark=5000, seconds=60, waiting=waiting, progress=Silent())


@pytest.mark.parametrize("status", [400, 404, 503])
def test_a_serial_line_that_is_not_there_yet_is_waited_for(status: int) -> None:
    clock = Clock()
    waiting = Waiting(clock=clock, sleep=clock.sleep)

    def serial(start: int) -> tuple[bytes, int]:
        del start
        raise CloudError("s", "a", "not ready", status=status)

    with pytest.raises(SourceError, match="was not ready after 10 s: it said nothing"):
        wait_ready("a", serial, lambda: "STAGING", mark=0, seconds=10, waiting=waiting, progress=Silent())
