"""Google's services on loopback: real HTTP, checked against their own description. For tests alone.

    with serving() as cloud:       cloud.outside() leads a target there
        cloud.fail("instances.insert", Status(503)), Lost(), LostAnswer(), OperationError("CODE", "words")

Whatever no client of ours may do is noted in `cloud.wrong`, and fails the test when the block ends.
"""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from simulators.google import schema, tokens
from simulators.google.compute import Compute
from simulators.google.schema import WrongRequestError
from simulators.google.state import RefusedError, State
from simulators.google.tokens import Tokens
from simulators.served import served


@dataclass(frozen=True)
class Status:
    """An error of the service itself, without effect."""

    code: int
    reason: str = "backendError"
    message: str = "Try again."
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Lost:
    """The connection ends before anything was done."""


@dataclass(frozen=True)
class LostAnswer:
    """It was done, and the connection ends."""


@dataclass(frozen=True)
class Other:
    """Another answer than the right one."""

    body: bytes


@dataclass(frozen=True)
class OperationError:
    """The operation does nothing, and says so in an answer with status 200."""

    code: str
    message: str = "it failed"


Fault = Status | Lost | LostAnswer | Other | OperationError
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Cloud:
    """One project and its services. `asked`: methods, in order; `changes`: of those, how many change something."""

    url: str
    state: State
    compute: Compute
    tokens: Tokens
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    changes: int = 0
    stop_at: tuple[int, str] | None = None  # at this change, "before" or "after" it, the client is killed
    killed: bool = False
    watch: Callable[[], None] = lambda: None  # after each change
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, method: str, *faults: Fault) -> None:
        """What the next calls of a method get instead."""
        self.faults.setdefault(method, []).extend(faults)


