"""A signed archive of small packages that stand for Intel's, served where a namespaced host can reach it.

    with packages.serving(host.wire.gateway) as archive:
        host.put("/etc/apt/keyrings/intel.asc", archive.key)
        host.put("/etc/apt/sources.list.d/intel.sources", archive.sources("/etc/apt/keyrings/intel.asc").encode())
        host.run(["apt-get", "update"])

The key is made for the archive and thrown away with it. A test spoils `archive.files`, or publishes anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

from simulators import debs
from simulators.debian_mirror import FakeDeb, Signer, packages_index, release_text
from simulators.served import served


class HostDeb(FakeDeb):
    """A package that real dpkg installs: folders are entries, programs and scripts (`#!`) are executable."""

    def data(self) -> bytes:
        folders = sorted({str(folder) for path in [*self.files, *self.links] for folder in _above(path)})
        files = [debs.entry(f"./{path}", text, mode=_mode(text)) for path, text in self.files.items()]
        links = [debs.entry(f"./{path}", kind=b"2", link=target) for path, target in self.links.items()]
        tree = debs.tar([debs.directory("./"), *(debs.directory(f"./{path}/") for path in folders), *files, *links])
        control = {"control": self.control().encode(), **self.scripts}
        entries = [debs.entry(f"./{name}", text, mode=_mode(text)) for name, text in control.items()]
        return debs.package(debs.compressed(tree, ".xz"), debs.tar([debs.directory("./"), *entries]))


@dataclass
class Archive:
    """One suite under `url`. `files`: path → content, read at each request; `asked`: paths requested so far."""

    url: str
    suite: str
    signer: Signer
    files: dict[str, bytes]
    asked: list[str]

    @property
    def key(self) -> bytes:
        """The certificate, armoured: for a file that ends in .asc."""
        return self.signer.certificate

    def sources(self, keyring: str) -> str:
        """The text of a .sources file that trusts `keyring` for this archive alone."""
        lines = ("Types: deb", f"URIs: {self.url}/apt", f"Suites: {self.suite}", "Components: main")
        return "\n".join([*lines, f"Signed-By: {keyring}"]) + "\n"

    def publish(
        self, packages: Sequence[FakeDeb], *, signer: Signer | None = None, date: datetime | None = None
    ) -> None:
        """Replace the archive's content; `signer` may be one that nobody trusts."""
        index = packages_index(list(packages)).encode()
        name, folder = "main/binary-amd64/Packages", f"apt/dists/{self.suite}"
        extra = "Architectures: amd64\nComponents: main\n"
        release = release_text(self.suite, {name: index}, date=date or datetime.now(UTC), extra=extra)
        self.files.clear()
        self.files |= {f"apt/{package.path}": package.data() for package in packages}
        self.files |= {f"{folder}/InRelease": (signer or self.signer).sign(release), f"{folder}/{name}": index}

    def spoil(self, name: str) -> None:
        """Change one byte of the package `name`, whose index and signature stay."""
        path = next(path for path in self.files if f"/{name}_" in path)
        data = bytearray(self.files[path])
        data[-10] ^= 1
        self.files[path] = bytes(data)


@contextmanager
def serving(address: str, packages: Sequence[FakeDeb], *, suite: str = "noble") -> Iterator[Archive]:
    """Serve `packages` over HTTP at `address` and a free port until the block ends."""

    class Handler(_Handler):
        archive: Archive

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    archive = Archive(f"http://{address}:{server.server_address[1]}", suite, Signer(), {}, [])
    archive.publish(packages)
    Handler.archive = archive
    with served(server):
        yield archive


class _Handler(BaseHTTPRequestHandler):
    archive: Archive
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.archive.asked.append(path)
        data = self.archive.files.get(path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read `Archive.asked`."""


def _above(path: str) -> list[PurePosixPath]:
    return [folder for folder in PurePosixPath(path).parents if folder != PurePosixPath(".")]


def _mode(text: bytes) -> int:
    return 0o755 if text.startswith(b"#!") else 0o644
