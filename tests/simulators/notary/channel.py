"""A notary whose channel is real and whose evidence and proofs are not: for every kind of client, in memory or served.

`PretendNotary` takes the bytes of a connection from its first on and gives the bytes of the answers; `served` puts it
behind a listening socket, without the outer TLS. Its envelopes have genuine claims and no evidence.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

import h11
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL

from pluto_measure.formats.strict_json import canonical
from pluto_notary.certificate import make_identity
from pluto_notary.errors import PeerError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls, server_context
from pluto_notary.protocol.legacy import LegacyOpening, token_nonce
from pluto_notary.protocol.messages import Fetch, Hello, Progress, Proof
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.stream import Stream
from pluto_notary.protocol.upgrade import Upgrade

SEED = bytes(range(32))
EPOCH = 7
SESSION_ID = bytes([0x5E]) * 32
CONFIG_DIGEST, OUTER_KEY_DIGEST, BUILD_ID = b"\xc0" * 32, b"\x0e" * 32, b"\xb1" * 32
CHANNEL_KEY = Ed25519PrivateKey.from_private_bytes(SEED)
CHANNEL_PUBLIC = CHANNEL_KEY.public_key().public_bytes_raw()
PROOF = b'{"version":2,"statement":"none"}'


def channel_envelope(*, epoch: int = EPOCH, channel_key: bytes = CHANNEL_PUBLIC) -> bytes:
    """An epoch's envelope, canonical, without evidence in it."""
    claims = {
        "purpose": "channel",
        "channelKey": channel_key.hex(),
        "configDigest": CONFIG_DIGEST.hex(),
        "epoch": epoch,
        "outerKeyDigest": OUTER_KEY_DIGEST.hex(),
        "buildId": BUILD_ID.hex(),
    }
    return canonical({"type": "pretended", "version": 1, "claims": claims})


def session_envelope(*, ekm: bytes, nonce: bytes, channel_key: bytes = CHANNEL_PUBLIC) -> bytes:
    """The envelope of one session, canonical, without evidence in it."""
    claims = {
        "purpose": "session",
        "ekmDigest": hashlib.sha256(ekm).hexdigest(),
        "nonce": nonce.hex(),
        "channelKey": channel_key.hex(),
        "configDigest": CONFIG_DIGEST.hex(),
        "buildId": BUILD_ID.hex(),
    }
    return canonical({"type": "pretended", "version": 1, "claims": claims})


@cache
def notary_context() -> SSL.Context:
    """The inner TLS of this process's notary."""
    return server_context(make_identity(lambda size: bytes(size)))


class PretendNotary:
    """One connection. `receive` never raises for what a client does; `error` then has what it was."""

    def __init__(self, *, confidential_space: bool = False, prove: Callable[[Fetch], bytes] = lambda _: PROOF) -> None:
        self._h11: h11.Connection | None = h11.Connection(h11.SERVER)
        self._stream: Stream | None = None
        self._inner = InnerTls(notary_context(), server=True)
        self._opening: LegacyOpening | None = None
        self._session: NotarySession | None = None
        self._confidential_space, self._prove = confidential_space, prove
        self.error: ChannelError | PeerError | None = None
        self.fetched: Fetch | None = None
        self.token = b""

    @property
    def over(self) -> bool:
        """Whether the connection is to be closed once what was given is sent."""
        return self.error is not None or (self._stream is not None and self._stream.ended)

    def receive(self, data: bytes) -> bytes:
        """Bytes from the client to bytes for the client."""
        if self._h11 is not None:
            return self._upgrade(self._h11, data)
        assert self._stream is not None
        if self.error is not None:  # nothing of a client that failed is looked at any more
            return b""
        out = b""
        try:
            self._inner.feed(self._stream.feed(data))
        except ChannelError as error:
            self.error = error
        else:
            self._talk(self._inner.read())
        out += self._stream.replies()
        while piece := self._inner.data_to_send():
            out += self._stream.send(piece)
        return out + (self._stream.close() if self._inner.ended or self.error else b"")

    def _upgrade(self, http: h11.Connection, data: bytes) -> bytes:
        http.receive_data(data)
        event = http.next_event()
        if not isinstance(event, h11.Request):
            return b""
        try:
            upgrade = Upgrade.parse(event.target.decode(), list(event.headers))
        except PeerError as error:
            self.error = error
            return f"HTTP/1.1 {error.status} No\r\nContent-Length: 0\r\n\r\n".encode()
        http.next_event()
        self._h11, self._stream = None, upgrade.stream()
        return upgrade.head() + self.receive(http.trailing_data[0])

    def _talk(self, data: bytes) -> None:
        if not self._inner.established:
            return
        if self._session is None and self._opening is None and self._inner.version == 1:
            self._opening = LegacyOpening(confidential_space=self._confidential_space)
        try:
            if self._opening is not None and not self._opening.open:
                self._opening.feed(data)
                data = b""
                if not self._opening.wanted:
                    return
                self.token = canonical({"eat_nonce": token_nonce(self._inner.ekm)})
                self._inner.write(self._opening.send_token(self.token))
            self._converse(data)
        except ChannelError as error:
            self.error = error
            refusing = self._session or self._opening
            assert refusing is not None
            self._inner.write(refusing.refuse(error))
            self._inner.close()

    def _converse(self, data: bytes) -> None:
        session = self._session = self._session or NotarySession(ekm=self._inner.ekm)
        session.feed(data)
        while message := session.next_message():
            if isinstance(message, Hello):
                self._inner.write(self._evidence(session, message))
            elif isinstance(message, Fetch):
                self.fetched = message
                self._inner.write(session.send(Progress("fetching")))
                self._inner.write(session.send(Proof(self._prove(message))))
                self._inner.close()

    def _evidence(self, session: NotarySession, hello: Hello) -> bytes:
        fresh = hello.fresh
        envelope = session_envelope(ekm=self._inner.ekm, nonce=hello.nonce) if fresh else channel_envelope()
        return session.send(
            session.evidence(
                session_id=SESSION_ID,
                epoch=EPOCH,
                channel_key=CHANNEL_PUBLIC,
                envelope=envelope,
                sign=CHANNEL_KEY.sign,
            )
        )


@contextmanager
def served(make: Callable[[], PretendNotary]) -> Iterator[tuple[int, list[PretendNotary]]]:
    """Serve on a port of the loopback interface, one thread a connection; gives the port and the notaries made."""
    made: list[PretendNotary] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # the listener was closed
                while True:
                    connection, _ = listener.accept()
                    made.append(make())
                    threading.Thread(target=_serve, args=(connection, made[-1]), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(connection: socket.socket, notary: PretendNotary) -> None:
    with connection, suppress(OSError):
        connection.settimeout(20)
        while data := connection.recv(16384):
            connection.sendall(notary.receive(data))
            if notary.over:
                connection.shutdown(socket.SHUT_WR)
