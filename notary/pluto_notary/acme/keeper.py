"""Orders the outer certificate, has it shown, and renews it; beside the server, as long as it runs.

    asked for by name -> time known -> ordered -> shown -> a third of its lifetime left -> ordered ...
    failed -> what is shown stays -> a pause that grows -> ordered ...

Whatever an authority does or says, nothing of it gets further than into a code of `events.CERTIFICATE_CODES`.
"""

from __future__ import annotations

import asyncio
import math

from pluto_measure.record import record
from pluto_notary.acme import chain
from pluto_notary.acme.challenge import challenge_context, signing_request
from pluto_notary.acme.errors import AcmeError
from pluto_notary.acme.jose import AccountKey
from pluto_notary.acme.order import Answer, Ask, Patience, Show, Wait, Wanted, order
from pluto_notary.fetch.errors import TargetError
from pluto_notary.trusted_time.errors import ClockError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from typing import Final

    from pluto_notary.acme.chain import Chain
    from pluto_notary.acme.order import Steps
    from pluto_notary.certificate import OuterIdentity
    from pluto_notary.config import Acme
    from pluto_notary.server.prover import Fetcher

# What an authority says that looked at the name and did not find us there.
UNCONVINCED: Final = frozenset({"ca-connection", "ca-dns", "ca-incorrectResponse", "ca-tls", "ca-unauthorized"})


@record
class Pace:
    """When an authority is asked. Seconds.

    Let's Encrypt allows five validations of a name that fail, and one more every 12 minutes; doubled pauses of 1 to 12
    minutes keep to that. Before the first client comes by the name nobody is asked: a machine that is to take a name
    over would fail until the name is led to it.
    """

    clock: float = 5.0  # between two looks at a clock that does not know the time
    attempt: float = 900.0  # for one order
    pause: float = 60.0  # after the first failure; twice as long after each further one
    longest_pause: float = 3600.0
    longest_unconvinced: float = 720.0  # the same, where the authority looked and did not find us
    longest_wanted: float = 86400.0  # that an authority may tell us to wait
    look: float = 3600.0  # between two looks at the clock while a certificate lasts
    jitter: float = 0.2  # of a pause, which is longer by up to so much


@record
class Surroundings:
    """What the keeper works with. `interval`: earliest and latest Unix time at `clock`'s time, ClockError.

    `show` is given a chain in DER; `challenge` what to show an authority, and None once none is pending; `told` a state
    and a code; `bug` an error that is ours. `named` waits until somebody came who asked for the name.
    """

    fetch: Fetcher
    interval: Callable[[float], tuple[float, float]]
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    show: Callable[[tuple[bytes, ...]], object]
    challenge: Callable[[ssl.SSLContext | None], object]
    told: Callable[[str, str], object]
    bug: Callable[[BaseException], object]
    named: Callable[[], Awaitable[object]]
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class CertificateKeeper:
    """Keeps a certificate of an authority shown. One account key as long as it lives."""

    def __init__(self, acme: Acme, identity: OuterIdentity, around: Surroundings, *, pace: Pace | None = None) -> None:
        self._acme, self._identity, self._around, self._pace = acme, identity, around, pace or Pace()
        self._key = AccountKey()
        self._wanted = Wanted(acme.directory, acme.domain, signing_request(identity.key, acme.domain), Patience())

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        await self._around.named()
        await self._until(0)
        while True:
            self._around.told("asked", "none")
            try:
                found = await self._attempt()
            except AcmeError as error:
                self._around.told("failed", error.code)
                await self._around.sleep(self._pause(failures, error))
                failures += 1
                continue
            failures = 0
            self._around.told("shown", "none")
            # A certificate that lasts for minutes is no reason to ask every second.
            await self._around.sleep(self._pace.pause)
            await self._until(found.renew_at)

    async def _until(self, moment: float) -> None:
        """Wait until it is surely so late (Unix time), by the trusted clock."""
        while True:
            try:
                left = moment - self._around.interval(self._around.clock())[0]
            except ClockError:
                left = self._pace.clock
            if left <= 0:
                return
            await self._around.sleep(min(left, self._pace.look))

    async def _attempt(self) -> Chain:
        """One order, and its certificate shown. AcmeError, whatever goes wrong."""
        try:
            async with asyncio.timeout(self._pace.attempt):
                pem = await self._driven(order(self._wanted, self._key))
            key_digest, latest = self._identity.key_digest, self._now()[1]
            found = chain.accepted(pem, key_digest=key_digest, domain=self._acme.domain, latest=latest)
            self._show(found)
        except AcmeError:
            raise
        except TargetError as error:
            raise AcmeError(error.code, "the authority cannot be asked") from error
        except ClockError as error:
            raise AcmeError("clock", "the time is not known any more") from error
        except TimeoutError as error:
            raise AcmeError("late", "the order takes too long") from error
        except Exception as error:  # a bug of ours must not end the keeper
            self._around.bug(error)
            raise AcmeError("internal", "a bug") from error
        return found

    def _show(self, found: Chain) -> None:
        try:
            self._around.show(found.certificates)
        except OSError as error:  # ssl.SSLError is: a key or a digest that is too weak for our TLS, for example
            raise AcmeError("chain", "TLS does not take the chain") from error

    async def _driven(self, steps: Steps[bytes]) -> bytes:
        given: Answer | None = None
        try:
            while True:
                try:
                    step = steps.send(given)
                except StopIteration as end:
                    chain_pem: bytes = end.value
                    return chain_pem
                given = None
                if isinstance(step, Ask):
                    given = await self._asked(step)
                elif isinstance(step, Wait):
                    await self._around.sleep(step.seconds)
                elif isinstance(step, Show):
                    digest, domain = step.digest, self._acme.domain
                    self._around.challenge(None if digest is None else challenge_context(domain, digest))
        finally:
            steps.close()
            self._around.challenge(None)

    async def _asked(self, step: Ask) -> Answer:
        exchange = await self._around.fetch(
            step.request, version="HTTP/1.1", judged_at=self._now(), most=step.most, step=lambda _: None
        )
        return Answer(exchange.response, self._now()[0])

    def _now(self) -> tuple[int, int]:
        earliest, latest = self._around.interval(self._around.clock())
        return math.floor(earliest), math.ceil(latest)

    def _pause(self, failures: int, error: AcmeError) -> float:
        pace = self._pace
        longest = pace.longest_unconvinced if error.code in UNCONVINCED else pace.longest_pause
        pause = min(longest, pace.pause * 2.0 ** min(failures, 30))
        chance = int.from_bytes(self._around.random(4), "big") / (1 << 32)
        return max(pause, min(error.retry_after, pace.longest_wanted)) * (1 + pace.jitter * chance)
