"""What a channel asks of the rest of the notary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Protocol

from pluto_measure.record import record
from pluto_notary.protocol.messages import Evidence, Fetch, Hello
from pluto_notary.protocol.observe import Closed, Reveal
from pluto_notary.protocol.session import NotarySession
from pluto_notary.server.line import Line
from pluto_notary.server.observing import Recorder

Told = Callable[[str], None]  # of a step
Named = Callable[[str, int], None]  # of a host and a port: ChannelError if the client named others before


class Observed(Protocol):
    """A web site that the client observes: `prover.Observation`."""

    line: Line
    recorder: Recorder

    def close(self) -> Closed:
        """The recording is over."""
        ...

    async def proof(self, reveal: Reveal, told: Told) -> bytes:
        """The proof's JSON, afterwards. ChannelError."""
        ...


@record
class Answers:
    """All raise ChannelError; `evidence` and `token` EvidenceError, too."""

    evidence: Callable[[NotarySession, Hello, bytes], Awaitable[Evidence]]  # with the EKM
    token: Callable[[bytes], Awaitable[bytes]] | None  # of version 1, for the EKM; None where there is none
    proof: Callable[[Fetch, Hello, bytes, Named, Told], Awaitable[bytes]]  # with the session's id
    # The same for a web site that the client observes; what it takes is given back at the end of the stack.
    observe: Callable[[Fetch, Hello, bytes, Named, Told, ExitStack], Awaitable[Observed]]


def at_end(held: ExitStack, act: Callable[[], None]) -> None:
    """Do this when `held` ends, whatever ends it."""

    def last(*_: object) -> None:
        act()

    held.push(last)