@contextmanager
def serving(*, strict: bool = True) -> Iterator[Cloud]:
    """The services, until the block ends."""

    class Handler(_Handler):
        cloud: Cloud

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = State()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    cloud = Cloud(url, state, Compute(state), Tokens(url))
    Handler.cloud = cloud
    with served(server):
        yield cloud
        if strict:
            assert not cloud.wrong, cloud.wrong


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body go out together
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class names them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read `Cloud.asked`."""

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.cloud.lock:
            answer = self._answered(data)
        if answer is None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(2)
            return
        status, headers, body = answer
        self.send_response_only(status)
        for name, value in {"Date": formatdate(self.cloud.state.wall, usegmt=True), **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def _answered(self, data: bytes) -> tuple[int, dict[str, str], bytes] | None:
        cloud = self.cloud
        if cloud.killed:
            return None
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if (token := tokens.answer(cloud.tokens, self.command, parts.path, query, self.headers, data)) is not None:
            cloud.wrong += token.wrong
            cloud.asked.append("token")
            return token.status, {"Content-Type": "application/json", **token.headers}, token.body
        try:
            if not cloud.tokens.holds(self.headers.get("Authorization", "")):
                raise RefusedError(401, "authError", "Invalid Credentials")
            return self._called(parts.path, query, data)
        except WrongRequestError as error:
            cloud.wrong.append(str(error))
            return _refused(RefusedError(400, "invalid", str(error)))
        except RefusedError as error:
            return _refused(error)
        except Exception as error:  # noqa: BLE001  what goes wrong in a thread would not fail a test
            cloud.wrong.append(repr(error))
            return _refused(RefusedError(400, "invalid", repr(error)))

    def _called(self, path: str, query: dict[str, str], data: bytes) -> tuple[int, dict[str, str], bytes] | None:
        cloud, answer = self.cloud, self._storage if "storage/v1" in path else self._compute
        method, act = answer(path, query, data)
        cloud.asked.append(method)
        fault = cloud.faults[method].pop(0) if cloud.faults.get(method) else None
        changing = self.command in CHANGING
        if changing:
            cloud.changes += 1
        stop = cloud.stop_at if changing and cloud.stop_at and cloud.stop_at[0] == cloud.changes else None
        if isinstance(fault, Status):
            refused = _refused(RefusedError(fault.code, fault.reason, fault.message))
            return refused[0], {**refused[1], **dict(fault.headers)}, refused[2]
        if stop is not None and stop[1] == "before":
            cloud.killed = True
        if isinstance(fault, Lost) or cloud.killed:
            return None
        found = act()
        if isinstance(fault, OperationError):
            self._undo(found, fault)
        if changing:
            cloud.watch()
        if stop is not None:
            cloud.killed = True
            return None
        if isinstance(fault, LostAnswer):
            return None
        return found if not isinstance(fault, Other) else (200, {}, fault.body)

    def _compute(self, path: str, query: dict[str, str], data: bytes) -> tuple[str, Callable[[], Any]]:
        if not path.startswith("/compute/v1/"):
            raise WrongRequestError(f"there is nothing at {path}")
        if data and self.headers.get("Content-Type") != "application/json":
            raise WrongRequestError("a body is JSON")
        body = json.loads(data) if data else None
        call = schema.call_of("compute.v1", self.command, path.removeprefix("/compute/v1/"), query, body)

        def act() -> tuple[int, dict[str, str], bytes]:
            found = self.cloud.compute.answer(call)
            response = schema.documents()["compute.v1"]["methods"][call.method]["response"]
            schema.check("compute.v1", {"$ref": response}, found, call.method, asked=None)
            return _json(found)

        return call.method, act

    def _undo(self, answer: tuple[int, dict[str, str], bytes], fault: OperationError) -> None:
        """The operation that was just begun fails; what it made goes."""
        begun = json.loads(answer[2])["name"]
        operation = next(one for key, one in self.cloud.state.operations.items() if key.endswith(f"/{begun}"))
        target = operation.thing["targetLink"].rpartition("/")[2]

        def finish() -> tuple[str, str]:
            if operation.thing["operationType"] == "insert":
                for path, things in self.cloud.state.things.items():
                    if not path.startswith("confidential"):
                        things.pop(target, None)
            return fault.code, fault.message

        operation.finish = finish

    def _storage(self, path: str, query: dict[str, str], data: bytes) -> tuple[str, Callable[[], Any]]:
        uploading = path.startswith("/upload/")
        below = path.removeprefix("/upload").removeprefix("/storage/v1/")
        call = schema.call_of("storage.v1", self.command, below, query, None)
        if (call.method == "objects.insert") != uploading or (uploading and query.get("uploadType") != "media"):
            raise WrongRequestError(f"{call.method}: an upload has its own address")
        return call.method, lambda: self._object(call.method, call, query, data)

    def _object(self, method: str, call: schema.Call, query: dict[str, str], data: bytes) -> Any:
        state = self.cloud.state
        if call.at["bucket"] not in state.buckets:
            raise RefusedError(404, "notFound", "The specified bucket does not exist.")
        if method == "objects.list":
            names = sorted(name for name in state.objects if name.startswith(query.get("prefix", "")))
            first = int(query.get("pageToken", "0"))
            page = {"kind": "storage#objects", "items": [self._resource(name) for name in names[first : first + 2]]}
            return _json(page | ({"nextPageToken": str(first + 2)} if first + 2 < len(names) else {}))
        name = call.at.get("object", query.get("name", ""))
        kept = state.objects.get(name)
        wanted = query.get("ifGenerationMatch")
        if method != "objects.insert" and kept is None:
            raise RefusedError(404, "notFound", f"No such object: {name}")
        if wanted is not None and int(wanted) != (0 if kept is None else kept[1]):
            raise RefusedError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        if method == "objects.delete":
            del state.objects[name]
            return 204, {}, b""
        if method == "objects.insert":
            state.wall += 1
            state.objects[name] = (data, next(state.numbers), state.wall)
            return _json(self._resource(name))
        if query.get("alt") == "media":
            assert kept is not None
            return 200, {"Content-Type": "application/octet-stream"}, kept[0]
        return _json(self._resource(name))

    def _resource(self, name: str) -> dict[str, Any]:
        data, generation, written = self.cloud.state.objects[name]
        when = datetime.datetime.fromtimestamp(written, datetime.UTC).isoformat(timespec="milliseconds")
        found = {"kind": "storage#object", "name": name, "bucket": "our-bucket", "generation": str(generation)}
        found |= {
            "size": str(len(data)),
            "updated": when.replace("+00:00", "Z"),
            "crc32c": base64.b64encode(bytes(4)).decode(),
        }
        schema.check("storage.v1", {"$ref": "Object"}, found, "object", asked=None)
        return found


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(value).encode()


def _refused(error: RefusedError) -> tuple[int, dict[str, str], bytes]:
    one = {"message": error.message, "domain": "global", "reason": error.reason}
    body = {"error": {"code": error.status, "message": error.message, "errors": [one]}}
    return error.status, {"Content-Type": "application/json"}, json.dumps(body).encode()
