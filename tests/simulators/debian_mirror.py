"""A Debian archive made by the test, and a mirror on loopback that serves it well or badly.

The key is thrown away with the test; packages hold a few bytes. What a mirror does with a path is a `Misbehaviour`.
"""

from __future__ import annotations

import hashlib
import lzma
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from simulators import debs


class Misbehaviour(Enum):
    """What a mirror may do instead of serving a file."""

    GARBAGE = auto()  # right length, wrong bytes
    SHORT = auto()  # a whole answer that lacks the last bytes
    CUT = auto()  # the connection breaks before the announced length
    LONG = auto()  # announces more than the file has
    ENDLESS = auto()  # announces nothing and never stops
    HANG = auto()  # accepts the request and says nothing
    DRIP = auto()  # a byte now and then
    DRIP_HEAD = auto()  # the same, and the headers never end
    NOT_FOUND = auto()
    BUSY = auto()  # 503 once, then well
    THROTTLED = auto()  # 429
    REDIRECT = auto()  # to the same file under /moved/
    CIRCLE = auto()  # to itself
    ELSEWHERE = auto()  # to a port where nobody listens


@dataclass(frozen=True)
class FakeDeb:
    """One package: fields of its control file beside the obvious ones, files, scripts."""

    name: str
    version: str
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def path(self) -> str:
        version = self.version.split(":")[-1]
        return f"pool/main/{self.name[0]}/{self.name}/{self.name}_{version}_{self.architecture}.deb"

    def control(self) -> str:
        lines = [f"Package: {self.name}", f"Version: {self.version}", f"Architecture: {self.architecture}"]
        return "\n".join([*lines, *(f"{key}: {value}" for key, value in self.fields.items())]) + "\n"

    def data(self) -> bytes:
        control = debs.tar(debs.entry(f"./{name}", text) for name, text in self._control_files().items())
        files = [debs.entry(f"./{p}", text, mode=0o755 if "bin/" in p else 0o644) for p, text in self.files.items()]
        links = [debs.entry(f"./{path}", kind=b"2", link=target) for path, target in self.links.items()]
        return debs.package(debs.compressed(debs.tar([*files, *links]), ".xz"), control)

    def _control_files(self) -> dict[str, bytes]:
        return {"control": self.control().encode(), **self.scripts}


def packages_index(packages: list[FakeDeb]) -> str:
    """The text of a Packages index."""
    blocks = []
    for deb in packages:
        data = deb.data()
        digest = hashlib.sha256(data).hexdigest()
        blocks.append(f"{deb.control()}Filename: {deb.path}\nSize: {len(data)}\nSHA256: {digest}\n")
    return "\n".join(blocks)


class Signer:
    """A throw-away OpenPGP key."""

    def __init__(self) -> None:
        import pysequoia

        self._library = pysequoia
        self._key: Any = pysequoia.Tsk.generate(user_id="Archive <archive@example.org>")
        self._public: Any = self._key.extract_certificate()
        self.fingerprint: str = self._public.fingerprint

    @property
    def certificate(self) -> bytes:
        return str(self._public).encode()

    def sign(self, text: str) -> bytes:
        """A cleartext-signed message, as InRelease files are."""
        mode = self._library.SignatureMode.CLEAR
        return bytes(self._library.sign(self._key.signer(), text.encode(), mode=mode))


def release_text(
    suite: str, indexes: Mapping[str, bytes], *, date: datetime, valid_until: datetime | None = None, extra: str = ""
) -> str:
    """The text of a Release file."""
    lines = ["Origin: Test", f"Suite: {suite}", f"Codename: {suite}", f"Date: {_rfc822(date)}"]
    if valid_until is not None:
        lines.append(f"Valid-Until: {_rfc822(valid_until)}")
    lines.append("SHA256:")
    lines += [f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}" for path, data in indexes.items()]
    return "\n".join(lines) + "\n" + extra


def archive_files(
    signer: Signer,
    path: str,
    suite: str,
    packages: list[FakeDeb],
    *,
    date: datetime,
    valid_until: datetime | None = None,
) -> dict[str, bytes]:
    """Every file of one suite, by its path on a mirror."""
    index = lzma.compress(packages_index(packages).encode())
    name = "main/binary-amd64/Packages.xz"
    digest = hashlib.sha256(index).hexdigest()
    signed = signer.sign(release_text(suite, {name: index}, date=date, valid_until=valid_until))
    return {
        f"{path}/dists/{suite}/InRelease": signed,
        f"{path}/dists/{suite}/{name}": index,
        f"{path}/dists/{suite}/main/binary-amd64/by-hash/SHA256/{digest}": index,
        **{f"{path}/{deb.path}": deb.data() for deb in packages},
    }


@dataclass
class Mirror:
    """A server on loopback. `files` and `bad` may change while it runs; `asked` lists the paths requested."""

    url: str
    files: dict[str, bytes]
    bad: dict[str, Misbehaviour] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(files: Mapping[str, bytes], bad: Mapping[str, Misbehaviour] | None = None) -> Iterator[Mirror]:
    """Serve `files` (path without leading slash → content) on loopback until the block ends."""

    class Handler(_Handler):
        mirror: Mirror

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mirror = Mirror(f"http://127.0.0.1:{server.server_address[1]}", dict(files), dict(bad or {}))
    Handler.mirror = mirror
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        mirror.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.mirror.asked.append(path)
        data = self.mirror.files.get(path.removeprefix("moved/"))
        bad = self.mirror.bad.get(path)
        if data is None or bad is Misbehaviour.NOT_FOUND:
            self.send_error(404)
        elif bad is None:
            self._answer(data)
        else:
            self._misbehave(bad, data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read `Mirror.asked`."""

    def _answer(self, data: bytes, *, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def _misbehave(self, bad: Misbehaviour, data: bytes) -> None:
        match bad:
            case Misbehaviour.GARBAGE:
                self._answer(bytes(len(data)))
            case Misbehaviour.SHORT:
                self._answer(data[:-1])
            case Misbehaviour.CUT:
                self._answer(data[:-1], length=len(data))
                self.close_connection = True
            case Misbehaviour.LONG:
                self._answer(data + b"more", length=len(data) + 4)
            case Misbehaviour.BUSY:
                del self.mirror.bad[self.path.lstrip("/")]
                self.send_error(503)
            case Misbehaviour.THROTTLED:
                self.send_error(429)
            case Misbehaviour.HANG:
                self.mirror.stop.wait(10)
            case Misbehaviour.ENDLESS | Misbehaviour.DRIP | Misbehaviour.DRIP_HEAD:
                self._pour(bad)
            case _:
                self._redirect(bad)

    def _pour(self, bad: Misbehaviour) -> None:
        if bad is Misbehaviour.DRIP_HEAD:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            self.send_response(200)
            self.end_headers()
        piece, pause = (b"x" * 65536, 0.0) if bad is Misbehaviour.ENDLESS else (b"x", 0.05)
        try:
            while not self.mirror.stop.wait(pause):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _redirect(self, bad: Misbehaviour) -> None:
        target = {Misbehaviour.REDIRECT: f"/moved{self.path}", Misbehaviour.CIRCLE: self.path}
        self.send_response(302)
        self.send_header("Location", target.get(bad, f"http://127.0.0.1:9{self.path}"))
        self.send_header("Content-Length", "0")
        self.end_headers()


def _rfc822(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
