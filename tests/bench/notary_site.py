"""The web site of the notary's benchmark: one answer to whoever asks, over TLS and in the clear; not measured itself.

    notary_site.py FILE     FILE: {"chain":PEM, "key":PEM, "threads":n, "bodies":{PATH: bytes of the body}}

Each body is JSON: what the manifest of `bench_notary` asks for, and filling. Tells both ports on standard output.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VALUES = {"owner": "Ada Example", "balance": 1234.5, "entries": [1, 2, 3]}
_PIECE = 1 << 20
_FILLING = b"0123456789abcdef" * (_PIECE // 16)


def body(size: int) -> Iterator[bytes]:
    """JSON of `size` bytes, in pieces."""
    head = json.dumps(VALUES)[:-1].encode() + b',"filling":"'
    left = size - len(head) - 2
    yield head
    while left > 0:
        yield _FILLING[: min(left, _PIECE)]
        left -= _PIECE
    yield b'"}'


def served(connection: socket.socket, bodies: dict[str, int]) -> None:
    """One request, one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(rest) < length:
        rest += connection.recv(65536)
    size = bodies[head.split(b" ")[1].decode()]
    first = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n".encode()
    pieces = [first, *body(size)]
    if size <= _PIECE:
        connection.sendall(b"".join(pieces))
    else:
        for one in pieces:
            connection.sendall(one)
    connection.recv(1)  # until the other side ends


def _accept(listener: socket.socket, context: ssl.SSLContext | None, bodies: dict[str, int]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(60)
        with connection, contextlib.suppress(OSError):
            if context is None:
                served(connection, bodies)
            else:
                with context.wrap_socket(connection, server_side=True) as secure:
                    served(secure, bodies)


def main(wanted: dict[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_text(wanted["chain"])
        key.write_text(wanted["key"])
        context.load_cert_chain(chain, key)
    ports = []
    for tls in (context, None):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        ports.append(listener.getsockname()[1])
        for _ in range(wanted["threads"]):
            threading.Thread(target=_accept, args=(listener, tls, wanted["bodies"]), daemon=True).start()
    sys.stdout.write(json.dumps({"port": ports[0], "plain": ports[1]}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_bytes()))
