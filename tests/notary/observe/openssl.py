"""OpenSSL as the site, and recordings of TLS 1.2 sessions with OpenSSL on both sides. For tests."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from notary.observe.keys import certificate_of, key_of
from notary.observe.worlds import HOST
from notary.observe.worlds12 import ECDSA_128, ECDSA_256, ECDSA_CHACHA, RSA_128, RSA_256, RSA_CHACHA
from pluto_notary.observe.recording import Recording

REQUEST, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(40_000)
NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which pyOpenSSL does not name
OPENSSL_NAMES = {
    ECDSA_128: "ECDHE-ECDSA-AES128-GCM-SHA256",
    ECDSA_256: "ECDHE-ECDSA-AES256-GCM-SHA384",
    ECDSA_CHACHA: "ECDHE-ECDSA-CHACHA20-POLY1305",
    RSA_128: "ECDHE-RSA-AES128-GCM-SHA256",
    RSA_256: "ECDHE-RSA-AES256-GCM-SHA384",
    RSA_CHACHA: "ECDHE-RSA-CHACHA20-POLY1305",
}


def pem(kind: str) -> tuple[bytes, bytes]:
    """Chain and key of a site, by the kind of its key."""
    key = key_of(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return x509.load_der_x509_certificate(certificate_of(kind)).public_bytes(Encoding.PEM), key


def kind_of(suite: int) -> str:
    """The kind of key that goes with a suite of TLS 1.2."""
    return "p256" if OPENSSL_NAMES[suite].startswith("ECDHE-ECDSA") else "rsa"


def showing(chain: bytes, key: bytes) -> SSL.Context:
    """A site that shows this chain, and nothing more of it set. `chain` and `key` in PEM."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "chain").write_bytes(chain)
        Path(folder, "key").write_bytes(key)
        context.use_certificate_chain_file(str(Path(folder, "chain")))
        context.use_privatekey_file(str(Path(folder, "key")))
    return context


def server(chain: bytes, key: bytes, *, options: int = 0, asks: bool = False, tickets: bool = True) -> SSL.Context:
    """A site of TLS 1.2 and HTTP/1.1. `chain` and `key` in PEM."""
    context = showing(chain, key)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(options | (0 if tickets else SSL.OP_NO_TICKET))
    context.set_alpn_select_callback(
        lambda _, offered: b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    context.set_session_id(b"site")
    if asks:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


def client(suite: int | None = None, *, options: int = 0, alpn: Iterable[bytes] = (b"http/1.1",)) -> SSL.Context:
    """A client that believes everybody."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_options(options)
    context.set_alpn_protos(list(alpn))
    if suite is not None:
        context.set_cipher_list(OPENSSL_NAMES[suite].encode())
    return context


class OpenSsl:
    """A session of OpenSSL with OpenSSL, recorded in between. The handshake is done when it was made."""

    def __init__(
        self, client_context: SSL.Context, site_context: SSL.Context, *, host: str = HOST, session: Any = None
    ) -> None:
        self._client, self._site = SSL.Connection(client_context, None), SSL.Connection(site_context, None)
        self._said = {self._client: b"", self._site: b""}
        self._client.set_tlsext_host_name(host.encode())
        if session is not None:
            self._client.set_session(session)
        self._client.set_connect_state()
        self._site.set_accept_state()
        self.handshake()

    @property
    def recording(self) -> Recording:
        return Recording(self._said[self._client], self._said[self._site])

    @property
    def secret(self) -> bytes:
        return self._client.master_key() or b""

    @property
    def session(self) -> Any:
        """To resume with."""
        return self._client.get_session()

    @property
    def suite(self) -> str:
        return self._client.get_cipher_name() or ""

    def handshake(self) -> None:
        for _ in range(4):
            for one, other in ((self._client, self._site), (self._site, self._client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                self._carry(one, other)

    def renegotiate(self) -> None:
        """The client begins another handshake, inside the first; both sides go on as they read."""
        self._client.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            self._client.do_handshake()
        self._carry(self._client, self._site)
        for one, other in ((self._site, self._client), (self._client, self._site)) * 2:
            with contextlib.suppress(SSL.WantReadError):
                one.recv(1)
            self._carry(one, other)

    def talk(self, request: bytes, answer: bytes) -> None:
        """The client asks, the site answers."""
        for one, other, content in ((self._client, self._site, request), (self._site, self._client, answer)):
            heard = b""
            for at in range(0, len(content), 1 << 14):
                one.sendall(content[at : at + (1 << 14)])
                self._carry(one, other)
                with contextlib.suppress(SSL.WantReadError):
                    while piece := other.recv(1 << 15):
                        heard += piece
            assert heard == content

    def close(self) -> None:
        for one, other in ((self._client, self._site), (self._site, self._client)):
            one.shutdown()
            self._carry(one, other)

    def _carry(self, one: SSL.Connection, other: SSL.Connection) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while piece := one.bio_read(1 << 16):
                self._said[one] += piece
                other.bio_write(piece)


def by_openssl(suite: int = ECDSA_128, **site: Any) -> OpenSsl:
    """A session with a question, an answer of several records, and an end. `site`: as of `server`."""
    made = OpenSsl(client(suite), server(*pem(kind_of(suite)), **site))
    made.talk(REQUEST, ANSWER)
    made.close()
    return made
