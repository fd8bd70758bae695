"""OpenSSL as the web site of the client's TLS, in memory. For tests."""

from __future__ import annotations

import contextlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from notary.client_tls.certificates import identity
from pluto_notary.client.tls.suites import SUITES

NAMES = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
}
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}


class OpenSsl:
    """A server of OpenSSL in memory."""

    def __init__(
        self,
        kind: str,
        *,
        suite: int | None = None,
        cipher: str = "",
        curve: str = "",
        version: int = 0,
        ask: bool = False,
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(x509.load_pem_x509_certificate(identity(kind).chain.encode()))
        key: Any = load_pem_private_key(identity(kind).key.encode(), None)
        context.use_privatekey(key)
        self.logged: dict[str, bytes] = {}
        context.set_keylog_callback(self._log)
        context.set_alpn_select_callback(lambda _, offered: offered[0])
        if version:
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)
        if suite is not None and SUITES[suite].key is None:
            context.set_tls13_ciphersuites(NAMES[suite].encode())
        elif name := cipher or NAMES.get(suite or 0):
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(name.encode())
        if curve:
            context.set_tmp_ecdh(CURVES[curve])  # and no other
        if ask:
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.done = False
        self.read = b""

    def _log(self, _: SSL.Connection, line: bytes) -> None:
        name, _random, value = line.decode().split()
        self.logged[name] = bytes.fromhex(value)

    def receive(self, data: bytes) -> bytes:
        if data:
            self.connection.bio_write(data)
        with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
            if not self.done:
                self.connection.do_handshake()
                self.done = True
            while True:
                self.read += self.connection.recv(65536)
        return self.sent()

    def write(self, data: bytes) -> bytes:
        self.connection.sendall(data)
        return self.sent()

    def sent(self) -> bytes:
        pieces = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                pieces.append(self.connection.bio_read(65536))
        return b"".join(pieces)
