"""Compute Engine by its REST interface, v1: one method for each thing that is asked of it. Thin IO; decides nothing.

Whatever changes something returns when it was done. Its request has an id, so asking twice does it once. A thing that
is not there is None, and deleting it is done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from pluto_deploy.cloud.door import CloudError, Door
from pluto_deploy.google import operations
from pluto_deploy.google.errors import NOT_READY, advised
from pluto_deploy.google.names import NETWORK_INTERFACE
from pluto_deploy.google.reply import Reply
from pluto_measure.errors import SourceError
from pluto_measure.formats.strict_json import canonical

ROOT: Final = "https://compute.googleapis.com/compute/v1"
Kind = Literal["instances", "disks", "addresses", "images", "firewalls", "machineTypes"]
_ZONAL: Final = ("instances", "disks", "machineTypes")
_JSON: Final = {"Content-Type": "application/json"}
_SECONDS: Final = 600.0  # for one operation
_MOST_PAGES: Final = 1000
_BUSY_SECONDS: Final = 120.0  # that another operation on the same thing may take
_BUSY_PAUSE: Final = 3.0


class Compute:
    """One project, one zone and its region. `new_id` makes ids of requests (UUIDs)."""

    def __init__(
        self,
        door: Door,
        project: str,
        zone: str,
        *,
        root: str = ROOT,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        seconds: float = _SECONDS,
        told: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.door, self.project, self.zone, self.region = door, project, zone, zone.rpartition("-")[0]
        self._root, self._new_id, self._seconds, self._told = root, new_id, seconds, told
        self._base = f"{root}/projects/{project}"

    def get(self, kind: Kind, name: str) -> Reply | None:
        """One thing of this place; None where it is not there. CloudError."""
        return self._maybe(f"{self._place(kind)}/{name}", f"looking at {kind} {name}")

    def zone_itself(self) -> Reply | None:
        """None: there is no such zone, or none that this project sees."""
        return self._maybe(f"{self._base}/zones/{self.zone}", f"looking at zone {self.zone}")

    def image_of(self, project: str, name: str) -> Reply | None:
        """An image of any project."""
        return self._maybe(f"{self._root}/projects/{project}/global/images/{name}", f"looking at image {name}")

    def newest_of(self, project: str, family: str) -> Reply | None:
        """The newest image of a family that is not deprecated."""
        url = f"{self._root}/projects/{project}/global/images/family/{family}"
        return self._maybe(url, f"looking for the newest image of {family}")

    def listed(self, kind: Kind, wanted: str) -> list[Reply]:
        """What a filter finds: of all zones and regions, where a kind has such. CloudError."""
        act = f"listing {kind}"
        if kind in ("images", "firewalls"):
            return [one for page in self._pages(self._place(kind), wanted, act) for one in page.each("items")]
        url = f"{self._base}/aggregated/{kind}"
        found = []
        for page in self._pages(url, wanted, act):
            places = page.sub("items")
            for place in places.names():
                found += places.sub(place).each(kind)
        return found

    def in_zone(self, kind: Kind) -> list[Reply]:
        """Everything of a kind in this zone."""
        pages = self._pages(self._place(kind), "", f"listing {kind} of {self.zone}")
        return [one for page in pages for one in page.each("items")]

    def insert(self, kind: Kind, body: Mapping[str, Any], act: str) -> None:
        """Make something. CloudError, with a code of `errors.EXISTS` where there is one of that name."""
        self._change("POST", self._place(kind), act, body)

    def delete(self, kind: Kind, name: str, *, place: str | None = None) -> None:
        """Delete it, or find it gone. `place`: another zone or region than this one."""
        try:
            self._change("DELETE", f"{self._place(kind, place)}/{name}", f"deleting {kind} {name}")
        except CloudError as error:
            if error.status != 404:
                raise

    def patch(self, kind: Kind, name: str, body: Mapping[str, Any], act: str) -> None:
        """Make a thing as this body has it."""
        self._change("PATCH", f"{self._place(kind)}/{name}", act, body)

    def set_labels(self, kind: Kind, found: Reply, labels: Mapping[str, str]) -> None:
        """Labels in place of those that `found` has. CloudError, status 412, where somebody changed them meanwhile."""
        name = found.text("name")
        body = {"labels": dict(labels), "labelFingerprint": found.text("labelFingerprint")}
        self._change("POST", f"{self._place(kind)}/{name}/setLabels", f"labelling {kind} {name}", body)

    def start(self, name: str) -> None:
        self._change("POST", f"{self._place('instances')}/{name}/start", f"starting {name}")

    def stop(self, name: str) -> None:
        """It returns when the machine is off."""
        self._change("POST", f"{self._place('instances')}/{name}/stop", f"stopping {name}")

    def give_address(self, name: str, access: Mapping[str, str]) -> None:
        """An external address for a machine that has none."""
        url, query = f"{self._place('instances')}/{name}/addAccessConfig", {"networkInterface": NETWORK_INTERFACE}
        self._change("POST", url, f"giving {name} an address", access, query=query)

    def take_address(self, name: str, access: str) -> None:
        """A machine's external address away."""
        url = f"{self._place('instances')}/{name}/deleteAccessConfig"
        query = {"networkInterface": NETWORK_INTERFACE, "accessConfig": access}
        self._change("POST", url, f"taking the address of {name}", query=query)

    def serial(self, name: str, start: int = 0) -> tuple[bytes, int]:
        """What a machine said on its serial line from byte `start` on, and where to go on.

        About the last mebibyte is kept; negative: as many bytes from the end.
        """
        act = f"reading the serial line of {name}"
        url, query = f"{self._place('instances')}/{name}/serialPort", {"port": "1", "start": str(start)}
        found = operations.parsed(self._ask("GET", url, act, query=query).json, act)
        return found.text("contents").encode(), found.number("next")

    def _maybe(self, url: str, act: str) -> Reply | None:
        answer = self._ask("GET", url, act, expect=(200, 404))
        return None if answer.status == 404 else operations.parsed(answer.json, act)

    def _pages(self, url: str, wanted: str, act: str) -> Iterator[Reply]:
        query = {"filter": wanted} if wanted else {}
        for _ in range(_MOST_PAGES):
            page = operations.parsed(self._ask("GET", url, act, query=query).json, act)
            yield page
            if not (following := page.maybe("nextPageToken")):
                return
            query["pageToken"] = following
        raise SourceError(f"{self.door.service}: {act}: the list does not end")

    def _change(
        self,
        method: str,
        url: str,
        act: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Ask for a change, again while another one is at work on the same thing, and wait for it."""
        deadline = self.door.waiting.clock() + _BUSY_SECONDS
        while True:
            try:
                self._changed(method, url, act, body, dict(query or {}))
            except CloudError as error:
                if error.code not in NOT_READY or self.door.waiting.clock() + _BUSY_PAUSE > deadline:
                    raise
                self.door.waiting.sleep(_BUSY_PAUSE)
            else:
                return

    def _changed(self, method: str, url: str, act: str, body: Mapping[str, Any] | None, query: dict[str, str]) -> None:
        query["requestId"] = self._new_id()
        data = None if body is None else canonical(body)
        answer = self._ask(method, url, act, query=query, body=data, repeatable=True)
        operation = operations.parsed(answer.json, act)
        try:
            warnings = operations.finished(self.door, self._base, operation, act, seconds=self._seconds)
        except CloudError as error:
            raise advised(error, self.project) from None
        for warning in warnings:
            self._told(f"{act}: {warning}")

    def _ask(
        self,
        method: str,
        url: str,
        act: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        expect: tuple[int, ...] = (200,),
        repeatable: bool | None = None,
    ) -> Any:
        headers = None if body is None else _JSON
        try:
            return self.door.ask(
                method, url, act, query=query, headers=headers, body=body, expect=expect, repeatable=repeatable
            )
        except CloudError as error:
            raise advised(error, self.project) from None

    def _place(self, kind: Kind, place: str | None = None) -> str:
        if kind in _ZONAL:
            return f"{self._base}/zones/{place or self.zone}/{kind}"
        if kind == "addresses":
            return f"{self._base}/regions/{place or self.region}/{kind}"
        return f"{self._base}/global/{kind}"
