"""A whole notary before an authority, over real TLS: who sees which certificate, and when."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from cryptography import x509

from notary.acme.worlds import ACME
from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, lives, manifest
from simulators.acme_ca import AcmeCa, over_tls, problem
from simulators.intel import NOW
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, page

GET = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@dataclass
class Scene:
    """A notary and its authority, which does not look before `may_look`. `during` runs while the challenge waits."""

    notary: whole.Running | None = None
    may_look: threading.Event = field(default_factory=threading.Event)
    during: Callable[[Scene], None] = lambda _: None
    errors: list[BaseException] = field(default_factory=list)

    @property
    def port(self) -> int:
        assert self.notary is not None
        return self.notary.port

    def look(self, name: str) -> bytes | None:
        assert self.may_look.wait(20)
        try:
            self.during(self)
        except BaseException as error:  # noqa: BLE001  raised where the test sees it
            self.errors.append(error)
        return over_tls(lambda: self.port)(name)

    def said(self, line: str) -> bool:
        assert self.notary is not None
        return f"pluto: certificate {line}\n" in self.notary.lines

    def shown(self, *protocols: str, port: int | None = None) -> tuple[bytes | None, ssl.SSLSocket]:
        """The certificate that such a client gets, and its connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if protocols:
            context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(("127.0.0.1", port or self.port), timeout=20)
        connection = context.wrap_socket(plain, server_hostname=ACME.domain)
        return connection.getpeercert(binary_form=True), connection

    def name(self, *protocols: str, port: int | None = None) -> str:
        """Whose certificate that is."""
        der, connection = self.shown(*protocols, port=port)
        connection.close()
        return x509.load_der_x509_certificate(der or b"").issuer.rfc4514_string()


OWN, THEIRS, CHALLENGE = "CN=pluto-notary", "CN=Root that only tests know", "CN=acme-tls/1"


@contextmanager
def playing(
    scene: Scene, *, authority: Callable[[AcmeCa], None] = lambda _: None, doors: tuple[socket.socket, ...] = ()
) -> Iterator[AcmeCa]:
    sites = Authority()
    ca = AcmeCa(now=NOW, look=scene.look)
    authority(ca)
    with (
        Site(sites.issue("ca.example"), ca.act) as acme,
        Site(sites.issue(HOST), page(BODY, JSON)) as site,
        whole.running(sites, {"ca.example": acme, HOST: site}, limits=QUICK, acme=ACME, doors=doors) as notary,
    ):
        scene.notary = notary
        scene.shown()[1].close()  # nobody is asked before somebody came by the name
        try:
            yield ca
        finally:
            scene.may_look.set()
    assert scene.errors == []
    assert ca.wrongs == []
    assert [line for line in notary.lines if "c4n4ry" in line or "example" in line] == []


def test_the_authoritys_certificate_is_shown_and_sessions_go_on() -> None:
    scene = Scene()
    with playing(scene) as ca:
        assert scene.notary is not None
        scene.notary.soon(lambda: "challenge" in ca.kinds)
        assert scene.name() == OWN
        with scene.notary.client(manifest(), **SECRETS).go("evidence") as client:
            _, before = scene.shown()
            scene.may_look.set()
            scene.notary.soon(lambda: scene.said("state=shown code=none"))
            der, after = scene.shown("http/1.1")
            assert der == ca.issued[0]
            assert client.go("fetch").ending() == "proof"
            for connection in (before, after):
                connection.sendall(GET)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                connection.close()
        lives(scene.notary)  # appraised: the evidence names the key that this certificate is for
        assert [line.split("certificate ")[1] for line in scene.notary.lines if "certificate" in line] == [
            "state=asked code=none\n",
            "state=shown code=none\n",
        ]
        assert scene.name("acme-tls/1") == THEIRS, "nothing is pending"


