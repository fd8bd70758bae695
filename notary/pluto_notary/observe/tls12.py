"""A TLS 1.2 connection from its recording and master secret: keys derived, everything verified. RFC 5246, 8422. Pure.

    client                                                    site
    ClientHello                                     -->
                                                              ServerHello, Certificate, [CertificateStatus]
                                                              ServerKeyExchange, [CertificateRequest]
                                                    <--       ServerHelloDone
    [Certificate, empty], ClientKeyExchange
    change_cipher_spec, {Finished}                  -->
                                                    <--       [NewSessionTicket], change_cipher_spec, {Finished}
    {data, close_notify}                            <->       {data, close_notify}

{} under the connection's keys. Only this full handshake is read: nothing is resumed, by identifier or ticket, nothing
renegotiated, and the client shows no certificate. Both sides have to secure renegotiation (RFC 5746), or else what the
client takes for its first handshake could be somebody's second.

The extended master secret (RFC 7627) has to be agreed on. It is the PRF of the premaster secret and of a hash over the
messages up to ClientKeyExchange; the premaster secret is not revealed, so nobody can check that here, and nobody has
to. The site's Finished, made with the site's own master secret, covers all messages before it, the two hellos that
agree on the extension included, and it verifies with the secret that was revealed: so that is the site's secret for
exactly this transcript, and a site that agreed to the extension made it from this transcript's hash. No other
connection has the same one, even where somebody in the middle gave both sides the same premaster secret and randoms.
The signature covers the randoms and the site's ephemeral key, whose other half the site alone has; who ended the
handshake with that key is what Finished says.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric import rsa

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_notary.observe import schemes
from pluto_notary.observe.direction12 import Direction
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.hellos12 import SESSION_TICKET, STATUS_REQUEST, check_answer, record_limits
from pluto_notary.observe.keys12 import MASTER_SECRET_BYTES, SUITES, Suite, finished, openers
from pluto_notary.observe.messages import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    FINISHED,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    SERVER_KEY_EXCHANGE,
    TLS12,
    client_hello,
    numbers_of,
    server_hello,
    vector,
)
from pluto_notary.observe.recording import Opened

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.messages import ClientHello, Message, ServerHello
    from pluto_notary.observe.recording import Judge, Recording

_CERTIFICATE_STATUS, _OCSP = 22, 1
_NAMED_CURVE: Final = 3
# Groups and the sizes of their public keys, RFC 8422, section 5.4: secp256r1, secp384r1, secp521r1, x25519, x448.
_GROUPS: Final = {23: 65, 24: 97, 25: 133, 29: 32, 30: 56}
_NO_CERTIFICATE: Final = bytes(3)


def opened12(recording: Recording, secret: bytes, *, host: str, judge: Judge, limits: ObserveLimits) -> Opened:
    """Opens and verifies all of it, or raises ObserveError (secret, tls, certificate, size, unsupported)."""
    if len(secret) != MASTER_SECRET_BYTES:
        raise ObserveError("secret", "the secret is not as long as a master secret")
    client = Direction(recording.client, limits, client=True)
    site = Direction(recording.site, limits, client=False)
    transcript = _Transcript()
    hello = client_hello(transcript.take(client, CLIENT_HELLO))
    client.end_flight()
    hello.check(host)
    chosen = server_hello(transcript.take(site, SERVER_HELLO))
    check_answer(hello, chosen)
    suite = SUITES[chosen.suite]

    chain, asked = _authenticated(site, hello, chosen, transcript, judge, limits)
    _answered(client, transcript, asked)
    ours, theirs = openers(suite, secret, hello.random, chosen.random)
    client.change(ours)
    _check_finished(client, suite, secret, b"client finished", transcript)
    if SESSION_TICKET in chosen.extensions:  # RFC 5077, 3.3: then it comes, and only then
        _check_ticket(transcript.take(site, NEW_SESSION_TICKET))
    site.change(theirs)
    _check_finished(site, suite, secret, b"server finished", transcript)

    said, _ = client.application()
    answered, closed = site.application()
    if found := record_limits(hello, chosen):
        site.check_size(found[0])
        client.check_size(found[1])
    return Opened("TLSv1.2", chain, said, answered, closed)


class _Transcript:
    """All messages of the handshake, of both sides, in the order of the protocol."""

    def __init__(self) -> None:
        self.messages = b""

    def take(self, side: Direction, kind: int) -> Message:
        """The next message of this side, which has to be of this kind."""
        message = side.message(kind)
        self.messages += message.raw
        return message


def _authenticated(
    site: Direction,
    hello: ClientHello,
    chosen: ServerHello,
    transcript: _Transcript,
    judge: Judge,
    limits: ObserveLimits,
) -> tuple[tuple[bytes, ...], bool]:
    """The site's flight: its chain, judged, whose key was seen to have signed; whether it asks for the client's."""
    chain = _chain(transcript.take(site, CERTIFICATE), limits)
    # The extension says that it may come, RFC 6066, 8.
    if STATUS_REQUEST in chosen.extensions and site.comes(_CERTIFICATE_STATUS):
        _check_status(transcript.take(site, _CERTIFICATE_STATUS))
    exchange = transcript.take(site, SERVER_KEY_EXCHANGE)
    if asked := site.comes(CERTIFICATE_REQUEST):
        _check_request(transcript.take(site, CERTIFICATE_REQUEST))
    if transcript.take(site, SERVER_HELLO_DONE).body:
        raise _malformed("the end of the site's hello")
    site.end_flight()
    _check_signature(exchange, hello, chosen, chain, judge)
    return chain, asked


def _check_signature(
    message: Message, hello: ClientHello, chosen: ServerHello, chain: tuple[bytes, ...], judge: Judge
) -> None:
    """ServerKeyExchange, RFC 8422, 5.4: over both randoms and the parameters, with the key of the chain."""
    body = message.body
    try:
        reader = Reader(body, what="ServerKeyExchange", order="big")
        kind, group = reader.uint(1, "curve_type"), reader.uint(2, "group")
        point = vector(reader, 1, "point")
        parameters = body[: reader.offset]
        scheme, signature = reader.uint(2, "scheme"), vector(reader, 2, "signature")
        reader.end()
    except FormatError as error:
        raise _malformed("the site's key exchange") from error
    if kind != _NAMED_CURVE or group not in hello.groups() or len(point) != _GROUPS.get(group):
        raise ObserveError("tls", "the site's key is of a group that is not read here, or was not offered")
    if scheme not in hello.schemes():
        raise ObserveError("tls", "the site signed with a scheme that was not offered")
    key = judge(chain)
    if isinstance(key, rsa.RSAPublicKey) is SUITES[chosen.suite].ecdsa:
        raise ObserveError("tls", "the site's key is not of the kind that the suite says")
    signed = hello.random + chosen.random + parameters
    schemes.check(scheme, key, chain[0], signature, signed, version=TLS12)


def _answered(client: Direction, transcript: _Transcript, asked: bool) -> None:
    """The client's answer: no certificate, if it was asked, and its own share."""
    if asked and transcript.take(client, CERTIFICATE).body != _NO_CERTIFICATE:
        raise ObserveError("unsupported", "the client shows a certificate of its own")
    share = transcript.take(client, CLIENT_KEY_EXCHANGE).body
    if len(share) < 2 or share[0] != len(share) - 1:
        raise _malformed("the client's key exchange")


