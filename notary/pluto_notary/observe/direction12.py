"""One direction of a TLS 1.2 connection, record by record. RFC 5246, sections 6.2, 7.1, 7.2. Pure.

    PLAIN --change_cipher_spec--> PROTECTED --Finished--> APPLICATION --close_notify--> closed: nothing may follow

There is one change_cipher_spec, between two messages, and one handshake: whatever belongs to a second one is refused.
"""

from __future__ import annotations

from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.messages import Messages
from pluto_notary.observe.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Record,
    check_alert,
    plain,
    split,
)

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from pluto_notary.observe.keys12 import Opener
    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.messages import Message


class Direction:
    """The records of one side. Every method raises ObserveError (secret, tls, size)."""

    def __init__(self, data: bytes, limits: ObserveLimits, *, client: bool) -> None:
        self._records = split(data, limits, client=client)
        self._messages, self._at = Messages(limits), 0
        self._ready: list[Message] = []
        self._opener: Opener | None = None

    def message(self, kind: int) -> Message:
        """The next message of the handshake, which has to be of this kind."""
        if not self.comes(kind):
            raise ObserveError("tls", "the messages of the handshake are not those of a full one, in their order")
        return self._ready.pop(0)

    def comes(self, kind: int) -> bool:
        """Whether the next message of the handshake is of this kind."""
        while not self._ready:
            one = self._next()
            if one.kind != HANDSHAKE:
                raise ObserveError("tls", "there is something else than the handshake before its end")
            self._ready += self._messages.feed(plain(one) if self._opener is None else self._opener.open(one))
        return self._ready[0].kind == kind

    def end_flight(self) -> None:
        """Nothing may stand in the record behind the last message: keys change, or it is the other's turn."""
        if self._ready or self._messages.pending:
            raise ObserveError("tls", "a record goes on behind a message that has to end it")

    def change(self, opener: Opener) -> None:
        """Take the change_cipher_spec, behind which records are opened with this."""
        self.end_flight()
        one = self._next()
        if one.kind != CHANGE_CIPHER_SPEC:
            raise ObserveError("tls", "there is no change_cipher_spec where it has to be")
        plain(one)
        self._opener = opener

    def application(self) -> tuple[bytes, bool]:
        """All of the application's data, and whether close_notify ended it."""
        assert self._opener is not None
        self.end_flight()
        pieces, closed = [], False
        for one in self._records[self._at :]:
            content = self._opener.open(one)
            if closed:
                raise ObserveError("tls", "there is a record after close_notify")
            if one.kind == APPLICATION_DATA:
                pieces.append(content)
            elif one.kind == ALERT:
                check_alert(content)
                closed = True
            else:
                raise ObserveError("tls", "there is another handshake on the connection, or a part of one")
        return b"".join(pieces), closed

    def check_size(self, most: int) -> None:
        """That no protected record held more than record_size_limit said, RFC 8449, 4."""
        assert self._opener is not None
        if self._opener.largest > most:
            raise ObserveError("tls", "a record holds more than the other side's record_size_limit")

    def _next(self) -> Record:
        if self._at == len(self._records):
            raise ObserveError("tls", "the recording ends within the handshake")
        self._at += 1
        return self._records[self._at - 1]
