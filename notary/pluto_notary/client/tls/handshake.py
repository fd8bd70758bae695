"""What handshakes of both versions have in common behind the hellos: states, their steps, the site's Finished. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import ClassVar

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.errors import DECRYPT_ERROR, UNEXPECTED_MESSAGE, TlsError
from pluto_notary.client.tls.hello import Link
from pluto_notary.client.tls.messages import Message
from pluto_notary.client.tls.signatures import PublicKey
from pluto_notary.client.tls.suites import Suite

Steps = Mapping[tuple[str, int], Callable[[Message], None]]  # by state and kind of message


class Handshake:
    """From the hellos on, until it is CONNECTED. A version sets its `_steps`, and `secret` when it knows it."""

    # Behind these the next record has other keys, so that nothing may be left of the present one.
    _alone: ClassVar[tuple[int, ...]]
    _steps: Steps

    def __init__(self, link: Link, suite: Suite, state: str) -> None:
        self._link, self._suite, self._state = link, suite, state
        self._certificate_wanted = False
        self._key: PublicKey | None = None
        self.chain: tuple[bytes, ...] = ()
        self.secret = b""

    @property
    def established(self) -> bool:
        return self._state == "CONNECTED"

    def take(self, message: Message, *, last: bool) -> None:
        """One message; `last`: its record has no more behind it. TlsError, and what the judge raises."""
        if (step := self._steps.get((self._state, message.kind))) is None:
            raise messages.unexpected(message.kind)
        if message.kind in self._alone and not last:
            raise TlsError("a message goes on where the keys change", alert=UNEXPECTED_MESSAGE)
        step(message)

    def _connected(self, message: Message, wanted: bytes) -> None:
        """By the site's Finished, which has to be this one."""
        if not hmac.compare_digest(wanted, message.body):
            raise TlsError("the site's Finished is about another handshake", alert=DECRYPT_ERROR)
        self._next(message, "CONNECTED")

    def _next(self, message: Message, state: str) -> None:
        self._link.transcript.add(message.raw)
        self._state = state

    def _digest(self) -> bytes:
        return self._link.transcript.digest(self._suite.hash)
