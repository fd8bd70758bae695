"""Fetches from servers of others: nginx over both versions, OpenSSL's s_server, Python's http.server."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notary.fetch.worlds import GET, IDENTITY, ask
from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits

pytestmark = pytest.mark.interop

LIMITS = FetchLimits()
TEXT = b"A page of many words, of many words. " * 5000
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; gzip on; gzip_types *; types {{ }} default_type text/plain;
  server {{
    listen 127.0.0.1:{port} ssl{http2}; server_name site.example; root {folder}/pages;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols {protocols};
    location /moved {{ return 301 https://site.example/page; }}
    location /cut {{ return 444; }}
    location /upload {{ client_max_body_size 4m; proxy_pass http://127.0.0.1:9/; proxy_request_buffering on; }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def lay(folder: Path) -> None:
    pages = folder / "pages"
    pages.mkdir()
    (pages / "page").write_bytes(TEXT)
    (folder / "chain.pem").write_text(IDENTITY.chain)
    (folder / "key.pem").write_text(IDENTITY.key)


@contextlib.contextmanager
def running(port: int, *command: str | Path, cwd: Path) -> Iterator[int]:
    process = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert process.poll() is None, "the server did not start"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def nginx(folder: Path, *, http2: bool, protocols: str = "TLSv1.2 TLSv1.3") -> Iterator[int]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no peer: nginx is absent")
    lay(folder)
    port = free_port()
    text = NGINX.format(folder=folder, port=port, http2=" http2" if http2 else "", protocols=protocols)
    (folder / "nginx.conf").write_text(text)
    with running(port, program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log", cwd=folder):
        yield port


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("protocols", ["TLSv1.2", "TLSv1.3"])
def test_nginx_serves_pages_codings_and_errors(tmp_path: Path, http2: bool, protocols: str) -> None:
    with nginx(tmp_path, http2=http2, protocols=protocols) as port:
        page = ask(port, replace(GET, target="/page"), limits=LIMITS)
        plain = ask(port, replace(GET, target="/page", headers=(("accept-encoding", "identity"),)), limits=LIMITS)
        head = ask(port, replace(GET, method="HEAD", target="/page"), limits=LIMITS)
        missing = ask(port, replace(GET, target="/nothing"), limits=LIMITS)
        post = replace(GET, method="POST", target="/upload", body=bytes(2 * 1024 * 1024))
        upload = ask(port, post, limits=LIMITS)
        moved = ask(port, replace(GET, target="/moved"), limits=LIMITS, follow=True)
        with pytest.raises(TargetError) as redirected:
            ask(port, replace(GET, target="/moved"), limits=LIMITS)
        with pytest.raises(TargetError) as cut:
            ask(port, replace(GET, target="/cut"), limits=LIMITS)
    assert page.response.version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert dict(page.response.headers)["content-encoding"] == "gzip"
    assert page.response.body == plain.response.body == TEXT
    assert head.response.body == b""
    assert (missing.response.status, upload.response.status, moved.response.status) == (404, 502, 301)
    assert redirected.value.code == "redirect"
    assert cut.value.code in ("http", "tls")
    assert page.leaf_sha256 == hashlib.sha256(IDENTITY.der).digest()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_server_is_read_to_its_end(tmp_path: Path, version: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no peer: openssl is absent")
    lay(tmp_path)
    port = free_port()
    options = ("-accept", f"127.0.0.1:{port}", "-cert", "../chain.pem", "-key", "../key.pem", "-WWW", "-quiet", version)
    with running(port, program, "s_server", *options, cwd=tmp_path / "pages"):
        exchange = ask(port, replace(GET, target="/page"), limits=LIMITS)
    assert exchange.response.version == "HTTP/1.0"
    assert exchange.response.body == TEXT


def test_pythons_server_is_read(tmp_path: Path) -> None:
    lay(tmp_path)

    class Pages(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "pages"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            exchange = ask(server.server_port, replace(GET, target="/page"), limits=LIMITS)
        finally:
            server.shutdown()
            thread.join()
    assert exchange.response.body == TEXT
