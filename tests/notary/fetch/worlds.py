"""What the tests of whole fetches share: an authority, its roots, and one call with everything set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.run import fetch
from pluto_notary.fetch.target import client_context
from pluto_notary.web import Exchange, WebRequest
from simulators.notary.certificates import Authority
from simulators.notary.names import Names
from simulators.notary.sites import Net, Site

HOST = "site.example"
PUBLIC = "93.184.215.14"
GET = WebRequest("GET", HOST, 443, "/page?x=1", (("x-mine", "1"),), b"")
AUTHORITY = Authority()
IDENTITY = AUTHORITY.issue(HOST)
TLS = client_context(AUTHORITY.pem)
# Everything that stalls ends within a second.
LIMITS = FetchLimits(
    total_seconds=1.0, idle_seconds=0.5, resolve_seconds=0.5, connect_seconds=0.5, body_bytes=1024 * 1024
)


def ask(
    site: Site | int,
    request: WebRequest = GET,
    *,
    answer: Sequence[str] = (PUBLIC,),
    **changes: Any,
) -> Exchange:
    """Fetch from this site, which stands behind PUBLIC; any argument of `fetch` can be another."""
    net = Net({PUBLIC: site})
    arguments: dict[str, Any] = {
        "rules": EgressRules(),
        "limits": LIMITS,
        "tls": TLS,
        "resolve": Names({HOST: [answer]}),
        "connect": net.connect,
        "clock": time.monotonic,
        "judged_at": now(),
    }
    kept: list[Exchange] = []

    async def main() -> None:
        # Not as the task's result: asyncio.run lets `signal` make a text of its task, and so of the whole answer.
        kept.append(await fetch(request, **(arguments | changes)))

    asyncio.run(main())
    return kept[0]


def now(days: float = 0, uncertainty: int = 1) -> tuple[int, int]:
    """The trusted time, some days from now."""
    middle = int(time.time() + days * 86400)
    return middle - uncertainty, middle + uncertainty
