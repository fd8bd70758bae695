"""ClientHello, and what the site chooses by its answer. Pure. RFC 8446, section 4.1; RFC 5246, 7.4.1.

    START --ClientHello--> WAIT_HELLO --ServerHello--> TLS 1.3 | TLS 1.2
                           WAIT_HELLO --HelloRetryRequest: ClientHello--> WAIT_HELLO_AGAIN --ServerHello--> TLS 1.3

Nothing is ever resumed: no ticket and no pre-shared key is offered, and no early data. The session id is 32 bytes at
random, which middleboxes want to see: RFC 8446, D.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.errors import PROTOCOL_VERSION, UNEXPECTED_MESSAGE, TlsError
from pluto_notary.client.tls.groups import GROUPS, Share
from pluto_notary.client.tls.messages import Message, ServerHello, Transcript, numbers, vector
from pluto_notary.client.tls.records import CHANGE_CIPHER_SPEC, HANDSHAKE, RecordLayer
from pluto_notary.client.tls.signatures import SCHEMES, PublicKey
from pluto_notary.client.tls.suites import SUITES, SUITES_12, SUITES_13

TLS_13: Final = 0x0304
TLS_12: Final = 0x0303
PROTOCOL: Final = b"http/1.1"
Judge = Callable[[tuple[bytes, ...]], PublicKey]

# RFC 8446, 4.1.3: what ends the random of a site that speaks 1.3 and was made to choose less.
_DOWNGRADED: Final = (b"DOWNGRD\1", b"DOWNGRD\0")
# What a ServerHello of each kind may answer, of what was offered.
_IN_RETRY: Final = (messages.SUPPORTED_VERSIONS, messages.KEY_SHARE, messages.COOKIE)
_IN_HELLO_13: Final = (messages.SUPPORTED_VERSIONS, messages.KEY_SHARE)
_IN_HELLO_12: Final = (
    messages.SERVER_NAME,
    messages.POINT_FORMATS,
    messages.ALPN,
    messages.EXTENDED_MASTER_SECRET,
    messages.RENEGOTIATION_INFO,
)


@dataclass(slots=True)
class Link:
    """What all steps of one handshake share."""

    host: str
    judge: Judge
    random: Callable[[int], bytes]
    layer: RecordLayer
    transcript: Transcript

    def say(self, kind: int, body: bytes) -> None:
        """Queue a handshake message, and remember it."""
        raw = messages.message(kind, body)
        self.transcript.add(raw)
        self.layer.send(HANDSHAKE, raw)


@dataclass(frozen=True, slots=True, repr=False)
class Chosen:
    """What the hellos agreed on. `shared`: of TLS 1.3's key exchange; `ccs_sent`: so was change_cipher_spec."""

    version: int
    client_random: bytes
    hello: ServerHello
    shared: bytes | None
    ccs_sent: bool


