"""A TLS server on this computer whose certificate a test changes while clients look. For tests alone.

with front() as site:
    site.shown = authority.issue("notary.example")     from now on
    site.seen                                          how many have looked
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simulators.notary.certificates import Identity


@dataclass
class Front:
    """`shown` None: connections are closed at once; `silent`: they are left open, and nothing is said."""

    port: int
    shown: Identity | None = None
    silent: bool = False
    seen: int = 0


@contextlib.contextmanager
def front() -> Iterator[Front]:
    """It answers one client after the other, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as kept:
        one = Front(server.getsockname()[1])
        ended = threading.Event()

        def serve() -> None:
            while True:
                client, _ = server.accept()
                with client:
                    if ended.is_set():
                        return
                    one.seen += 1
                    if one.silent:
                        kept.enter_context(contextlib.closing(client.dup()))
                    elif one.shown is not None:
                        _greet(client, one.shown)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield one
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", one.port)).close()
            thread.join()


def _greet(client: socket.socket, shown: Identity) -> None:
    with contextlib.suppress(OSError):  # whoever does not like the certificate goes away
        client.settimeout(10)
        with _context(shown).wrap_socket(client, server_side=True) as wrapped:
            wrapped.recv(1)


def _context(shown: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "site.pem"
        path.write_text(shown.chain + shown.key)
        context.load_cert_chain(path)
    return context
