"""A quote generation service (QGS) without SGX: Intel's protocol on a unix socket. Standard library alone.

In this process: `with serving(path, Answers(...)) as service`. On a host: this file is /opt/intel/tdx-qgs/qgs of the
fake package tdx-qgs, and does what Intel's daemon does with its configuration, its folder and its socket. Source:
Intel DCAP, qgs_msg_lib.h, qgs_server.cpp and server_main.cpp of 2025 and of 2026, which differ:

    2025    makes the folder 0700 if it is not there; the socket's mode is the umask's or `socket_mode`'s;
            a socket file left behind is an error
    2026    makes the folder 0755 at each start, whatever it was; the socket is 0660; a socket file left behind is
            removed; `socket_mode` is unknown

Where the configuration names a port, the real daemon listens on vsock for every guest of the machine. Network
namespaces do not divide vsock, so this one listens on the abstract unix socket `vsock:PORT` instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONFIGURATION = Path("/etc/qgs.conf")
SOCKET = Path("/var/run/tdx-qgs/qgs.socket")
REPORT_SIZE = 1024
HEADER = struct.Struct("<HHIII")  # major, minor, type, size with this header, error
GET_QUOTE, GET_COLLATERAL, GET_PLATFORM_INFO = 0, 2, 4
UNEXPECTED = 0x12001
MOST = 1 << 20


def no_quote(report: bytes) -> bytes:
    """A quote maker for a service that has nothing to sign with: the report behind a mark."""
    return b"not a quote:" + report


@dataclass
class Answers:
    """What the service says. `quote`: TDREPORT → quote. `error`: answer this code instead (0x12001…0x12007).

    `silent`: accept, read, and say nothing. The platform's numbers are those of GET_PLATFORM_INFO.
    """

    quote: Callable[[bytes], bytes] = no_quote
    error: int = 0
    silent: bool = False
    tdqe_svn: int = 4
    pce_svn: int = 13
    platform: bytes = bytes(range(16))
    cpu_svn: bytes = bytes(range(16, 32))
    asked: list[bytes] = field(default_factory=list)

    def answer(self, request: bytes) -> bytes | None:
        """The message that answers one without its frame; None: close. A request that is wrong gets UNEXPECTED."""
        self.asked.append(request)
        major, _, kind, size, code = HEADER.unpack_from(request)
        if kind not in (GET_QUOTE, GET_COLLATERAL, GET_PLATFORM_INFO):
            return None
        body = None
        if (major, size, code) == (1, len(request), 0) and not self.error:
            body = self._body(kind, request[HEADER.size :])
        if body is None:
            empty = {GET_QUOTE: 8, GET_COLLATERAL: 32, GET_PLATFORM_INFO: 12}[kind]
            return message(kind + 1, bytes(empty), error=self.error or UNEXPECTED)
        return message(kind + 1, body)

    def _body(self, kind: int, body: bytes) -> bytes | None:
        if kind == GET_PLATFORM_INFO:
            sizes = struct.pack("<HHII", self.tdqe_svn, self.pce_svn, len(self.platform), len(self.cpu_svn))
            return None if body else sizes + self.platform + self.cpu_svn
        if kind != GET_QUOTE or len(body) < 8:
            return None
        report_size, ids_size = struct.unpack_from("<II", body)
        if report_size != REPORT_SIZE or len(body) != 8 + report_size + ids_size:
            return None
        quote = self.quote(body[8 : 8 + report_size])
        return struct.pack("<II", 0, len(quote)) + quote


def message(kind: int, body: bytes = b"", *, error: int = 0) -> bytes:
    """A message without its frame (4 bytes of length, big endian)."""
    return HEADER.pack(1, 1, kind, HEADER.size + len(body), error) + body


def ask(path: Path | str, kind: int, body: bytes = b"", *, timeout: float = 10) -> tuple[int, int, bytes]:
    """Ask the service at `path`: (type, error, body) of its answer. Raises EOFError when it closes without one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(path))
        request = message(kind, body)
        client.sendall(struct.pack(">I", len(request)) + request)
        (size,) = struct.unpack(">I", _exactly(client, 4))
        answer = _exactly(client, size)
    _, _, answered, _, error = HEADER.unpack_from(answer)
    return answered, error, answer[HEADER.size :]


