"""A TLS 1.3 connection from its recording and handshake secret: every key derived, everything verified. RFC 8446. Pure.

    client                                                    site
    ClientHello                                     -->
                                                    <--       [HelloRetryRequest]
    [ClientHello]                                   -->
                                                    <--       ServerHello
                                                              {EncryptedExtensions} {[CertificateRequest]}
                                                              {Certificate} {CertificateVerify} {Finished}
    {[Certificate, empty]} {Finished}               -->
    (data, KeyUpdate, close_notify)                 <->       (data, NewSessionTicket, KeyUpdate, close_notify)

{} under the handshake's keys, () under the application's. What a client would check, its own offer included, is checked
here again; pre-shared keys, early data, a client's certificate and renegotiation of any kind are refused. The secret
proves nothing by itself: the site's signature over the transcript does, and both Finished bind it to the keys.
"""

from __future__ import annotations

import hashlib
import hmac

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_notary.observe import schemes
from pluto_notary.observe.direction13 import Direction
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.hellos13 import check_after_retry, check_answer, check_retry
from pluto_notary.observe.keys13 import SUITES, Opener, Suite, derive, finished, master_secret
from pluto_notary.observe.messages import (
    ALPN,
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    MESSAGE_HASH,
    RECORD_SIZE_LIMIT,
    SERVER_HELLO,
    SERVER_NAME,
    SIGNATURE_ALGORITHMS,
    SUPPORTED_GROUPS,
    TLS13,
    check_protocol,
    client_hello,
    numbers,
    read_extensions,
    server_hello,
    vector,
)
from pluto_notary.observe.recording import Opened

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from pluto_notary.observe.limits import ObserveLimits
    from pluto_notary.observe.messages import ClientHello, Message
    from pluto_notary.observe.recording import Judge, Recording

_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
_STATUS_REQUEST, _TIMESTAMPS = 5, 18
_ENCRYPTED: Final = {SERVER_NAME, SUPPORTED_GROUPS, ALPN, RECORD_SIZE_LIMIT}  # that may stand in EncryptedExtensions
_SMALLEST_LIMIT, _LARGEST_LIMIT = 64, (1 << 14) + 1  # of record_size_limit, RFC 8449, 4
_NO_CERTIFICATE: Final = bytes(4)


def opened13(recording: Recording, secret: bytes, *, host: str, judge: Judge, limits: ObserveLimits) -> Opened:
    """Opens and verifies all of it, or raises ObserveError (secret, tls, certificate, size, unsupported)."""
    client = Direction(recording.client, limits, client=True)
    site = Direction(recording.site, limits, client=False)
    hello, suite, transcript = _hellos(client, site, host)
    if len(secret) != suite.hash_bytes:
        raise ObserveError("secret", "the secret is not as long as the suite's hash")
    theirs = derive(suite, secret, b"s hs traffic", transcript.digest())
    ours = derive(suite, secret, b"c hs traffic", transcript.digest())
    site.protect(Opener(suite, theirs, proven=False))
    client.protect(Opener(suite, ours, proven=True))

    limit, asked = _parameters(site, hello, transcript)
    chain = _authenticated(site, hello, transcript, judge, limits)
    _check_finished(site, theirs, transcript)
    master, until_finished = master_secret(suite, secret), transcript.digest()
    site.rekey(derive(suite, master, b"s ap traffic", until_finished))
    if asked:
        _check_no_certificate(transcript.take(client.message(CERTIFICATE)))
    _check_finished(client, ours, transcript)
    client.rekey(derive(suite, master, b"c ap traffic", until_finished))

    said, _ = client.application()
    answered, closed = site.application()
    if limit is not None:
        client.check_size(limit)
        site.check_size(_limit(hello.extensions[RECORD_SIZE_LIMIT]))
    return Opened("TLSv1.3", chain, said, answered, closed)


class _Transcript:
    """The hash over the messages of the handshake, 4.4.1."""

    def __init__(self, suite: Suite) -> None:
        self.suite, self._hash = suite, hashlib.new(suite.hash)

    def take(self, message: Message) -> bytes:
        """Adds a message and gives its body."""
        self._hash.update(message.raw)
        return message.body

    def take_retried(self, message: Message) -> None:
        """Adds a ClientHello that was answered with a HelloRetryRequest: as its hash, in a message of its own kind."""
        digest = hashlib.new(self.suite.hash, message.raw).digest()
        self._hash.update(bytes([MESSAGE_HASH]) + len(digest).to_bytes(3, "big") + digest)

    def digest(self) -> bytes:
        return self._hash.digest()


