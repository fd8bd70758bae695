"""NTS operators in memory or on sockets: honest, lying, slow, broken. And a world with a time of its own.

`World` has a virtual clock, which neither the machine's wall clock nor its monotonic one touches: its true time may be
any, and hours of it pass in no time. `serve` puts one operator on real sockets.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from pluto_notary.trusted_time import packet as ntp
from pluto_notary.trusted_time.key_exchange import ALPN, Keys, encode, export_keys

DAY = 86400.0


class Authority:
    """A certification authority of the tests."""

    def __init__(self, begin: float, end: float) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "time test root")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            _builder(self.name, self.name, self.key.public_key(), begin, end)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, host: str, begin: float, end: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A key and its certificate for `host`, valid between these Unix times."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(x509.Name([]), self.name, key.public_key(), begin, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return key, certificate


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: float, end: float
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(datetime.fromtimestamp(begin, UTC)).not_valid_after(
        datetime.fromtimestamp(end, UTC)
    )


@dataclass
class TimeServer:
    """NTS-KE and NTP of one operator. What is set to other than its default is what is wrong with it."""

    host: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    version: int | None = None  # that its certificate says, whose signature then does not hold
    lie: float = 0.0  # seconds that are added to the truth
    stratum: int = 1
    leap: int = 0
    root_delay: float = 0.005
    root_dispersion: float = 0.002
    hold: float = 0.0  # seconds between receiving and sending
    kiss: bytes | None = None  # instead of an answer, authentic
    ways: tuple[float, float] = (0.02, 0.03)  # seconds to the server and back
    alpn: bytes = ALPN
    ntp_server: str | None = None
    ntp_port: int | None = None
    respond: Callable[[bytes], bytes] = lambda given: given  # what becomes of the NTS-KE response
    mangle: Callable[[bytes], Sequence[bytes]] = lambda answer: [answer]  # what becomes of an answer on its way
    deaf: bool = False  # no NTP is answered, as where UDP is blocked
    down: bool = False  # no connection is taken
    exchanges: int = 0
    requests: list[bytes] = field(default_factory=list)
    cookies_used: list[bytes] = field(default_factory=list)
    _secret: bytes = field(default_factory=lambda: os.urandom(32))

    def show(self, context: SSL.Context) -> None:
        """Have TLS show its certificate; X.509 counts its versions from 0."""
        if self.version is None:
            context.use_certificate(self.certificate)
            return
        der = self.certificate.public_bytes(Encoding.DER)
        der = der.replace(b"\xa0\3\2\1\2", bytes((0xA0, 3, 2, 1, self.version - 1)), 1)
        with warnings.catch_warnings():  # no other class of the library takes a version that does not exist
            warnings.simplefilter("ignore", DeprecationWarning)
            context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, der))

    def forget(self) -> None:
        """No cookie that was given out is known any more."""
        self._secret = os.urandom(32)

    def cookie(self, keys: Keys) -> bytes:
        nonce = os.urandom(16)
        return nonce + AESSIV(self._secret).encrypt(keys.client_to_server + keys.server_to_client, [nonce])

    def key_exchange(self, keys: Keys) -> bytes:
        """The NTS-KE response."""
        self.exchanges += 1
        records = encode(1, b"\0\0", critical=True) + encode(4, b"\0\x0f", critical=False)
        for _ in range(8):
            records += encode(5, self.cookie(keys), critical=False)
        if self.ntp_server is not None:
            records += encode(6, self.ntp_server.encode(), critical=False)
        if self.ntp_port is not None:
            records += encode(7, self.ntp_port.to_bytes(2, "big"), critical=False)
        return self.respond(records + encode(0, b"", critical=True))

    def answer(self, packet: bytes, now: float) -> Sequence[bytes]:
        """The datagrams that a request, received at true Unix time `now`, is answered with."""
        self.requests.append(packet)
        if self.deaf:
            return []
        header, fields = ntp.parse(packet)
        assert (header.version, header.mode) == (ntp.VERSION, ntp.CLIENT)
        by_kind = {one.kind: one for one in fields}
        cookie, identifier = by_kind[ntp.COOKIE].body, by_kind[ntp.UNIQUE_IDENTIFIER].body
        self.cookies_used.append(cookie)
        head = ntp.field(ntp.UNIQUE_IDENTIFIER, identifier)
        try:
            both = AESSIV(self._secret).decrypt(cookie[16:], [cookie[:16]])
        except InvalidTag:
            return self.mangle(self._header(header.transmit, now, b"NTSN") + head)
        keys = Keys(both[:32], both[32:])
        ntp.opened(packet, fields[-1], keys.client_to_server)
        wanted = 1 + sum(one.kind == ntp.PLACEHOLDER for one in fields)
        fresh = b"".join(ntp.field(ntp.COOKIE, self.cookie(keys)) for _ in range(wanted))
        body = self._header(header.transmit, now, self.kiss) + head
        return self.mangle(ntp.sealed(body, keys.server_to_client, os.urandom(16), fresh))

    def _header(self, origin: int, now: float, kiss: bytes | None) -> bytes:
        claimed = now + self.lie
        return (
            bytes([self.leap << 6 | ntp.VERSION << 3 | ntp.SERVER, 0 if kiss else self.stratum, 6, 0xEC])
            + round(self.root_delay * 65536).to_bytes(4, "big")
            + round(self.root_dispersion * 65536).to_bytes(4, "big")
            + (kiss or b"TEST")
            + ntp.ntp_timestamp(claimed - 8).to_bytes(8, "big")
            + origin.to_bytes(8, "big")
            + ntp.ntp_timestamp(claimed).to_bytes(8, "big")
            + ntp.ntp_timestamp(claimed + self.hold).to_bytes(8, "big")
        )


class ServerSession:
    """The server's side of one TLS session over memory buffers: bytes in, bytes out."""

    def __init__(self, server: TimeServer) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_privatekey(server.key)
        server.show(context)
        context.set_alpn_select_callback(
            lambda _, offered: server.alpn if server.alpn in offered else SSL.NO_OVERLAPPING_PROTOCOLS
        )
        self._server = server
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._established = False
        self._request = b""
        self.done = False

    def feed(self, data: bytes) -> bytes:
        self._connection.bio_write(data)
        with suppress(SSL.WantReadError, SSL.Error):
            if not self._established:
                self._connection.do_handshake()
                self._established = True
            while not self.done:
                self._request += self._connection.recv(4096)
                if self._request.endswith(b"\x80\0\0\0"):
                    keys = export_keys(self._connection.export_keying_material)
                    self._connection.sendall(self._server.key_exchange(keys))
                    self._connection.shutdown()
                    self.done = True
        outgoing = b""
        with suppress(SSL.WantReadError):
            while piece := self._connection.bio_read(16384):
                outgoing += piece
        return outgoing


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once whenever it would wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_VirtualSelector(self))

    def time(self) -> float:
        return self.now


