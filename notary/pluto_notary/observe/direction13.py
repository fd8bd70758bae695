"""One direction of a TLS 1.3 connection, record by record. RFC 8446, sections 4.6, 5.1, 6.1 and appendix D.4. Pure.

    HELLO --protect--> HANDSHAKE --rekey--> APPLICATION --close_notify--> closed: nothing may follow

In HELLO nothing is protected, later everything is. Until APPLICATION a change_cipher_spec says nothing and is dropped.
A message of the handshake is not interrupted by other records, and ends its record where keys change behind it.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.messages import KEY_UPDATE, NEW_SESSION_TICKET, Messages, read_extensions, vector
from pluto_notary.observe.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    check_alert,
    plain,
    split,
)

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.keys13 import Opener
    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.messages import Message
    from pluto_notary.observe.records import Record

_NOT_REQUESTED, _REQUESTED = b"\0", b"\1"  # what a KeyUpdate says of the other direction
_TICKET_HEAD: Final = 8  # lifetime and age_add


class Direction:
    """The records of one side. Every method raises ObserveError (secret, tls, size)."""

    def __init__(self, data: bytes, limits: ObserveLimits, *, client: bool) -> None:
        self._records = split(data, limits, client=client)
        self._limits, self._client, self._at = limits, client, 0
        self._messages = Messages(limits)
        self._ready: list[Message] = []  # messages that were read and not taken
        self._opener: Opener | None = None
        self._begun = False
        self._idle = self._updates = 0

    def message(self, kind: int) -> Message:
        """The next message of the handshake, which has to be of this kind."""
        if not self.comes(kind):
            raise ObserveError("tls", "the messages of the handshake are not those that have to come")
        return self._ready.pop(0)

    def comes(self, kind: int) -> bool:
        """Whether the next message of the handshake is of this kind."""
        while not self._ready:
            self._read_on()
        return self._ready[0].kind == kind

    def end_flight(self) -> None:
        """Nothing may stand in the record behind the last message: keys change, or it is the other's turn."""
        if self._ready or self._messages.pending:
            raise ObserveError("tls", "a record goes on behind a message that has to end it")

    def protect(self, opener: Opener) -> None:
        """Behind the end of a flight: from here on records are opened with this."""
        assert not self._ready
        self._opener = opener

    def rekey(self, secret: bytes) -> None:
        """From here on the application's traffic secret holds."""
        assert self._opener is not None
        self.end_flight()
        self._opener.use(secret)

    def application(self) -> tuple[bytes, bool]:
        """All of the application's data, and whether close_notify ended it."""
        assert self._opener is not None
        pieces, closed = [], False
        for one in self._records[self._at :]:
            kind, content = self._opener.open(one)
            if closed:
                raise ObserveError("tls", "there is a record after close_notify")
            if kind == HANDSHAKE:
                self._take_late(content)
            elif self._messages.pending:
                raise ObserveError("tls", "a message of the handshake is interrupted")
            elif kind == APPLICATION_DATA:
                pieces.append(content)
            elif kind == ALERT:
                check_alert(content)
                closed = True
            else:
                raise ObserveError("tls", "a record has a type inside that does not exist")
        if self._messages.pending:
            raise ObserveError("tls", "a direction ends within a message of the handshake")
        return b"".join(pieces), closed

    def check_size(self, most: int) -> None:
        """That no protected record held more than record_size_limit said, RFC 8449, 4."""
        assert self._opener is not None
        if self._opener.largest > most:
            raise ObserveError("tls", "a record holds more than the other side's record_size_limit")

    def _read_on(self) -> None:
        if self._at == len(self._records):
            raise ObserveError("tls", "the recording ends within the handshake")
        one = self._records[self._at]
        self._at += 1
        if one.kind == CHANGE_CIPHER_SPEC:
            self._drop(one)
            return
        kind, fragment = (one.kind, plain(one)) if self._opener is None else self._opener.open(one)
        if kind != HANDSHAKE:
            raise ObserveError("tls", "there is something else than the handshake before its end")
        self._begun = True
        self._ready += self._messages.feed(fragment)

    def _drop(self, one: Record) -> None:
        plain(one)
        self._idle += 1
        if not self._begun or self._messages.pending or self._idle > self._limits.idle_records:
            raise ObserveError("tls", "a change_cipher_spec stands where none may be")

    def _take_late(self, fragment: bytes) -> None:
        """Messages after the handshake: the site's tickets, which nobody uses here, and updates of keys."""
        assert self._opener is not None
        self._ready = self._messages.feed(fragment)
        while self._ready:
            message = self._ready.pop(0)
            if message.kind == KEY_UPDATE and message.body in (_NOT_REQUESTED, _REQUESTED):
                self.end_flight()
                self._updates += 1
                if self._updates > self._limits.key_updates:
                    raise ObserveError("size", "there are too many updates of keys")
                self._opener.update()
            elif message.kind == NEW_SESSION_TICKET and not self._client:
                _check_ticket(message.body)
            else:
                raise ObserveError("tls", "there is a message after the handshake that may not be")


def _check_ticket(body: bytes) -> None:
    try:
        reader = Reader(body, what="NewSessionTicket", order="big")
        reader.take(_TICKET_HEAD, "lifetime and age_add")
        vector(reader, 1, "nonce")
        if not vector(reader, 2, "ticket"):
            raise reader.error("the ticket is empty")
        read_extensions(reader)
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "a session ticket is malformed") from error
