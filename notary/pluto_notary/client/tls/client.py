"""One TLS connection to a web site, without a socket. Pure: randomness and the judge of the chain are arguments.

    bytes of the wire --feed()--> read() bytes of the site        write() --data_to_send()--> bytes of the wire

    HELLO --ServerHello--> HANDSHAKE --both Finished--> ESTABLISHED --close_notify of the site--> ENDED
    any error --> FAILED, and it stays so; `data_to_send` then has the alert

Only close_notify is an end. Nothing may come behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pluto_measure.errors import FormatError, PlutoError
from pluto_notary.client.tls import errors
from pluto_notary.client.tls.errors import BAD_CERTIFICATE, DECODE_ERROR, UNEXPECTED_MESSAGE, TlsError
from pluto_notary.client.tls.hello import TLS_13, Hellos, Judge, Link
from pluto_notary.client.tls.messages import Joiner, Transcript
from pluto_notary.client.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Record,
    RecordLayer,
)
from pluto_notary.client.tls.tls12 import Handshake12
from pluto_notary.client.tls.tls13 import Handshake13

_IDLE: Final = 32  # records without data: after the handshake tickets, key updates, empty ones; before it CCS
_HANDSHAKE_BYTES: Final = 128 * 1024  # that the site may take for its handshake
_WARNING, _FATAL = 1, 2


class TlsClient:
    """The client's side. `judge` takes the chain as it was sent, in DER, and gives its first key, or raises.

    `host` is the name for SNI, in ASCII. TlsError for what the site does wrong; what the judge raises passes through.
    """

    def __init__(self, host: str, *, judge: Judge, random: Callable[[int], bytes]) -> None:
        self._layer, self._joiner = RecordLayer(), Joiner()
        self._link = Link(host, judge, random, self._layer, Transcript())
        self._hellos = Hellos(self._link)
        self._handshake: Handshake13 | Handshake12 | None = None
        self._read = bytearray()
        self._idle = self._handshake_bytes = 0
        self._ended = self._closing = False
        self._failure: PlutoError | None = None

    @property
    def established(self) -> bool:
        """Whether the site is authenticated and both sides have finished the handshake."""
        return self._handshake is not None and self._handshake.established

    @property
    def ended(self) -> bool:
        """Whether the site said that no more will come."""
        return self._ended

    @property
    def version(self) -> str:
        """TLSv1.3 or TLSv1.2. RuntimeError before the handshake is done."""
        return self._done().version

    @property
    def secret(self) -> bytes:
        """What opens everything that was said, and is to be told to nobody before the connection is over: the
        handshake secret of TLS 1.3, the master secret of TLS 1.2. RuntimeError before the handshake is done.
        """
        return self._done().secret

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The site's certificates in DER, its own first. RuntimeError before the handshake is done."""
        return self._done().chain

    def feed(self, data: bytes) -> None:
        """Take bytes of the wire, cut anywhere."""
        if self._failure is not None:
            raise self._failure
        self._layer.feed(data)
        try:
            while (record := self._next()) is not None:
                self._take(record)
        except FormatError as error:
            self._fail(TlsError("a message is malformed", alert=DECODE_ERROR), error)
        except TlsError as error:
            self._fail(error)
        except PlutoError as error:  # the judge's
            self._fail(error)

    def end(self) -> None:
        """The wire ended. TlsError unless the site had said so."""
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            self._fail(TlsError("the connection ended without the site's goodbye"))

    def read(self) -> bytes:
        """All that the site said since the last call."""
        data = bytes(self._read)
        self._read.clear()
        return data

    def write(self, data: bytes) -> None:
        """Queue data. RuntimeError before the handshake is done, or after `close`."""
        self._done()
        if self._closing or self._failure is not None:
            raise RuntimeError("this connection takes no more data")
        self._layer.send(APPLICATION_DATA, data)

    def close(self) -> None:
        """Say that no more will come. Nothing happens the second time."""
        if not self._closing and self._failure is None:
            self._closing = True
            self._layer.send(ALERT, bytes([_WARNING, errors.CLOSE_NOTIFY]))
            self._layer.silent = True

    def data_to_send(self) -> bytes:
        """All bytes that wait for the wire."""
        return self._layer.data_to_send()

    def _done(self) -> Handshake13 | Handshake12:
        if self._handshake is None or not self._handshake.established:
            raise RuntimeError("the handshake is not done")
        return self._handshake

    def _next(self) -> Record | None:
        if self._ended and self._layer.waiting:
            raise TlsError("bytes behind the end of the connection", alert=UNEXPECTED_MESSAGE)
        return self._layer.take()

    def _take(self, record: Record) -> None:
        if record.kind != HANDSHAKE and not self._joiner.empty:
            raise TlsError("a handshake message is broken off by something else", alert=UNEXPECTED_MESSAGE)
        if record.kind == HANDSHAKE:
            self._idle += self.established
            self._messages(record.content)
        elif record.kind == APPLICATION_DATA:
            if not self.established:
                raise TlsError("data came before the handshake was done", alert=UNEXPECTED_MESSAGE)
            self._idle += not record.content
            self._read += record.content
        elif record.kind == CHANGE_CIPHER_SPEC:
            self._idle += 1
            self._change_cipher_spec(record.content)
        else:
            self._alert(record.content)
        if self._idle > _IDLE:
            raise TlsError("there are too many records without data", alert=UNEXPECTED_MESSAGE)

    def _messages(self, content: bytes) -> None:
        if not self.established:
            self._handshake_bytes += len(content)
            if self._handshake_bytes > _HANDSHAKE_BYTES:
                raise TlsError("the handshake is too long", alert=DECODE_ERROR)
        self._joiner.feed(content)
        while (message := self._joiner.take()) is not None:
            if self._handshake is not None:
                self._handshake.take(message, last=self._joiner.empty)
                continue
            chosen = self._hellos.take(message)
            if (chosen is None or chosen.version == TLS_13) and not self._joiner.empty:
                raise TlsError("a message goes on where the keys change", alert=UNEXPECTED_MESSAGE)
            if chosen is not None:
                kind = Handshake13 if chosen.version == TLS_13 else Handshake12
                self._handshake = kind(self._link, chosen)

    def _change_cipher_spec(self, content: bytes) -> None:
        if self._handshake is not None:
            self._handshake.change_cipher_spec(content)
        elif not self._hellos.retried or content != b"\1":  # RFC 8446, D.4
            raise TlsError("a change_cipher_spec comes where it may not", alert=UNEXPECTED_MESSAGE)

    def _alert(self, content: bytes) -> None:
        if len(content) != 2 or content[0] not in (_WARNING, _FATAL):
            raise TlsError("an alert is malformed", alert=DECODE_ERROR)
        if content[1] != errors.CLOSE_NOTIFY:
            raise TlsError(f"the site ended it with alert {content[1]}", heard=content[1])
        if not self.established:
            raise TlsError("the site left before the handshake was done", heard=errors.CLOSE_NOTIFY)
        self._ended = True

    def _fail(self, error: PlutoError, cause: Exception | None = None) -> None:
        """Tell the site, if it is not the one who told us, and stay failed."""
        self._failure = error
        if not (isinstance(error, TlsError) and error.heard is not None):
            alert = error.alert if isinstance(error, TlsError) else BAD_CERTIFICATE
            self._layer.send(ALERT, bytes([_FATAL, alert]))
        raise error from cause
