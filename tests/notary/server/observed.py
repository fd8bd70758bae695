"""What tests of observed connections in a whole notary share: clients, their request, sites that only pour or drink."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from notary.server.shared import HOST, SECRETS, manifest
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.observers import EndedError, Observer, asking
from simulators.notary.sites import Visit

Observe = Callable[..., Observer]  # the fixture `observer`


def observing(notary: whole.Running, authority: Authority, protocol: str = "websocket", **how: Any) -> Observer:
    """A client that observes; `how` as of `Running.client`."""
    return Observer(notary.client(how.pop("manifest", manifest()), protocol, **{**SECRETS, **how}), authority, HOST)


def request() -> bytes:
    """The one that the manifest makes."""
    return asking(manifest(), whole.order(manifest(), **SECRETS))


def pours(visit: Visit) -> None:
    """Bytes without end, as fast as they are taken."""
    with suppress(OSError):
        while not visit.site.over.is_set():
            visit.send(bytes(65536))


def drinks(visit: Visit) -> None:
    """A site that reads and says nothing."""
    with suppress(EOFError, OSError):
        while True:
            visit._read()


def drinks_until(gone: threading.Event) -> Callable[[Visit], None]:
    """The same, and it tells when the notary has left."""

    def act(visit: Visit) -> None:
        drinks(visit)
        gone.set()

    return act


def opens(notary: whole.Running, observer: Observe) -> bool:
    """Whether there is a place."""
    try:
        with observer(notary) as one:
            one.connect()
    except EndedError:
        return False
    return True
