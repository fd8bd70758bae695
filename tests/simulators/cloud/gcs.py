"""Buckets of Cloud Storage, as strict as its own description: an unknown field, parameter or method is a complaint.

Uploads are resumable ones. What a chunk brings before its connection is lost is kept in whole units of 256 KiB.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from simulators.cloud.castagnoli import crc32c
from simulators.cloud.wire import Reply, Request, Wire, only, problem, serving

SCHEMA: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("storage-schema.json").read_text())
UNIT = 256 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_ENUM = re.compile(r"[a-z0-9/-]+=(.*)")


@dataclass
class Session:
    """An upload that has begun."""

    bucket: str
    members: dict[str, Any]
    total: int
    must_be_new: bool
    data: bytearray = field(default_factory=bytearray)
    gone: bool = False
    finished: str = ""


@dataclass
class Gcs:
    """All buckets. `tokens`: which are accepted; `spoil`: changes the object that is made."""

    wire: Wire
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    content: dict[tuple[str, str], bytes] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=lambda: {"first"})
    page_size: int = 1000
    keep_at_most: int | None = None  # of what a chunk brings, once
    changed: dict[str, Any] = field(default_factory=dict)  # members of the next description that is given
    generations: int = 1000

    def serve(self, request: Request) -> Reply:
        with self.wire.lock:
            if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                return _refused(401, "authError", "Invalid Credentials")
            reply = self._route(request)
            if self.changed and reply.status in (200, 201) and reply.body:
                made = {**json.loads(reply.body), **self.changed}
                self.changed = {}
                body = json.dumps({name: value for name, value in made.items() if value is not None}).encode()
                return Reply(reply.status, reply.headers, body)
            return reply

    def _route(self, request: Request) -> Reply:
        upload = _matched(SCHEMA["upload"], request.target)
        if upload is not None:
            if request.method == "POST":
                return self._begin(request, upload["bucket"])
            return self._chunk(request)
        for name, described in SCHEMA["methods"].items():
            place = _matched(described["path"], request.target)
            if place is not None and described["method"] == request.method and name != "insert":
                _check_query(request, described["query"])
                if request.body:
                    problem("a body where none belongs")
                return getattr(self, f"_{name}")(request, **place)  # type: ignore[no-any-return]
        return problem("no such method")

    def _get(self, request: Request, bucket: str, object: str) -> Reply:  # noqa: A002 - Google's name
        found = self.objects.get((bucket, object))
        return _refused(404, "notFound", f"No such object: {object}") if found is None else _described(found, request)

    def _delete(self, request: Request, bucket: str, object: str) -> Reply:  # noqa: A002 - Google's name
        found = self.objects.get((bucket, object))
        if found is None or request.value("generation") not in (None, found["generation"]):
            return _refused(404, "notFound", "No such object")
        del self.objects[bucket, object]
        return Reply(204)

    def _list(self, request: Request, bucket: str) -> Reply:
        prefix, after = request.value("prefix") or "", request.value("pageToken") or ""
        names = sorted(name for held, name in self.objects if held == bucket and name.startswith(prefix))
        left = [name for name in names if name > after]
        page = left[: self.page_size]
        body: dict[str, Any] = {"items": [self.objects[bucket, name] for name in page]} if page else {}
        if len(left) > len(page):
            body["nextPageToken"] = page[-1]
        return Reply(200, body=json.dumps(body).encode())

    def _begin(self, request: Request, bucket: str) -> Reply:
        _check_query(request, {**SCHEMA["methods"]["insert"]["query"]})
        if request.value("uploadType") != "resumable":
            problem("no resumable upload")
        if not request.whole:
            return Reply(400)
        members = json.loads(request.body)
        for name, value in members.items():
            kind = SCHEMA["object"].get(name) or problem(f"an object has no {name}")
            if not isinstance(value, dict if kind == "object" else str):
                problem(f"{name} is no {kind}")
        name = request.value("name") or members.get("name") or problem("no name")
        if members.get("name", name) != name:
            problem("two names")
        if (bucket, name) in self.objects and request.value("ifGenerationMatch") == "0":
            return _refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        total = int(request.headers["x-upload-content-length"])
        number = f"session-{len(self.sessions)}"
        new = request.value("ifGenerationMatch") == "0"
        self.sessions[number] = Session(bucket, {**members, "name": name}, total, new)
        place = SCHEMA["upload"].replace("{bucket}", bucket)
        return Reply(200, {"Location": f"{self.wire.url}{place}?uploadType=resumable&upload_id={number}"})

    def _chunk(self, request: Request) -> Reply:
        if request.method != "PUT":
            problem("a session takes PUT")
        session = self.sessions.get(request.value("upload_id") or "")
        if session is None or session.gone:
            return _refused(410, "gone", "The session is gone")
        wanted = request.headers.get("content-range", "")
        if wanted == f"bytes */{session.total}":
            if request.body:
                problem("a question with a body")
            return self._how_far(session, request)
        found = _CONTENT_RANGE.fullmatch(wanted) or problem(f"Content-Range: {wanted!r}")
        begin, end, total = int(found[1]), int(found[2]) + 1, int(found[3])
        if total != session.total or end > total:
            problem("another size than was said")
        if request.whole and len(request.body) != end - begin:
            problem("the body has another length than its range")
        if end != total and (end - begin) % UNIT:
            problem("a chunk is no multiple of 256 KiB")
        if begin > len(session.data):
            return _refused(503, "backendError", "bytes are missing before these")
        if session.finished:
            return self._how_far(session, request)
        self._keep(session, begin, request)
        return self._how_far(session, request)

    def _keep(self, session: Session, begin: int, request: Request) -> None:
        new = request.body[len(session.data) - begin :]
        if not request.whole:
            new = new[: len(new) // UNIT * UNIT]
        if self.keep_at_most is not None:
            new, self.keep_at_most = new[: self.keep_at_most], None
        session.data += new

    def _how_far(self, session: Session, request: Request) -> Reply:
        if session.finished:
            return _described(self.objects[session.bucket, session.finished], request)
        if len(session.data) < session.total:
            known = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return Reply(308, known)
        return self._finish(session, request)

    def _finish(self, session: Session, request: Request) -> Reply:
        name, data = session.members["name"], bytes(session.data)
        if session.must_be_new and (session.bucket, name) in self.objects:
            return _refused(412, "conditionNotMet", "Precondition Failed")
        crc = b64encode(crc32c(data).to_bytes(4, "big")).decode()
        if session.members.get("crc32c", crc) != crc:
            return _refused(400, "invalid", f"Provided CRC32C does not match calculated {crc}.")
        self.put(session.bucket, name, data, **{key: value for key, value in session.members.items() if key != "name"})
        session.finished = name
        return _described(self.objects[session.bucket, name], request)

    def put(self, bucket: str, name: str, data: bytes, **members: Any) -> None:
        """An object that is there."""
        self.generations += 1
        self.content[bucket, name] = data
        self.objects[bucket, name] = {
            **members,
            "bucket": bucket,
            "name": name,
            "generation": str(self.generations),
            "size": str(len(data)),
            "crc32c": b64encode(crc32c(data).to_bytes(4, "big")).decode(),
            "md5Hash": b64encode(hashlib.md5(data).digest()).decode(),
        }


def _described(members: dict[str, Any], request: Request) -> Reply:
    """The fields that were asked for; a session remembers none, as Google's do."""
    fields = (request.value("fields") or "").split(",") if request.method == "GET" else []
    if unknown := [name for name in fields if name and name not in SCHEMA["object"]]:
        problem(f"an object has no {unknown[0]}")
    chosen = {name: value for name, value in members.items() if not fields or name in fields}
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(chosen).encode())


def _check_query(request: Request, known: dict[str, str]) -> None:
    described = {**SCHEMA["common"], **known}
    only(request.query, set(described), "parameter")
    for name, value in request.query:
        kind = described[name]
        if "int" in kind and not value.isdigit():
            problem(f"{name} is no number")
        if (allowed := _ENUM.fullmatch(kind)) and value not in allowed[1].split("|"):
            problem(f"{name} cannot be {value}")


def _matched(pattern: str, target: str) -> dict[str, str] | None:
    """The parts of a path, which are one segment each: a name's slashes are encoded."""
    found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/?]+)", pattern), target.partition("?")[0])
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def _refused(status: int, reason: str, words: str) -> Reply:
    errors = [{"message": words, "domain": "global", "reason": reason}]
    body = {"error": {"code": status, "message": words, "errors": errors}}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


@contextmanager
def buckets() -> Iterator[Gcs]:
    """Empty buckets of any name."""
    made: list[Gcs] = []

    def begin(wire: Wire) -> Gcs:
        made.append(Gcs(wire))
        return made[0]

    with serving(lambda wire: begin(wire).serve):
        yield made[0]
