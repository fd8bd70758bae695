from __future__ import annotations

import http.server
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from pluto_deploy.engine import evidence
from pluto_deploy.engine.evidence import Seen, fetch
from pluto_deploy.engine.target import Address
from pluto_measure.errors import SourceError
from simulators.notaries import answering, notary

NONCE = b"\x5a" * 32


def test_the_nonce_is_sent_and_the_key_is_noted() -> None:
    asked = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        answering(b"{}")(handler)

    with notary(answer) as (port, key):
        assert fetch(Address("127.0.0.1", port), NONCE, timeout=5) == Seen(b"{}", key)
    assert asked == [f"/v1/evidence?nonce={NONCE.hex()}"]


def test_another_status_is_an_error_of_the_machine() -> None:
    with notary(answering(b"busy", 503)) as (port, _), pytest.raises(SourceError, match="answered 503"):
        fetch(Address("127.0.0.1", port), NONCE, timeout=5)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LARGEST", 10)
    with notary(answering(b"x" * 11)) as (port, _), pytest.raises(SourceError, match="larger than 10"):
        fetch(Address("127.0.0.1", port), NONCE, timeout=5)


def test_a_chunk_of_negative_size_is_an_error_of_the_machine() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"-5\r\nxxxxx\r\n")

    with notary(answer) as (port, _), pytest.raises(SourceError, match="no evidence"):
        fetch(Address("127.0.0.1", port), NONCE, timeout=5)


def test_an_answer_that_drips_has_one_limit_for_all_of_it() -> None:
    """The time of the whole request counts, or one byte now and then would keep a verifier waiting for ever."""
    over = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            while not over.wait(0.1):
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            return

    with notary(answer) as (port, _):
        begun = time.monotonic()
        with pytest.raises(SourceError, match="no evidence"):
            fetch(Address("127.0.0.1", port), NONCE, timeout=1)
        over.set()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_port_without_tls_is_an_error_of_the_machine(words: bytes) -> None:
    def speak(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(words)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak, args=(listener,))
        thread.start()
        with pytest.raises(SourceError, match="no evidence"):
            fetch(Address("127.0.0.1", listener.getsockname()[1]), NONCE, timeout=5)
        thread.join()


def test_a_socket_of_this_computer_leads_there_as_well(tmp_path: Path) -> None:
    with notary(answering(b"{}")) as (port, key), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "door"))
        listener.listen()
        thread = threading.Thread(target=_relay, args=(listener, port))
        thread.start()
        address = Address("10.88.0.7", 8443, tmp_path / "door")
        assert fetch(address, NONCE, timeout=5) == Seen(b"{}", key)
        thread.join()


def test_a_socket_that_is_not_there_is_an_error_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^10\.88\.0\.7:8443: no evidence"):
        fetch(Address("10.88.0.7", 8443, tmp_path / "door"), NONCE, timeout=5)


def test_an_address_is_written_as_people_write_it() -> None:
    assert [str(Address("fd00::7", 443)), str(Address("host.example", 443))] == ["[fd00::7]:443", "host.example:443"]


def _relay(listener: socket.socket, port: int) -> None:
    """Carry one connection on, both ways, until the server ends it."""
    near, _ = listener.accept()
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        ends = {near: far, far: near}
        while True:
            for ready in select.select(list(ends), [], [])[0]:
                data = ready.recv(4096)
                if not data:
                    return
                ends[ready].sendall(data)
