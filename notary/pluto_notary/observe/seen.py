"""What a recording shows: the request that the manifest makes, the site's answer to it, and whose certificate. Pure.

    recording, secret -> opened -> exchanges -> the one wanted -> asked: is it the manifest's? -> answer, decoded

The one door of this package. What it takes is bounded by its limits, in bytes and so in time; nothing is believed
before all of it was verified.
"""

from __future__ import annotations

import hashlib

from pluto_notary.observe.asked import check
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.exchanges import decoded, exchanges
from pluto_notary.observe.opened import opened

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from pluto_notary.fetch.limits import FetchLimits
    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.recording import Recording
    from pluto_notary.observe.roots import Roots
    from pluto_notary.web import WebRequest, WebResponse


def seen(
    recording: Recording,
    secret: bytes,
    *,
    request: WebRequest,
    exchange: int,
    roots: Roots,
    judged_at: tuple[int, int],
    limits: ObserveLimits,
    fetch_limits: FetchLimits,
) -> tuple[WebRequest, WebResponse, bytes]:
    """Request, answer and the SHA-256 of the site's certificate, or ObserveError with any of its codes.

    `request`: what the manifest makes of its variables. `exchange`: which one of the connection it is, from 0.
    `judged_at`: earliest and latest Unix time that it was when the connection was made.
    """

    def judge(chain: tuple[bytes, ...]) -> PublicKeyTypes:
        return roots.judge(chain, request.host, judged_at)

    said = opened(recording, secret, host=request.host, judge=judge, limits=limits)
    found = exchanges(
        said.client, said.site, host=request.host, port=request.port, closed=said.closed, limits=fetch_limits
    )
    if not 0 <= exchange < len(found):
        raise ObserveError("http", "the connection has no exchange of that number")
    # A site that passes such a body over takes it for the next request, and every answer behind it is another's.
    if any(earlier.body for earlier, _ in found[:exchange]):
        raise ObserveError("http", "the exchange comes behind a request with a body")
    asked, answer = found[exchange]
    return check(asked, request), decoded(answer, fetch_limits), hashlib.sha256(said.chain[0]).digest()
