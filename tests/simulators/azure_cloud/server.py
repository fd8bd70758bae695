"""The pretended Azure behind one port of the loopback interface: a thread per connection, one request at a time."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from simulators.azure_cloud import disks
from simulators.azure_cloud.cloud import Cloud, LostError
from simulators.azure_cloud.login import Logins
from simulators.served import served


@dataclass
class Azure:
    """All of it. `blobs`: requests for pages that are refused (number → status), or lost (number → 0)."""

    cloud: Cloud = field(default_factory=Cloud)
    logins: Logins = field(default_factory=Logins)
    blobs: dict[int, int] = field(default_factory=dict)
    pages: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    texts: list[str] = field(default_factory=list)  # every address and header that was seen, for looking after secrets

    @property
    def base(self) -> str:
        return self.cloud.base

    @property
    def failures(self) -> list[str]:
        return self.cloud.failures + self.logins.failures


@contextmanager
def running() -> Iterator[Azure]:
    """On a port of its own."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.azure = azure = Azure()
    azure.cloud.base = f"http://127.0.0.1:{server.server_port}"
    with served(server):
        yield azure


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    azure: Azure


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    server: _Server

    def _any(self) -> None:
        azure = self.server.azure
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            with azure.lock:
                status, more, content = answered(azure, self.command, self.path, headers, body)
        except Exception as error:  # noqa: BLE001  a fault of the fake's is one of the test's
            if not isinstance(error, LostError):
                azure.cloud.failures.append(f"{self.command} {self.path[:200]}: {error!r}")
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        length = more.pop("Content-Length", str(len(content)))
        for name, value in {**more, "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815 - the base class names them so

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return super().date_time_string(self.server.azure.cloud.now)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def answered(
    azure: Azure, method: str, target: str, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, Any], bytes]:
    """Status, headers and body of the answer to one request."""
    cloud, parts = azure.cloud, urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.path.endswith("/oauth2/v2.0/token"):
        status, document = azure.logins.token(parts.path, body, f"{cloud.base}{parts.path}", cloud.now)
        return _told(azure, status, document)
    if parts.path == "/metadata/identity/oauth2/token":
        status, document = azure.logins.machine(query, headers)
        return _told(azure, status, document)
    if parts.path.startswith("/blob/"):
        return _blob(azure, method, query, headers, body)
    if parts.path.startswith("/serial/"):
        machine = cloud.find(cloud.keys.get(query.get("sig", "")))
        if machine is None or "authorization" in headers:
            return 403, {}, b""
        return 200, {}, cloud.hidden[machine["id"].lower()]["log"]
    token = headers.get("authorization", "").removeprefix("Bearer ")
    answer = cloud.handle(method, parts.path, query, body, token)
    content = b"" if answer.body is None else json.dumps(answer.body).encode()
    return answer.status, {**answer.headers, "Content-Type": "application/json"}, content


def _blob(
    azure: Azure, method: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> tuple[int, Any, bytes]:
    if "authorization" in headers:
        azure.cloud.failures.append("a token was sent to a blob")
    azure.pages += 1
    fault = azure.blobs.pop(azure.pages, None)
    if fault == 0:
        raise LostError
    if fault is not None:
        return fault, {"x-ms-error-code": "Injected"}, b""
    return disks.blob(azure.cloud, method, query, headers, body)


def _told(azure: Azure, status: int, document: Any) -> tuple[int, dict[str, Any], bytes]:
    if status == 200:
        azure.cloud.tokens[document["access_token"]] = azure.cloud.now + azure.logins.life
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()
