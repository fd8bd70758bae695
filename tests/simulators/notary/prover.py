"""A client in memory: the whole of a session from the request on, against anything that takes and gives bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.messages import Error, Fetch, Hello, Progress, Proof
from pluto_notary.protocol.peer import AcceptedSession, Offer, ProverSession
from pluto_notary.protocol.stream import Stream
from pluto_notary.protocol.upgrade import Upgrading

NONCE, DIGEST = b"\x11" * 32, b"\x22" * 32
HELLO = Hello(NONCE, DIGEST, False)
FETCH = Fetch(
    manifest=b'{"manifestVersion":"2"}',
    variables=(("token", "hunter2"),),
    recipient=b"\xaa" * 20,
    chain_id=84532,
    contract=b"\xbb" * 20,
    nonce=b"\x33" * 32,
    reveal="values",
    legacy=False,
)


class PretendProver:
    """Version 2, accepts any offer that is about its session. `receive(b"")` begins."""

    def __init__(self, *, protocol: str = "websocket", hello: Hello = HELLO, fetch: Fetch = FETCH) -> None:
        self._upgrading = Upgrading(protocol=protocol, authority="notary.example", random=bytes(16))
        self._stream: Stream | None = None
        self._inner = InnerTls(client_context(), server=False)
        self._hello, self._fetch = hello, fetch
        self._session: ProverSession | AcceptedSession | None = None
        self._begun = False
        self.offer: Offer | None = None
        self.steps: list[str] = []
        self.result: Proof | Error | None = None

    @property
    def ended(self) -> bool:
        """Whether the notary closed the inner TLS."""
        return self._inner.ended

    def receive(self, data: bytes) -> bytes:
        """Bytes from the notary to bytes for the notary. ChannelError."""
        if not self._begun:
            self._begun = True
            return self._upgrading.start()
        if self._stream is None:
            if (got := self._upgrading.feed(data)) is None:
                return b""
            self._stream, data = got
        self._inner.feed(self._stream.feed(data))
        out = self._stream.replies()
        self._talk(self._inner.read())
        while piece := self._inner.data_to_send():
            out += self._stream.send(piece)
        return out

    def _talk(self, data: bytes) -> None:
        if not self._inner.established:
            return
        if self._session is None:
            assert self._inner.version == 2
            self._session = ProverSession(ekm=self._inner.ekm, hello=self._hello)
            self._inner.write(self._session.start())
        self._session.feed(data)
        while message := self._session.next_message():
            if isinstance(message, Offer):
                self.offer = message
                self._session = message.accept()
                self._inner.write(self._session.fetch(self._fetch))
            elif isinstance(message, Proof | Error):
                self.result = message
            elif isinstance(message, Progress):
                self.steps.append(message.step)


def joined(
    first: Callable[[bytes], bytes], second: Callable[[bytes], bytes], *, sizes: Iterable[int] = (), kick: bytes = b""
) -> tuple[bytes, bytes]:
    """Join two sides until both are silent; pieces have the given sizes, then any. What each side said, in all."""
    cuts, said = iter(sizes), (bytearray(), bytearray())
    to_second, to_first = bytearray(first(kick)), bytearray()
    said[0].extend(to_second)
    while to_second or to_first:
        waiting, side = (to_second, 1) if to_second else (to_first, 0)
        size = next(cuts, 0) or len(waiting)
        piece = bytes(waiting[:size])
        del waiting[:size]
        answer = second(piece) if side else first(piece)
        said[side].extend(answer)
        (to_first if side else to_second).extend(answer)
    return bytes(said[0]), bytes(said[1])