class Hellos:
    """The first step."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._random, self._session_id = link.random(32), link.random(32)
        self._share = Share.make(GROUPS[0], link.random)
        self._retried: ServerHello | None = None
        self._say(b"")

    @property
    def retried(self) -> bool:
        """Whether a HelloRetryRequest came: a change_cipher_spec may follow it."""
        return self._retried is not None

    def take(self, message: Message) -> Chosen | None:
        """The site's hello; None if it wants another one of ours. TlsError."""
        if message.kind != messages.SERVER_HELLO:
            raise messages.unexpected(message.kind)
        allowed = (*_IN_HELLO_13, *_IN_HELLO_12, messages.COOKIE)
        hello = ServerHello.parse(message.body, offered=allowed)
        version = hello.chosen
        if version not in (TLS_13, TLS_12):
            raise TlsError("the site wants a version that was not offered", alert=PROTOCOL_VERSION)
        self._suits(hello, version)
        if hello.retry:
            self._retry(hello, version, message)
            return None
        self._link.transcript.add(message.raw)
        shared = self._shared(hello) if version == TLS_13 else None
        if version == TLS_12 and (hello.random[-8:] in _DOWNGRADED or self._retried is not None):
            raise TlsError("somebody made the site choose an older version")
        return Chosen(version, self._random, hello, shared, self._retried is not None)

    def _suits(self, hello: ServerHello, version: int) -> None:
        """Suite, session id and extensions are of what was offered, and of this version."""
        suite, of_version = SUITES.get(hello.suite), SUITES_13 if version == TLS_13 else SUITES_12
        if suite is None or suite not in of_version:
            raise TlsError("the site chose a cipher suite that was not offered")
        if (hello.session_id == self._session_id) is not (version == TLS_13):
            raise TlsError("the site's hello is about another session")  # TLS 1.2: one that would be resumed
        allowed = (_IN_RETRY if hello.retry else _IN_HELLO_13) if version == TLS_13 else _IN_HELLO_12
        if not hello.extensions.keys() <= set(allowed):
            raise TlsError("the site has an extension where it may not be")
        if self._retried is not None and hello.suite != self._retried.suite:
            raise TlsError("the site changed its mind about the cipher suite")

    def _retry(self, hello: ServerHello, version: int, message: Message) -> None:
        """RFC 8446, 4.1.4."""
        if self._retried is not None:
            raise TlsError("the site asks for another hello again", alert=UNEXPECTED_MESSAGE)
        if version != TLS_13:
            raise TlsError("a version without it asks for another hello")
        cookie = b""
        if messages.COOKIE in hello.extensions:
            cookie = hello.extensions[messages.COOKIE]
            reader = messages.cursor(cookie, "cookie")
            if not messages.taken(reader, 2, "cookie"):
                raise TlsError("the site's cookie is empty")
            reader.end()
        if messages.KEY_SHARE in hello.extensions:
            group = int.from_bytes(hello.extensions[messages.KEY_SHARE], "big")
            if len(hello.extensions[messages.KEY_SHARE]) != 2 or group not in GROUPS or group == self._share.group:
                raise TlsError("the site asks for a key exchange that was not offered, or was sent")
            self._share = Share.make(group, self._link.random)
        elif not cookie:
            raise TlsError("the site asks for the same hello again")
        self._retried = hello
        self._link.transcript.retried(SUITES[hello.suite].hash)
        self._link.transcript.add(message.raw)
        self._link.layer.send(CHANGE_CIPHER_SPEC, b"\1")
        self._say(cookie)

    def _shared(self, hello: ServerHello) -> bytes:
        if messages.KEY_SHARE not in hello.extensions:
            raise TlsError("the site sent no key share")
        group, theirs = messages.read_share(hello.extensions[messages.KEY_SHARE])
        if group != self._share.group:
            raise TlsError("the site's key share is of another group than ours")
        return self._share.agree(theirs)

    def _say(self, cookie: bytes) -> None:
        names = vector(2, b"\0" + vector(2, self._link.host.encode("ascii")))
        share = self._share.group.to_bytes(2, "big") + vector(2, self._share.public)
        extensions = {
            messages.SERVER_NAME: names,
            messages.EXTENDED_MASTER_SECRET: b"",
            messages.RENEGOTIATION_INFO: b"\0",
            messages.SUPPORTED_GROUPS: vector(2, numbers(GROUPS)),
            messages.POINT_FORMATS: b"\1\0",
            messages.ALPN: vector(2, vector(1, PROTOCOL)),
            messages.SIGNATURE_ALGORITHMS: vector(2, numbers(scheme.number for scheme in SCHEMES)),
            messages.SUPPORTED_VERSIONS: vector(1, numbers((TLS_13, TLS_12))),
            **({messages.COOKIE: cookie} if cookie else {}),
            messages.KEY_SHARE: vector(2, share),
        }
        listed = b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions.items())
        suites = vector(2, numbers(SUITES))
        version = TLS_12.to_bytes(2, "big")
        body = version + self._random + vector(1, self._session_id) + suites + b"\1\0" + vector(2, listed)
        self._link.say(messages.CLIENT_HELLO, body)