@contextlib.contextmanager
def serving(path: Path, answers: Answers) -> Iterator[Answers]:
    """Serve at `path`, mode 0660, in threads of this process until the block ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, answers), daemon=True)
        thread.start()
        try:
            yield answers
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


def serve(listener: socket.socket, answers: Answers) -> None:
    """Answer connections until the listener is shut down."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(client, answers), daemon=True).start()


def _talk(client: socket.socket, answers: Answers) -> None:
    with client, contextlib.suppress(OSError, EOFError):
        client.settimeout(30)
        start = _exactly(client, 4 + HEADER.size)
        (size,) = struct.unpack_from(">I", start)
        framed = HEADER.unpack_from(start, 4)[3] == size
        if size > MOST and framed:
            return
        whole = start + _exactly(client, (size + 4 if framed else REPORT_SIZE) - len(start))
        if answers.silent:
            client.recv(1)
        elif not framed:  # a bare TDREPORT is answered by a bare quote
            client.sendall(answers.quote(whole))
        elif (answer := answers.answer(whole[4:])) is not None:
            client.sendall(struct.pack(">I", len(answer)) + answer)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


# The daemon


@dataclass(frozen=True)
class Configuration:
    """/etc/qgs.conf. `port` None: a unix socket."""

    port: int | None = None
    socket_mode: int = 0

    @classmethod
    def read(cls, text: str, *, year: int) -> Configuration:
        """Raises SystemExit where the daemon ends with status 1."""
        port, mode = None, 0
        for line in ("".join(line.split()) for line in text.splitlines()):
            name, equals, value = line.partition("=")
            if not line or line.startswith("#") or not equals:
                continue
            if name == "port":
                port = _number(value, 10, 0xFFFF, "port number")
            elif name == "number_threads":
                _number(value, 10, 255, "thread number")
            elif name == "socket_mode" and year == 2025:
                mode = _number(value, 8, 0o7777, "socket mode")
        return cls(port, mode)


def _number(text: str, base: int, most: int, what: str) -> int:
    try:
        value = int(text, base)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        print(f"Please input valid {what} in {CONFIGURATION}")
        raise SystemExit(1)
    return value


class _OfThisMachine(Answers):
    def answer(self, request: bytes) -> bytes | None:
        there = all(Path(f"/dev/{name}").exists() for name in ("sgx_enclave", "sgx_provision"))
        self.error = 0 if there else UNEXPECTED
        return super().answer(request)


def daemon(year: int, *, foreground: bool) -> None:
    """What /opt/intel/tdx-qgs/qgs does. `year`: 2025 or 2026. Without SGX devices every answer is UNEXPECTED."""
    configuration = Configuration.read(CONFIGURATION.read_text() if CONFIGURATION.exists() else "", year=year)
    if not foreground:
        if os.fork():
            os._exit(0)
        os.setsid()
    again = True
    while again:
        again = False
        listener = _listener(configuration, year)

        def end(number: int, _: object, listener: socket.socket = listener) -> None:
            nonlocal again
            again = number == signal.SIGHUP
            listener.shutdown(socket.SHUT_RDWR)

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGHUP, end)
        serve(listener, _OfThisMachine())
        listener.close()
        if configuration.port is None:
            SOCKET.unlink()


def _listener(configuration: Configuration, year: int) -> socket.socket:
    if configuration.port is None:
        listener = _unix_listener(configuration, year)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0vsock:{configuration.port}")
    listener.listen()
    return listener


def _unix_listener(configuration: Configuration, year: int) -> socket.socket:
    SOCKET.parent.mkdir(mode=0o700 if year == 2025 else 0o755, exist_ok=True)
    if year == 2026:
        SOCKET.parent.chmod(0o755)
        SOCKET.unlink(missing_ok=True)
    before = os.umask(0o117) if year == 2026 else None
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(SOCKET))
    if before is not None:
        os.umask(before)
        SOCKET.chmod(0o660)
    elif configuration.socket_mode:
        SOCKET.chmod(configuration.socket_mode)
    return listener


if __name__ == "__main__":
    unknown = [word for word in sys.argv[1:] if word != "--no-daemon"]
    if unknown:
        print(f"Usage: {sys.argv[0]} [--no-daemon]")
        raise SystemExit(1)
    daemon(int(os.environ.get("QGS_YEAR", "2026")), foreground="--no-daemon" in sys.argv)
