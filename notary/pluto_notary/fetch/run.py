"""One fetch from name to answer: joins policy, names, connection, TLS and HTTP, and bounds the time of each.

    check the name and the port; resolve once; check every address; connect one of these; authenticate; ask; read.

The host of the request is the name that is resolved, SNI, the name in the certificate, and Host or :authority; there
is no other name anywhere. Whatever ends the fetch, cancellation too, the socket is closed.
"""

from __future__ import annotations

import asyncio

from pluto_notary.fetch.egress import EgressRules, check_addresses, check_target
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.http2 import Http2Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.fetch.redirect import is_redirect
from pluto_notary.fetch.target import HTTP_2, TlsStream
from pluto_notary.web import Exchange, WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from typing import Final

    from pluto_notary.fetch.resolve import Resolve
    from pluto_notary.fetch.target import Connect

# What `step` is called with, in this order.
STEPS: Final = ("resolving", "connecting", "fetching")


def unheard(_: str) -> None:
    """A `step` for callers that do not follow the progress."""


async def fetch(
    request: WebRequest,
    *,
    rules: EgressRules,
    limits: FetchLimits,
    tls: ssl.SSLContext,  # target.client_context
    resolve: Resolve,
    connect: Connect,
    clock: Callable[[], float],
    judged_at: tuple[int, int],
    follow: bool = False,
    step: Callable[[str], None] = unheard,
) -> Exchange:
    """Ask once and give the whole answer. Raises TargetError, and nothing else for whatever a site does.

    `judged_at`: earliest and latest Unix time of the trusted clock; certificates must be valid at both.
    `follow`: a redirect is an answer (read it with redirect.location and decide); otherwise it is an error.
    """
    ready = prepared(request, limits)
    started = clock()
    try:
        async with asyncio.timeout(limits.total_seconds):
            address, connection = await reached(
                request, rules=rules, limits=limits, resolve=resolve, connect=connect, step=step
            )
            stream = TlsStream(connection, tls, request.host, limits)
            try:
                await stream.handshake(judged_at)
                step(STEPS[2])
                response = await _answer(stream, ready, limits)
            finally:
                stream.close()
    except TimeoutError as error:
        raise TargetError("time", "the exchange took too long") from error
    if is_redirect(response) and not follow:
        raise TargetError("redirect", "the answer points elsewhere")
    return Exchange(request, response, stream.leaf_sha256, address, started, clock())


async def reached(
    request: WebRequest,
    *,
    rules: EgressRules,
    limits: FetchLimits,
    resolve: Resolve,
    connect: Connect,
    step: Callable[[str], None] = unheard,
) -> tuple[str, socket.socket]:
    """A connection to the site of this request, and the address that was checked for it. TargetError, as `fetch`."""
    check_target(request.host, request.port, rules)
    step(STEPS[0])
    addresses = await _resolved(request, rules, limits, resolve)
    step(STEPS[1])
    return await _connected(addresses, request.port, limits, connect)


async def _resolved(request: WebRequest, rules: EgressRules, limits: FetchLimits, resolve: Resolve) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(limits.resolve_seconds):
            addresses = tuple(await resolve(request.host, request.port))
    except TimeoutError as error:
        raise TargetError("time", "the name was not resolved in time") from error
    check_addresses(addresses, rules)
    return addresses


async def _connected(
    addresses: tuple[str, ...], port: int, limits: FetchLimits, connect: Connect
) -> tuple[str, socket.socket]:
    for address in addresses[: limits.addresses]:
        try:
            async with asyncio.timeout(limits.connect_seconds):
                return address, await connect(address, port)
        except OSError:  # TimeoutError is one
            continue
    raise TargetError("connect", "no address of the site takes a connection")


async def _answer(stream: TlsStream, request: WebRequest, limits: FetchLimits) -> WebResponse:
    session = Http2Session(request, limits) if stream.protocol == HTTP_2 else Http1Session(request, limits)
    await stream.write(session.start())
    size = reads = 0
    while session.response is None:
        data = await stream.read()
        size, reads = size + len(data), reads + 1
        if reads > limits.pieces_for(size):
            raise TargetError("http", "the answer comes in too many pieces")
        if not data:
            session.end()
        elif reply := session.feed(data):
            await stream.write(reply)
    return session.response