def test_only_an_authority_sees_the_challenge_and_gets_nothing_else() -> None:
    scene = Scene()
    seen: list[str] = []

    def during(scene: Scene) -> None:
        seen.extend(scene.name(*one) for one in ((), ("http/1.1",), ("h2", "http/1.1"), ("http/1.1", "acme-tls/1")))
        assert scene.name("acme-tls/1") == CHALLENGE
        _, connection = scene.shown("acme-tls/1")
        assert connection.selected_alpn_protocol() == "acme-tls/1"
        with contextlib.suppress(OSError), connection:
            connection.sendall(GET)
            assert connection.recv(100) == b""
        assert scene.notary is not None
        lives(scene.notary)

    scene.during = during
    with playing(scene):
        scene.may_look.set()
        assert scene.notary is not None
        scene.notary.soon(lambda: scene.said("state=shown code=none"))
    assert seen == [OWN] * 4


def hello(*protocols: str) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(back, there, server_hostname=ACME.domain), there, back


@pytest.mark.parametrize(("protocol", "name"), [("http/1.1", OWN), ("acme-tls/1", CHALLENGE)])
def test_a_first_flight_in_pieces_is_one(protocol: str, name: str) -> None:
    scene, seen = Scene(), []

    def during(scene: Scene) -> None:
        client, there, back = hello(protocol)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        data = there.read()
        with socket.create_connection(("127.0.0.1", scene.port), timeout=20) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), 60):
                plain.sendall(data[at : at + 60])
                time.sleep(0.02)
            while client.version() is None:
                back.write(plain.recv(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
            plain.sendall(there.read())
        seen.append(x509.load_der_x509_certificate(client.getpeercert(True) or b"").issuer.rfc4514_string())

    scene.during = during
    with playing(scene):
        scene.may_look.set()
        assert scene.notary is not None
        scene.notary.soon(lambda: scene.said("state=shown code=none"))
    assert seen == [name]


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01\x02\x00\x01", b"\x16"])
def test_who_is_looked_at_and_says_nothing_more_is_dropped_in_time(says: bytes) -> None:
    scene, waited = Scene(), []

    def during(scene: Scene) -> None:
        with socket.create_connection(("127.0.0.1", scene.port), timeout=20) as plain:
            plain.sendall(says)
            start, used = time.monotonic(), time.process_time()
            with contextlib.suppress(ConnectionError):
                assert plain.recv(100) == b""
            waited.append(time.monotonic() - start)
            assert time.process_time() - used < 0.7 * waited[-1], "waiting costs nothing"

    scene.during = during
    with playing(scene):
        scene.may_look.set()
        assert scene.notary is not None
        scene.notary.soon(lambda: scene.said("state=shown code=none"))
        assert "tls" in scene.notary.codes
    assert QUICK.handshake_seconds - 0.1 <= waited[0] < 2 * QUICK.handshake_seconds


def test_who_leaves_in_the_middle_of_a_first_flight_costs_nothing() -> None:
    scene = Scene()

    def during(scene: Scene) -> None:
        for says in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", scene.port), timeout=20) as plain:
                plain.sendall(says)
                plain.shutdown(socket.SHUT_WR)
                start = time.monotonic()
                with contextlib.suppress(ConnectionError):
                    while plain.recv(100):
                        pass
                assert time.monotonic() - start < 1

    scene.during = during
    with playing(scene):
        scene.may_look.set()
        assert scene.notary is not None
        scene.notary.soon(lambda: scene.said("state=shown code=none"))
        lives(scene.notary)


def test_an_authority_that_refuses_leaves_all_as_it_is() -> None:
    scene = Scene()

    def refuse(ca: AcmeCa) -> None:
        ca.bend["newOrder"] = lambda _: problem("rateLimited", 429)

    with playing(scene, authority=refuse):
        assert scene.notary is not None
        scene.notary.soon(lambda: scene.said("state=failed code=ca-rateLimited"))
        assert scene.name() == OWN
        lives(scene.notary)


def test_a_notary_answers_on_every_socket_and_an_authority_may_look_at_any() -> None:
    scene, seen = Scene(), []
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        scene.during = lambda scene: seen.extend(
            [scene.name(port=port), scene.name("acme-tls/1", port=port), scene.name("acme-tls/1")]
        )
        with playing(scene, doors=(door,)):
            scene.may_look.set()
            assert scene.notary is not None
            scene.notary.soon(lambda: scene.said("state=shown code=none"))
            assert (scene.name(), scene.name(port=port)) == (THEIRS, THEIRS)
    assert seen == [OWN, CHALLENGE, CHALLENGE]
