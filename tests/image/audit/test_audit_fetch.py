"""Fetching the tracker's data: by https from who has the right certificate, bounded, and nothing half of it is kept."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pluto_image.audit import fetch as door
from pluto_image.cli import main
from pluto_image.inputs.download import Limits
from pluto_measure.errors import SourceError, UsageError
from simulators import audited_builds as builds
from simulators.debian_mirror import serving
from simulators.notary.certificates import Authority, Identity

QUICK = Limits(connect=2, read=1, total=3, attempts=2, pause=0.01)
PATH = "/tracker/data/json"


@dataclass
class Debian:
    """A server that answers one question in one way; any other path or method is a 404 or 501."""

    url: str
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)


def tls_server(identity: Identity, folder: Path) -> tuple[ThreadingHTTPServer, Debian]:
    seen = Debian("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.asked.append(dict(self.headers))
            if self.path != PATH:
                self.send_error(404)
                return
            code, headers, body = seen.answers[min(len(seen.asked), len(seen.answers)) - 1]
            self.send_response(code)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Tests read `Debian.asked`."""

    (folder / "chain.pem").write_text(identity.chain)
    (folder / "key.pem").write_text(identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that turns away is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    seen.url = f"https://127.0.0.1:{server.server_address[1]}{PATH}"
    return server, seen


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def debian(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Debian]:
    (tmp_path / "root.pem").write_text(authority.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "root.pem"))
    server, found = tls_server(authority.issue("127.0.0.1"), tmp_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_the_server_has_is_fetched(debian: Debian) -> None:
    debian.answers = [(200, {}, builds.tracker())]
    assert door.fetch(debian.url, QUICK) == builds.tracker()
    (asked,) = debian.asked
    assert asked["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization"} & asked.keys()


def test_a_busy_server_is_asked_once_more(debian: Debian) -> None:
    debian.answers = [(503, {}, b""), (200, {}, b"{}")]
    assert door.fetch(debian.url, QUICK) == b"{}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {}, b"{}"), "status 404"),
        ((200, {"Content-Length": "99999"}, b"{}"), "announces 99999 bytes"),
        ((200, {"Content-Length": "50"}, b"{}"), "broke off|no answer in time|no connection"),
        ((200, {}, b"<html>no</html>"), "no JSON object"),
        ((200, {}, b""), "no JSON object"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "No connection adapters"),
        ((302, {"Location": PATH}, b""), "redirects"),
    ],
)
def test_what_is_not_the_data_is_an_error(debian: Debian, answer: tuple[int, dict[str, str], bytes], said: str) -> None:
    debian.answers = [answer]
    with pytest.raises(SourceError, match=said):
        door.fetch(debian.url, QUICK, largest=1000)


def test_an_answer_that_does_not_end_is_cut(debian: Debian) -> None:
    debian.answers = [(200, {"Connection": "close"}, b"{" + b" " * 5000)]
    with pytest.raises(SourceError, match="announces 5001 bytes, at most 1000"):
        door.fetch(debian.url, QUICK, largest=1000)


def test_without_tls_nothing_is_asked() -> None:
    with serving({"data": b"{}"}) as mirror:
        with pytest.raises(UsageError, match="must begin with https"):
            door.fetch(f"{mirror.url}/data", QUICK)
        assert mirror.asked == []


@pytest.mark.parametrize("name", ["elsewhere.example", "127.0.0.2"])
def test_who_shows_another_name_is_not_believed(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "root.pem").write_text(authority.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "root.pem"))
    server, found = tls_server(authority.issue(name), tmp_path)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with pytest.raises(SourceError, match="no connection"):
        door.fetch(found.url, QUICK)
    server.shutdown()
    server.server_close()
    assert found.asked == []


class TestCommand:
    """`--fetch` with `--out`, through the same door."""

    @pytest.fixture(autouse=True)
    def _here(self, debian: Debian, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(door.fetch, "__defaults__", (debian.url, QUICK, 100_000))

    def test_the_data_is_judged_and_kept(self, debian: Debian, tmp_path: Path) -> None:
        debian.answers = [(200, {}, builds.tracker())]
        (tmp_path / "policy.toml").write_text(builds.POLICY)
        kept = tmp_path / "tracker.json"
        words = ["audit", str(builds.lay(tmp_path / "dist")), "--policy", str(tmp_path / "policy.toml")]
        assert main([*words, "--fetch", "--out", str(kept)]) == 0
        assert kept.read_bytes() == builds.tracker()
        assert main([*words, "--tracker", str(kept)]) == 0

    @pytest.mark.parametrize(("answer", "code"), [((500, {}, b""), 6), ((200, {}, b'{"tool": []}'), 3)])
    def test_what_was_kept_stays_where_nothing_good_came(
        self, debian: Debian, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], code: int
    ) -> None:
        debian.answers = [answer]
        kept = tmp_path / "tracker.json"
        kept.write_text("before")
        assert main(["audit", str(builds.lay(tmp_path / "dist")), "--fetch", "--out", str(kept)]) == code
        assert kept.read_text() == "before"
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
