"""What a `fetch` or an `observe` becomes: a manifest checked, a web site seen, a statement signed.

    order -> manifest (digest as committed, target as named) -> time -> exchange -> values -> statement -> proof

The exchange of a `fetch` is our own. That of an `observe` is what the client's own TLS carried past us, opened with the
client's secret once the connection is closed. Nothing is signed unless all of it went well. Every failure becomes a
ChannelError, whose words quote no one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Final, Protocol

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.redirect import is_redirect
from pluto_notary.limits import Unfinished
from pluto_notary.manifest import Manifest, Value, Violation
from pluto_notary.manifest.workers import BusyError
from pluto_notary.observe.errors import ObserveError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.messages import Fetch
from pluto_notary.protocol.observe import Closed, Reveal
from pluto_notary.server.answers import Named, Told, at_end
from pluto_notary.server.line import Line
from pluto_notary.server.observing import Recorder
from pluto_notary.server.seeing import Seeing, bounds
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.model import Domain, Statement
from pluto_notary.statement.proof import LIMIT, KeyEvidence, Proof
from pluto_notary.statement.values import Opening, committed, digests, revealed
from pluto_notary.trusted_time.errors import ClockError
from pluto_notary.web import Exchange, WebRequest

_OBSERVED_VERSION: Final = "HTTP/1.1"
_REST: Final = 256 * 1024  # bytes of a proof beside its values and its evidence, at most


class Fetcher(Protocol):
    """Asks a web site, whose certificate must hold at both Unix times of `judged_at`. TargetError.

    `version`: "HTTP/1.1" or "HTTP/2", if no other may be spoken. `most`: bytes of the answer's body that are of use;
    a larger one is an error as soon as that shows.
    """

    async def __call__(
        self, request: WebRequest, *, version: str | None, judged_at: tuple[int, int], most: int, step: Told
    ) -> Exchange: ...


class Reach(Protocol):
    """Connects the web site of a request, by the rules of `Fetcher`, and says nothing to it. TargetError."""

    async def __call__(self, request: WebRequest, /, *, step: Told) -> socket.socket: ...


class Judges(Protocol):
    """Check an exchange against its manifest, within bounds: `manifest.workers.Workers`."""

    async def check(self, manifest: Manifest) -> None: ...

    async def values(self, manifest: Manifest, request: WebRequest, exchange: Exchange) -> tuple[Value, ...]: ...


@record
class Tools:
    """What the prover works with. `random` gives secret bytes; `clock` seconds of the clock that `interval` knows."""

    build_id: bytes
    key: SigningKey
    legacy_key: SigningKey
    key_evidence: Callable[[], Awaitable[KeyEvidence | None]]
    fetch: Fetcher
    reach: Reach
    see: Seeing
    judges: Judges
    interval: Callable[[float], tuple[float, float]]
    clock: Callable[[], float]
    random: Callable[[int], bytes]


@record
class Places:
    """How much goes on at once; all others are told that it is busy. `recorded`: bytes of all recordings."""

    fetches: int
    observed: int
    recorded: Unfinished


@record
class Case:
    """An order whose manifest was checked, for a session that is named, and evidence of the key that will sign."""

    order: Fetch
    session: bytes
    manifest: Manifest
    request: WebRequest
    evidence: KeyEvidence | None

    def __repr__(self) -> str:
        return "Case()"


class Prover:
    """Proves, within its places."""

    def __init__(self, tools: Tools, places: Places) -> None:
        self._tools = tools
        self._fetches, self._observed = asyncio.Semaphore(places.fetches), asyncio.Semaphore(places.observed)
        self._recorded = places.recorded

    async def prove(self, order: Fetch, *, session: bytes, digest: bytes | None, named: Named, told: Told) -> bytes:
        """The proof's JSON. `session`: 32 bytes of ours; `digest`: what the client committed to, if it did.

        `named` raises ChannelError for a host and port that are not those that the client named before.
        """
        if self._fetches.locked():
            raise ChannelError("busy", "too many fetches are going on")
        async with self._fetches:
            with channel_errors():
                return await self._proof(order, session, digest, named, told)

    async def observe(
        self, order: Fetch, *, session: bytes, digest: bytes, named: Named, told: Told, held: ExitStack
    ) -> Observation:
        """A connection to the web site that the client is going to use. `held`: gives back what this takes.

        Nothing is connected for what could not be signed.
        """
        if self._observed.locked():
            raise ChannelError("busy", "too many connections are observed")
        await self._observed.acquire()
        at_end(held, self._observed.release)
        with channel_errors():
            case, _ = await self._case(order, session, digest, named)
            if case.manifest.http_version not in (None, _OBSERVED_VERSION):
                raise ChannelError("unsupported", f"what is observed is {_OBSERVED_VERSION} alone")
            started = self._tools.clock()
            connection = await self._tools.reach(case.request, step=told)
        at_end(held, connection.close)
        recorder = Recorder(bounds(case.manifest.largest_body), self._recorded)
        at_end(held, recorder.forget)
        return Observation(self._tools, case, Line(connection), recorder, started)

    async def _proof(self, order: Fetch, session: bytes, digest: bytes | None, named: Named, told: Told) -> bytes:
        case, judged_at = await self._case(order, session, digest, named)
        manifest = case.manifest
        exchange = await self._tools.fetch(
            case.request, version=manifest.http_version, judged_at=judged_at, most=manifest.largest_body, step=told
        )
        return await signed(self._tools, case, "fetch", exchange, told)

    async def _case(
        self, order: Fetch, session: bytes, digest: bytes | None, named: Named
    ) -> tuple[Case, tuple[int, int]]:
        """What is to be proved, and the earliest and latest Unix time that it can be now."""
        tools = self._tools
        manifest = await self._manifest(order.manifest, digest)
        named(manifest.host, manifest.port)
        request = manifest.request(dict(order.variables))
        earliest, latest = tools.interval(tools.clock())  # nothing is asked for what could not be signed
        evidence = await tools.key_evidence()
        return Case(order, session, manifest, request, evidence), (math.floor(earliest), math.ceil(latest))

    async def _manifest(self, data: bytes, digest: bytes | None) -> Manifest:
        """The manifest, if it is one, and the one that the client committed to."""
        try:
            manifest = Manifest.parse(data)
            await self._tools.judges.check(manifest)
        except FormatError as error:
            raise ChannelError("manifest", error.problem, path=error.what) from error
        if digest is not None and manifest.digest() != digest:
            raise ChannelError("manifest-digest", "the manifest is not the one that was committed to")
        return manifest


class Observation:
    """A web site that a client observes: its connection, what is recorded of it, and what becomes of that."""

    def __init__(self, tools: Tools, case: Case, line: Line, recorder: Recorder, started: float) -> None:
        self._tools, self._case, self._started = tools, case, started
        self._ended = 0.0
        self.line, self.recorder = line, recorder

    def close(self) -> Closed:
        """The recording is over: nothing comes from the web site any more, and nothing reaches it."""
        self.line.close()
        self._ended = self._tools.clock()
        return self.recorder.counts

    async def proof(self, reveal: Reveal, told: Told) -> bytes:
        """The proof's JSON, after `close`. The certificate must have held from the first byte to the last."""
        tools, case = self._tools, self._case
        with channel_errors():
            times = math.floor(tools.interval(self._started)[0]), math.ceil(tools.interval(self._ended)[1])
            sight = await tools.see(
                self.recorder.recording(),
                reveal.secret,
                request=case.request,
                exchange=reveal.exchange,
                judged_at=times,
                most=case.manifest.largest_body,
            )
            if is_redirect(sight.response):
                raise TargetError("redirect", "the answer points elsewhere")
            exchange = Exchange(case.request, sight.response, sight.leaf_sha256, "", self._started, self._ended)
            return await signed(tools, case, "observe", exchange, told)


