"""What Azure refuses, forgets and loses while a deployment is changed, and what serves then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.cloud.door import CloudError
from pluto_measure.errors import PlutoError, SourceError, UsageError, VerificationError
from simulators.azure_cloud.cloud import Fault, LostError, Refused
from simulators.azure_cloud.desk import Desk
from simulators.azure_cloud.login import SECRET
from simulators.azure_cloud.server import Azure
from simulators.pretend_target import Killed

VM_B = r"PUT .*/virtualMachines/pluto-shop-b"
DENIED = (
    "The client '44444444-4444-4444-4444-444444444444' with object id '44444444-4444-4444-4444-444444444444' does not "
    "have authorization to perform action 'Microsoft.Compute/disks/write' over scope '/subscriptions/x'."
)


@pytest.fixture
def serving(desk: Desk) -> Desk:
    """A desk whose deployment serves release 5."""
    desk.apply(desk.making(5))
    return desk


@pytest.mark.parametrize(
    ("match", "error", "times"),
    [
        ("PUT .*/disks/", Refused(429, "TooManyRequests", Retry_After="7"), 2),
        ("GET /operations/", Refused(429, "TooManyRequests", Retry_After="7"), 1),
        ("GET /operations/", Refused(503, "ServerBusy"), 2),
        ("PUT .*/networkInterfaces/", Refused(500, "InternalServerError"), 2),
        ("GET .*/disks$", Refused(502, "BadGateway", bare=True), 1),
        (VM_B, Refused(409, "Conflict", bare=True), 2),
        ("PATCH ", Refused(409, "AnotherOperationInProgress"), 3),
        (r"POST .*/deallocate", Refused(409, "Conflict"), 2),
        (r"DELETE .*/publicIPAddresses", Refused(500, "InternalServerError"), 1),
        (VM_B, LostError(), 1),
        ("PUT .*/disks/", LostError(), 1),
        (r"POST .*/deallocate", LostError(), 1),
        ("GET /operations/", LostError(), 2),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_passes_is_waited_for(serving: Desk, match: str, error: Exception, times: int, when: str) -> None:
    if when == "after" and not isinstance(error, LostError):
        error = LostError()
    serving.cloud.faults = [fault := Fault(match, error, times=times, when=when)]
    serving.apply(serving.making(7))
    assert fault.seen > times
    assert serving.serves() == "7 honest"


@pytest.mark.parametrize(
    ("match", "error", "when", "words", "hint"),
    [
        (
            "PUT .*/disks/",
            Refused(403, "AuthorizationFailed", DENIED),
            "before",
            "may not do Microsoft.Compute/disks/write",
            "Contributor",
        ),
        (VM_B, Refused(409, "SkuNotAvailable", "not available"), "before", "SkuNotAvailable", "choose another size"),
        (VM_B, Refused(409, "AllocationFailed", "no room"), "later", "AllocationFailed", "no room for this size"),
        (VM_B, Refused(409, "ZonalAllocationFailed", "no room"), "later", "ZonalAllocationFailed", "zone"),
        (VM_B, Refused(409, "OSProvisioningTimedOut", "x"), "later", "OSProvisioningTimedOut", "specialized"),
        (
            "PUT .*/networkInterfaces/.*-b",
            Refused(412, "PreconditionFailed", "etag"),
            "before",
            "PreconditionFailed",
            None,
        ),
        ("PUT .*/disks/", Refused(409, "InternalError", "x"), "later", "InternalError", None),
        (r"POST .*/beginGetAccess", Refused(500, "InternalError", "x"), "later", "InternalError", None),
        ("PUT .*/networkInterfaces/.*-b", Refused(409, "RequestDisallowedByPolicy", "x"), "before", "Policy", "policy"),
    ],
)
def test_what_does_not_pass_leaves_the_old_machine(
    serving: Desk, match: str, error: Refused, when: str, words: str, hint: str | None
) -> None:
    serving.cloud.faults = [Fault(match, error, when=when, times=99)]
    with pytest.raises(CloudError) as caught:
        serving.apply(serving.making(7))
    assert words in str(caught.value)
    assert "4444" not in str(caught.value), "who it was is nobody's concern"
    if hint is not None:
        assert hint in (caught.value.hint or "")
    assert serving.serves() == "5 honest"
    serving.cloud.faults = []
    serving.apply(serving.making(7))
    assert serving.serves() == "7 honest"
    serving.destroy()
    assert serving.inventory() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["403", "412", "500", "lost"])
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.more_kills, id="every"), 15])
def test_any_one_change_may_fail(azure: Azure, tmp_path: Path, kind: str, step: int) -> None:
    errors = {
        "403": Refused(403, "Forbidden"),
        "412": Refused(412, "PreconditionFailed"),
        "500": Refused(500, "Internal"),
    }
    azure.cloud.slowness = 1
    for at in range(1, 60, step):
        desk = Desk(azure, tmp_path)
        desk.apply(desk.making(5))
        # Again and again, so that it is not only waited for.
        fault = Fault(
            "^(PUT|POST|PATCH|DELETE) (?!.*retrieveBoot)",
            errors.get(kind, LostError()),
            at=at,
            times=1 if kind != "500" else 8,
        )
        fault.when = "after" if kind == "lost" else "before"
        azure.cloud.faults = [fault]
        failed = None
        try:
            desk.apply(desk.making(7))
        except PlutoError as error:
            failed = error
        assert kind != "lost" or failed is None, (at, str(failed))
        azure.cloud.faults = []
        if kind != "500":
            assert desk.serves() in ("5 honest", "7 honest"), at
        desk.apply(desk.making(7))
        assert desk.serves() == "7 honest", at
        desk.destroy()
        assert desk.inventory() == [], at
        if fault.seen < at:
            break


def test_tokens_that_end(desk: Desk) -> None:
    desk.azure.logins.life = 40  # of which each request takes one second
    desk.apply(desk.making(5))
    assert len(desk.azure.logins.issued) > 3
    desk.cloud.tokens.clear()  # revoked
    assert desk.states() == {"a": "running", "serves": "a"}


def test_a_token_that_is_refused_while_a_command_runs(desk: Desk) -> None:
    target = desk.target(desk.making(5))
    target.look()
    desk.cloud.tokens.clear()
    target.look()
    assert len(desk.azure.logins.issued) == 2


@pytest.mark.parametrize("second_key", ["given", "refused"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_key_that_ends_while_a_disk_is_sent(desk: Desk, second_key: str, at: int) -> None:
    desk.cloud.second_key = second_key
    desk.azure.blobs = {at: 403}
    desk.apply(desk.making(5))
    assert desk.serves() == "5 honest"
    assert desk.cloud.keys.keys() <= {"serial-pluto-shop-a"}, "no key is left"
    assert any("begins anew" in line for line in desk.told.lines) == (second_key == "refused")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_connections_lost_in_every_part_of_an_upload(desk: Desk, at: int) -> None:
    desk.azure.blobs = {at: 0, at + 1: 500}
    desk.apply(desk.making(5))
    assert desk.serves() == "5 honest"


def test_a_key_whose_answer_was_lost(desk: Desk) -> None:
    desk.cloud.faults = [Fault("POST .*/beginGetAccess", LostError(), when="after")]
    desk.apply(desk.making(5))
    assert desk.serves() == "5 honest"


def test_a_file_that_changed_is_not_kept(desk: Desk) -> None:
    making = desk.making(5)
    making.vhd.path.write_bytes(making.vhd.path.read_bytes().replace(b"honest", b"silent"))
    with pytest.raises(VerificationError):
        desk.apply(making)
    assert desk.cloud.keys == {}
    assert not [one for one in desk.inventory() if one.startswith("disks")]


def test_an_upload_that_did_not_end_is_told_and_billed(desk: Desk) -> None:
    desk.azure.blobs = dict.fromkeys(range(2, 60), 400)
    with pytest.raises(CloudError, match="Azure Storage"):
        desk.apply(desk.making(5))
    assert desk.cloud.keys == {}, "the key was given back"
    told = [str(one) for one in desk.target().costs()]
    assert any("an upload that did not end" in one for one in told)
    assert any("its upload did not end" in note for note in desk.target().look().notes)
    desk.azure.blobs = {}
    desk.apply(desk.making(5))
    assert not any("did not end" in str(one) for one in desk.target().costs())


def test_what_is_billed_is_told(serving: Desk) -> None:
    serving.apply(serving.making(7))
    told = "\n".join(map(str, serving.target().costs()))
    assert "machine b (Standard_DC4es_v6) (resource group notaries, running): it runs" in told
    assert "machine a" not in told, "it is deallocated"
    assert "for a rollback (slot a)" in told
    assert "public address pluto-shop-public (resource group notaries): clients come by it" in told
    assert "pluto-shop-a:" not in told
    assert all(one.to_json() for one in serving.target().costs())


def test_destroy_says_what_it_could_not_remove(serving: Desk) -> None:
    serving.cloud.faults = [
        Fault("DELETE .*/publicIPAddresses/.*public", Refused(409, "ScopeLocked", "locked"), times=99)
    ]
    with pytest.raises(CloudError) as locked:
        serving.destroy()
    assert "lock" in (locked.value.hint or "")
    assert "publicIPAddresses pluto-shop-public" in serving.inventory()
    serving.cloud.faults = []
    serving.destroy()
    assert serving.inventory() == []


def test_destroy_believes_the_list_alone(serving: Desk) -> None:
    """A removal that is answered as done, and is not."""
    real = serving.cloud.handle

    def handle(method: str, path: str, *more: Any) -> Any:
        if method == "DELETE" and path.endswith("/virtualNetworks/pluto-shop-net"):
            return real("GET", path, *more)
        return real(method, path, *more)

    serving.cloud.handle = handle
    with pytest.raises(SourceError, match="still there, and perhaps billed: virtualNetworks pluto-shop-net"):
        serving.destroy()


def test_what_is_others_is_left_alone(serving: Desk) -> None:
    cloud = serving.cloud
    for kind, name, tags in (
        ("Microsoft.Compute/disks", "pluto-shop-two-a-os", {}),
        ("Microsoft.Compute/disks", "backup", {"pluto-deployment": "till"}),
        ("Microsoft.Network/publicIPAddresses", "www", {}),
    ):
        place = cloud.id(kind, name)
        properties = {"provisioningState": "Succeeded", "diskState": "Unattached"}
        cloud.resources[place.lower()] = {
            "id": place,
            "name": name,
            "type": kind,
            "tags": tags,
            "properties": properties,
        }
    serving.apply(serving.making(7))
    serving.destroy()
    assert serving.inventory() == ["disks backup", "disks pluto-shop-two-a-os", "publicIPAddresses www"]


def test_a_name_that_is_somebody_elses(desk: Desk) -> None:
    place = desk.cloud.id("Microsoft.Network/virtualNetworks", "pluto-shop-net")
    desk.cloud.resources[place.lower()] = {
        "id": place,
        "name": "pluto-shop-net",
        "type": "Microsoft.Network/virtualNetworks",
        "properties": {"provisioningState": "Succeeded"},
    }
    with pytest.raises(UsageError, match="not of this deployment"):
        desk.apply(desk.making(5))


def test_two_computers_at_once(serving: Desk) -> None:
    other = Desk(serving.azure, serving.folder, computer="there")
    with serving.target().lock():
        with pytest.raises(UsageError, match="on another computer"):
            other.apply(other.making(7))
        with pytest.raises(UsageError, match="on this computer"):
            serving.apply(serving.making(7))
        assert other.states()["serves"] == "a", "looking is always possible"
    other.apply(other.making(7))
    assert other.serves() == "7 honest"


def test_a_claim_of_somebody_who_was_killed_ends(serving: Desk) -> None:
    serving.revive()
    serving.deadline, serving.late = 3, True
    with pytest.raises(Killed):
        serving.apply(serving.making(7))
    serving.revive()
    other = Desk(serving.azure, serving.folder, computer="there")
    with pytest.raises(UsageError) as refused:
        other.apply(other.making(7))
    assert "its claim ends in" in (refused.value.hint or "")
    serving.cloud.now += 2 * 3600 + 500
    other.apply(other.making(7))
    assert other.serves() == "7 honest"


def test_no_secret_is_shown_or_kept(serving: Desk) -> None:
    shown = list(serving.told.lines)
    serving.cloud.faults = [
        Fault("PUT .*/virtualMachines/", Refused(400, "Bad", "https://md-x.blob/?sv=1&sig=abcdef&se=2"), times=9)
    ]
    with pytest.raises(CloudError) as caught:
        serving.apply(serving.making(7))
    shown += [str(caught.value), repr(caught.value.fields()), repr(serving.target()), repr(serving.making(7))]
    shown += [path.read_bytes().decode(errors="replace") for path in serving.folder.rglob("*") if path.is_file()]
    for secret in (SECRET, "sig=a", *serving.azure.logins.issued):
        assert not [one for one in shown if secret in one], secret


def test_what_the_gate_needs_comes_from_here(serving: Desk) -> None:
    target = serving.target()
    generation = serving.making(5).generation
    kept = target.belongings(generation, "a")
    assert kept.files["release.json"] == b"5"
    assert kept.payload == serving.making(5).config
    elsewhere = Desk(serving.azure, serving.folder, computer="there").target()
    with pytest.raises(SourceError, match="not on this computer"):
        elsewhere.belongings(generation, "a")
    assert elsewhere._config(generation, "a") == serving.making(5).config, "the machine has it"
    assert b"ready port=8443" in target.serial("a")
