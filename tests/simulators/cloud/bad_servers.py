"""Servers that a client of ours must get away from: one whose answer does not end, one that nobody vouches for."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

from simulators.cloud.token_server import certificate_and_key


class Dripping:
    """A server whose answer comes byte by byte and does not end."""

    def __enter__(self) -> str:
        self._server, self._over = socket.create_server(("127.0.0.1", 0)), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/"

    def _run(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self._over.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()


class SelfSigned:
    """A TLS server that nobody vouches for; counts who came."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._greeted = folder, list[int]()

    def __enter__(self) -> tuple[str, list[int]]:
        certificate, key = certificate_and_key()
        (self._folder / "both.pem").write_bytes(certificate + key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._folder / "both.pem")
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._run, daemon=True).start()
        return f"https://127.0.0.1:{self._server.getsockname()[1]}/", self._greeted

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._greeted.append(1)
            try:
                with self._context.wrap_socket(connection, server_side=True):
                    continue
            except OSError:
                continue

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
