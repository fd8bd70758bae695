"""A handshake of TLS 1.3 behind the hellos, and what comes after it. Pure. RFC 8446, A.1, without resumption.

    WAIT_EE --EncryptedExtensions--> WAIT_CERT_CR --CertificateRequest--> WAIT_CERT
    WAIT_CERT_CR | WAIT_CERT --Certificate: judged--> WAIT_CV --CertificateVerify: verified--> WAIT_FINISHED
    WAIT_FINISHED --Finished: ours is sent--> CONNECTED
    CONNECTED --NewSessionTicket (dropped), KeyUpdate (followed)--> CONNECTED

A request for a certificate is answered with none.
"""

from __future__ import annotations

from typing import Final

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.errors import DECODE_ERROR, UNEXPECTED_MESSAGE, TlsError
from pluto_notary.client.tls.handshake import Handshake
from pluto_notary.client.tls.hello import PROTOCOL, Chosen, Link
from pluto_notary.client.tls.messages import Message
from pluto_notary.client.tls.records import CHANGE_CIPHER_SPEC, HANDSHAKE, Sealed13
from pluto_notary.client.tls.schedule import Schedule13
from pluto_notary.client.tls.signatures import verify_13
from pluto_notary.client.tls.suites import SUITES

# What EncryptedExtensions may have, of what was offered: RFC 8446, 4.2.
_ENCRYPTED: Final = (messages.SERVER_NAME, messages.SUPPORTED_GROUPS, messages.ALPN)


class Handshake13(Handshake):
    """From the hellos on. `secret` is the handshake secret, once `established`."""

    version: Final = "TLSv1.3"
    _alone = (messages.FINISHED, messages.KEY_UPDATE)

    def __init__(self, link: Link, chosen: Chosen) -> None:
        assert chosen.shared is not None
        super().__init__(link, SUITES[chosen.hello.suite], "WAIT_EE")
        self._schedule = Schedule13(self._suite.hash)
        self.secret = self._schedule.handshake_secret(chosen.shared)
        self._client, self._server = self._traffic(self.secret, "hs")
        if not chosen.ccs_sent:
            link.layer.send(CHANGE_CIPHER_SPEC, b"\1")
        link.layer.reads = self._keys(self._server)
        link.layer.writes = self._keys(self._client)
        self._steps = {
            ("WAIT_EE", messages.ENCRYPTED_EXTENSIONS): self._extensions,
            ("WAIT_CERT_CR", messages.CERTIFICATE_REQUEST): self._request,
            ("WAIT_CERT_CR", messages.CERTIFICATE): self._certificate,
            ("WAIT_CERT", messages.CERTIFICATE): self._certificate,
            ("WAIT_CV", messages.CERTIFICATE_VERIFY): self._verify,
            ("WAIT_FINISHED", messages.FINISHED): self._finished,
            ("CONNECTED", messages.NEW_SESSION_TICKET): self._ticket,
            ("CONNECTED", messages.KEY_UPDATE): self._key_update,
        }

    def change_cipher_spec(self, content: bytes) -> None:
        """It means nothing, and may come until Finished: RFC 8446, 5."""
        if self.established or content != b"\1":
            raise TlsError("a change_cipher_spec comes where it may not", alert=UNEXPECTED_MESSAGE)

    def _extensions(self, message: Message) -> None:
        extensions = messages.read_encrypted_extensions(message.body, offered=_ENCRYPTED)
        messages.no_content(extensions, messages.SERVER_NAME)
        messages.chosen_protocol(extensions, PROTOCOL)
        self._next(message, "WAIT_CERT_CR")

    def _request(self, message: Message) -> None:
        messages.read_certificate_request(message.body)
        self._certificate_wanted = True
        self._next(message, "WAIT_CERT")

    def _certificate(self, message: Message) -> None:
        self.chain = messages.read_chain(message.body, entries_have_extensions=True)
        self._key = self._link.judge(self.chain)
        self._next(message, "WAIT_CV")

    def _verify(self, message: Message) -> None:
        assert self._key is not None
        scheme, signature = messages.read_signature(messages.cursor(message.body, "CertificateVerify"))
        verify_13(self._key, scheme, signature, self._digest())
        self._next(message, "WAIT_FINISHED")

    def _finished(self, message: Message) -> None:
        self._connected(message, self._schedule.finished(self._server, self._digest()))
        client, self._server = self._traffic(self._schedule.master_secret(self.secret), "ap")
        if self._certificate_wanted:
            self._link.say(messages.CERTIFICATE, b"\0" + messages.vector(3, b""))
        self._link.say(messages.FINISHED, self._schedule.finished(self._client, self._digest()))
        self._client = client
        self._link.layer.reads, self._link.layer.writes = self._keys(self._server), self._keys(self._client)

    def _ticket(self, message: Message) -> None:
        """RFC 8446, 4.6.1: read to the end, and forgotten."""
        reader = messages.cursor(message.body, "NewSessionTicket")
        reader.take(8, "lifetime and age")
        for size, field in ((1, "nonce"), (2, "ticket"), (2, "extensions")):
            messages.taken(reader, size, field)
        reader.end()

    def _key_update(self, message: Message) -> None:
        """RFC 8446, 4.6.3: their keys change; ours too, if they ask."""
        if message.body not in (b"\0", b"\1"):
            raise TlsError("a KeyUpdate asks for what there is not", alert=DECODE_ERROR)
        self._server = self._schedule.next_traffic_secret(self._server)
        self._link.layer.reads = self._keys(self._server)
        if message.body == b"\1":
            self._link.layer.send(HANDSHAKE, messages.message(messages.KEY_UPDATE, b"\0"))
            self._client = self._schedule.next_traffic_secret(self._client)
            self._link.layer.writes = self._keys(self._client)

    def _traffic(self, secret: bytes, kind: str) -> tuple[bytes, bytes]:
        client, server = (self._schedule.traffic_secret(secret, f"{x} {kind} traffic", self._digest()) for x in "cs")
        return client, server

    def _keys(self, traffic_secret: bytes) -> Sealed13:
        return Sealed13(self._suite, *self._schedule.key_and_iv(traffic_secret, self._suite.key_bytes))
