"""What a `fetch` becomes: a manifest checked, a web site asked, a statement signed. For channels and for /v1/proxy.

    order -> manifest (digest as committed, target as named) -> time -> exchange -> values -> statement -> proof

Nothing is signed unless all of it went well. Every failure becomes a ChannelError, whose words quote no one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError
from pluto_notary.fetch.errors import TargetError
from pluto_notary.manifest import Manifest, Value, Violation
from pluto_notary.manifest.workers import BusyError
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.messages import Fetch
from pluto_notary.server.channel import Named, Told
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.model import Domain, Statement
from pluto_notary.statement.proof import LIMIT, KeyEvidence, Proof
from pluto_notary.statement.values import Opening, committed, digests, revealed
from pluto_notary.trusted_time.errors import ClockError
from pluto_notary.web import Exchange, WebRequest

_REST: Final = 256 * 1024  # bytes of a proof beside its values and its evidence, at most


class Fetcher(Protocol):
    """Asks a web site, whose certificate must hold at both Unix times of `judged_at`. TargetError.

    `version`: "HTTP/1.1" or "HTTP/2", if no other may be spoken. `most`: bytes of the answer's body that are of use;
    a larger one is an error as soon as that shows.
    """

    async def __call__(
        self, request: WebRequest, *, version: str | None, judged_at: tuple[int, int], most: int, step: Told
    ) -> Exchange: ...


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
    judges: Judges
    interval: Callable[[float], tuple[float, float]]
    clock: Callable[[], float]
    random: Callable[[int], bytes]


class Prover:
    """Proves. `most`: so many at once, all others are told that it is busy."""

    def __init__(self, tools: Tools, *, most: int) -> None:
        self._tools = tools
        self._places = asyncio.Semaphore(most)

    async def prove(self, order: Fetch, *, session: bytes, digest: bytes | None, named: Named, told: Told) -> bytes:
        """The proof's JSON. `session`: 32 bytes of ours; `digest`: what the client committed to, if it did.

        `named` raises ChannelError for a host and port that are not those that the client named before.
        """
        if self._places.locked():
            raise ChannelError("busy", "too many fetches are going on")
        async with self._places:
            try:
                return await self._proof(order, session, digest, named, told)
            except Violation as error:
                raise ChannelError("violation", error.problem, path=error.path) from error
            except TargetError as error:
                raise ChannelError(error.code, error.problem) from error
            except ClockError as error:
                raise ChannelError("clock", "the time is not known well enough to sign anything") from error
            except EvidenceError as error:
                raise ChannelError("evidence", "evidence of the signing key cannot be had now") from error
            except BusyError as error:
                raise ChannelError("busy", "too many answers are being judged") from error

    async def _proof(self, order: Fetch, session: bytes, digest: bytes | None, named: Named, told: Told) -> bytes:
        tools = self._tools
        manifest = await self._manifest(order.manifest, digest)
        named(manifest.host, manifest.port)
        request = manifest.request(dict(order.variables))
        earliest, latest = tools.interval(tools.clock())  # nothing is asked for what could not be signed
        evidence = await tools.key_evidence()
        judged_at = math.floor(earliest), math.ceil(latest)
        exchange = await tools.fetch(
            request, version=manifest.http_version, judged_at=judged_at, most=manifest.largest_body, step=told
        )
        told("checking")
        found = await self._values(manifest, request, exchange)
        openings = revealed(found) if order.reveal == "values" else committed(found, tools.random)
        told("signing")
        statement = Statement(
            mode="fetch",
            host=exchange.request.authority,
            certificate=exchange.leaf_sha256,
            manifest=manifest.digest(),
            values=digests(openings),
            session=session,
            nonce=order.nonce,
            recipient=order.recipient,
            not_before=math.floor(tools.interval(exchange.started)[0]),
            not_after=math.ceil(tools.interval(exchange.ended)[1]),
            build=tools.build_id,
            domain=Domain(order.chain_id, order.contract),
        )
        if not _has_room(openings, evidence):
            raise ChannelError("size", "the values are larger than a proof can be")
        legacy = tools.legacy_key if order.legacy else None
        return Proof.sign(statement, openings, key=tools.key, key_evidence=evidence, legacy_key=legacy).to_bytes()

    async def _values(
        self, manifest: Manifest, request: WebRequest, exchange: Exchange
    ) -> tuple[tuple[str, bytes], ...]:
        try:
            found = await self._tools.judges.values(manifest, request, exchange)
        except FormatError as error:  # of what only a page can show about a manifest
            raise ChannelError("manifest", error.problem, path=error.what) from error
        return tuple((value.id, value.json) for value in found)

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


def _has_room(openings: tuple[Opening, ...], evidence: KeyEvidence | None) -> bool:
    """Whether a proof has at most LIMIT bytes, looked at before anything is signed."""
    values = sum(2 * len(one.text.encode()) for one in openings)  # an escape makes two characters of one
    return _REST + values + (len(evidence.envelope) if evidence is not None else 0) <= LIMIT
