"""A registry with tokens, as strict as the OCI Distribution Specification: what a client may not do is a complaint.

Pushes take place by POST, PATCH, PUT; the words that it puts into the URL of an upload must come back with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulators.cloud.wire import Reply, Request, Wire, only, problem, serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NAME = "project/notary"
_ROUTE = re.compile(r"(blobs|manifests)/([A-Za-z0-9:._-]+)")
_UPLOAD = re.compile(r"blobs/uploads/(u\d+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class Upload:
    """What of a blob arrived; its state changes with every part."""

    data: bytes = b""
    parts: int = 0


@dataclass
class OciRegistry:
    """One repository. `challenge` None: nobody has to log in; `calls_it`: the digest that it says, right or wrong."""

    wire: Wire
    name: str = NAME
    user: str = "pusher"
    password: str = "pass:word"
    challenge: str | None = "bearer"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)  # that are accepted
    given: int = 0
    token_answer: bytes | None = None
    calls_it: str | None = None
    gives: bytes | None = None  # in place of the manifest
    redirects: bool = False  # keeps its blobs elsewhere
    absolute: bool = False  # whole URLs in Location

    def serve(self, request: Request) -> Reply:
        with self.wire.lock:
            if request.path == "/token":
                return self._token(request)
            if (refused := self._unauthorised(request)) is not None:
                return refused
            if request.path == "/v2/":
                return Reply(200)
            if not request.path.startswith(f"/v2/{self.name}/"):
                return problem("no such place")
            path = request.path.removeprefix(f"/v2/{self.name}/")
            if path == "blobs/uploads/" and request.method == "POST":
                only(request.query, set(), "parameter")
                number = f"u{len(self.uploads)}"
                self.uploads[number] = Upload()
                return Reply(202, {"Location": self._place(number), "Range": "0-0"})
            if found := _UPLOAD.fullmatch(path):
                return self._upload(request, found[1])
            if found := _ROUTE.fullmatch(path):
                if found[1] == "blobs":
                    return self._blob(request, found[2])
                return self._manifest(request, found[2])
            return problem("no such place")

    def _unauthorised(self, request: Request) -> Reply | None:
        given = request.headers.get("authorization", "")
        if self.challenge is None:
            return problem("a login that nobody asked for") if given else None
        if self.challenge == "basic":
            return None if given == self._basic() else self._refused(f'Basic realm="{self.wire.url}"')
        if given.removeprefix("Bearer ") in self.tokens:
            return None
        realm = self.challenge if self.challenge != "bearer" else f"{self.wire.url}/token"
        return self._refused(f'Bearer realm="{realm}",service="a registry, \\"ours\\"",scope="x:y:z"')

    def _refused(self, how: str) -> Reply:
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}
        return Reply(401, {"WWW-Authenticate": how}, json.dumps(body).encode())

    def _basic(self) -> str:
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _token(self, request: Request) -> Reply:
        only(request.query, {"service", "scope"}, "parameter")
        if request.value("service") != 'a registry, "ours"':
            problem("another service")
        if request.value("scope") not in (f"repository:{self.name}:pull,push", f"repository:{self.name}:delete"):
            problem("another scope")
        if request.headers.get("authorization") != self._basic():
            return self._refused("Basic")
        self.given += 1
        token = f"token-{self.given}"
        self.tokens.add(token)
        member = "token" if self.given % 2 else "access_token"
        answer = json.dumps({member: token, "expires_in": 60}).encode()
        answer = answer if self.token_answer is None else self.token_answer
        return Reply(200, {"Content-Type": "application/json"}, answer)

    def _place(self, number: str) -> str:
        path = f"/v2/{self.name}/blobs/uploads/{number}?_state=a%2Fb%3D%3D{self.uploads[number].parts}"
        return self.wire.url + path if self.absolute else path

    def _upload(self, request: Request, number: str) -> Reply:
        upload = self.uploads.get(number)
        if upload is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.value("_state") != f"a/b=={upload.parts}":
            problem("the words of the registry did not come back")
        if request.headers.get("content-type", "application/octet-stream") != "application/octet-stream":
            problem("another Content-Type")
        if request.method == "PATCH":
            if "content-range" in request.headers and not request.headers["content-range"].startswith("0-"):
                problem("another Content-Range")
            upload.data, upload.parts = upload.data + request.body, upload.parts + 1
            return Reply(202, {"Location": self._place(number), "Range": f"0-{len(upload.data) - 1}"})
        if request.method != "PUT":
            problem("an upload takes PATCH and PUT")
        digest = request.value("digest") or ""
        data = upload.data + request.body
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            return _error(400, "DIGEST_INVALID")
        self.blobs[digest] = data
        del self.uploads[number]
        return Reply(201, {"Docker-Content-Digest": self.calls_it or digest, "Location": "/elsewhere"})

    def _blob(self, request: Request, digest: str) -> Reply:
        if request.method != "HEAD":
            problem("nobody needs the blob")
        if digest not in self.blobs:
            return _error(404, "BLOB_UNKNOWN")
        if self.redirects:
            return Reply(307, {"Location": "https://storage.example/blob"})
        size = {"Content-Length": str(len(self.blobs[digest]))}
        return Reply(200, {**size, "Docker-Content-Digest": self.calls_it or digest})

    def _manifest(self, request: Request, reference: str) -> Reply:
        if request.method == "GET":
            if request.headers.get("accept") != MANIFEST:
                problem("no Accept")
            if reference not in self.manifests:
                return _error(404, "MANIFEST_UNKNOWN")
            body = self.gives or self.manifests[reference]
            digest = f"sha256:{hashlib.sha256(self.manifests[reference]).hexdigest()}"
            return Reply(200, {"Docker-Content-Digest": digest, "Content-Type": MANIFEST}, body)
        if request.method == "DELETE":
            return Reply(202) if self.manifests.pop(reference, None) is not None else _error(404, "MANIFEST_UNKNOWN")
        if request.method != "PUT":
            problem("a manifest takes GET, PUT and DELETE")
        if not request.whole:
            return Reply(400)
        if request.headers.get("content-type") != MANIFEST:
            problem("another Content-Type")
        digest = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
        if _DIGEST.fullmatch(reference) and reference != digest:
            return _error(400, "DIGEST_INVALID")
        document = json.loads(request.body)
        for blob in (document["config"], *document["layers"]):
            if blob["digest"] not in self.blobs:
                return _error(404, "MANIFEST_BLOB_UNKNOWN")
        self.manifests[digest] = self.manifests[reference] = request.body
        return Reply(201, {"Docker-Content-Digest": self.calls_it or digest})


def _error(status: int, code: str) -> Reply:
    return Reply(status, body=json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())


@contextmanager
def registry(name: str = NAME) -> Iterator[OciRegistry]:
    """An empty repository of that name."""
    made: list[OciRegistry] = []

    def begin(wire: Wire) -> OciRegistry:
        made.append(OciRegistry(wire, name))
        return made[0]

    with serving(lambda wire: begin(wire).serve):
        yield made[0]