def _check_finished(side: Direction, suite: Suite, secret: bytes, label: bytes, transcript: _Transcript) -> None:
    expected = finished(suite, secret, label, transcript.messages)
    if not hmac.compare_digest(transcript.take(side, FINISHED).body, expected):
        raise ObserveError("tls", "a Finished does not fit what was said before it")
    side.end_flight()


def _chain(message: Message, limits: ObserveLimits) -> tuple[bytes, ...]:
    """The certificates of a Certificate message, RFC 5246, 7.4.2."""
    found = []
    try:
        reader = Reader(message.body, what="Certificate", order="big")
        entries = reader.sub(reader.uint(3, "length"), "entries")
        reader.end()
        while entries.left:
            found.append(vector(entries, 3, "certificate"))
    except FormatError as error:
        raise _malformed("the site's message with certificates") from error
    if not all(found) or not 0 < len(found) <= limits.certificates:
        raise ObserveError("certificate", "the site shows no certificate, or too many")
    return tuple(found)


def _check_status(message: Message) -> None:
    """CertificateStatus, RFC 6066, 8: an answer of OCSP, which is nobody's concern here."""
    try:
        reader = Reader(message.body, what="CertificateStatus", order="big")
        if reader.uint(1, "type") != _OCSP or not vector(reader, 3, "response"):
            raise reader.error("it is of another type or empty")
        reader.end()
    except FormatError as error:
        raise _malformed("the state of the site's certificate") from error


def _check_request(message: Message) -> None:
    """CertificateRequest, RFC 5246, 7.4.4."""
    try:
        reader = Reader(message.body, what="CertificateRequest", order="big")
        if not vector(reader, 1, "types"):
            raise reader.error("there are no types")
        numbers_of(vector(reader, 2, "schemes"), "schemes")
        vector(reader, 2, "authorities")
        reader.end()
    except FormatError as error:
        raise _malformed("the site's request for a certificate") from error


def _check_ticket(message: Message) -> None:
    """NewSessionTicket, RFC 5077, 3.3: how long it holds, and the ticket, which may be empty."""
    try:
        reader = Reader(message.body, what="NewSessionTicket", order="big")
        reader.uint(4, "lifetime")
        vector(reader, 2, "ticket")
        reader.end()
    except FormatError as error:
        raise _malformed("a session ticket") from error


def _malformed(what: str) -> ObserveError:
    return ObserveError("tls", f"{what} is malformed")
