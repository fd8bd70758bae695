"""Servers that ask much of a client: one whose answer does not end, one that reads slowly, one without a voucher."""

from __future__ import annotations

import socket
import ssl
import threading
import time
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


class SlowReader:
    """A server that takes a body of `size` bytes in so many seconds, and then says yes."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size, self._seconds = size, seconds

    def __enter__(self) -> str:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/"

    def _run(self) -> None:
        connection, _ = self._server.accept()
        got, piece = 0, 1 << 15
        with connection:
            while got < self._size:
                more = connection.recv(piece)
                if not more:
                    return
                got += len(more)
                time.sleep(self._seconds * len(more) / self._size)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join()


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
