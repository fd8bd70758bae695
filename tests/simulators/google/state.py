"""What the fake of Compute Engine keeps, and how it changes: names, fingerprints, operations that take time."""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

PROJECT = "our-project"
ZONE = "europe-west4-a"
REGION = "europe-west4"
SPACE = "confidential-space-images"
LINK = "https://www.googleapis.com/compute/v1"
Thing = dict[str, Any]


class RefusedError(Exception):
    """An error in the body of an answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Operation:
    """Goes on with every request that comes, whoever asks for what. `finish`: what it does in the end, and what it then

    says went wrong; `polls`: how many requests it still takes.
    """

    thing: Thing
    polls: int
    finish: Callable[[], tuple[str, str] | None]
    error: tuple[str, str] | None = None
    done: bool = False

    def go_on(self) -> None:
        if not self.done:
            self.polls -= 1
            self.thing["status"] = "RUNNING"
            if self.polls <= 0:
                self.end()

    def end(self) -> None:
        if self.done:
            return
        self.done, self.error = True, self.finish()
        self.thing |= {"status": "DONE", "progress": 100}
        if self.error is not None:
            code, message = self.error
            self.thing |= {
                "error": {"errors": [{"code": code, "message": message}]},
                "httpErrorStatusCode": 503,
                "httpErrorMessage": "SERVICE UNAVAILABLE",
            }


@dataclass
class State:
    """All of one project. `polls`: how many requests an operation takes."""

    polls: int = 1
    things: dict[str, dict[str, Thing]] = field(default_factory=dict)  # collection path → name → thing
    operations: dict[str, Operation] = field(default_factory=dict)  # by its path
    asked: dict[str, Operation] = field(default_factory=dict)  # by the id of a request
    objects: dict[str, tuple[bytes, int, float]] = field(default_factory=dict)  # name → bytes, generation, written
    buckets: set[str] = field(default_factory=lambda: {"our-bucket"})
    wall: float = 1_790_000_000.0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def collection(self, path: str) -> dict[str, Thing]:
        return self.things.setdefault(path, {})

    def get(self, path: str, name: str) -> Thing:
        """RefusedError where it is not there."""
        if name not in self.collection(path):
            raise RefusedError(404, "notFound", f"The resource 'projects/{path}/{name}' was not found")
        return self.things[path][name]

    def add(self, path: str, thing: Thing, kind: str) -> Thing:
        """RefusedError where the name is taken."""
        name = thing["name"]
        if name in self.collection(path):
            raise RefusedError(409, "alreadyExists", f"The resource 'projects/{path}/{name}' already exists")
        made = copy.deepcopy(thing) | {
            "id": str(next(self.numbers) * 1_000_003),
            "kind": f"compute#{kind}",
            "creationTimestamp": self.now(),
            "selfLink": f"{LINK}/projects/{path}/{name}",
        }
        self.things[path][name] = made
        return made

    def now(self) -> str:
        """Google writes times with an offset, and milliseconds."""
        self.wall += 1
        zone = datetime.timezone(datetime.timedelta(hours=-8))
        return datetime.datetime.fromtimestamp(self.wall, zone).isoformat(timespec="milliseconds")

    def begin(
        self, place: str, kind: str, request: str, finish: Callable[[], tuple[str, str] | None], target: str
    ) -> Thing:
        """An operation at `place` ("P/zones/Z", "P/regions/R", "P/global")."""
        name = f"operation-{next(self.numbers)}"
        thing: Thing = {
            "id": str(next(self.numbers)), "kind": "compute#operation", "name": name, "operationType": kind,
            "status": "PENDING", "progress": 0, "insertTime": self.now(), "targetLink": f"{LINK}/projects/{target}",
            "selfLink": f"{LINK}/projects/{place}/operations/{name}", "user": "somebody@example.org",
        }  # fmt: skip
        _, *scope = place.split("/")
        if len(scope) == 2:
            thing[scope[0].removesuffix("s")] = f"{LINK}/projects/{place}"
        operation = Operation(thing, self.polls, finish)
        self.operations[f"{place}/operations/{name}"] = operation
        self.asked[request] = operation
        return thing

    def go_on(self) -> None:
        """Time passes."""
        for operation in list(self.operations.values()):
            operation.go_on()

    def settle(self) -> None:
        """Everything that was begun comes to its end, as it does while nobody looks."""
        for operation in self.operations.values():
            operation.end()


def fingerprint(value: Any) -> str:
    """Of what is changed only by whoever knows how it is."""
    return base64.b64encode(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()[:8]).decode()


def labelled(thing: Thing) -> Thing:
    """With the fingerprint of its labels."""
    thing["labelFingerprint"] = fingerprint(thing.get("labels", {}))
    return thing
