"""An observed connection: what the client and the web site say to each other is handed on, and recorded as it passes.

    client --data--> recorded, to the site      site --bytes--> recorded, data to the client      client --close--> over

Each direction is a task of its own, and has at most one piece in its hands: nothing is read from one side before the
other has taken what came before, so a side that is slow slows the other down and no buffer grows. A piece is recorded
before it is handed on, and nothing that was recorded is left out or comes twice. Every wait has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pluto_notary.limits import Limits, Unfinished
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.observe.recording import Recording
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.observe import Close, Closed, Data, Ended
from pluto_notary.server.line import Line


class Port(Protocol):
    """The client's side of a channel, while the notary relays."""

    async def hear(self) -> Data | Close:
        """What the client says next. ChannelError, EOFError, OSError."""
        ...

    @property
    def listens(self) -> bool:
        """Whether the client is still to be told what the web site says."""
        ...

    async def say(self, message: Data | Ended) -> None:
        """Tell the client at once, and wait until it takes it. EOFError, OSError."""
        ...


class Recorder:
    """Keeps what passes, within bounds: of one connection by `limits`, of all of them by `room`."""

    def __init__(self, limits: ObserveLimits, room: Unfinished) -> None:
        self._limits, self._room = limits, room
        self._client, self._site = bytearray(), bytearray()
        self._held = 0  # bytes of the room

    def client(self, data: bytes) -> None:
        """The client said this. ChannelError `size`, `busy`."""
        self._keep(self._client, data, self._limits.client_bytes)

    def site(self, data: bytes) -> None:
        """The web site said this. ChannelError `size`, `busy`."""
        self._keep(self._site, data, self._limits.site_bytes)

    @property
    def counts(self) -> Closed:
        """How many bytes are recorded."""
        return Closed(len(self._client), len(self._site))

    def recording(self) -> Recording:
        """All of it, once: it is not kept twice. Its room is taken until `forget`."""
        found = Recording(bytes(self._client), bytes(self._site))
        self._client, self._site = bytearray(), bytearray()
        return found

    def forget(self) -> None:
        """Keep nothing of it, and give the room back."""
        self._room.grows(self._held, 0)
        self._client, self._site, self._held = bytearray(), bytearray(), 0

    def _keep(self, side: bytearray, data: bytes, most: int) -> None:
        if len(side) + len(data) > most:
            raise ChannelError("size", "more was said to the web site, or by it, than is recorded")
        if not self._room.grows(self._held, self._held + len(data)):
            raise ChannelError("busy", "there is no room to record more")
        self._held += len(data)
        side += data


async def relay(line: Line, port: Port, recorder: Recorder, limits: Limits) -> None:
    """Until the client closes. ChannelError `time` where it takes too long, or both are silent; all that `port` raises.

    Afterwards nobody reads or writes the line any more.
    """
    clock, silence = asyncio.get_running_loop().time, limits.observed_idle_seconds
    try:
        async with asyncio.timeout(limits.observed_seconds), asyncio.timeout(silence) as idle:

            def moved() -> None:
                if not idle.expired():
                    idle.reschedule(clock() + silence)

            both = (
                asyncio.ensure_future(_to_site(line, port, recorder, moved)),
                asyncio.ensure_future(_to_client(line, port, recorder, moved)),
            )
            try:
                await _first_to_close(*both)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
    except TimeoutError:
        raise ChannelError("time", "the connection to the web site took too long, or was silent for too long") from None


async def _first_to_close(to_site: asyncio.Future[None], to_client: asyncio.Future[None]) -> None:
    """Until the client closes, or either direction fails; the web site's end alone ends nothing."""
    await asyncio.wait({to_site, to_client}, return_when=asyncio.FIRST_COMPLETED)
    if to_client.done():
        to_client.result()
    await to_site


async def _to_site(line: Line, port: Port, recorder: Recorder, moved: Callable[[], None]) -> None:
    while isinstance(message := await port.hear(), Data):
        recorder.client(message.data)
        moved()
        await line.write(message.data)
        moved()
        await asyncio.sleep(0)  # a client whose bytes are all there would have the loop for itself


async def _to_client(line: Line, port: Port, recorder: Recorder, moved: Callable[[], None]) -> None:
    while (data := await line.read()) and port.listens:
        recorder.site(data)
        moved()
        await port.say(Data(data))
        moved()
        await asyncio.sleep(0)
    if port.listens:
        await port.say(Ended())
