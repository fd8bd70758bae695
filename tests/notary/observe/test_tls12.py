"""TLS 1.2 of a recording: sessions of OpenSSL are opened, by their own secret and within bounds, and no others."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from notary.observe import wire
from notary.observe.keys import certificate_of, key_of
from notary.observe.openssl import (
    ANSWER,
    NO_EXTENDED_MASTER_SECRET,
    OPENSSL_NAMES,
    REQUEST,
    OpenSsl,
    by_openssl,
    client,
    kind_of,
    pem,
    server,
)
from notary.observe.worlds import HOST, LIMITS, judge, read, refused
from notary.observe.worlds12 import ECDSA_128, SUITES, Changed, Tls12, talked
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording

# OpenSSL's sessions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_a_session_of_openssl_is_opened_whatever_its_suite(suite: int) -> None:
    made = by_openssl(suite)
    assert made.suite == OPENSSL_NAMES[suite]
    found = read(made)
    assert (found.version, found.client, found.site, found.closed) == ("TLSv1.2", REQUEST, ANSWER, True)
    assert found.chain == (certificate_of(kind_of(suite)),)


def test_a_secret_from_a_key_log_opens_a_session_of_pythons_ssl(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("chain", "key", "log")]
    for file, content in zip(files, pem("p256"), strict=False):
        file.write_bytes(content)
    one, other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    one.check_hostname, one.verify_mode, one.keylog_filename = False, ssl.CERT_NONE, str(files[2])
    other.load_cert_chain(files[0], files[1])
    other.maximum_version = ssl.TLSVersion.TLSv1_2
    to_site, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    said, heard = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = one.wrap_bio(to_client, said, server_hostname=HOST)
    answers = other.wrap_bio(to_site, heard, server_side=True)
    whole = [b"", b""]

    def carry(act: Callable[[], Any]) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            act()
        for number, (source, target) in enumerate(((said, to_site), (heard, to_client))):
            piece = source.read()
            whole[number] += piece
            target.write(piece)

    for _ in range(3):
        carry(asks.do_handshake)
        carry(answers.do_handshake)
    carry(lambda: asks.write(REQUEST))
    carry(lambda: answers.write(b"HTTP/1.1 200 OK\r\n\r\n"))
    kind, random, secret = files[2].read_text().splitlines()[-1].split()
    assert (kind, bytes.fromhex(random)) == ("CLIENT_RANDOM", whole[0][11:43])
    found = opened(Recording(*whole), bytes.fromhex(secret), host=HOST, judge=judge, limits=LIMITS)
    assert (found.client, found.site, found.closed) == (REQUEST, b"HTTP/1.1 200 OK\r\n\r\n", False)


@pytest.mark.parametrize("tickets", [False, True])
def test_a_ticket_that_the_site_gives_belongs_to_the_handshake(tickets: bool) -> None:
    made = by_openssl(tickets=tickets)
    found = b"\x16\x03\x03" in made.recording.site and any(
        one[0] == 22 and one[5] == 4 for one in wire.split(made.recording.site)
    )
    assert found == tickets
    assert read(made).site == ANSWER


def test_a_client_that_is_asked_for_a_certificate_shows_none() -> None:
    made = by_openssl(asks=True)
    assert read(made).site == ANSWER
    context = client(ECDSA_128)
    context.use_certificate(x509.load_der_x509_certificate(certificate_of("p384")))
    context.use_privatekey(key_of("p384"))
    made = OpenSsl(context, server(*pem("p256"), asks=True))
    made.talk(REQUEST, ANSWER)
    assert "certificate of its own" in refused(made, "unsupported")


@pytest.mark.parametrize("tickets", [False, True])
def test_a_resumed_session_is_refused(tickets: bool) -> None:
    site, ours = server(*pem("p256"), tickets=tickets), client(ECDSA_128)
    first = OpenSsl(ours, site)
    first.talk(REQUEST, ANSWER)
    assert read(first).site == ANSWER
    second = OpenSsl(ours, site, session=first.session)
    second.talk(REQUEST, ANSWER)
    assert second.secret == first.secret
    assert not any(one[0] == 22 and one[5] == 11 for one in wire.split(second.recording.site))
    refused(second)


def test_a_session_without_the_extended_master_secret_is_refused() -> None:
    assert "extended master secret" in refused(by_openssl(options=NO_EXTENDED_MASTER_SECRET), "unsupported")
    made = OpenSsl(client(ECDSA_128, options=NO_EXTENDED_MASTER_SECRET), server(*pem("p256")))
    assert "extended master secret" in refused(made, "unsupported")


def test_a_renegotiation_is_refused() -> None:
    made = OpenSsl(client(ECDSA_128), server(*pem("p256"), options=1 << 8))  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION
    made.talk(REQUEST, ANSWER)
    assert read(made).site == ANSWER
    records, first = len(wire.split(made.recording.client)), made.secret
    made.renegotiate()
    assert len(wire.split(made.recording.client)) > records + 2
    made.talk(REQUEST, ANSWER)
    assert "another handshake" in refused(made, secret=first)


def test_a_suite_without_forward_secrecy_or_aead_is_refused() -> None:
    for name, kind in (
        ("AES128-GCM-SHA256", "rsa"),
        ("ECDHE-RSA-AES128-SHA256", "rsa"),
        ("ECDHE-ECDSA-AES128-SHA", "p256"),
    ):
        context = client()
        context.set_cipher_list(name.encode())
        made = OpenSsl(context, server(*pem(kind)))
        made.talk(REQUEST, ANSWER)
        assert made.suite == name
        assert "suite" in refused(made, "unsupported")


def test_the_name_is_the_one_that_the_client_asked_for() -> None:
    made = by_openssl()
    assert "name the host" in refused(made, host="other.example")
    assert "name the host" in refused(OpenSsl(client(ECDSA_128), server(*pem("p256")), host="other.example"))


def test_http2_is_not_read() -> None:
    context = server(*pem("p256"))
    context.set_alpn_select_callback(lambda *_: b"h2")
    assert "HTTP/1.1" in refused(OpenSsl(client(alpn=(b"h2", b"http/1.1")), context), "unsupported")


def test_what_the_judge_says_of_the_chain_is_the_answer() -> None:
    def unbelieving(chain: tuple[bytes, ...]) -> Any:
        assert chain == (certificate_of("p256"),)
        raise ObserveError("certificate", "nobody's")

    made = by_openssl()
    with pytest.raises(ObserveError, match="nobody's"):
        opened(made.recording, made.secret, host=HOST, judge=unbelieving, limits=LIMITS)
    with pytest.raises(ObserveError, match="not the site's"):
        opened(made.recording, made.secret, host=HOST, judge=lambda _: key_of("p384").public_key(), limits=LIMITS)


# Secrets -------------------------------------------------------------------------------------------------------------


def test_weakness_11_another_secret_opens_nothing() -> None:
    made, other = by_openssl(), by_openssl()
    for secret in (other.secret, bytes(48), made.secret[:-1] + bytes([made.secret[-1] ^ 1])):
        assert "does not open" in refused(made, "secret", secret=secret)
    for secret in (b"", made.secret[:-1], made.secret + b"\0", made.secret[:32]):
        assert "as long as" in refused(made, "secret", secret=secret)


def test_records_of_another_session_do_not_fit() -> None:
    made, other = Changed(by_openssl()), Changed(by_openssl())
    for side in ("client", "site"):
        mixed = Changed(made)
        setattr(mixed, side, getattr(other, side))
        with pytest.raises(ObserveError):
            read(mixed)
        mixed = Changed(made)
        getattr(mixed, side)[-2] = getattr(other, side)[-2]
        assert "does not open" in refused(mixed)


# Bounds --------------------------------------------------------------------------------------------------------------


def test_a_recording_is_bounded() -> None:
    made = talked()
    size = len(made.recording.site)
    assert read(made, limits=replace(LIMITS, site_bytes=size)).closed
    refused(made, "size", limits=replace(LIMITS, site_bytes=size - 1))
    refused(made, "size", limits=replace(LIMITS, message_bytes=100))
    refused(made, "size", limits=replace(LIMITS, handshake_bytes=400))
    refused(made, "size", limits=replace(LIMITS, messages=3))
    made = Tls12()
    for _ in range(300):
        made.site.data(b"x")
    assert read(made).site == b"x" * 300
    refused(made, "size", limits=replace(LIMITS, records=100))


def test_no_error_quotes_what_was_said() -> None:
    made = talked(change={"site_finished": lambda _: wire.message(20, b"confidential")})
    assert "confidential" not in refused(made)
    assert "answer" not in repr(read(talked()))
