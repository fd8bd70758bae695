"""A TLS 1.3 client that OpenSSL does not let one be: it sends key updates and empty records as often as it likes.

The handshake is OpenSSL's; the records behind it are made here from the secrets of its key log. RFC 8446, 5.2, 7.2.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from OpenSSL import SSL

from pluto_notary.protocol.inner import InnerTls, client_context


class RawClient:
    """The client's sending direction, from its application secret on."""

    def __init__(self, secret: bytes, cipher: str) -> None:
        self._hash = "sha384" if cipher.endswith("SHA384") else "sha256"
        self._aead = ChaCha20Poly1305 if "CHACHA20" in cipher else AESGCM
        self._size = 16 if "128" in cipher else 32
        self._secret, self._number = secret, 0

    def key_update(self) -> bytes:
        """A record with a KeyUpdate that asks for none in return, and from then on the next keys."""
        record = self._record(b"\x18\x00\x00\x01\x00", 22)
        self._secret, self._number = self._expand(b"traffic upd", len(self._secret)), 0
        return record

    def empty_record(self) -> bytes:
        return self._record(b"", 23)

    def data(self, text: bytes) -> bytes:
        return self._record(text, 23)

    def _record(self, content: bytes, kind: int) -> bytes:
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        key, start = self._expand(b"key", self._size), self._expand(b"iv", 12)
        nonce = (int.from_bytes(start, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._aead(key).encrypt(nonce, inner, head)

    def _expand(self, label: bytes, size: int) -> bytes:
        return expand_label(self._secret, label, b"", size, self._hash)


def expand_label(secret: bytes, label: bytes, context: bytes, size: int, algorithm: str) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, for outputs of at most one block."""
    full = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    return hmac.digest(secret, info + b"\x01", algorithm)[:size]


def exporter(secret: bytes, label: bytes, context: bytes, algorithm: str) -> bytes:
    """32 bytes of RFC 8446, 7.5, from the exporter master secret."""
    derived = expand_label(secret, label, hashlib.new(algorithm).digest(), len(secret), algorithm)
    return expand_label(derived, b"exporter", hashlib.new(algorithm, context).digest(), 32, algorithm)


def logged(server: SSL.Context) -> tuple[InnerTls, InnerTls, dict[str, bytes]]:
    """Client and notary after their handshake, and the secrets of it by the labels of key logs."""
    secrets: dict[str, bytes] = {}

    def note(_: SSL.Connection, line: bytes) -> None:
        label, _random, secret = line.decode().split(" ")
        secrets[label] = bytes.fromhex(secret)

    context = client_context()
    context.set_keylog_callback(note)
    client, notary = InnerTls(context, server=False), InnerTls(server, server=True)
    while True:
        data, answer = client.data_to_send(), b""
        if data:
            notary.feed(data)
        answer = notary.data_to_send()
        if answer:
            client.feed(answer)
        if not data and not answer:
            return client, notary, secrets


def shaken(server: SSL.Context) -> tuple[RawClient, InnerTls]:
    """A raw client and the notary that it shook hands with."""
    client, notary, secrets = logged(server)
    cipher = client._connection.get_cipher_name()
    assert cipher is not None
    return RawClient(secrets["CLIENT_TRAFFIC_SECRET_0"], cipher), notary
