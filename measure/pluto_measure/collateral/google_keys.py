"""Fetches Google's keys for tokens of Confidential Space: one JSON Web Key set at one address.

Nothing vouches for the set but TLS, which is verified. A redirect is an error; so is an answer that is too large.
"""

from __future__ import annotations

import ssl
from dataclasses import replace

from pluto_measure.collateral.attempts import fetch
from pluto_measure.collateral.transport import Clock, Limits, Transport
from pluto_measure.formats.jwks import GOOGLE_SOURCE, LARGEST, JwksDocument


def fetch_keys(
    url: str = GOOGLE_SOURCE,
    *,
    insecure_http: bool = False,
    context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> JwksDocument:
    """The set, with the time of the answer. NoAnswerError; FormatError for what is no such set.

    UsageError for a URL that is not https, unless its host is this machine. `context` says which certificates of
    services count (default: the system's); it must verify.
    """
    limits, clock = replace(limits or Limits(), size=LARGEST), clock or Clock()
    transport = Transport(url, insecure_http=insecure_http, context=context, limits=limits, clock=clock)
    answer = fetch(transport, "key set", url, limits, clock)
    return JwksDocument.of_answer(answer.body, source=url, fetched_at=clock.now())
