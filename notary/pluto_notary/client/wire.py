"""The bytes between this computer and a notary: outer TLS, upgrade, stream, inner TLS. Blocking; every wait is bounded.

The outer certificate is not judged here: evidence is bound to its key, which `outer_key_digest` names, and what is said
inside is read by nobody but the trust domain.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.errors import SourceError, UsageError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.stream import Stream
from pluto_notary.protocol.upgrade import Upgrading

_READ: Final = 32 * 1024
_REFUSALS: Final = {429: "was asked too often from here; try later", 503: "is busy; try later"}
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


@dataclass(frozen=True, slots=True)
class Notary:
    """Where a notary answers."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Notary:
        """https://HOST[:PORT] or wss://HOST[:PORT]. UsageError."""
        try:
            parts = urlsplit(url)
            port = 443 if parts.port is None else parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is no URL: {error}") from error
        host = parts.hostname or ""
        if parts.scheme not in ("https", "wss") or not _HOST.fullmatch(host) or port == 0:
            raise UsageError(f"{url!r} is not https://HOST[:PORT]")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise UsageError(f"{url!r} has more than a host and a port")
        return cls(host, port)

    @property
    def authority(self) -> str:
        """As Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.authority}"


class Wire:
    """An inner TLS connection to a notary. SourceError where it is lost or late, ChannelError for broken rules."""

    def __init__(self, outer: ssl.SSLSocket, stream: Stream, deadline: float, *, early: bytes) -> None:
        self._outer, self._stream, self._deadline = outer, stream, deadline
        self._tls = InnerTls(client_context(), server=False)
        self._flush()
        self._take(early)
        while not self._tls.established:
            self._more()
        if self._tls.version != 2:
            raise ChannelError("version", "the notary does not speak version 2")

    @property
    def ekm(self) -> bytes:
        """The exported keying material, 32 bytes."""
        return self._tls.ekm

    def send(self, data: bytes) -> None:
        """Bytes of the session."""
        self._tls.write(data)
        self._flush()

    def receive(self) -> bytes:
        """Some bytes of the session; never none."""
        while not (data := self._tls.read()):
            if self._tls.ended:
                raise SourceError("the notary ended the session and did not say why")
            self._more()
        return data

    def _more(self) -> None:
        self._outer.settimeout(_left(self._deadline))
        try:
            data = self._outer.recv(_READ)
        except OSError as error:
            raise SourceError(f"the notary does not answer: {_why(error)}") from error
        if not data:
            raise SourceError("the notary closed the connection")
        self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            if data and (inner := self._stream.feed(data)):
                self._tls.feed(inner)
        finally:
            self._flush()

    def _flush(self) -> None:
        pieces = [self._stream.replies()]
        while data := self._tls.data_to_send():
            pieces.append(self._stream.send(data))
        if waiting := b"".join(pieces):
            try:
                _send(self._outer, waiting, self._deadline)
            except OSError as error:
                raise SourceError(f"the notary does not listen: {_why(error)}") from error


@contextlib.contextmanager
def connected(
    notary: Notary,
    *,
    protocol: str,
    random: Callable[[int], bytes],
    seconds: float,
    address: tuple[str, int] | None = None,
) -> Iterator[tuple[Wire, bytes]]:
    """A wire to the notary, and SHA-256 of its outer certificate's key. `seconds` bounds all of it.

    `address`: where to connect instead of where the name leads. SourceError, ChannelError.
    """
    deadline = time.monotonic() + seconds
    with _tls(notary, address or (notary.host, notary.port), deadline) as outer:
        stream, early = _upgraded(outer, notary, protocol, random, deadline)
        yield Wire(outer, stream, deadline, early=early), _key_digest(outer)


def _tls(notary: Notary, address: tuple[str, int], deadline: float) -> ssl.SSLSocket:
    try:
        plain = socket.create_connection(address, _left(deadline))
    except (OSError, UnicodeError) as error:  # the latter for a name that is none
        raise SourceError(f"{notary} cannot be reached: {_why(error)}") from error
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(_left(deadline))
        return _outer_context().wrap_socket(plain, server_hostname=notary.host)
    except TimeoutError as error:
        raise SourceError(f"{notary} does not answer: {_why(error)}") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{notary} does not speak TLS 1.3: {_why(error)}") from error
    finally:
        plain.close()  # what TLS took over stays open


def _upgraded(
    outer: ssl.SSLSocket, notary: Notary, protocol: str, random: Callable[[int], bytes], deadline: float
) -> tuple[Stream, bytes]:
    upgrading = Upgrading(protocol=protocol, authority=notary.authority, random=random(16))
    try:
        _send(outer, upgrading.start(), deadline)
        while True:
            outer.settimeout(_left(deadline))
            if (done := upgrading.feed(outer.recv(_READ))) is not None:
                return done
    except OSError as error:
        raise SourceError(f"{notary} does not answer: {_why(error)}") from error
    except ChannelError as error:
        problem = _REFUSALS.get(upgrading.status or 0, error.problem)
        said = f" ({upgrading.status})" if upgrading.status else ""
        raise SourceError(f"{notary}: {problem}{said}") from error


def _send(outer: ssl.SSLSocket, data: bytes, deadline: float) -> None:
    rest = memoryview(data)
    while rest:
        outer.settimeout(_left(deadline))
        rest = rest[outer.send(rest) :]


def _outer_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the evidence says whose key it is
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def _key_digest(outer: ssl.SSLSocket) -> bytes:
    try:
        key = x509.load_der_x509_certificate(outer.getpeercert(binary_form=True) or b"").public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise SourceError("the notary's certificate cannot be read") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _left(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise SourceError("the notary took too long")
    return left


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLError):  # its text has places in others' source
        return (error.reason or "the connection ended").replace("_", " ").lower()
    if isinstance(error, UnicodeError):
        return "that is no name"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