@contextlib.contextmanager
def channel_errors() -> Iterator[None]:
    """What the parts raise, as what a client is told."""
    try:
        yield
    except Violation as error:
        raise ChannelError("violation", error.problem, path=error.path) from error
    except (TargetError, ObserveError) as error:
        raise ChannelError(error.code, error.problem) from error
    except ClockError as error:
        raise ChannelError("clock", "the time is not known well enough to sign anything") from error
    except EvidenceError as error:
        raise ChannelError("evidence", "evidence of the signing key cannot be had now") from error
    except BusyError as error:
        raise ChannelError("busy", "too many answers are being judged") from error


async def signed(tools: Tools, case: Case, mode: str, exchange: Exchange, told: Told) -> bytes:
    """The proof's JSON, of an exchange that is what its mode says: its values checked, and a statement signed."""
    order = case.order
    told("checking")
    found = await _values(tools.judges, case, exchange)
    openings = revealed(found) if order.reveal == "values" else committed(found, tools.random)
    told("signing")
    statement = Statement(
        mode=mode,
        host=exchange.request.authority,
        certificate=exchange.leaf_sha256,
        manifest=case.manifest.digest(),
        values=digests(openings),
        session=case.session,
        nonce=order.nonce,
        recipient=order.recipient,
        not_before=math.floor(tools.interval(exchange.started)[0]),
        not_after=math.ceil(tools.interval(exchange.ended)[1]),
        build=tools.build_id,
        domain=Domain(order.chain_id, order.contract),
    )
    if not _has_room(openings, case.evidence):
        raise ChannelError("size", "the values are larger than a proof can be")
    legacy = tools.legacy_key if order.legacy else None
    return Proof.sign(statement, openings, key=tools.key, key_evidence=case.evidence, legacy_key=legacy).to_bytes()


async def _values(judges: Judges, case: Case, exchange: Exchange) -> tuple[tuple[str, bytes], ...]:
    try:
        found = await judges.values(case.manifest, case.request, exchange)
    except FormatError as error:  # of what only a page can show about a manifest
        raise ChannelError("manifest", error.problem, path=error.what) from error
    return tuple((value.id, value.json) for value in found)


def _has_room(openings: tuple[Opening, ...], evidence: KeyEvidence | None) -> bool:
    """Whether a proof has at most LIMIT bytes, looked at before anything is signed."""
    values = sum(2 * len(one.text.encode()) for one in openings)  # an escape makes two characters of one
    return _REST + values + (len(evidence.envelope) if evidence is not None else 0) <= LIMIT
