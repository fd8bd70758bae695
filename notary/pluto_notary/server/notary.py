"""The notary's answers: routes, rates, evidence and proofs put together. IO only through what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from OpenSSL import SSL

from pluto_measure.errors import FormatError, RefusedError
from pluto_measure.evidence import Envelope
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary import __version__
from pluto_notary.errors import EvidenceError, PeerError
from pluto_notary.evidence.epochs import EpochKeeper
from pluto_notary.evidence.provider import Provider
from pluto_notary.evidence.requests import NodeRequest
from pluto_notary.limits import Limits, Rates, Shares, TokenBucket, Unfinished
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.messages import Evidence, Fetch, Hello
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.serial import EventWriter
from pluto_notary.server import faults
from pluto_notary.server.answers import Answers, Named, Told, at_end
from pluto_notary.server.channel import Channel
from pluto_notary.server.outer import Outer
from pluto_notary.server.prover import Observation, Prover
from pluto_notary.server.routes import (
    EvidenceWanted,
    JudgementWanted,
    KeysWanted,
    ProofWanted,
    Request,
    Response,
    broken,
    document,
    no_evidence,
    no_proof,
    refusal,
    route,
    too_often,
)
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.proof import KeyEvidence
from pluto_notary.statement.service import verification

_SESSION_BYTES: Final = 32


@record
class Node:
    """What stays the same while this process runs. `token`: of version 1, where there is one."""

    build_id: bytes  # 32 bytes
    outer_key_digest: bytes  # 32 bytes
    inner: SSL.Context
    key: SigningKey
    token: Callable[[bytes], Awaitable[bytes]] | None = None


class Notary:
    """Answers requests and channels. `clock` gives seconds and never goes back, `random` secret bytes."""

    def __init__(
        self,
        node: Node,
        provider: Provider,
        keeper: EpochKeeper,
        prover: Prover,
        *,
        limits: Limits,
        events: EventWriter,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._node, self._provider, self._keeper, self._prover = node, provider, keeper, prover
        self._limits, self._events, self._clock, self._random = limits, events, clock, random
        self._bucket = TokenBucket(rate=limits.evidence_rate, burst=limits.evidence_burst, now=clock())
        most = limits.clients
        self._fetches = Rates(rate=limits.fetch_rate, burst=limits.fetch_burst, clients=most)
        self._sites = Shares(limits.sites_of_one)
        self._judgements = Rates(rate=limits.verify_rate, burst=limits.verify_burst, clients=most)
        self._askers = Rates(rate=limits.evidence_rate_of_one, burst=limits.evidence_burst_of_one, clients=most)
        self._unfinished = Unfinished(limits.unfinished_bytes, limits.unfinished_free_bytes)
        self._known: tuple[dict[str, object], KeyEvidence] | None = None  # of the epoch in force

    async def answer(self, request: Request, client: str) -> Response | Upgrade:
        """The response to a request, or that it becomes a channel. Raises nothing: our bugs have a response, too."""
        try:
            return await self._response(request, client)
        except Exception as error:  # noqa: BLE001
            faults.tell(error)
            self._events.emit("refused", code="internal")
            return broken()

    async def _response(self, request: Request, client: str) -> Response | Upgrade:
        try:
            wanted = route(request, version=__version__, build_id=self._node.build_id.hex())
        except PeerError as error:
            self._events.emit("refused", code=error.code)
            return refusal(error, request.target.partition("?")[0])
        match wanted:
            case EvidenceWanted():
                return await self._evidence(wanted, client)
            case KeysWanted():
                return await self._keys()
            case ProofWanted():
                return await self._proxy(wanted, client)
            case JudgementWanted():
                return self._judgement(wanted, client)
        return wanted

    async def channel(self, connection: Outer, upgrade: Upgrade, early: bytes, client: str) -> str:
        """Serve a channel to its end; how it ended: "proof", a code of docs/protocol.md, or "gone"."""

        async def proof(order: Fetch, hello: Hello, session: bytes, named: Named, told: Told) -> bytes:
            with ExitStack() as held:
                self._share(client, held)
                return await self._prover.prove(
                    order, session=session, digest=hello.manifest_digest, named=named, told=told
                )

        async def observe(
            order: Fetch, hello: Hello, session: bytes, named: Named, told: Told, held: ExitStack
        ) -> Observation:
            self._share(client, held)
            return await self._prover.observe(
                order, session=session, digest=hello.manifest_digest, named=named, told=told, held=held
            )

        async def evidence(session: NotarySession, hello: Hello, ekm: bytes) -> Evidence:
            if hello.fresh:
                self._admit(self._askers, client)
            return await self._session_evidence(session, hello, ekm)

        channel = Channel(
            connection,
            upgrade=upgrade,
            context=self._node.inner,
            answers=Answers(evidence, self._node.token, proof, observe),
            limits=self._limits,
            unfinished=self._unfinished,
        )
        await channel.serve(early)
        if channel.fault is not None:
            faults.tell(channel.fault)
        return channel.outcome

    async def key_evidence(self) -> KeyEvidence | None:
        """Evidence of the statement key, of the epoch in force; None where it proves nothing. EvidenceError."""
        envelope = (await self._keeper.current()).key_envelope
        assert envelope is not None, "a keeper that was told the key has its evidence"
        if envelope["type"] == "insecure":
            return None
        if self._known is None or self._known[0] is not envelope:
            self._known = envelope, KeyEvidence.of(Envelope.parse(canonical(envelope)))
        return self._known[1]

    def _admit(self, rates: Rates, client: str) -> None:
        if not rates.take(client, self._clock()):
            raise ChannelError("rate", "this address asks too often")

    def _share(self, client: str, held: ExitStack) -> None:
        """One more web site for this client, until `held` ends. ChannelError `rate`."""
        self._admit(self._fetches, client)
        if not self._sites.take(client):
            raise ChannelError("rate", "this address has as many web sites at once as it may")
        at_end(held, partial(self._sites.give_back, client))

    async def _session_evidence(self, session: NotarySession, hello: Hello, ekm: bytes) -> Evidence:
        epoch = await self._keeper.current()
        envelope = epoch.envelope_text
        if hello.fresh:
            try:
                epoch, fresh = await self._keeper.fresh(ekm, hello.nonce)
            except EvidenceError as error:
                raise ChannelError("fresh", "evidence for one session cannot be had now") from error
            envelope = canonical(fresh)
        return session.evidence(
            session_id=self._random(_SESSION_BYTES),
            epoch=epoch.number,
            channel_key=epoch.channel_key,
            envelope=envelope,
            sign=epoch.key.sign,
        )

    async def _evidence(self, wanted: EvidenceWanted, client: str) -> Response:
        now = self._clock()
        if not (self._askers.take(client, now) and self._bucket.take(now)):
            return self._too_often()
        request = NodeRequest(wanted.nonce, self._node.outer_key_digest)
        try:
            envelope = await self._provider.node(request, self._keeper.issue())
        except EvidenceError as error:
            self._events.emit("refused", code=error.code)
            return no_evidence(error)
        self._events.emit("evidence", purpose="node")
        return document(envelope)

    async def _keys(self) -> Response:
        try:
            epoch = await self._keeper.current()
        except EvidenceError as error:
            self._events.emit("refused", code=error.code)
            return no_evidence(error)
        key = self._node.key
        statement = {"publicKey": key.public.hex(), "address": f"0x{key.address.hex()}", "evidence": epoch.key_envelope}
        channel = {"publicKey": epoch.channel_key.hex(), "epoch": epoch.number, "evidence": epoch.envelope}
        return document({"statement": statement, "channel": channel})

    async def _proxy(self, wanted: ProofWanted, client: str) -> Response:
        try:
            with ExitStack() as held:
                self._share(client, held)
                order = Fetch.parse(wanted.order)
                session = self._random(_SESSION_BYTES)
                proof = await self._prover.prove(order, session=session, digest=None, named=_any, told=_nobody)
        except ChannelError as error:
            self._events.emit("refused", code=error.code)
            return no_proof(error)
        self._events.emit("proof")
        return Response(200, proof)

    def _too_often(self) -> Response:
        self._events.emit("refused", code="rate")
        return too_often()

    def _judgement(self, wanted: JudgementWanted, client: str) -> Response:
        if not self._judgements.take(client, self._clock()):
            return self._too_often()
        try:
            return document(verification(wanted.proof, wanted.modes))
        except RefusedError as error:
            self._events.emit("refused", code="mode")
            return refusal(PeerError(400, "mode", str(error)))
        except FormatError as error:
            self._events.emit("refused", code="json")
            return refusal(PeerError(400, "json", error.problem))


def _any(_: str, __: int) -> None:
    """A caller of /v1/proxy names no target but the manifest's."""


def _nobody(_: str) -> None:
    """Nobody follows how far a call of /v1/proxy is."""
