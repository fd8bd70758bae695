"""A TLS connection to a web site, over a socket that is given: who it is, bytes in, bytes out, and a true end.

TLS is driven over memory rather than by the event loop's streams, since those show an end that nobody authenticated as
an end: here only close_notify is one (RFC 8446, section 6.1). Nothing is resumed: no session is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl

from pluto_measure.errors import FormatError
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.validity import validity

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Final, TypeVar

    A = TypeVar("A")
    T = TypeVar("T")
    Connect = Callable[[str, int], Awaitable[socket.socket]]

HTTP_2: Final = "h2"
HTTP_1: Final = "http/1.1"

_READ: Final = 64 * 1024
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name
_TURN: Final = 256 * 1024  # bytes after which the other tasks get their turn
# OpenSSL's X509_V_ERR_…, in our words; its own may quote names.
_REASONS: Final = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is signed by itself",
    19: "the certificate leads to an unknown root",
    20: "the certificate leads to no known root",
    21: "the certificate leads to no known root",
    62: "the certificate is for another name",
    64: "the certificate is for another address",
}


def client_context(roots: str) -> ssl.SSLContext:
    """How every site is checked. `roots` in PEM, all that are trusted. Raises ssl.SSLError for what is none.

    TLS 1.2 with forward secrecy and AEAD, or 1.3; chain, purpose and time; the name in subjectAltName alone.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2")
    context.hostname_checks_common_name = False
    # The wall clock is the host's: the dates are judged by the trusted clock, and by it alone (`_check_time`).
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VerifyFlags(_NO_CHECK_TIME)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([HTTP_2, HTTP_1])
    context.load_verify_locations(cadata=roots)
    return context


async def connect(address: str, port: int) -> socket.socket:
    """A TCP connection to this address, in numbers: nothing is resolved. Raises OSError."""
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


class TlsStream:
    """One connection. Takes the socket over; `close` always. Raises TargetError (certificate, tls, time, size)."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str, limits: FetchLimits) -> None:
        self._socket, self._idle = connection, limits.idle_seconds
        self._loop = asyncio.get_running_loop()
        self._room = limits.wire_bytes
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._since_turn = 0
        self.leaf_sha256 = b""

    @property
    def protocol(self) -> str:
        """HTTP_2 or HTTP_1: what the site chose by ALPN, or the old one where it chose nothing."""
        return self._tls.selected_alpn_protocol() or HTTP_1

    async def handshake(self, judged_at: tuple[int, int]) -> None:
        """Authenticate the site. `judged_at`: earliest and latest Unix time that it can be now."""
        await self._drive(self._tls.do_handshake)  # our last flight leaves with the first write, if that comes
        if not (chain := _verified_chain(self._tls)):
            raise TargetError("certificate", "the site showed no certificate")
        for der in chain:
            _check_time(der, judged_at)
        self.leaf_sha256 = hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").digest()

    async def read(self) -> bytes:
        """The next bytes, at most 16 KiB; b"" only if the site said that no more will come."""
        try:
            return await self._drive(lambda: self._tls.read(_READ))
        except ssl.SSLZeroReturnError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest[:_READ]) :]
            await self._flush()

    def close(self) -> None:
        """Say goodbye if that is possible at once, and let the socket go."""
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._socket.send(self._outgoing.read())
        self._socket.close()

    async def _drive(self, act: Callable[[], T]) -> T:
        """Let TLS act, with as many bytes as it wants."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLZeroReturnError:
                raise
            except ssl.SSLCertVerificationError as error:
                raise TargetError("certificate", _reason(error)) from error
            except ssl.SSLError as error:
                raise TargetError("tls", "the site does not speak TLS as it must be spoken here") from error

    async def _receive(self) -> None:
        while (data := self._try(self._socket.recv, _READ)) is None:
            self._since_turn = 0
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
        if not data:
            raise _broken_off()
        self._room -= len(data)
        if self._room < 0:
            raise TargetError("size", "the site sends too much")
        self._incoming.write(data)
        self._since_turn += len(data)
        if self._since_turn > _TURN:
            self._since_turn = 0
            await asyncio.sleep(0)

    async def _flush(self) -> None:
        rest = memoryview(self._outgoing.read())
        while rest:
            if (sent := self._try(self._socket.send, rest)) is None:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            else:
                rest = rest[sent:]

    def _try(self, act: Callable[[A], T], argument: A) -> T | None:
        """What the socket does at once; None if it has to be waited for."""
        try:
            return act(argument)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise _broken_off() from error

    async def _ready(self, watch: Callable[..., None], unwatch: Callable[[int], bool]) -> None:
        """Wait until the socket is ready. asyncio.timeout would do the same at several times the price."""
        ready = self._loop.create_future()
        number = self._socket.fileno()
        watch(number, _settle, ready, None)
        late = self._loop.call_later(
            self._idle, _settle, ready, TargetError("time", "the site was silent for too long")
        )
        try:
            await ready
        finally:
            late.cancel()
            unwatch(number)


def _settle(future: asyncio.Future[None], error: TargetError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _verified_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The chain from leaf to root as it was verified, in DER. Public since Python 3.13."""
    public: Any = getattr(tls, "get_verified_chain", None)
    if public is not None:
        return list(public())
    inner: Any = tls._sslobj  # type: ignore[attr-defined]
    return [certificate.public_bytes(ssl._ssl.ENCODING_DER) for certificate in inner.get_verified_chain()]  # type: ignore[attr-defined]


def _check_time(der: bytes, judged_at: tuple[int, int]) -> None:
    try:
        first, last = validity(der)
    except FormatError as error:
        raise TargetError("certificate", "a certificate has no validity that can be read") from error
    earliest, latest = judged_at
    if not first <= earliest <= latest <= last:
        raise TargetError("certificate", "a certificate is not valid at the trusted time")


def _reason(error: ssl.SSLCertVerificationError) -> str:
    return _REASONS.get(error.verify_code, "the certificate is not acceptable")


def _broken_off() -> TargetError:
    return TargetError("tls", "the connection ended without the site's goodbye")
