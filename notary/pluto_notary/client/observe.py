"""One proof of what the client's own TLS connection to a web site carried, past a notary that records it.

    evidence accepted -> observe -> connected -> [TLS with the web site, in data] -> close -> closed -> reveal -> proof

What the notary must not know before, it cannot: the site is verified here, the request goes to it under keys that the
notary does not have, and the secret that opens the recording is said after the notary closed the connection, and only
if it recorded as many bytes as were said. A notary that had the secret earlier could answer in the site's place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from pluto_measure.errors import VerificationError
from pluto_notary.client.prove import Shown, accepted, answer, check, last_word, refusal
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.hello import Judge
from pluto_notary.client.wire import Wire
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.protocol.messages import Error, Fetch, Hello, Observe
from pluto_notary.protocol.observe import Data, Reveal
from pluto_notary.protocol.peer import ClosedSession, ObservedSession
from pluto_notary.statement.proof import Proof
from pluto_notary.web import WebRequest

LIMITS: Final = FetchLimits(body_bytes=16 * 1024 * 1024)  # as much as a notary records of a site


def observe(
    wire: Wire,
    outer_key_digest: bytes,
    order: Fetch,
    request: WebRequest,
    *,
    manifest_digest: bytes,
    nonce: bytes,
    fresh: bool,
    appraise: Callable[[Shown], None],
    judge: Judge,
    random: Callable[[int], bytes],
    told: Callable[[str], None],
) -> Proof:
    """Run one session, as `prove` does. `request`: what the manifest makes of the order's variables.

    `judge`: whether a chain of certificates is the site's. TlsError and TargetError for what the site does wrong; what
    `judge` raises; all that `prove` raises.
    """
    ready = prepared(request, LIMITS)
    hello = Hello(nonce, manifest_digest, fresh)
    session, evidence = accepted(wire, outer_key_digest, hello, appraise=appraise, told=told)
    wire.send(session.observe(Observe(order)))
    observed = answer(wire, session, told)
    assert isinstance(observed, ObservedSession), "no proof is taken before there is a connection"
    told("asking the web site")
    tls = TlsClient(ready.host, judge=judge, random=random)
    closed = _asked(_Talk(wire, observed, tls), Http1Session(ready, LIMITS))
    told("revealing the secret of the connection, which is over")
    wire.send(closed.reveal(Reveal(tls.secret, 0)))
    proof = Proof.parse(last_word(wire, closed, told))
    check(proof, evidence, order, manifest_digest, mode="observe")
    _check_site(proof, ready, tls.chain[0])
    return proof


class _Talk:
    """TLS with the web site, in `data` of the session with the notary."""

    def __init__(self, wire: Wire, session: ObservedSession, tls: TlsClient) -> None:
        self.wire, self.session, self.tls = wire, session, tls

    def flush(self) -> None:
        """Send what TLS has to say."""
        if data := self.tls.data_to_send():
            self.wire.send(self.session.send(data))

    def hear(self) -> None:
        """Wait for the web site. TlsError for what it does wrong, which it is told; RefusedByNotaryError."""
        while (message := self.session.next_message()) is None:
            self.session.feed(self.wire.receive())
        if isinstance(message, Error):
            raise refusal(message)
        assert not isinstance(message, ClosedSession)
        try:
            if isinstance(message, Data):
                self.tls.feed(message.data)
            else:
                self.tls.end()
        finally:
            self.flush()

    def closed(self) -> ClosedSession:
        """Say goodbye to the web site, and end the recording. What the site still says, nobody waits for."""
        self.tls.close()
        self.flush()
        self.wire.send(self.session.close())
        while not isinstance(message := self.session.next_message(), ClosedSession):
            if message is None:
                self.session.feed(self.wire.receive())
            elif isinstance(message, Error):
                raise refusal(message)
        return message


def _asked(talk: _Talk, http: Http1Session) -> ClosedSession:
    """The whole exchange, from the handshake to the end of the recording. TargetError for a broken answer."""
    tls, said = talk.tls, False
    talk.flush()
    while http.response is None:
        talk.hear()
        if tls.established and not said:
            said = True
            tls.write(http.start())
            talk.flush()
        if data := tls.read():
            http.feed(data)
        if tls.ended and http.response is None:
            http.end()
    return talk.closed()


def _check_site(proof: Proof, request: WebRequest, leaf: bytes) -> None:
    """VerificationError unless the statement is about the site that was seen here."""
    if proof.statement.host != request.authority:
        raise VerificationError("the notary's statement has another host than this session")
    if proof.statement.certificate != hashlib.sha256(leaf).digest():
        raise VerificationError("the notary's statement has another certificate than the web site showed")
