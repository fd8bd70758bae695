from __future__ import annotations

import http.server
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from pluto_deploy.local import evidence
from pluto_deploy.local.evidence import NotAttestedError, NotAuthenticError, Seen, fetch, local_policy
from pluto_measure.errors import SourceError
from pluto_measure.findings import Finding
from pluto_measure.record import replace
from pluto_notary.certificate import make_identity, server_context
from simulators import tpm_quotes

NONCE = b"\x5a" * 32
EMPTY_CONFIG = tpm_quotes.Machine().config_digest
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
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_the_nonce_is_sent_and_the_key_is_noted() -> None:
    asked = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        answering(b"{}")(handler)

    with notary(answer) as (port, key):
        assert fetch("127.0.0.1", port, NONCE, timeout=5) == Seen(b"{}", key)
    assert asked == [f"/v1/evidence?nonce={NONCE.hex()}"]


def test_another_status_is_an_error_of_the_machine() -> None:
    with notary(answering(b"busy", 503)) as (port, _), pytest.raises(SourceError, match="answered 503"):
        fetch("127.0.0.1", port, NONCE, timeout=5)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LARGEST", 10)
    with notary(answering(b"x" * 11)) as (port, _), pytest.raises(SourceError, match="larger than 10"):
        fetch("127.0.0.1", port, NONCE, timeout=5)


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
            fetch("127.0.0.1", listener.getsockname()[1], NONCE, timeout=5)
        thread.join()


def appraised(machine: tpm_quotes.Machine, key: bytes | None = None, nonce: bytes = NONCE, debug: bool = False) -> None:
    seen = Seen(machine.evidence(nonce).to_text().encode(), machine.outer_key_digest if key is None else key)
    policy = local_policy(config_digest=EMPTY_CONFIG, allow_debug=debug)
    reference = tpm_quotes.reference_of(flavour="debug" if debug else "release")
    evidence.appraise(seen, reference, policy, at=tpm_quotes.NOW, nonce=NONCE)


def test_evidence_of_what_was_built_is_accepted() -> None:
    appraised(tpm_quotes.Machine())
    appraised(tpm_quotes.Machine(), debug=True)


LATER = tpm_quotes.NOW + timedelta(minutes=10)
MORE = (*tpm_quotes.BOOT, (12, tpm_quotes.EV_IPL, b"credential"))


@pytest.mark.parametrize(
    ("machine", "check"),
    [
        (tpm_quotes.Machine(config_digest=b"\1" * 32), "policy.config_digest"),
        (tpm_quotes.Machine(build_id=b"\2" * 32), "claims.build_id"),
        (tpm_quotes.Machine(issued_at=LATER), "policy.evidence_age"),
        (tpm_quotes.Machine(events=MORE), "register.pcr12"),
    ],
)
def test_evidence_of_anything_else_is_refused_by_name(machine: tpm_quotes.Machine, check: str) -> None:
    with pytest.raises(NotAttestedError) as caught:
        appraised(machine)
    assert check in [finding["id"] for finding in caught.value.findings]


def test_evidence_of_another_machine_behind_this_port_is_refused() -> None:
    with pytest.raises(NotAttestedError, match=r"binding\.outer_key"):
        appraised(tpm_quotes.Machine(), key=bytes(32))


def test_evidence_for_another_nonce_is_refused() -> None:
    with pytest.raises(NotAttestedError, match=r"binding\.nonce"):
        appraised(tpm_quotes.Machine(), nonce=b"\0" * 32)


def test_evidence_with_a_foreign_signature_is_not_authentic() -> None:
    machine = tpm_quotes.Machine()
    envelope = machine.evidence(NONCE)
    inside = tpm_quotes.tpm_evidence(envelope)
    other = tpm_quotes.sign(tpm_quotes.ecc_key(), inside.quote.attest)
    forged = replace(envelope, evidence=replace(inside, quote=replace(inside.quote, signature=other)))
    policy = local_policy(config_digest=EMPTY_CONFIG, allow_debug=False)
    seen = Seen(forged.to_text().encode(), machine.outer_key_digest)
    with pytest.raises(NotAuthenticError, match=r"tpm\.signature") as caught:
        evidence.appraise(seen, tpm_quotes.reference_of(), policy, at=tpm_quotes.NOW, nonce=NONCE)
    assert caught.value.exit_code == 4


def test_the_summary_begins_with_what_the_log_tells() -> None:
    findings = (Finding("register.pcr4", "fail", "differs"), Finding("log.events.pcr4", "fail", "a shell ran"))
    assert evidence.summary(findings) == (
        "the machine is not what was built: log.events.pcr4: a shell ran (and 1 more finding)"
    )
