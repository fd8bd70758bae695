"""What a process that serves does beside it to have its outer key certified: joins `pluto_notary.acme` and the server.

Imported only where a configuration names an authority; a container has no configuration, and does not have this.
"""

from __future__ import annotations

import asyncio
import os
import time

from pluto_notary.acme.client_hello import offers
from pluto_notary.acme.keeper import CertificateKeeper, Surroundings
from pluto_notary.certificate import server_context
from pluto_notary.server import faults
from pluto_notary.server.edge import Aside

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    import ssl

    from pluto_notary.certificate import OuterIdentity
    from pluto_notary.config import Acme
    from pluto_notary.serial import EventWriter
    from pluto_notary.server.edge import Edge
    from pluto_notary.server.run import Beside
    from pluto_notary.server.world import World


def certified_by(acme: Acme) -> Beside:
    """Keeps a certificate of this authority shown: orders, shows, renews. It runs until it is cancelled."""

    async def keep(identity: OuterIdentity, edge: Edge, world: World, events: EventWriter) -> None:
        named = asyncio.Event()
        edge.show(_noticing(server_context(identity), acme.domain, named))
        around = Surroundings(
            fetch=world.fetch,
            interval=world.clock.interval,
            clock=time.monotonic,
            random=os.urandom,
            show=lambda chain: edge.show(server_context(identity, chain)),
            challenge=lambda tls: edge.set_aside(None if tls is None else Aside(tls, offers)),
            told=lambda state, code: events.emit("certificate", state=state, code=code),
            bug=faults.tell,
            named=named.wait,
        )
        await CertificateKeeper(acme, identity, around).run()

    return keep


def _noticing(tls: ssl.SSLContext, domain: str, named: asyncio.Event) -> ssl.SSLContext:
    """The same, which notices who comes by this name (SNI, RFC 6066): he was led here, so an authority will be, too."""

    def notice(_: object, name: str | None, __: object) -> None:
        if name is not None and name.lower() == domain:
            named.set()

    tls.sni_callback = notice
    return tls