def _hellos(client: Direction, site: Direction, host: str) -> tuple[ClientHello, Suite, _Transcript]:
    """The client's hello that counts, the suite, and the transcript up to the ServerHello."""
    first, answer = _flight(client, CLIENT_HELLO), _flight(site, SERVER_HELLO)
    hello, chosen = client_hello(first), server_hello(answer)
    hello.check(host)
    check_answer(hello, chosen)
    transcript = _Transcript(SUITES[chosen.suite])
    if chosen.retry:
        transcript.take_retried(first)
        transcript.take(answer)
        second, answer, retry = _flight(client, CLIENT_HELLO), _flight(site, SERVER_HELLO), chosen
        again, chosen = client_hello(second), server_hello(answer)
        again.check(host)
        check_retry(hello, retry, again)
        check_answer(again, chosen)
        check_after_retry(retry, chosen)
        hello, first = again, second
    transcript.take(first)
    transcript.take(answer)
    return hello, transcript.suite, transcript


def _flight(side: Direction, kind: int) -> Message:
    message = side.message(kind)
    side.end_flight()
    return message


def _parameters(site: Direction, hello: ClientHello, transcript: _Transcript) -> tuple[int | None, bool]:
    """EncryptedExtensions, CertificateRequest: the site's record_size_limit, and whether it asks for a certificate."""
    found = _extensions(transcript.take(site.message(ENCRYPTED_EXTENSIONS)), 0)
    if not found.keys() <= _ENCRYPTED & hello.extensions.keys():
        raise ObserveError("tls", "the site agrees to an extension that is not expected or was not offered")
    if found.get(SERVER_NAME):
        raise ObserveError("tls", "the site's answer to the server name is not empty")
    if SUPPORTED_GROUPS in found:
        numbers(found[SUPPORTED_GROUPS], 2, "supported_groups")
    check_protocol(hello, found.get(ALPN))
    limit = _limit(found[RECORD_SIZE_LIMIT]) if RECORD_SIZE_LIMIT in found else None
    asked = site.comes(CERTIFICATE_REQUEST)
    if asked:
        request = _extensions(transcript.take(site.message(CERTIFICATE_REQUEST)), 1)
        if SIGNATURE_ALGORITHMS not in request:  # what else it may hold is to be ignored, 4.3.2
            raise ObserveError("tls", "the site's request for a certificate is malformed")
    return limit, asked


def _extensions(body: bytes, zeros: int) -> dict[int, bytes]:
    """Extensions that are all of a message behind an empty context."""
    try:
        reader = Reader(body, what="extensions", order="big")
        if any(reader.take(zeros, "context")):
            raise reader.error("the context is not empty")
        found = read_extensions(reader)
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "the site's extensions are malformed") from error
    return found


def _limit(content: bytes) -> int:
    value = int.from_bytes(content, "big")
    if len(content) != 2 or not _SMALLEST_LIMIT <= value <= _LARGEST_LIMIT:
        raise ObserveError("tls", "a record_size_limit is not one")
    return value


def _authenticated(
    site: Direction, hello: ClientHello, transcript: _Transcript, judge: Judge, limits: ObserveLimits
) -> tuple[bytes, ...]:
    """The chain, once it was judged and its key was seen to have signed the transcript."""
    chain = _chain(transcript.take(site.message(CERTIFICATE)), hello, limits)
    signed = _CONTEXT + transcript.digest()
    body = transcript.take(site.message(CERTIFICATE_VERIFY))
    try:
        reader = Reader(body, what="CertificateVerify", order="big")
        scheme, signature = reader.uint(2, "scheme"), vector(reader, 2, "signature")
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "the site's signature is malformed") from error
    if scheme not in hello.schemes():
        raise ObserveError("tls", "the site signed with a scheme that was not offered")
    key: PublicKeyTypes = judge(chain)
    schemes.check(scheme, key, chain[0], signature, signed, version=TLS13)
    return chain


def _chain(body: bytes, hello: ClientHello, limits: ObserveLimits) -> tuple[bytes, ...]:
    """The certificates of a Certificate message, 4.4.2. What their extensions say is nobody's concern here."""
    found = []
    try:
        reader = Reader(body, what="Certificate", order="big")
        if reader.uint(1, "context"):
            raise reader.error("the context is not empty")
        entries = reader.sub(reader.uint(3, "length"), "entries")
        reader.end()
        while entries.left:
            found.append(vector(entries, 3, "certificate"))
            if not read_extensions(entries).keys() <= {_STATUS_REQUEST, _TIMESTAMPS} & hello.extensions.keys():
                raise entries.error("an extension is not expected or was not offered")
    except FormatError as error:
        raise ObserveError("tls", "the site's message with certificates is malformed") from error
    if not all(found) or not 0 < len(found) <= limits.certificates:
        raise ObserveError("certificate", "the site shows no certificate, or too many")
    return tuple(found)


def _check_finished(side: Direction, secret: bytes, transcript: _Transcript) -> None:
    expected = finished(transcript.suite, secret, transcript.digest())
    if not hmac.compare_digest(transcript.take(side.message(FINISHED)), expected):
        raise ObserveError("tls", "a Finished does not fit what was said before it")


def _check_no_certificate(body: bytes) -> None:
    if body != _NO_CERTIFICATE:
        raise ObserveError("unsupported", "the client shows a certificate of its own")
