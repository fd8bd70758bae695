"""Opening recordings, in threads that are few: what a client's secret shows of a web site.

In threads of this process, not in the manifest's workers. What is parsed is what `fetch` parses in this process too
(TLS, certificates, HTTP), with the same libraries and tighter bounds; it runs no pattern of a client's, so it needs
nobody who can be killed, and ends by its bounds. A worker would want megabytes of recording and all roots through its
socket, for work of a few milliseconds. In the loop itself a recording of the largest size would keep all others
waiting for as long as it takes; a thread only shares the processor with them.

A thread cannot be broken off: what nobody waits for any more keeps its thread until it is done, and whoever comes
while all threads and places are taken is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol

from pluto_measure.record import record
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.observe.recording import Recording
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.web import WebRequest, WebResponse


@record
class Sight:
    """What a recording shows: an exchange, and the certificate that the site showed, by its SHA-256."""

    request: WebRequest  # as the client sent it
    response: WebResponse
    leaf_sha256: bytes


class See(Protocol):
    """Opens a recording with the client's secret. ObserveError for all that it does not show.

    `request`: what the manifest makes of the client's variables, and what the exchange of this number must have asked.
    `judged_at`: both Unix times at which the site's certificate must hold. `most`: bytes of the answer's body that are
    of use.
    """

    def __call__(
        self,
        recording: Recording,
        secret: bytes,
        *,
        request: WebRequest,
        exchange: int,
        judged_at: tuple[int, int],
        most: int,
    ) -> Sight: ...


def bounds(most: int) -> ObserveLimits:
    """How much is recorded where an answer's body may have `most` bytes: as much as `fetch` would read of it."""
    limits = ObserveLimits()
    return ObserveLimits(site_bytes=min(limits.site_bytes, FetchLimits(body_bytes=most).wire_bytes))


class Seeing:
    """Opens recordings, so many at once. One for all sessions of a program; `close` it at the end."""

    def __init__(self, see: See, *, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="see")
        self._places = threads + waiting
        self._see = see

    async def __call__(
        self,
        recording: Recording,
        secret: bytes,
        *,
        request: WebRequest,
        exchange: int,
        judged_at: tuple[int, int],
        most: int,
    ) -> Sight:
        """As `See`. ChannelError `busy`."""
        if self._places <= 0:
            raise ChannelError("busy", "too many recordings are being opened")
        self._places -= 1
        work: Callable[[], Sight] = partial(
            self._see, recording, secret, request=request, exchange=exchange, judged_at=judged_at, most=most
        )
        done = self._pool.submit(work)
        done.add_done_callback(partial(self._ended, asyncio.get_running_loop()))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Take no more. What runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, loop: asyncio.AbstractEventLoop, _: Future[Sight]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._places += 1
