"""Epochs: evidence is scarce and sessions are many, so one channel key with one envelope speaks for at most 10 minutes.

    none --make--> serving --(ahead of its end, beside the sessions) make--> serving the next
                      |  if evidence fails, the old epoch goes on
                      +--(its end)--> none: sessions are told that there is no evidence

Whoever needs an epoch waits for the one attempt that is under way, never for one of his own. Time, randomness and
waiting are arguments; the only IO is the provider's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pluto_measure.binding import binding
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.provider import Issue, Provider
from pluto_notary.evidence.requests import ChannelRequest, KeyRequest, SessionRequest
from pluto_notary.limits import TokenBucket

LONGEST_EPOCH: Final = 600.0  # seconds; no limit that is given may be above it
QUICK: Final = ("tdx", "tpm", "insecure")  # evidence that is made fast enough for one session alone
_LONGEST_PAUSE: Final = 60.0  # seconds between attempts that failed


@record
class EpochLimits:
    """Times in seconds, rates per second. ValueError for an epoch that is too long, or over before it is renewed."""

    epoch_seconds: float = LONGEST_EPOCH  # from the beginning of an epoch's first evidence to its end
    ahead_seconds: float = 120.0  # how long before its end the next one is made
    pause_seconds: float = 5.0  # after an attempt that failed; doubles
    attempt_rate: float = 0.2  # of attempts to make an epoch, whoever asks
    attempt_burst: int = 3
    fresh_rate: float = 2.0  # of evidence for single sessions, all clients together
    fresh_burst: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.epoch_seconds <= LONGEST_EPOCH:
            raise ValueError(f"an epoch has at most {LONGEST_EPOCH:.0f} seconds")
        if not 0 < self.ahead_seconds < self.epoch_seconds:
            raise ValueError("the next epoch must be made before this one ends")


@record
class Keeping:
    """What every epoch of this process speaks for. `statement_key`: SEC1, compressed; None where none signs."""

    build_id: bytes
    outer_key_digest: bytes
    statement_key: bytes | None


@record
class Epoch:
    """One channel key and its evidence. `begin` and `end` by the keeper's clock."""

    number: int
    key: Ed25519PrivateKey
    channel_key: bytes  # the public key, raw, 32 bytes
    envelope: dict[str, object]  # purpose `channel`
    envelope_text: bytes  # the same as canonical JSON, made once
    key_envelope: dict[str, object] | None  # purpose `key`
    begin: float
    end: float

    def sign(self, *, ekm: bytes, nonce: bytes, session_id: bytes, manifest_digest: bytes) -> bytes:
        """The signature (64 bytes) that ties one session to this epoch. All arguments have 32 bytes."""
        return self.key.sign(binding("session-signature", (ekm, nonce, session_id, manifest_digest)))


class EpochKeeper:
    """Makes epochs and hands out the one in force.

    `clock` gives seconds and never goes back, `wall` seconds since 1970 (the host's word), `random` that many bytes.
    `told` hears the purpose of every piece of evidence, `refused` the code of every attempt that failed.
    """

    def __init__(
        self,
        provider: Provider,
        keeping: Keeping,
        *,
        limits: EpochLimits,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        told: Callable[[str], object] = lambda purpose: None,
        refused: Callable[[str], object] = lambda code: None,
    ) -> None:
        self._provider, self._keeping, self._limits = provider, keeping, limits
        self._clock, self._wall, self._random, self._sleep = clock, wall, random, sleep
        self._told, self._refused = told, refused
        self._attempts = TokenBucket(rate=limits.attempt_rate, burst=limits.attempt_burst, now=clock())
        self._fresh = TokenBucket(rate=limits.fresh_rate, burst=limits.fresh_burst, now=clock())
        self._epoch: Epoch | None = None
        self._next = 0
        self._flight: asyncio.Task[Epoch] | None = None

    @property
    def number(self) -> int:
        """The number of the epoch in force, or of the first one."""
        return self._epoch.number if self._epoch else self._next

    def issue(self) -> Issue:
        """What goes into evidence that is made now."""
        return Issue(self.number, datetime.fromtimestamp(self._wall(), UTC), self._keeping.build_id)

    async def run(self) -> None:
        """Keep an epoch in force until this is cancelled."""
        pause = self._limits.pause_seconds
        while True:
            epoch = self._epoch
            if epoch is None or self._clock() >= epoch.end - self._limits.ahead_seconds:
                try:
                    epoch = await self._joined()
                except EvidenceError:
                    await self._sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
            pause = self._limits.pause_seconds
            await self._sleep(max(0.0, epoch.end - self._limits.ahead_seconds - self._clock()))

    async def current(self) -> Epoch:
        """The epoch in force; without one, that of an attempt made for all who wait. EvidenceError."""
        epoch = self._epoch
        if epoch is not None and self._clock() < epoch.end:
            return epoch
        return await self._joined()

    async def fresh(self, ekm: bytes, nonce: bytes) -> tuple[Epoch, dict[str, object]]:
        """The epoch in force and an envelope for one session (32 bytes each). EvidenceError, also where it is slow."""
        epoch = await self.current()
        if epoch.envelope["type"] not in QUICK:
            raise EvidenceError("unavailable", "this kind of evidence is too slow for one session")
        if not self._fresh.take(self._clock()):
            raise EvidenceError("busy", "fresh evidence is asked for too often")
        request = SessionRequest(ekm, nonce, epoch.channel_key)
        envelope = await self._provider.evidence(request, self.issue())
        self._told(request.purpose)
        return epoch, envelope

    async def _joined(self) -> Epoch:
        """The outcome of the attempt that is under way, or of a new one. Who stops waiting does not stop it."""
        if self._flight is None:
            if not self._attempts.take(self._clock()):
                raise EvidenceError("busy", "evidence was tried too often")
            self._flight = asyncio.get_running_loop().create_task(self._made())
            self._flight.add_done_callback(self._landed)
        return await asyncio.shield(self._flight)

    def _landed(self, flight: asyncio.Task[Epoch]) -> None:
        self._flight = None
        if flight.cancelled():
            return
        if (error := flight.exception()) is None:
            self._epoch = flight.result()
        elif isinstance(error, EvidenceError):
            self._refused(error.code)

    async def _made(self) -> Epoch:
        begin, number = self._clock(), self._next
        self._next += 1  # a number is used for one key alone, also where the attempt fails
        issue = Issue(number, datetime.fromtimestamp(self._wall(), UTC), self._keeping.build_id)
        key = Ed25519PrivateKey.from_private_bytes(self._random(32))
        channel_key = key.public_key().public_bytes_raw()
        request = ChannelRequest(channel_key, number, self._keeping.outer_key_digest)
        envelope = await self._evidence(request, issue)
        key_envelope = None
        if self._keeping.statement_key is not None:
            key_envelope = await self._evidence(KeyRequest(self._keeping.statement_key), issue)
        end = begin + self._limits.epoch_seconds
        if self._clock() >= end:
            raise EvidenceError("unavailable", "evidence took longer than an epoch")
        return Epoch(number, key, channel_key, envelope, canonical(envelope), key_envelope, begin, end)

    async def _evidence(self, request: ChannelRequest | KeyRequest, issue: Issue) -> dict[str, object]:
        """A provider's evidence. EvidenceError, also for a bug of its: attempts go on as after any other failure."""
        try:
            envelope = await self._provider.evidence(request, issue)
        except EvidenceError:
            raise
        except Exception as error:
            raise EvidenceError("unavailable", f"the provider failed ({type(error).__name__})") from error
        self._told(request.purpose)
        return envelope
