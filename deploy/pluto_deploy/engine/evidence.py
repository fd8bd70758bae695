"""Fetches evidence from a machine over TLS.

The machine's certificate is its own or an authority's; neither is checked here. The evidence vouches for it: it is
bound to the key that the connection was seen to use, and to a nonce made by the caller. So it always has to be judged.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_deploy.engine.target import Address
from pluto_measure.errors import SourceError

LARGEST: Final = 4 << 20  # bytes of an evidence envelope


@dataclass(frozen=True, slots=True)
class Seen:
    """What came over one connection: the evidence, and SHA-256 of the key that served it (DER)."""

    evidence: bytes
    key_digest: bytes


def fetch(address: Address, nonce: bytes, *, timeout: float) -> Seen:
    """GET /v1/evidence with `nonce`; `timeout` in seconds. SourceError if the machine does not answer as it should."""
    connection = _Connection(address, timeout)
    timer = threading.Timer(timeout, connection.expire)  # each read has a limit of its own; this is that of all
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        key = _key_digest(connection.sock)
        connection.request("GET", f"/v1/evidence?nonce={nonce.hex()}")
        answer = connection.getresponse()
        body = answer.read(LARGEST + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SourceError(f"{address}: no evidence: {str(error) or type(error).__name__}") from error
    finally:
        timer.cancel()
        connection.close()
    if connection.expired:
        raise SourceError(f"{address}: no evidence within {timeout:.0f} s")
    if answer.status != 200:
        raise SourceError(f"{address}: the notary answered {answer.status} to a request for evidence")
    if len(body) > LARGEST:
        raise SourceError(f"{address}: the evidence is larger than {LARGEST} bytes")
    return Seen(body, key)


class _Connection(http.client.HTTPConnection):
    """HTTP over TLS, to a port or through a socket of this computer."""

    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__(address.host, address.port, timeout=timeout)
        self._address, self._seconds = address, timeout
        self.expired = False
        self._wrapped: ssl.SSLSocket | None = None  # http.client forgets its own once the head was read

    def connect(self) -> None:
        if self._address.socket is None:
            plain = socket.create_connection((self._address.host, self._address.port), self._seconds)
        else:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(self._seconds)
            try:
                plain.connect(str(self._address.socket))
            except BaseException:
                plain.close()
                raise
        self.sock = self._wrapped = _context().wrap_socket(plain, do_handshake_on_connect=False)
        self._wrapped.do_handshake()

    def expire(self) -> None:
        """End it from another thread, whatever it is at."""
        self.expired = True
        if self._wrapped is not None:
            with contextlib.suppress(OSError):  # it ended by itself
                socket.socket.shutdown(self._wrapped, socket.SHUT_RDWR)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _key_digest(connection: object) -> bytes:
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    try:
        key = x509.load_der_x509_certificate(certificate or b"").public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise SourceError("the machine's certificate cannot be read") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
