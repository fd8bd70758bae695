"""How one operator is asked: its keys, its cookies, when it may be asked again. Sockets are the given network's.

no keys --key exchange--> keys --request, answer--> sample, certificate judged at the sample's own time
keys that are old, used up, refused, or not known to the server any more --> no keys
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Final, Protocol

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.record import record
from pluto_notary.trusted_time.agree import Rules, Sample
from pluto_notary.trusted_time.certificates import Roots
from pluto_notary.trusted_time.errors import SampleError
from pluto_notary.trusted_time.key_exchange import KeyExchange, request
from pluto_notary.trusted_time.nts import Association
from pluto_notary.trusted_time.operators import Operator
from pluto_notary.trusted_time.tls import UnjudgedTls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ADDRESSES: Final = 4  # of one name that are tried
_READ: Final = 16 * 1024


class Stream(Protocol):
    """One TCP connection."""

    async def read(self, size: int) -> bytes:
        """Some bytes; b"" at the end. OSError."""
        ...

    async def write(self, data: bytes) -> None:
        """Send. OSError."""
        ...

    def close(self) -> None:
        """Let go at once."""
        ...


class Datagrams(Protocol):
    """One UDP socket that is connected to one address."""

    def send(self, packet: bytes) -> None:
        """Send or lose."""
        ...

    async def receive(self) -> bytes:
        """The next packet. OSError if the address answers that nobody is there."""
        ...

    def close(self) -> None:
        """Let go at once."""
        ...


class Network(Protocol):
    """What the rest of the notary connects by; addresses are in numbers."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Addresses of a name. OSError."""
        ...

    async def connect(self, address: str, port: int) -> Stream:
        """OSError."""
        ...

    async def datagrams(self, address: str, port: int) -> Datagrams:
        """OSError."""
        ...


@record
class Asking:
    """How operators are asked. Times in seconds."""

    rules: Rules
    roots: Roots
    network: Network
    allowed: Callable[[str], bool]  # whether an address may be spoken to
    monotonic: Callable[[], float]
    random: Callable[[int], bytes]
    exchange_seconds: float = 8.0  # for resolution, connection, TLS and key exchange
    answer_seconds: float = 2.0  # for one request
    tries: int = 3
    keys_seconds: float = 12 * 3600.0  # after which the operator has to show its certificate again


@record
class _Session:
    association: Association
    chain: tuple[bytes, ...]
    address: str
    port: int
    made_at: float


class Source:
    """One operator, by its index in the pinned list."""

    def __init__(self, index: int, operator: Operator, asking: Asking) -> None:
        self._index, self._operator, self._asking = index, operator, asking
        self._session: _Session | None = None

    async def sample(self) -> Sample:
        """A fresh sample whose time this operator's certificate holds at. SampleError."""
        session = self._session
        if session is None or not self._serves(session):
            self._session = None
            session = self._session = await self._establish()
        sample = await self._ask(session)
        try:
            earliest, latest = sample.at + sample.low, sample.at + sample.high
            self._asking.roots.judge(session.chain, self._operator.host, earliest, latest)
        except VerificationError as error:
            self._session = None
            raise SampleError("certificate", "it does not hold at the time that its server claims") from error
        return sample

    def _serves(self, session: _Session) -> bool:
        age = self._asking.monotonic() - session.made_at
        return session.association.usable and not session.association.rejected and age <= self._asking.keys_seconds

    async def _establish(self) -> _Session:
        try:
            async with asyncio.timeout(self._asking.exchange_seconds):
                return await self._exchange()
        except TimeoutError as error:
            raise SampleError("connect", "the key exchange did not end in time") from error

    async def _exchange(self) -> _Session:
        asking = self._asking
        address, stream = await self._connect(await self._addresses(self._operator.host))
        try:
            tls, exchange = UnjudgedTls(self._operator.host), KeyExchange()
            await _handshake(tls, stream)
            tls.write(request())
            await stream.write(tls.outgoing())
            while exchange.established is None:
                data = await stream.read(_READ)
                exchange.feed(tls.feed(data))
                if not data or tls.ended:
                    exchange.end()
        except FormatError as error:
            raise SampleError("key-exchange", "the server's answer is none that we can use") from error
        except OSError as error:
            raise SampleError("connect", "the connection broke") from error
        finally:
            stream.close()
        given = exchange.established
        if given.server is not None:
            address = (await self._addresses(given.server))[0]
        association = Association(tls.keys(), given.cookies)
        return _Session(association, tls.chain(), address, given.port, asking.monotonic())

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            found = [host] if _is_address(host) else await self._asking.network.resolve(host)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name can have
            raise SampleError("resolve", "the name could not be resolved") from error
        if not found:
            raise SampleError("resolve", "the name has no address")
        if not (allowed := [address for address in found if self._asking.allowed(address)][:_ADDRESSES]):
            raise SampleError("egress", "no address of the name may be spoken to")
        return allowed

    async def _connect(self, addresses: Sequence[str]) -> tuple[str, Stream]:
        for address in addresses:
            try:
                return address, await self._asking.network.connect(address, self._operator.port)
            except OSError:
                continue  # the next address
        raise SampleError("connect", "no address took the connection")

    async def _ask(self, session: _Session) -> Sample:
        try:
            datagrams = await self._asking.network.datagrams(session.address, session.port)
        except OSError as error:
            raise SampleError("lost", "no datagram can be sent") from error
        try:
            for _ in range(self._asking.tries):
                if not session.association.usable:
                    break
                datagrams.send(session.association.request(self._asking.random, self._asking.monotonic()))
                if (sample := await self._answer(session, datagrams)) is not None:
                    return sample
        finally:
            datagrams.close()
        raise SampleError("lost", "no authentic answer came")

    async def _answer(self, session: _Session, datagrams: Datagrams) -> Sample | None:
        asking = self._asking
        try:
            async with asyncio.timeout(asking.answer_seconds):
                while True:
                    packet = await datagrams.receive()
                    now = asking.monotonic()
                    sample = session.association.receive(packet, self._index, asking.rules, now)
                    if sample is not None:
                        return sample
        except (TimeoutError, OSError):
            return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _handshake(tls: UnjudgedTls, stream: Stream) -> None:
    tls.feed(b"")
    await stream.write(tls.outgoing())
    while not tls.established:
        if not (data := await stream.read(_READ)):
            raise SampleError("tls", "the connection ended within the handshake")
        tls.feed(data)
        await stream.write(tls.outgoing())
