"""The one way from a recording to what was said: by the version that the site's hello chose. Pure."""

from __future__ import annotations

from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.messages import TLS13, Messages, server_hello
from pluto_notary.observe.records import HANDSHAKE, HEAD, LARGEST_PLAIN, plain, split
from pluto_notary.observe.tls12 import opened12
from pluto_notary.observe.tls13 import opened13

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.recording import Judge, Opened, Recording

_HELLO_BYTES: Final = 2 * (HEAD + LARGEST_PLAIN)  # in which the site's hello ends, whatever its record holds besides


def opened(recording: Recording, secret: bytes, *, host: str, judge: Judge, limits: ObserveLimits) -> Opened:
    """Opens and verifies all of it, or raises ObserveError (secret, tls, certificate, size, unsupported).

    `secret`: the handshake secret of TLS 1.3, the master secret of TLS 1.2. `host` is the one name that the client
    asked for; `judge` says whose key the site's certificate shows.
    """
    if len(recording.client) > limits.client_bytes or len(recording.site) > limits.site_bytes:
        raise ObserveError("size", "the recording is too large")
    how = opened13 if _version(recording.site, limits) == TLS13 else opened12
    return how(recording, secret, host=host, judge=judge, limits=limits)


def _version(site: bytes, limits: ObserveLimits) -> int:
    messages = Messages(limits)
    for one in split(site[:_HELLO_BYTES], limits, client=False, part=True):
        fragment = plain(one)
        if one.kind != HANDSHAKE:
            break
        for message in messages.feed(fragment):
            return server_hello(message).version
    raise ObserveError("tls", "the site's direction does not begin with its hello")