class _VirtualSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for ever"
        self._loop.now += max(0.0, timeout)
        return super().select(0)


@dataclass
class World:
    """A true time, operators by address, and the network between. Is a `source.Network`."""

    start: float  # true Unix time when the local clock shows 0
    servers: dict[str, TimeServer] = field(default_factory=dict)  # by address
    drift_ppm: float = 0.0  # by which true time runs faster than the local clock
    jump: float = 0.0  # seconds that the local clock has missed
    connected: list[tuple[str, int]] = field(default_factory=list)

    def unix(self, local: float) -> float:
        return self.start + self.jump + local * (1 + self.drift_ppm / 1e6)

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run in a loop with virtual time, whose `time()` is the local monotonic clock."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(_awaited(work))

    async def resolve(self, host: str) -> Sequence[str]:
        return [address for address, server in self.servers.items() if server.host == host]

    async def connect(self, address: str, port: int) -> _Stream:
        self.connected.append((address, port))
        server = self.servers[address]
        await asyncio.sleep(sum(server.ways))
        if server.down:
            raise ConnectionRefusedError
        return _Stream(server)

    async def datagrams(self, address: str, port: int) -> _Datagrams:
        self.connected.append((address, port))
        return _Datagrams(self, self.servers[address])


async def _awaited(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


class _Stream:
    def __init__(self, server: TimeServer) -> None:
        self._server, self._session, self._waiting = server, ServerSession(server), b""

    async def read(self, size: int) -> bytes:
        await asyncio.sleep(sum(self._server.ways))
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    async def write(self, data: bytes) -> None:
        self._waiting += self._session.feed(data)

    def close(self) -> None:
        self._waiting = b""


class _Datagrams:
    def __init__(self, world: World, server: TimeServer) -> None:
        self._world, self._server = world, server
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, packet: bytes) -> None:
        asyncio.get_running_loop().call_later(self._server.ways[0], self._at_server, packet)

    def _at_server(self, packet: bytes) -> None:
        loop = asyncio.get_running_loop()
        for answer in self._server.answer(packet, self._world.unix(loop.time())):
            loop.call_later(self._server.hold + self._server.ways[1], self._arrived.put_nowait, answer)

    async def receive(self) -> bytes:
        return await self._arrived.get()

    def close(self) -> None:
        pass


@asynccontextmanager
async def serve(
    server: TimeServer,
    address: str = "127.0.0.1",
    ports: tuple[int, int] = (0, 0),
    awake: asyncio.Event | None = None,
) -> Any:
    """The operator on sockets, with the machine's own time as the truth; yields (NTS-KE port, NTP port).

    `ports`: the same, 0 for any that is free. Until it is `awake` it takes connections and says nothing.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=(address, ports[1]))
    server.ntp_port = transport.get_extra_info("sockname")[1]

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession(server)
        if awake is not None:
            await awake.wait()
        with suppress(OSError):
            while not session.done and (data := await reader.read(4096)):
                writer.write(session.feed(data))
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    listener = await asyncio.start_server(exchange, address, ports[0])
    try:
        yield listener.sockets[0].getsockname()[1], server.ntp_port
    finally:
        listener.close()
        await listener.wait_closed()
        transport.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: TimeServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for answer in self._server.answer(data, time.time()):
            self._transport.sendto(answer, addr)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
