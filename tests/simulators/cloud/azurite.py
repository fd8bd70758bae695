"""Azurite behind a door that enforces what it does not: Azurite takes the bytes, the door is as strict as Azure.

Azurite 3.35 admits more than 4 MiB at once and pages behind the end, and does not look at Content-MD5. Keys (SAS) are
Azurite's own, signed as Azure's are; that one was revoked is known to the door. Format of a service SAS: Azure Storage,
"Create a service SAS", version 2020-12-06 and later.
"""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import requests

from simulators import containers
from simulators.cloud.page_blobs import check_page
from simulators.cloud.wire import Reply, Request, Wire, serving

ACCOUNT = "devstoreaccount1"
# The account and the key that every Azurite has, by its documentation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2023-11-03"
PATH = f"/{ACCOUNT}/disks/disk"


def blob_sas(expires: datetime, permissions: str = "rw") -> str:
    """The query of a URL that may read and write the one blob until then."""
    expiry = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [permissions, "", expiry, f"/blob{PATH}", "", "", "", VERSION, "b", "", "", "", "", "", "", ""]
    return urlencode({"sv": VERSION, "sr": "b", "sp": permissions, "se": expiry, "sig": _signed("\n".join(fields))})


def account_sas() -> str:
    """The query that may do everything, for the test alone."""
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [ACCOUNT, "rwdlac", "b", "sco", "", expiry, "", "", VERSION, "", ""]
    signed = _signed("\n".join(fields))
    return urlencode({"sv": VERSION, "ss": "b", "srt": "sco", "sp": "rwdlac", "se": expiry, "sig": signed})


def _signed(text: str) -> str:
    return b64encode(hmac.new(b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()


class Azurite:
    """One page blob. `base`: where Azurite itself answers."""

    def __init__(self, wire: Wire, base: str, size: int) -> None:
        self.wire, self.base, self.size = wire, base, size
        self.granted = 0
        self.revoked: set[str] = set()
        headers = {"x-ms-version": VERSION}
        sas = account_sas()
        made = requests.put(f"{base}/{ACCOUNT}/disks?restype=container&{sas}", headers=headers, timeout=10)
        assert made.status_code in (201, 409), made.text
        headers |= {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(size), "Content-Length": "0"}
        made = requests.put(f"{base}{PATH}?{sas}", headers=headers, timeout=10)
        assert made.status_code == 201, made.text

    def grant(self, *, fresh: bool = False, expired: bool = False) -> str:
        """A URL with a key of its own; a fresh one revokes nothing."""
        del fresh
        self.granted += 1
        lifetime = timedelta(hours=-1) if expired else timedelta(hours=1, seconds=self.granted)
        return f"{self.wire.url}{PATH}?{blob_sas(datetime.now(UTC) + lifetime)}"

    def content(self) -> bytes:
        got = requests.get(f"{self.base}{PATH}?{account_sas()}", headers={"x-ms-version": VERSION}, timeout=60)
        assert got.status_code == 200, got.text
        return got.content

    def serve(self, request: Request) -> Reply:
        if request.value("sig") in self.revoked:
            return Reply(403, {"x-ms-error-code": "AuthenticationFailed"})
        if request.method == "PUT" and request.whole:
            check_page(request, self.size)
        if not request.whole:
            return Reply(400)
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        url = self.base + request.target
        with requests.Session() as session:
            session.trust_env = False
            got = session.request(request.method, url, headers=headers, data=request.body, timeout=30)
        kept = {"content-type", "content-length", "x-ms-blob-type", "x-ms-error-code", "content-md5", "etag"}
        told = {name: value for name, value in got.headers.items() if name.lower() in kept}
        return Reply(got.status_code, told if request.method == "HEAD" else _without_length(told), got.content)


def _without_length(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-length"}


@contextmanager
def running(program: Path, folder: Path) -> Iterator[str]:
    """Azurite's blob service on a free port; its base URL. `program`: its main script."""
    port = containers.free_port()
    argv = ["node", str(program), "--silent", "--disableTelemetry", "--blobPort", str(port), "--location", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    base = f"http://127.0.0.1:{port}"
    try:
        assert containers.wait_until(lambda: _answers(base), process), (folder / "log").read_text()
        yield base
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(base: str) -> bool:
    try:
        return requests.get(base, timeout=5).status_code > 0
    except requests.ConnectionError:
        return False


@contextmanager
def guarded(base: str, size: int) -> Iterator[Azurite]:
    """An empty page blob in a running Azurite, behind the door."""
    made: list[Azurite] = []

    def begin(wire: Wire) -> Azurite:
        made.append(Azurite(wire, base, size))
        return made[0]

    with serving(lambda wire: begin(wire).serve):
        yield made[0]
