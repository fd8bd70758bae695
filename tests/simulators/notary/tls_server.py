"""A TLS server in memory that does what a test says: honest, or a liar in one message. Either version.

It stands on the client's own arithmetic (`pluto_notary.client.tls`), which is held against OpenSSL, Go and RFC 8448 by
tests of its own; so what it lies about is the only thing that is wrong.

    server = Server(identity, version=TLS_13, edit={"finished": flipped})
    data = server.receive(client.data_to_send())
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.groups import X25519, Share
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import Joiner, Message, Transcript, message, numbers, vector
from pluto_notary.client.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Plain,
    RecordLayer,
    Sealed12,
    Sealed13,
)
from pluto_notary.client.tls.schedule import Schedule12, Schedule13
from pluto_notary.client.tls.suites import SUITES
from simulators.notary.certificates import Identity

Edit = Callable[[bytes], bytes]
RETRY_RANDOM = messages._RETRY_RANDOM
_CONTEXT = b" " * 64 + b"TLS 1.3, server CertificateVerify" + b"\0"


class ClientRefusedError(Exception):
    """The client's Finished is about another handshake than the one that this server had."""


class Server:
    """`edit` changes messages by name before they are sent (b"" leaves one out); the transcript has what was sent.

    `retry`: the group that a HelloRetryRequest asks for, 0 for none. `request`: asks for a certificate. `protocol`: of
    ALPN. `extensions`: more of them, in EncryptedExtensions, a HelloRetryRequest, or TLS 1.2's hello.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        version: int = TLS_13,
        suite: int | None = None,
        group: int = X25519,
        retry: int | None = None,
        cookie: bytes = b"",
        request: bool = False,
        edit: Mapping[str, Edit] | None = None,
        extensions: Mapping[int, bytes] | None = None,
        protocol: bytes | None = b"http/1.1",
    ) -> None:
        self._identity, self._version, self._edit = identity, version, dict(edit or {})
        self._suite = SUITES[suite or (0x1301 if version == TLS_13 else 0xC02B)]
        self._group, self._retry, self._cookie, self._request = group, retry, cookie, request
        self._more, self._protocol = dict(extensions or {}), protocol
        self.layer, self._joiner, self.transcript = RecordLayer(), Joiner(), Transcript()
        self.layer.writes = Plain()
        self.established = False
        self.hellos: list[dict[int, bytes]] = []
        self.heard: list[Message] = []
        self.read, self.alerts = b"", list[bytes]()
        self._key: Any = serialization.load_pem_private_key(identity.key.encode(), None)
        self._share = Share.make(group, os.urandom)
        self._randoms = b"", os.urandom(32)
        self._reads12: Sealed12 | None = None
        self._client = self._server = self.secret = b""

    def receive(self, data: bytes) -> bytes:
        """Takes bytes of the client, gives those for it."""
        if data[:1] == bytes([ALERT]) and isinstance(self.layer.reads, Sealed13):
            self.alerts.append(data[5:])  # from before the client had keys
            return b""
        self.layer.feed(data)
        while (record := self.layer.take()) is not None:
            if record.kind == HANDSHAKE:
                self._joiner.feed(record.content)
                while (one := self._joiner.take()) is not None:
                    self.heard.append(one)
                    self._take(one)
            elif record.kind == CHANGE_CIPHER_SPEC and self._reads12 is not None:
                self.layer.reads = self._reads12
            elif record.kind == ALERT:
                self.alerts.append(record.content)
            elif record.kind == APPLICATION_DATA:
                self.read += record.content
        return self.layer.data_to_send()

    def write(self, data: bytes) -> bytes:
        self.layer.send(APPLICATION_DATA, data)
        return self.layer.data_to_send()

    def record(self, kind: int, content: bytes) -> bytes:
        """A record under the present keys."""
        self.layer.send(kind, content)
        return self.layer.data_to_send()

    def key_update(self, *, wanted: bool) -> bytes:
        data = self.record(HANDSHAKE, message(messages.KEY_UPDATE, bytes([wanted])))
        self._server = Schedule13(self._suite.hash).next_traffic_secret(self._server)
        self.layer.writes = self._sealed(self._server)
        return data

    def _take(self, one: Message) -> None:
        if one.kind == messages.CLIENT_HELLO:
            self._hello(one)
        elif self._version == TLS_13:
            self._take_13(one)
        else:
            self._take_12(one)

    def _say(self, name: str, kind: int, body: bytes) -> None:
        raw = self._edit.get(name, bytes)(message(kind, body))
        self.transcript.add(raw)
        if raw:
            self.layer.send(HANDSHAKE, raw)

    def _hello(self, one: Message) -> None:
        reader = messages.cursor(one.body, "ClientHello")
        reader.take(2, "version")
        self._randoms = reader.take(32, "random"), self._randoms[1]
        session_id = messages.taken(reader, 1, "session id")
        messages.taken(reader, 2, "suites")
        messages.taken(reader, 1, "compression")
        self.hellos.append(messages.read_extensions(reader, range(1 << 16)))
        self.transcript.add(one.raw)
        if self._version == TLS_12:
            self._flight_12()
        elif self._retry is not None and len(self.hellos) == 1:
            wanted = {messages.SUPPORTED_VERSIONS: b"\3\4", **self._more}
            if self._cookie:
                wanted[messages.COOKIE] = vector(2, self._cookie)
            if self._retry:
                wanted[messages.KEY_SHARE] = self._retry.to_bytes(2, "big")
            self.transcript.retried(self._suite.hash)
            self._say("retry", messages.SERVER_HELLO, self._hello_body(RETRY_RANDOM, session_id, wanted))
            self.layer.send(CHANGE_CIPHER_SPEC, b"\1")
        else:
            self._flight_13(session_id)

    def _hello_body(self, random: bytes, session_id: bytes, extensions: Mapping[int, bytes]) -> bytes:
        listed = b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions.items())
        suite = self._suite.number.to_bytes(2, "big")
        return b"\3\3" + random + vector(1, session_id) + suite + b"\0" + vector(2, listed)

    def _flight_13(self, session_id: bytes) -> None:
        share = self._group.to_bytes(2, "big") + vector(2, self._share.public)
        wanted = {messages.SUPPORTED_VERSIONS: b"\3\4", messages.KEY_SHARE: share}
        self._say("hello", messages.SERVER_HELLO, self._hello_body(self._randoms[1], session_id, wanted))
        if self._retry is None:
            self.layer.send(CHANGE_CIPHER_SPEC, b"\1")
        shares, theirs = messages.cursor(self.hellos[-1][messages.KEY_SHARE][2:], "key_share"), b""
        while shares.left:
            group, one = shares.uint(2, "group"), messages.taken(shares, 2, "share")
            theirs = one if group == self._group else theirs
        schedule = Schedule13(self._suite.hash)
        shared = self._share.agree(theirs) if theirs else bytes(32)
        self.secret = schedule.handshake_secret(shared)
        self._client, self._server = self._traffic(schedule, self.secret, "hs")
        self.layer.reads, self.layer.writes = self._sealed(self._client), self._sealed(self._server)
        protocol = {} if self._protocol is None else {messages.ALPN: vector(2, vector(1, self._protocol))}
        listed = b"".join(k.to_bytes(2, "big") + vector(2, v) for k, v in {**protocol, **self._more}.items())
        self._say("encrypted_extensions", messages.ENCRYPTED_EXTENSIONS, vector(2, listed))
        if self._request:
            asked = messages.SIGNATURE_ALGORITHMS.to_bytes(2, "big") + vector(2, vector(2, numbers([0x0403])))
            self._say("request", messages.CERTIFICATE_REQUEST, b"\0" + vector(2, asked))
        entry = vector(3, self._identity.der) + b"\0\0"
        self._say("certificate", messages.CERTIFICATE, b"\0" + vector(3, entry))
        signature = self._key.sign(_CONTEXT + self._digest(), ec.ECDSA(hashes.SHA256()))
        self._say("verify", messages.CERTIFICATE_VERIFY, b"\4\3" + vector(2, signature))
        self._say("finished", messages.FINISHED, schedule.finished(self._server, self._digest()))
        self._applications = self._traffic(schedule, schedule.master_secret(self.secret), "ap")
        self._server = self._applications[1]
        self.layer.writes = self._sealed(self._server)

    def _take_13(self, one: Message) -> None:
        schedule = Schedule13(self._suite.hash)
        if one.kind == messages.FINISHED:
            _check(one, schedule.finished(self._client, self._digest()))
            self._client = self._applications[0]
            self.layer.reads = self._sealed(self._client)
            self.established = True
        elif one.kind == messages.KEY_UPDATE:
            self._client = schedule.next_traffic_secret(self._client)
            self.layer.reads = self._sealed(self._client)
        self.transcript.add(one.raw)

    def _flight_12(self) -> None:
        protocol = {} if self._protocol is None else {messages.ALPN: vector(2, vector(1, self._protocol))}
        wanted = {messages.EXTENDED_MASTER_SECRET: b"", messages.RENEGOTIATION_INFO: b"\0", **protocol, **self._more}
        self._say("hello", messages.SERVER_HELLO, self._hello_body(self._randoms[1], b"", wanted))
        self._say("certificate", messages.CERTIFICATE, vector(3, vector(3, self._identity.der)))
        parameters = b"\3" + self._group.to_bytes(2, "big") + vector(1, self._share.public)
        signature = self._key.sign(b"".join(self._randoms) + parameters, ec.ECDSA(hashes.SHA256()))
        self._say("key_exchange", messages.SERVER_KEY_EXCHANGE, parameters + b"\4\3" + vector(2, signature))
        if self._request:
            self._say("request", messages.CERTIFICATE_REQUEST, b"\1\x40" + vector(2, b"\4\3") + b"\0\0")
        self._say("done", messages.SERVER_HELLO_DONE, b"")

    def _take_12(self, one: Message) -> None:
        schedule = Schedule12(self._suite.hash)
        if one.kind == messages.CLIENT_KEY_EXCHANGE:
            self.transcript.add(one.raw)
            self.secret = schedule.master_secret(self._share.agree(one.body[1:]), self._digest())
            key, iv = self._suite.key_bytes, 12 - self._suite.explicit_nonce
            block = schedule.key_block(self.secret, *self._randoms, 2 * (key + iv))
            self._reads12 = Sealed12(self._suite, block[:key], block[2 * key : 2 * key + iv])
            self._writes12 = Sealed12(self._suite, block[key : 2 * key], block[2 * key + iv :])
            return
        if one.kind == messages.FINISHED:
            _check(one, schedule.finished(self.secret, "client", self._digest()))
            self.transcript.add(one.raw)
            self.layer.send(CHANGE_CIPHER_SPEC, b"\1")
            self.layer.writes = self._writes12
            self._say("finished", messages.FINISHED, schedule.finished(self.secret, "server", self._digest()))
            self.established = True
            return
        self.transcript.add(one.raw)

    def _digest(self) -> bytes:
        return self.transcript.digest(self._suite.hash)

    def _traffic(self, schedule: Schedule13, secret: bytes, kind: str) -> tuple[bytes, bytes]:
        client, server = (schedule.traffic_secret(secret, f"{x} {kind} traffic", self._digest()) for x in "cs")
        return client, server

    def _sealed(self, secret: bytes) -> Sealed13:
        schedule = Schedule13(self._suite.hash)
        return Sealed13(self._suite, *schedule.key_and_iv(secret, self._suite.key_bytes))


def _check(finished: Message, wanted: bytes) -> None:
    if finished.body != wanted:
        raise ClientRefusedError
