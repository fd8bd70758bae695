"""The launcher's token server of Confidential Space, on a unix socket, with tokens that are really signed. For tests.

As of google/go-tpm-tools, launcher/teeserver: POST /v1/token takes `audience`, `token_type` and `nonces` and nothing
else; a bare token comes back as text/html; a caller's mistakes are 400, a wrong method too. Strict, and loud: what the
real one would merely swallow is an assertion in `problems`.
"""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER: Final = "https://confidentialcomputing.googleapis.com"
STS: Final = "https://sts.googleapis.com"
_TYPES: Final = ("OIDC", "PKI", "LIMITED_AWS", "AWS_PRINCIPALTAGS")
_MEMBERS: Final = {"audience", "token_type", "nonces", "aws_principal_tag_options"}
_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Behaviour:
    """Change it while the server runs. `statuses`: to give instead of working, in order, with a Retry-After if any."""

    statuses: list[tuple[int, str | None]] = field(default_factory=list)
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    body: Callable[[bytes], bytes] = lambda token: token
    pause: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    most_at_once: int = 0


def token_of(claims: dict[str, Any], kind: str) -> bytes:
    """RS256, as OIDC (a key id) or PKI (a chain in the header; here a stand-in)."""
    head = {"alg": "RS256", "typ": "JWT", **({"kid": "test"} if kind == "OIDC" else {"x5c": ["AA=="]})}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    signature = _KEY.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")))


def refusal_of(request: Any) -> str | None:
    """Why the launcher answers 400; None if it does not."""
    if not isinstance(request, dict) or request.keys() - _MEMBERS:
        return "unknown field"
    audience, nonces = request.get("audience", ""), request.get("nonces", [])
    if not audience or len(audience) > 512 or audience == STS:
        return "audience"
    if request.get("token_type") not in _TYPES:
        return "token_type"
    if not (isinstance(nonces, list) and len(nonces) <= 6 and all(10 <= len(nonce) <= 74 for nonce in nonces)):
        return "nonces"
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TeeServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        pass

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._answer(400, b"use POST")

    def do_POST(self) -> None:
        behaviour = self.server.behaviour
        with self.server.counting():
            body = self.rfile.read(int(self.headers["content-length"]))
            request = json.loads(body)
            behaviour.asked.append(request)
            time.sleep(behaviour.pause)
            answer = self._found(request)
        self._answer(*answer)  # not counted: whoever has it may ask again before we notice

    def _found(self, request: dict[str, Any]) -> tuple[int, bytes, str | None]:
        behaviour = self.server.behaviour
        if self.path != "/v1/token":
            return 404, b"", None
        if (problem := refusal_of(request)) is not None:
            behaviour.problems.append(problem)
            return 400, problem.encode(), None
        if behaviour.statuses:
            status, retry = behaviour.statuses.pop(0)
            return status, b"quota", retry
        token = token_of(behaviour.change(_claims(request)), request["token_type"])
        return 200, behaviour.body(token), None

    def _answer(self, status: int, body: bytes, retry: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if retry is not None:
            self.send_header("Retry-After", retry)
        self.end_headers()
        self.wfile.write(body)


def _claims(request: dict[str, Any]) -> dict[str, Any]:
    nonces = request["nonces"]
    return {
        "aud": request["audience"],
        "iss": ISSUER,
        "iat": 1_795_000_000,
        "exp": 1_795_003_600,
        "eat_nonce": nonces[0] if len(nonces) == 1 else nonces,
        "hwmodel": "GCP_INTEL_TDX",
        "swname": "CONFIDENTIAL_SPACE",
        "dbgstat": "disabled-since-boot",
    }


class TeeServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """As a context manager: serves on `path` until it is left."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.behaviour = Behaviour()
        self._lock, self._now = threading.Lock(), 0
        self.path = str(path)
        super().__init__(self.path, _Handler)

    def __enter__(self) -> TeeServer:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()

    def counting(self) -> _Counting:
        return _Counting(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""

    def _count(self, step: int) -> None:
        with self._lock:
            self._now += step
            self.behaviour.most_at_once = max(self.behaviour.most_at_once, self._now)


@dataclass
class _Counting:
    server: TeeServer

    def __enter__(self) -> None:
        self.server._count(1)

    def __exit__(self, *_: object) -> None:
        self.server._count(-1)
