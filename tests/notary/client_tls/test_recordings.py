"""Two readings of the same RFCs agree: what the client says and hears, the notary's side reads of the recording.

The client stands on `pluto_notary.client.tls`, the notary on `pluto_notary.observe`; they share no code.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from notary.client_tls.certificates import HOST, judged
from notary.client_tls.openssl import NAMES, OpenSsl
from notary.client_tls.sessions import IDENTITY, new_client
from pluto_notary.client.tls.groups import SECP256R1
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import NEW_SESSION_TICKET, message
from pluto_notary.client.tls.records import ALERT, HANDSHAKE
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Opened, Recording
from simulators.notary.tls_server import Server

ROOT = Path(__file__).resolve().parents[3]


def read(recording: Recording, secret: bytes) -> Opened:
    return opened(
        recording,
        secret,
        host=HOST,
        judge=lambda chain: x509.load_der_x509_certificate(chain[0]).public_key(),
        limits=ObserveLimits(),
    )


class Wire:
    """What passes between a client and a server, as a notary records it."""

    def __init__(self, server: Any) -> None:
        self.client, self.server = new_client(judge=judged), server
        self.said, self.heard = b"", b""

    def turn(self) -> None:
        """Until nobody has anything to say."""
        while data := self.client.data_to_send():
            self.said += data
            self.hear(self.server.receive(data))

    def hear(self, data: bytes) -> None:
        self.heard += data
        self.client.feed(data)

    def whole(self) -> Recording:
        return Recording(self.said, self.heard)


PAIRS = [
    (suite, kind)
    for suite, name in NAMES.items()
    for kind in ("p256", "p384", "rsa")
    if name.startswith("TLS_") or ("RSA" in name) is (kind == "rsa")
]


@pytest.mark.parametrize(("suite", "kind"), PAIRS, ids=lambda one: NAMES.get(one, one))
def test_what_is_said_with_openssl(suite: int, kind: str) -> None:
    wire = Wire(OpenSsl(kind, suite=suite, curve="p256" if suite == 0x1302 else ""))
    wire.turn()
    wire.client.write(b"question" * 5000)
    wire.turn()
    wire.hear(wire.server.write(b"answer" * 5000))
    wire.client.close()
    wire.turn()
    wire.server.connection.shutdown()
    wire.hear(wire.server.sent())
    found = read(wire.whole(), wire.client.secret)
    assert (found.client, found.site) == (b"question" * 5000, b"answer" * 5000)
    assert (found.version, found.chain, found.closed) == (wire.client.version, wire.client.chain, True)


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
@pytest.mark.parametrize("request_certificate", [False, True])
def test_what_is_said_with_a_site_of_ours(version: int, request_certificate: bool) -> None:
    server = Server(IDENTITY, version=version, request=request_certificate)
    wire = Wire(server)
    wire.turn()
    wire.client.write(b"question")
    wire.turn()
    if version == TLS_13:
        wire.hear(server.record(HANDSHAKE, message(NEW_SESSION_TICKET, bytes(8) + b"\0\0\1t\0\0")))
        for wanted in (False, True, True):
            wire.hear(server.write(b"an") + server.key_update(wanted=wanted) + server.write(b"swer"))
            wire.client.write(b"more")
            wire.turn()
    else:
        wire.hear(server.write(b"answer" * 3))
    wire.client.close()
    wire.turn()
    wire.hear(server.record(ALERT, b"\1\0"))
    found = read(wire.whole(), wire.client.secret)
    assert (found.client, found.site) == (server.read, b"answer" * 3)
    assert found.closed
    with pytest.raises(ObserveError):
        read(wire.whole(), bytes(len(wire.client.secret)))


@pytest.mark.parametrize("how", [{"retry": SECP256R1, "group": SECP256R1}, {"retry": 0, "cookie": b"crumb"}])
def test_what_is_said_after_another_hello(how: dict[str, Any]) -> None:
    wire = Wire(Server(IDENTITY, **how))
    wire.turn()
    wire.client.write(b"question")
    wire.turn()
    wire.hear(wire.server.write(b"answer"))
    found = read(wire.whole(), wire.client.secret)
    assert (found.client, found.site, found.closed) == (b"question", b"answer", False)


def test_neither_side_has_anything_of_the_other() -> None:
    for folder, other in (("client/tls", "pluto_notary.observe"), ("observe", "pluto_notary.client")):
        for path in (ROOT / "notary/pluto_notary" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
                assert not [name for name in names if name.startswith(other)], path
