"""Resource Manager's long-running operations, in every way they are told of; and its errors, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pluto_deploy.azure import answers, errors
from pluto_deploy.azure.arm import DISK, NIC, VERSION, VM, Arm, Pauses, Place, door
from pluto_deploy.cloud.door import Answer, CloudError, Door, Patience, Waiting
from pluto_measure.errors import SourceError

BASE = "https://management.azure.com"
WHERE = Place(VM, ("one",))


class Script(Door):
    """Answers in order: (status, headers, body); keeps what was asked."""

    def __init__(self, *given: tuple[int, dict[str, str], Any]) -> None:
        self.slept: list[float] = []
        waiting = Waiting(clock=lambda: sum(self.slept), wall=lambda: 5.0, sleep=self.slept.append)
        super().__init__("Azure", errors.explain, patience=Patience(attempts=1), waiting=waiting)
        self.given, self.asked = list(given), list[str]()

    def ask(self, method: str, url: str, act: str, **more: Any) -> Answer:
        self.asked.append(f"{method} {url.removeprefix(BASE)}")
        status, headers, body = self.given.pop(0)
        answer = Answer(status, headers, b"" if body is None else json.dumps(body).encode())
        if status not in more["expect"]:
            raise self.refusal(answer, act)
        return answer


def arm(*given: tuple[int, dict[str, str], Any], **pauses: float) -> tuple[Arm, Script]:
    script = Script(*given)
    return Arm(script, "sub", "group", pauses=Pauses(**pauses)), script


Given = tuple[int, dict[str, str], Any]
DONE: Given = (200, {}, {"properties": {"provisioningState": "Succeeded"}})
WATCH = {"azure-asyncoperation": f"{BASE}/op?t=1", "retry-after": "7"}


def test_an_operation_by_its_own_address() -> None:
    using, script = arm(
        (202, WATCH, None),
        (200, {"retry-after": "9"}, {"status": "InProgress"}),
        (200, {}, {"status": "Succeeded"}),
        DONE,
    )
    assert using.put(WHERE, {"a": 1}) == DONE[2]
    assert script.slept == [7.0, 9.0]
    assert script.asked[1:3] == ["GET /op?t=1"] * 2
    assert script.asked[3].endswith("/providers/Microsoft.Compute/virtualMachines/one")


def test_an_operation_by_location() -> None:
    using, script = arm(
        (202, {"location": "/op"}, None), (202, {"retry-after": "3"}, None), (200, {}, {"accessSAS": "x"})
    )
    assert using.post(WHERE, "beginGetAccess", result=True) == {"accessSAS": "x"}
    assert script.slept == [1.0, 3.0]


def test_a_result_in_the_operation_or_at_location() -> None:
    ended: Given = (200, {}, {"status": "Succeeded", "properties": {"output": {"accessSAS": "y"}}})
    using, _ = arm((202, WATCH, None), ended)
    assert using.post(WHERE, "beginGetAccess", result=True) == {"accessSAS": "y"}
    both = {**WATCH, "location": f"{BASE}/op?location"}
    using, _ = arm((202, both, None), (200, {}, {"status": "Succeeded"}), (200, {}, {"accessSAS": "z"}))
    assert using.post(WHERE, "beginGetAccess", result=True) == {"accessSAS": "z"}
    using, script = arm((202, both, None), (200, {}, {"status": "Succeeded"}))
    assert using.post(WHERE, "start") is None
    assert len(script.asked) == 2


def test_an_operation_that_only_the_resource_tells_of() -> None:
    creating: Given = (201, {}, {"properties": {"provisioningState": "Creating"}})
    using, script = arm(creating, (200, {}, creating[2]), DONE)
    using.put(WHERE, {})
    assert [one.partition(" ")[0] for one in script.asked] == ["PUT", "GET", "GET"]


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_an_operation_that_fails_behind_its_202(state: str) -> None:
    error = {"code": "AllocationFailed", "message": "Allocation failed."}
    using, _ = arm((202, WATCH, None), (200, {}, {"status": state, "error": error}))
    with pytest.raises(
        CloudError, match=r"making virtualMachines one: Allocation failed\. \(AllocationFailed\)"
    ) as failed:
        using.put(WHERE, {})
    assert "no room" in (failed.value.hint or "")
    using, _ = arm((202, WATCH, None), (200, {}, {"status": state}))
    with pytest.raises(CloudError, match=f"it ended as {state}"):
        using.put(WHERE, {})
    using, _ = arm((200, {}, {}), (200, {}, {"properties": {"provisioningState": state}}))
    with pytest.raises(CloudError, match=f"it ended as {state}"):
        using.put(WHERE, {})


def test_what_never_ends_is_ended() -> None:
    going: Given = (200, {}, {"status": "InProgress"})
    using, _ = arm((202, WATCH, None), *[going] * 20, operation=30.0)
    with pytest.raises(CloudError, match="not done after 30 s"):
        using.put(WHERE, {})
    updating: Given = (200, {}, {"properties": {"provisioningState": "Updating"}})
    using, _ = arm((200, {}, {}), *[updating] * 20, operation=30.0)
    with pytest.raises(CloudError, match="still Updating after 30 s"):
        using.put(WHERE, {})


def test_removing() -> None:
    gone: Given = (204, {}, None)
    ways: list[list[Given]] = [[gone], [(202, {"location": "/x"}, None), (202, {}, None), gone], [(200, {}, None)]]
    for given in ways:
        using, _ = arm(*given)
        using.delete(WHERE)
    using, _ = arm((404, {}, {"error": {"code": "ResourceNotFound", "message": "x"}}))
    using.delete(WHERE)
    using, _ = arm((404, {}, {"error": {"code": "ResourceGroupNotFound", "message": "x"}}))
    with pytest.raises(CloudError) as refused:
        using.delete(WHERE)
    assert "az group create" in (refused.value.hint or "")


def test_looking() -> None:
    using, _ = arm((404, {}, {"error": {"code": "ResourceNotFound", "message": "x"}}))
    assert using.get(WHERE) is None
    using, _ = arm((404, {}, {"error": {"code": "ResourceGroupNotFound", "message": "x"}}))
    with pytest.raises(CloudError):
        using.get(WHERE)
    using, _ = arm((200, {"date": "Thu, 26 Nov 2026 12:00:00 GMT"}, {}))
    using.get(WHERE)
    assert using.server_time == 1795694400.0
    using, _ = arm((200, {"date": "never"}, {}))
    using.get(WHERE)
    assert using.server_time == 5.0


def test_lists() -> None:
    using, script = arm(
        (200, {}, {"value": [{"a": 1}], "nextLink": f"{BASE}/more?x=1"}), (200, {}, {"value": [{"b": 2}]})
    )
    assert using.listed(DISK) == [{"a": 1}, {"b": 2}]
    assert script.asked[1] == "GET /more?x=1"
    using, script = arm((404, {}, {"error": {"code": "ParentResourceNotFound", "message": "x"}}))
    assert using.listed(VERSION, "g", "d") == []
    assert script.asked[0].endswith("/galleries/g/images/d/versions")
    using, _ = arm((200, {}, {"value": [], "nextLink": "https://elsewhere.example/x"}))
    with pytest.raises(SourceError, match=r"leads to another server, elsewhere\.example"):
        using.listed(NIC)
    using, _ = arm(*[(200, {}, {"value": [], "nextLink": f"{BASE}/same"})] * 200)
    with pytest.raises(SourceError, match="does not end"):
        using.listed(NIC)


def test_an_operation_elsewhere_is_not_followed() -> None:
    for name in ("azure-asyncoperation", "location"):
        using, _ = arm((202, {name: "https://elsewhere.example/op"}, None))
        with pytest.raises(SourceError, match="another server"):
            using.post(WHERE, "start")
    using, _ = arm((202, {}, None))
    with pytest.raises(SourceError, match="does not say where"):
        using.post(WHERE, "start")


def test_what_is_busy_is_asked_again_but_not_for_ever() -> None:
    busy: Given = (409, {}, {"error": {"code": "AnotherOperationInProgress", "message": "x"}})
    using, script = arm(busy, busy, (204, {}, None))
    using.delete(WHERE)
    assert script.slept == [1.0, 2.0]
    using, _ = arm(*[busy] * 40, busy=60.0)
    with pytest.raises(CloudError, match="AnotherOperationInProgress"):
        using.delete(WHERE)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: answers.document(Answer(200, {}, b"[]"), "x"), "no JSON object"),
        (lambda: answers.need({}, "properties.diskState", str, "disk d"), r"disk d: properties\.diskState is missing"),
        (lambda: answers.need({"a": 1}, "a", str, "w"), "a is not str"),
        (lambda: answers.need({"a": True}, "a", int, "w"), "a is not int"),
        (lambda: answers.need({"a": []}, "a.b", str, "w"), "what holds b is no object"),
        (lambda: answers.objects({"a": [1]}, "a", "w"), "not a list of objects"),
        (lambda: answers.tags({"tags": {"a": 1}}, "w"), "tags are not all text"),
    ],
)
def test_an_answer_of_another_form_names_the_member(read: Callable[[], object], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read()


QUOTA = (
    "Operation could not be completed as it results in exceeding approved standardDCEV6Family Cores quota. "
    "Additional details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: 8, "
    "Current Usage: 6, Additional Required: 4, (Minimum) New Limit Required: 10."
)


def caught(status: int, document: Any) -> CloudError:
    return errors.hinted(door(None).refusal(Answer(status, {}, json.dumps(document).encode()), "making it"))


@pytest.mark.parametrize("bare", [False, True])
def test_a_quota_has_its_numbers(bare: bool) -> None:
    inner = {"code": "OperationNotAllowed", "message": QUOTA}
    error = caught(409, inner if bare else {"error": inner})
    assert "the quota standardDCEV6Family Cores is too small: 6 of 8 are in use and 4 more are needed" in str(error)
    assert "Quotas" in (error.hint or "")


def test_the_role_that_lacks() -> None:
    for action, role in (
        ("Microsoft.Compute/disks/beginGetAccess/action", '"Contributor" on the resource group'),
        ("Microsoft.Compute/virtualMachines/write", '"Virtual Machine Contributor" on the resource group'),
        ("Microsoft.Network/publicIPAddresses/write", '"Network Contributor"'),
        ("Microsoft.Compute/skus/read", '"Reader" on the subscription'),
        ("Microsoft.Else/x/read", '"Contributor"'),
    ):
        message = f"The client 'me' does not have authorization to perform action '{action}' over scope 's'."
        error = caught(403, {"error": {"code": "AuthorizationFailed", "message": message}})
        assert f"may not do {action}" in str(error)
        assert role in (error.hint or "")


def test_other_errors() -> None:
    details = [{"code": "SkuNotAvailable", "message": "The size is not there."}]
    error = caught(400, {"error": {"code": "DeploymentFailed", "message": "see details", "details": details}})
    assert (error.code, "choose another" in (error.hint or "")) == ("SkuNotAvailable", True)
    unregistered = "The subscription is not registered to use namespace 'Microsoft.Network'. See ..."
    error = caught(409, {"error": {"code": "MissingSubscriptionRegistration", "message": unregistered}})
    assert error.hint == "register it once: az provider register --namespace Microsoft.Network"
    odd: list[Any] = [[], {"error": []}, {"error": {"code": 5, "message": {}}}, {}, {"error": {"details": 5}}]
    for body in odd:
        assert str(caught(400, body))
    assert errors.explain(Answer(500, {}, b"<html>")) == ("", "")
