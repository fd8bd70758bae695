"""A handshake of TLS 1.2 behind the hellos: ECDHE, AEAD, the extended master secret, or none. Pure. RFC 5246, 7.3.

    WAIT_CERT --Certificate: judged--> WAIT_KX --ServerKeyExchange: verified--> WAIT_CR_DONE
    WAIT_CR_DONE --CertificateRequest--> WAIT_DONE
    WAIT_CR_DONE | WAIT_DONE --ServerHelloDone: key exchange, Finished--> WAIT_CCS --change_cipher_spec--> WAIT_FINISHED
    WAIT_FINISHED --Finished--> CONNECTED

Nothing comes after it but data: a HelloRequest, too, is refused, since nothing is negotiated twice. A request for a
certificate is answered with none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.errors import (
    DECODE_ERROR,
    HANDSHAKE_FAILURE,
    UNEXPECTED_MESSAGE,
    TlsError,
)
from pluto_notary.client.tls.groups import GROUPS, Share
from pluto_notary.client.tls.handshake import Handshake
from pluto_notary.client.tls.hello import PROTOCOL, Chosen, Link
from pluto_notary.client.tls.messages import Message, vector
from pluto_notary.client.tls.records import CHANGE_CIPHER_SPEC, Sealed12
from pluto_notary.client.tls.schedule import Schedule12
from pluto_notary.client.tls.signatures import kind_of, verify_12
from pluto_notary.client.tls.suites import SUITES

_NAMED_CURVE: Final = 3  # RFC 8422, 5.4
_UNCOMPRESSED: Final = 0


class Handshake12(Handshake):
    """From the hellos on. `secret` is the master secret, once `established`."""

    version: Final = "TLSv1.2"
    _alone = (messages.SERVER_HELLO_DONE, messages.FINISHED)

    def __init__(self, link: Link, chosen: Chosen) -> None:
        super().__init__(link, SUITES[chosen.hello.suite], "WAIT_CERT")
        self._randoms = chosen.client_random, chosen.hello.random
        self._schedule = Schedule12(self._suite.hash)
        _check_hello(chosen.hello.extensions)
        self._theirs: tuple[int, bytes] = 0, b""
        self._reads: Sealed12 | None = None
        self._steps = {
            ("WAIT_CERT", messages.CERTIFICATE): self._certificate,
            ("WAIT_KX", messages.SERVER_KEY_EXCHANGE): self._key_exchange,
            ("WAIT_CR_DONE", messages.CERTIFICATE_REQUEST): self._request,
            ("WAIT_CR_DONE", messages.SERVER_HELLO_DONE): self._done,
            ("WAIT_DONE", messages.SERVER_HELLO_DONE): self._done,
            ("WAIT_FINISHED", messages.FINISHED): self._finished,
        }

    def change_cipher_spec(self, content: bytes) -> None:
        """The site's keys begin: RFC 5246, 7.1."""
        if self._state != "WAIT_CCS" or content != b"\1" or self._reads is None:
            raise TlsError("a change_cipher_spec comes where it may not", alert=UNEXPECTED_MESSAGE)
        self._link.layer.reads = self._reads
        self._state = "WAIT_FINISHED"

    def _certificate(self, message: Message) -> None:
        self.chain = messages.read_chain(message.body, entries_have_extensions=False)
        self._key = self._link.judge(self.chain)
        if kind_of(self._key) != self._suite.key:
            raise TlsError("the site's key is not of the kind that the cipher suite says")
        self._next(message, "WAIT_KX")

    def _key_exchange(self, message: Message) -> None:
        """RFC 8422, 5.4: the curve's name, the point, and a signature over both randoms and these."""
        assert self._key is not None
        reader = messages.cursor(message.body, "ServerKeyExchange")
        if reader.uint(1, "curve type") != _NAMED_CURVE:
            raise TlsError("the site's curve has no name")
        self._theirs = reader.uint(2, "curve"), messages.taken(reader, 1, "point")
        if self._theirs[0] not in GROUPS:
            raise TlsError("the site chose a curve that was not offered")
        parameters = message.body[: len(message.body) - reader.left]
        verify_12(self._key, *messages.read_signature(reader), b"".join(self._randoms) + parameters)
        self._next(message, "WAIT_CR_DONE")

    def _request(self, message: Message) -> None:
        messages.read_certificate_request_12(message.body)
        self._certificate_wanted = True
        self._next(message, "WAIT_DONE")

    def _done(self, message: Message) -> None:
        if message.body:
            raise TlsError("a ServerHelloDone says something", alert=DECODE_ERROR)
        self._next(message, "WAIT_CCS")
        share = Share.make(self._theirs[0], self._link.random)
        premaster = share.agree(self._theirs[1])
        if self._certificate_wanted:
            self._link.say(messages.CERTIFICATE, vector(3, b""))
        self._link.say(messages.CLIENT_KEY_EXCHANGE, vector(1, share.public))
        self.secret = self._schedule.master_secret(premaster, self._digest())
        self._link.layer.send(CHANGE_CIPHER_SPEC, b"\1")
        self._link.layer.writes, self._reads = self._keys()
        self._link.say(messages.FINISHED, self._schedule.finished(self.secret, "client", self._digest()))

    def _finished(self, message: Message) -> None:
        self._connected(message, self._schedule.finished(self.secret, "server", self._digest()))

    def _keys(self) -> tuple[Sealed12, Sealed12]:
        """Ours and theirs: RFC 5246, 6.3, without keys for MACs."""
        key, iv = self._suite.key_bytes, 12 - self._suite.explicit_nonce
        block = self._schedule.key_block(self.secret, *self._randoms, 2 * (key + iv))
        keys, ivs = block[: 2 * key], block[2 * key :]
        return Sealed12(self._suite, keys[:key], ivs[:iv]), Sealed12(self._suite, keys[key:], ivs[iv:])


def _check_hello(extensions: Mapping[int, bytes]) -> None:
    """What the site's hello must say, and may."""
    if not messages.no_content(extensions, messages.EXTENDED_MASTER_SECRET):
        raise TlsError("the site does not know the extended master secret", alert=HANDSHAKE_FAILURE)
    messages.no_content(extensions, messages.SERVER_NAME)
    messages.chosen_protocol(extensions, PROTOCOL)
    if messages.RENEGOTIATION_INFO not in extensions:  # RFC 5746, 3.4; the notary would refuse what was recorded
        raise TlsError("the site does not know of secure renegotiation", alert=HANDSHAKE_FAILURE)
    if extensions[messages.RENEGOTIATION_INFO] != b"\0":
        raise TlsError("the site speaks of another handshake", alert=HANDSHAKE_FAILURE)
    if messages.POINT_FORMATS in extensions:  # RFC 8422, 5.2
        reader = messages.cursor(extensions[messages.POINT_FORMATS], "ec_point_formats")
        formats = messages.taken(reader, 1, "formats")
        reader.end()
        if _UNCOMPRESSED not in formats:
            raise TlsError("the site does not know points as they are sent")
