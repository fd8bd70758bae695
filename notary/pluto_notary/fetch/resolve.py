"""Names to addresses by the system's resolver, in threads that are few. The only module here that asks for names.

A lookup cannot be broken off: one that nobody waits for any more keeps its thread until the system gives up, and
whoever comes while all threads and places are taken is refused rather than queued without end.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from pluto_notary.fetch.errors import TargetError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Resolver:
    """Call it with a host and a port; gives the addresses in the system's order. Raises TargetError (resolve)."""

    def __init__(self, *, threads: int = 8, waiting: int = 32, lookup: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="resolve")
        self._places = threads + waiting
        self._lookup = lookup

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        """All addresses of this name, each once. The caller bounds the time."""
        if self._places <= 0:
            raise TargetError("resolve", "too many names are being resolved")
        self._places -= 1
        # One with a final dot is looked up as it is: no search list makes another name of it.
        name = host if ":" in host or host[-1:].isdigit() else f"{host}."
        loop = asyncio.get_running_loop()
        done = self._pool.submit(self._lookup, name, port, type=socket.SOCK_STREAM)
        done.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._free))
        try:
            found = await asyncio.wrap_future(done)
        except (OSError, UnicodeError) as error:
            raise TargetError("resolve", "the name could not be resolved") from error
        return tuple(dict.fromkeys(sockaddr[0] for *_, sockaddr in found))

    def close(self) -> None:
        """Take no more names. Lookups that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _free(self) -> None:
        self._places += 1
