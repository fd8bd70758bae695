"""Azure Resource Manager: a resource got, put, deleted, acted on; each call returns when its operation has ended. IO.

A request is answered at once or by an operation that goes on: the header Azure-AsyncOperation names its state, or
Location answers 202 until it is over, or the resource's own provisioningState says so (Resource Manager's rules for
asynchronous operations). What is refused because something else is going on is asked again for a while.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pluto_deploy.azure import errors
from pluto_deploy.azure.answers import SERVICE, Json, document, find, need, objects
from pluto_deploy.cloud import place
from pluto_deploy.cloud.door import Answer, CloudError, Door
from pluto_measure.errors import SourceError

MANAGEMENT: Final = "https://management.azure.com"
COMPUTE: Final = "Microsoft.Compute"
NETWORK: Final = "Microsoft.Network"
VM: Final = f"{COMPUTE}/virtualMachines"
DISK: Final = f"{COMPUTE}/disks"
GALLERY: Final = f"{COMPUTE}/galleries"
DEFINITION: Final = f"{COMPUTE}/galleries/images"
VERSION: Final = f"{COMPUTE}/galleries/images/versions"
NIC: Final = f"{NETWORK}/networkInterfaces"
ADDRESS: Final = f"{NETWORK}/publicIPAddresses"
RULES: Final = f"{NETWORK}/networkSecurityGroups"
VNET: Final = f"{NETWORK}/virtualNetworks"
VERSIONS: Final[Mapping[str, str]] = {
    VM: "2026-04-01",
    DISK: "2026-03-02",
    GALLERY: "2026-03-03",
    DEFINITION: "2026-03-03",
    VERSION: "2026-03-03",
    NIC: "2026-03-01",
    ADDRESS: "2026-03-01",
    RULES: "2026-03-01",
    VNET: "2026-03-01",
}
_ENDED: Final = ("succeeded", "failed", "canceled")
_MOST_PAGES: Final = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A resource in the group: its type, and the name on each of its levels."""

    kind: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def path(self) -> str:
        provider, *levels = self.kind.split("/")
        return "/".join((f"providers/{provider}", *(f"{a}/{b}" for a, b in zip(levels, self.names, strict=True))))

    def __str__(self) -> str:
        return f"{self.kind.rpartition('/')[2]} {self.name}"


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds: between two looks at an operation where the answer does not say, for a whole one, for what is busy."""

    first: float = 1.0
    longest: float = 15.0
    operation: float = 2400.0
    busy: float = 300.0


class Arm:
    """One resource group of one subscription."""

    def __init__(
        self, door: Door, subscription: str, group: str, *, base: str = MANAGEMENT, pauses: Pauses | None = None
    ) -> None:
        self._door, self._base, self._pauses = door, place.secure(base), pauses or Pauses()
        self.subscription, self.group = subscription, group
        self.server_time = 0.0  # of the last answer, seconds since 1970

    def id(self, where: Place) -> str:
        """A resource's id."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/{where.path}"

    def get(self, where: Place, *, expand: str | None = None) -> Json | None:
        """The resource; None where there is none."""
        query = {} if expand is None else {"$expand": expand}
        try:
            answer = self._ask("GET", where, f"looking at {where}", query=query)
        except CloudError as error:
            if error.status == 404 and error.code in ("ResourceNotFound", "NotFound", ""):
                return None
            raise
        return document(answer, str(where))

    def put(self, where: Place, body: Json) -> Json:
        """Make the resource so, and wait until it is."""
        act = f"making {where}"
        answer = self._patiently("PUT", where, act, body=body, expect=(200, 201, 202))
        self._finish(answer, act)
        return self._settled(where, act)

    def patch(self, where: Place, body: Json) -> Json:
        """Change some of it, and wait until it is so."""
        act = f"changing {where}"
        answer = self._patiently("PATCH", where, act, body=body, expect=(200, 201, 202), repeatable=True)
        self._finish(answer, act)
        return self._settled(where, act)

    def post(
        self, where: Place, action: str, body: Json | None = None, *, repeatable: bool = True,
        query: Mapping[str, str] | None = None, result: bool = False,
    ) -> Json | None:  # fmt: skip
        """Act on it, and wait until that is done. Its `result` where one is asked for, and the action has one."""
        act = f"{action} of {where}"
        answer = self._patiently(
            "POST", where, act, action=action, body=body, expect=(200, 202, 204), repeatable=repeatable, query=query
        )
        return self._finish(answer, act, result=result)

    def delete(self, where: Place, *, query: Mapping[str, str] | None = None) -> None:
        """Away with it, and wait until it is gone. What is not there is gone."""
        act = f"removing {where}"
        try:
            answer = self._patiently("DELETE", where, act, expect=(200, 202, 204), query=query)
            self._finish(answer, act)
        except CloudError as error:
            if error.status != 404 or error.code not in ("ResourceNotFound", "NotFound", "ParentResourceNotFound"):
                raise

    def listed(self, kind: str, *parents: str) -> list[Json]:
        """All resources of a type in the group, or below a parent; none where the parent is not there."""
        act = f"listing {kind.rpartition('/')[2]}"
        provider, *levels = kind.split("/")
        path = "/".join((f"providers/{provider}", *(f"{a}/{b}" for a, b in zip(levels, parents, strict=False))))
        root = f"{self._base}/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        url = f"{root}/{path}/{levels[-1]}" if parents else f"{root}/providers/{kind}"
        try:
            return self._pages(url, {"api-version": VERSIONS[kind]}, act)
        except CloudError as error:
            if parents and error.status == 404 and error.code in ("ResourceNotFound", "ParentResourceNotFound"):
                return []
            raise

    def of_subscription(self, path: str, version: str, act: str, *, filtered: str | None = None) -> list[Json]:
        """A list that belongs to the subscription."""
        query = {"api-version": version} | ({} if filtered is None else {"$filter": filtered})
        return self._pages(f"{self._base}/subscriptions/{self.subscription}/{path}", query, act)

    def provider(self, namespace: str) -> Json:
        """A resource provider, with `registrationState`."""
        url = f"{self._base}/subscriptions/{self.subscription}/providers/{namespace}"
        return document(self._once("GET", url, f"looking at {namespace}", {"api-version": "2021-04-01"}), namespace)

    def _pages(self, url: str, query: Mapping[str, str], act: str) -> list[Json]:
        found: list[Json] = []
        asked: Mapping[str, str] | None = query
        for _ in range(_MOST_PAGES):
            page = document(self._once("GET", url, act, asked), act)
            need(page, "value", list, act)
            found += objects(page, "value", act)
            link = find(page, "nextLink", str, act)
            if not link:
                return found
            url, asked = place.within(self._base, link, service=SERVICE), None
        raise SourceError(f"{SERVICE}: {act}: the list does not end")

    def _patiently(self, method: str, where: Place, act: str, **more: Any) -> Answer:
        """Ask again what is refused only for now."""
        clock, pause = self._door.waiting.clock, self._pauses.first
        limit = clock() + self._pauses.busy
        while True:
            try:
                return self._ask(method, where, act, **more)
            except CloudError as error:
                later = error.status in (400, 409) and error.code in errors.BUSY and more.get("repeatable") is not False
                if not later or clock() + pause > limit:
                    raise
            self._door.waiting.sleep(pause)
            pause = min(2 * pause, self._pauses.longest)

    def _ask(
        self, method: str, where: Place, act: str, *, action: str = "", body: Json | None = None,
        expect: tuple[int, ...] = (200,), repeatable: bool | None = None, query: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        url = f"{self._base}{self.id(where)}" + (f"/{action}" if action else "")
        asked = {**(query or {}), "api-version": VERSIONS[where.kind]}
        return self._once(method, url, act, asked, body=body, expect=expect, repeatable=repeatable)

    def _once(
        self, method: str, url: str, act: str, query: Mapping[str, str] | None, *, body: Json | None = None,
        expect: tuple[int, ...] = (200,), repeatable: bool | None = None,
    ) -> Answer:  # fmt: skip
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._door.ask(
                method, url, act, query=query, headers=headers, body=data, expect=expect, repeatable=repeatable
            )
        except CloudError as error:
            raise errors.hinted(error) from None
        self._note_time(answer)
        return answer

    def _note_time(self, answer: Answer) -> None:
        try:
            self.server_time = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError):
            self.server_time = self._door.waiting.wall()

    def _finish(self, answer: Answer, act: str, *, result: bool = False) -> Json | None:
        """Wait for the operation that an answer began. Its result, if it has one and `result` says so."""
        operation, location = answer.headers.get("azure-asyncoperation"), answer.headers.get("location")
        if operation:
            ended = self._follow(place.within(self._base, operation, service=SERVICE), answer, act)
            output = find(ended, "properties.output", dict, act)
            if output is not None or not location or not result:
                return output
            return self._result(place.within(self._base, location, service=SERVICE), answer, act)
        if answer.status == 202 and location:
            return self._result(place.within(self._base, location, service=SERVICE), answer, act)
        if answer.status == 202:
            raise SourceError(f"{SERVICE}: {act}: the answer does not say where the operation can be watched")
        return document(answer, act) if answer.status != 204 and answer.body.strip() else None

    def _follow(self, url: str, answer: Answer, act: str) -> Json:
        for answer in self._looks(url, answer, act, (200, 201, 202)):  # noqa: B020  the newest answer says how long
            state = document(answer, act)
            status = need(state, "status", str, act)
            if status.lower() == "succeeded":
                return state
            if status.lower() in _ENDED:
                raise self._failed(state, status, act)
        raise AssertionError("looks end by an error")

    def _result(self, url: str, answer: Answer, act: str) -> Json | None:
        for answer in self._looks(url, answer, act, (200, 201, 202, 204)):  # noqa: B020
            if answer.status != 202:
                return document(answer, act) if answer.body.strip() else None
        raise AssertionError("looks end by an error")

    def _looks(self, url: str, answer: Answer, act: str, expect: tuple[int, ...]) -> Any:
        """Answers at a URL, one after another, with the pauses that they ask for. CloudError at the deadline."""
        waiting, pause = self._door.waiting, self._pauses.first
        limit = waiting.clock() + self._pauses.operation
        while True:
            asked = answer.headers.get("retry-after", "")
            seconds = float(asked[:4]) if asked.isascii() and asked.isdigit() else pause
            if waiting.clock() + seconds > limit:
                raise CloudError(SERVICE, act, f"not done after {self._pauses.operation:.0f} s")
            waiting.sleep(seconds)
            pause = min(1.5 * pause, self._pauses.longest)
            answer = self._once("GET", url, act, None, expect=expect)
            yield answer

    def _settled(self, where: Place, act: str) -> Json:
        """The resource, once its provisioningState is a last one. CloudError where that is not Succeeded."""
        waiting, pause = self._door.waiting, self._pauses.first
        limit = waiting.clock() + self._pauses.operation
        while True:
            found = self.get(where)
            if found is None:
                raise CloudError(SERVICE, act, "it is not there afterwards")
            state = find(found, "properties.provisioningState", str, str(where)) or "Succeeded"
            if state.lower() == "succeeded":
                return found
            if state.lower() in _ENDED:
                raise self._failed({}, state, act)
            if waiting.clock() + pause > limit:
                raise CloudError(SERVICE, act, f"still {state} after {self._pauses.operation:.0f} s")
            waiting.sleep(pause)
            pause = min(1.5 * pause, self._pauses.longest)

    def _failed(self, state: Json, status: str, act: str) -> CloudError:
        code, words = errors.told(state)
        return errors.hinted(CloudError(SERVICE, act, (words or f"it ended as {status}")[:300], code=code[:80]))


def door(token: Any, **more: Any) -> Door:
    """The way to Resource Manager."""
    return Door(SERVICE, errors.explain, token=token, **more)
