"""A notary's port on this computer: HTTP over TLS with a key of its own, which answers what a test wants. For tests.

notary(answering(b"{}"))       one body for every request
notary(of_machine(machine))    evidence of a pretended TPM for the nonce that is asked for
"""

from __future__ import annotations

import http.server
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pluto_measure.evidence import Envelope
from pluto_notary.certificate import make_identity, server_context


class Machine(Protocol):
    """Whoever makes evidence."""

    def evidence(self, nonce: bytes) -> Envelope:
        """For a nonce."""


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def notary(answer: Answer) -> Iterator[tuple[int, bytes]]:
    """Port and key digest of a server that answers so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    identity = make_identity(secrets.token_bytes)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = server_context(identity).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, identity.key_digest
        finally:
            server.shutdown()
            thread.join()


def answering(body: bytes, status: int = 200) -> Answer:
    """The same for everybody."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def of_machine(machine: Machine, nonce: bytes | None = None) -> Answer:
    """What a machine's notary answers; `nonce` instead of the one that it is asked for."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = bytes.fromhex(handler.path.rpartition("=")[2])
        answering(machine.evidence(asked if nonce is None else nonce).to_text().encode())(handler)

    return answer
