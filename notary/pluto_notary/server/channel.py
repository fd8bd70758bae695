"""One channel: bytes of an upgraded connection through the inner TLS to a session, and its messages back.

    connection -> stream (WebSocket, tcp) -> inner TLS -> [v1 opening] -> session -> evidence, then one proof

It decides nothing: the protocol's rooms do. Every wait has a deadline, and whatever a client does ends in one error
frame and the end of its own connection. While we work for a client it must be silent; if it goes away, the work ends.
While we relay for it (`observing`), what it says is read as the web site takes it, and no faster.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Final, TypeVar

from OpenSSL import SSL

from pluto_notary.errors import EvidenceError
from pluto_notary.limits import Limits, Unfinished
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls
from pluto_notary.protocol.legacy import LegacyOpening
from pluto_notary.protocol.messages import Fetch, Hello, Observe, Progress, Proof
from pluto_notary.protocol.observe import Close, Connected, Data, Reveal
from pluto_notary.protocol.session import Heard, NotarySession, Said
from pluto_notary.protocol.states import State
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.server.answers import Answers
from pluto_notary.server.observing import relay
from pluto_notary.server.outer import Outer

_READ_BYTES: Final = 32 * 1024
_UNTAKEN: Final = 256 * 1024  # bytes that wait for a client; what we tell it waits before that, so these are pongs
_TELL_SECONDS: Final = 0.05  # steps that take less are told together, with what follows them

T = TypeVar("T")


class Channel:
    """Serves one connection after its upgrade.

    Afterwards `outcome` says how it ended, for the event: "proof", a code, or "gone"; and `fault` which bug of ours it
    was, if it was one.
    """

    def __init__(
        self,
        connection: Outer,
        *,
        upgrade: Upgrade,
        context: SSL.Context,
        answers: Answers,
        limits: Limits,
        unfinished: Unfinished,
    ) -> None:
        self._connection, self._upgrade = connection, upgrade
        self._answers, self._limits, self._unfinished = answers, limits, unfinished
        self._clock = asyncio.get_running_loop().time
        self._stream = upgrade.stream()
        self._tls = InnerTls(context, server=True)
        self._opening: LegacyOpening | None = None
        self._session: NotarySession | None = None
        self._gone = self._relaying = False
        self._telling: asyncio.TimerHandle | None = None
        self._waits = 0  # bytes of a message that is not complete
        self._began = 0.0
        self.outcome = "gone"
        self.fault: Exception | None = None

    async def serve(self, early: bytes) -> None:
        """Until the session is over; `early`: what came behind the upgrade already. OSError if the client went away."""
        try:
            # Whoever leaves in order is answered in order.
            with contextlib.suppress(EOFError):
                async with asyncio.timeout(self._limits.channel_seconds):
                    await self._established(early)
                    if self._tls.version == 1:
                        await self._opened()
                    await self._conversation()
        except ChannelError as error:
            await self._refuse(error)
        except TimeoutError:
            await self._refuse(ChannelError("time", "the session took too long"))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  a bug of ours ends this session and nothing else
            await self._refuse(self._failed(error))
        finally:
            self._progressed(0)
            if self._telling is not None:
                self._telling.cancel()
        await self._close()

    async def _established(self, early: bytes) -> None:
        """Until the inner handshake is done."""
        async with asyncio.timeout(self._limits.handshake_seconds):
            if early:
                self._take(early)
                await self._flush()
            while not self._tls.established:
                await self._more()

    async def _opened(self) -> None:
        """The opening of version 1."""
        self._opening = opening = LegacyOpening(confidential_space=self._answers.token is not None)
        async with asyncio.timeout(self._limits.handshake_seconds):
            opening.feed(self._tls.read())
            while not opening.wanted:
                await self._more()
                opening.feed(self._tls.read())
        assert self._answers.token is not None, "else the opening refused"
        token = await self._working(self._answers.token(self._tls.ekm))
        self._tls.write(opening.send_token(token))
        self._session = NotarySession(ekm=self._tls.ekm)  # who says errors from now on
        await self._sent()

    async def _conversation(self) -> None:
        session = self._session = self._session or NotarySession(ekm=self._tls.ekm)
        session_id = b""
        while True:
            message = await self._heard(session)
            if isinstance(message, Hello):
                evidence = await self._working(self._answers.evidence(session, message, self._tls.ekm))
                session_id = evidence.session_id
                await self.say(evidence)
                continue
            assert session.hello is not None, "nothing is asked for before the commitment"
            assert isinstance(message, Fetch | Observe), "nothing else follows the evidence"
            if isinstance(message, Observe):
                proof = await self._observe(session, message, session_id)
            else:
                named = self._upgrade.must_name
                work = self._answers.proof(message, session.hello, session_id, named, self._tell)
                proof = await self._working(work)
            await self.say(Proof(proof))
            self.outcome = "proof"
            return

    async def _observe(self, session: NotarySession, message: Observe, session_id: bytes) -> bytes:
        """The proof of what the client's own TLS carried. Whatever happens, the web site's connection is closed."""
        assert session.hello is not None, "nothing is asked for before the commitment"
        with ExitStack() as held:
            named = self._upgrade.must_name
            work = self._answers.observe(message.order, session.hello, session_id, named, self._tell, held)
            observed = await self._working(work)
            await self.say(Connected())
            self._relaying = True
            await relay(observed.line, self, observed.recorder, self._limits)
            self._relaying = False
            await self.say(observed.close())
            async with asyncio.timeout(self._limits.reveal_seconds):
                reveal = await self._heard(session)
            assert isinstance(reveal, Reveal), "nothing else follows the end of the recording"
            return await self._working(observed.proof(reveal, self._tell))

    @property
    def listens(self) -> bool:
        """Whether the client is still to be told what the web site says."""
        return self._session is not None and self._session.state is State.RELAYS and not self._gone

    async def hear(self) -> Data | Close:
        """What the client says next to the web site."""
        assert self._session is not None, "a session is being served"
        message = await self._heard(self._session)
        assert isinstance(message, Data | Close), "nothing else is taken while we relay"
        return message

    async def _heard(self, session: NotarySession) -> Heard:
        """The client's next message."""
        while True:
            data = self._tls.read()
            session.feed(data)
            message = session.next_message()
            if not self._relaying:
                self._progressed(self._waits + len(data) if message is None else 0)
            if message is not None:
                return message
            await self._more()

    async def say(self, message: Said) -> None:
        """Tell the client at once, and wait until it takes it. EOFError, OSError."""
        assert self._session is not None, "a session is being served"
        self._tls.write(self._session.send(message))
        await self._sent()

    def _progressed(self, waits: int) -> None:
        """So many bytes of a message have come. ChannelError if there is no room for them."""
        if not self._waits:
            self._began = self._clock()
        if not self._unfinished.grows(self._waits, waits):
            raise ChannelError("busy", "there is no room for another large message")
        self._waits = waits

    def _tell(self, step: str) -> None:
        session = self._session
        if session is None or session.state not in (State.OWES_PROOF, State.CONNECTS) or self._gone:
            return  # the client has just ended the session, and this work is about to be
        self._tls.write(session.send(Progress(step)))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._told)

    def _told(self) -> None:
        self._telling = None
        while data := self._tls.data_to_send():
            self._connection.write(self._stream.send(data))  # few and short: nobody waits for them to leave

    async def _working(self, work: Awaitable[T]) -> T:
        """The result, unless the client goes away or speaks before it is there."""
        task, client = asyncio.ensure_future(self._done(work)), asyncio.ensure_future(self._silent())
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                await asyncio.wait({task, client}, return_when=asyncio.FIRST_COMPLETED)
            if client.done():
                client.result()  # it never has one: it raises
            return task.result()
        finally:
            for one in (task, client):
                one.cancel()
            await asyncio.gather(task, client, return_exceptions=True)

    async def _done(self, work: Awaitable[T]) -> T:
        """The result of our own work, whose errors are none of the client's."""
        try:
            return await work
        except ChannelError:
            raise
        except EvidenceError as error:
            raise ChannelError("evidence", "evidence cannot be had now") from error
        except Exception as error:
            raise self._failed(error) from error

    async def _silent(self) -> None:
        """Returns never: ends by ChannelError if the client says something, by EOFError if it is gone."""
        while True:
            self._take(await self._read(None))
            await self._flush()
            if data := self._tls.read():
                if self._session is None:
                    raise ChannelError("order", "nothing may be said now")
                self._session.feed(data)
                self._session.next_message()
            if self._tls.ended or self._stream.ended:
                raise EOFError

    async def _more(self) -> None:
        """Wait for bytes of the client, and do what they ask of the layers below the session."""
        if self._stream.ended or self._tls.ended:
            raise EOFError
        if self._relaying:  # the deadlines are the relay's; whoever tells the client something waits for it to leave
            self._take(await self._read(None))
            self._connection.write(self._stream.replies())
            if self._connection.unsent > _UNTAKEN:
                self._gone = True
                raise EOFError
            return
        seconds = self._limits.idle_seconds
        if self._waits:
            seconds = min(seconds, max(0.0, self._began + self._limits.message_seconds - self._clock()))
        self._take(await self._read(seconds))
        await self._flush()

    async def _read(self, seconds: float | None) -> bytes:
        async with asyncio.timeout(seconds):
            data = await self._connection.read(_READ_BYTES)
        if not data:
            self._gone = True
            raise EOFError
        return data

    def _take(self, data: bytes) -> None:
        if inner := self._stream.feed(data):
            self._tls.feed(inner)

    async def _sent(self) -> None:
        """A message of ours leaves. A client that reads too slowly is gone."""
        try:
            async with asyncio.timeout(self._limits.message_seconds):
                await self._flush()
        except TimeoutError:
            self._gone = True
            raise EOFError from None

    async def _flush(self) -> None:
        """Send what waits. A client that reads too slowly is gone."""
        replies = self._stream.replies()
        if replies:
            self._connection.write(replies)
        while data := self._tls.data_to_send():
            self._connection.write(self._stream.send(data))
            await self._drain()
        if replies:
            await self._drain()

    async def _drain(self) -> None:
        try:
            await self._connection.drain(self._limits.response_seconds)
        except TimeoutError:
            self._gone = True
            raise EOFError from None

    async def _refuse(self, error: ChannelError) -> None:
        """The one error frame, where the client can still be told."""
        self.outcome = error.code
        if self._gone or not self._tls.established:
            return
        refusing = self._session if self._session is not None else self._opening
        if refusing is None:
            return
        with contextlib.suppress(ChannelError, EOFError, RuntimeError, OSError, SSL.Error):  # of what failed
            if data := refusing.refuse(error):
                self._tls.write(data)
                await self._flush()

    async def _close(self) -> None:
        if self._gone:
            return
        self._tls.close()
        with contextlib.suppress(ChannelError, EOFError, OSError, SSL.Error):
            await self._flush()
            self._connection.write(self._stream.replies() + self._stream.close())
            await self._drain()

    def _failed(self, error: Exception) -> ChannelError:
        self.fault = error
        return ChannelError("internal", "the notary failed")
