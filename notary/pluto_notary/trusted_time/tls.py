"""TLS 1.3 of an NTS-KE client over memory buffers, by OpenSSL: bytes in, bytes out. RFC 8915, section 3.

The certificate is NOT judged here. Nobody can say yet what time it is, and this library would ask the machine's wall
clock, which the host sets. The handshake proves that the server holds the key of the certificate that it showed;
`certificates.judge` says later, at the time that the exchange itself brought, whether it is the operator's.
"""

from __future__ import annotations

import contextlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from pluto_notary.trusted_time.errors import SampleError
from pluto_notary.trusted_time.key_exchange import ALPN, Keys, export_keys

_PIECE: Final = 16 * 1024


class UnjudgedTls:
    """The client's side of one session with `host`. Raises SampleError (tls, certificate); then it is of no use."""

    def __init__(self, host: str) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_alpn_protos([ALPN])
        context.set_verify(SSL.VERIFY_NONE)  # a callback would need memory that can be written and executed
        self._connection = SSL.Connection(context, None)
        self._connection.set_tlsext_host_name(host.encode("ascii"))
        self._connection.set_connect_state()
        self.established = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the server, b"" to begin. Returns what it said over the session."""
        if data:
            self._connection.bio_write(data)
        try:
            if not self.established:
                self._connection.do_handshake()
                self._check()
            return self._read()
        except SSL.WantReadError:
            return b""
        except SSL.Error as error:
            raise SampleError("tls", "the TLS handshake or session failed") from error

    def write(self, data: bytes) -> None:
        """Say something; `outgoing` has it afterwards."""
        self._connection.sendall(data)

    def outgoing(self) -> bytes:
        """What is to be sent to the server now."""
        pieces = []
        with contextlib.suppress(SSL.WantReadError):  # that was all
            while piece := self._connection.bio_read(_PIECE):
                pieces.append(piece)
        return b"".join(pieces)

    def keys(self) -> Keys:
        """The NTS keys of this session."""
        assert self.established
        return export_keys(self._connection.export_keying_material)

    def chain(self) -> tuple[bytes, ...]:
        """The certificates that the server showed, its own first, in DER. Nobody has judged them."""
        try:
            certificates = self._connection.get_peer_cert_chain(as_cryptography=True) or []
            return tuple(one.public_bytes(Encoding.DER) for one in certificates)
        except (ValueError, x509.InvalidVersion) as error:  # of a version that does not exist, which OpenSSL takes
            raise SampleError("certificate", "a certificate of the server cannot be read") from error

    def _check(self) -> None:
        if self._connection.get_alpn_proto_negotiated() != ALPN:
            raise SampleError("tls", "the server does not speak NTS-KE")
        self.established = True

    def _read(self) -> bytes:
        pieces = []
        try:
            with contextlib.suppress(SSL.WantReadError):  # no more for now
                while True:
                    pieces.append(self._connection.recv(_PIECE))
        except SSL.ZeroReturnError:
            self.ended = True
        return b"".join(pieces)
