"""TLS 1.2 out of a recording and its master secret: OpenSSL's sessions are opened, what is not one is refused."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.observe import wire
from notary.observe.worlds import HOST, LIMITS, certificate_of, each_alone, judge, key_of, pieces, read
from notary.observe.worlds12 import (
    ECDSA_128,
    ECDSA_CHACHA,
    HELLO_REQUEST,
    NO_EXTENDED_MASTER_SECRET,
    OPENSSL_NAMES,
    RSA_128,
    SUITES,
    OpenSsl,
    Tls12,
    client,
    server,
    talked,
)
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording

REQUEST, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(40_000)


def refused(made: Any, code: str = "tls", **changes: Any) -> str:
    """What is said of a session that is refused with this code."""
    with pytest.raises(ObserveError) as caught:
        read(made, **changes)
    assert caught.value.code == code, caught.value.problem
    return caught.value.problem


def pem(kind: str) -> tuple[bytes, bytes]:
    """Chain and key of a site."""
    key = key_of(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return x509.load_der_x509_certificate(certificate_of(kind)).public_bytes(Encoding.PEM), key


def kind_of(suite: int) -> str:
    return "p256" if OPENSSL_NAMES[suite].startswith("ECDHE-ECDSA") else "rsa"


def by_openssl(suite: int = ECDSA_128, **site: Any) -> OpenSsl:
    """A session with a question, an answer of several records, and an end."""
    made = OpenSsl(client(suite), server(*pem(kind_of(suite)), **site))
    made.talk(REQUEST, ANSWER)
    made.close()
    return made


class Changed:
    """A session whose recording somebody changed: lists of records, heads included."""

    def __init__(self, made: Any) -> None:
        self.secret = made.secret
        self.client, self.site = wire.split(made.recording.client), wire.split(made.recording.site)

    @property
    def recording(self) -> Recording:
        return Recording(b"".join(self.client), b"".join(self.site))


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


# Records -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[ECDSA_128, ECDSA_CHACHA])
def plain(request: Any) -> Changed:
    """A session, never changed in place."""
    made = Changed(by_openssl(request.param))
    assert read(made).site == ANSWER
    return made


@pytest.mark.parametrize("side", ["client", "site"])
def test_no_record_can_be_left_out_doubled_or_exchanged(plain: Changed, side: str) -> None:
    records = getattr(plain, side)
    for at in range(len(records)):
        for changed in (
            records[:at] + records[at + 1 :],
            records[:at] + [records[at]] * 2 + records[at + 1 :],
            records[:at] + records[at + 1 : at + 2] + records[at : at + 1] + records[at + 2 :],
        ):
            if changed == records:
                continue
            made = Changed(plain)
            setattr(made, side, changed)
            if changed == records[:-1]:  # the end alone was left out: then it was not said
                assert read(made).closed == (side == "client")
                continue
            with pytest.raises(ObserveError) as caught:
                read(made)
            assert caught.value.code in ("tls", "secret", "unsupported")


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_no_record_can_be_carried_to_the_other_direction(plain: Changed, side: str) -> None:
    made = Changed(plain)
    made.client.insert(-1, plain.site[-2]) if side == "client" else made.site.insert(-1, plain.client[-2])
    assert "does not open" in refused(made)


def strict(chain: tuple[bytes, ...]) -> Any:
    """A judge that believes one chain."""
    if chain != (certificate_of("p256"),):
        raise ObserveError("certificate", "another")
    return key_of("p256").public_key()


@settings(max_examples=300)
@given(st.booleans(), st.integers(0, 1 << 16), st.integers(0, 7))
def test_no_bit_can_be_changed(of_site: bool, at: int, bit: int) -> None:
    made = [SESSION.recording.client, SESSION.recording.site]
    at %= len(made[of_site])
    changed = made[of_site][at] ^ (1 << bit)
    made[of_site] = made[of_site][:at] + bytes([changed]) + made[of_site][at + 1 :]
    try:
        opened(Recording(*made), SESSION.secret, host=HOST, judge=strict, limits=LIMITS)
    except ObserveError:
        return
    assert (of_site, at) in ((False, 1), (False, 2)), "only the version of the first record says nothing"


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_a_cut_is_refused_or_says_less_and_no_end(plain: Changed, side: str) -> None:
    whole = b"".join(getattr(plain, side))
    ends = {sum(map(len, getattr(plain, side)[:number])) for number in range(len(getattr(plain, side)) + 1)}
    for cut in sorted({*ends, *(end - 1 for end in ends if end), *range(0, len(whole), 211)} - {len(whole)}):
        made = Recording(whole[:cut], b"".join(plain.site)) if side == "client" else None
        made = made or Recording(b"".join(plain.client), whole[:cut])
        try:
            found = opened(made, plain.secret, host=HOST, judge=judge, limits=LIMITS)
        except ObserveError as error:
            assert error.code in ("tls", "secret")  # noqa: PT017
            continue
        assert cut in ends
        assert ANSWER.startswith(found.site)
        assert found.closed == (side == "client")


def test_a_nonce_is_used_once() -> None:
    made = Tls12()
    made.site.data(b"one")
    made.site.seal(23, b"two", explicit=bytes(7) + b"\1")
    assert "same nonce" in refused(made)
    made = Tls12()
    made.site.seal(23, b"any other will do", explicit=b"anything")
    assert read(made).site == b"any other will do"


def test_records_are_not_larger_than_may_be() -> None:
    for suite in (ECDSA_128, ECDSA_CHACHA):
        made = Tls12(suite=suite)
        made.site.data(bytes(1 << 14))
        assert len(read(made).site) == 1 << 14
        made.site.data(bytes((1 << 14) + 1))
        assert "more than may be" in refused(made)
        made = Tls12(suite=suite)
        made.site.records.append(wire.record(23, bytes(15 if suite == ECDSA_CHACHA else 23)))
        assert "too short" in refused(made)
        made = Tls12(suite=suite)
        made.site.records.append(wire.record(23, bytes((1 << 14) + 257)))
        assert "longer" in refused(made)


def test_a_limit_of_records_that_was_agreed_on_holds_in_its_direction() -> None:
    fields: dict[str, Any] = {"offered": {28: wire.u16(100)}, "agreed": {28: wire.u16(64)}}
    made = Tls12(**fields)
    made.site.data(bytes(100))
    made.client.data(bytes(64))
    assert read(made).site == bytes(100)
    for side, size in (("site", 101), ("client", 65)):
        made = Tls12(**fields)
        getattr(made, side).data(bytes(size))
        assert "record_size_limit" in refused(made)
    for wrong in (wire.u16(63), b"\1", bytes(3)):
        refused(Tls12(offered={28: wire.u16(100)}, agreed={28: wrong}))
        refused(Tls12(offered={28: wrong}, agreed={28: wire.u16(100)}))


def test_empty_data_is_data_and_other_empty_records_are_not() -> None:
    made = Tls12()
    made.site.data(b"")
    assert read(made).site == b""
    for kind in (21, 22):
        made = Tls12()
        made.site.seal(kind, b"")
        refused(made)


# Ends and what comes late --------------------------------------------------------------------------------------------


def test_data_and_ends_are_told_apart() -> None:
    found = read(talked())
    assert (found.client, found.site, found.closed) == (REQUEST, b"HTTP/1.1 200 OK\r\n\r\nthe answer", True)
    made = Tls12()
    made.client.close()
    assert not read(made).closed
    made.site.seal(21, b"\2\0")
    assert read(made).closed


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (21, b"\1\x64"),  # no_renegotiation
        (21, b"\2\x28"),
        (21, b"\1\x5a"),  # user_canceled
        (21, b"\1"),
        (21, b"\1\0\1\0"),
        (22, HELLO_REQUEST),
        (22, wire.message(1, bytes(40))),
        (22, wire.message(4, bytes(4) + wire.vec(2, b"ticket"))),
        (22, wire.message(20, bytes(12))),
        (22, b"\0"),
        (20, b"\1"),
    ],
)
def test_nothing_but_data_and_an_end_comes_after_the_handshake(side: str, kind: int, content: bytes) -> None:
    made = Tls12()
    getattr(made, side).seal(kind, content)
    refused(made)
    made = talked()
    getattr(made, side).seal(kind, content)
    refused(made)


@pytest.mark.parametrize("side", ["client", "site"])
def test_nothing_comes_after_an_end(side: str) -> None:
    for again in ("data", "close"):
        made = talked()
        getattr(made, side).data(b"") if again == "data" else getattr(made, side).close()
        assert "after close_notify" in refused(made)
    made = talked()
    made.site.records.append(b"\x17")
    refused(made)


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("kind", [20, 21, 22, 23])
def test_nothing_without_protection_comes_after_the_handshake(side: str, kind: int) -> None:
    made = talked()
    getattr(made, side).plain(kind, b"\1\0" if kind == 21 else b"\1")
    refused(made)


# The change of ciphers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "site"])
def test_the_change_of_ciphers_comes_once_in_its_place(side: str) -> None:
    def changed(change: Callable[[list[bytes], int], None]) -> Changed:
        made = Changed(talked())
        records = getattr(made, side)
        change(records, next(number for number, one in enumerate(records) if one[0] == 20))
        return made

    assert read(changed(lambda records, at: None)).closed
    for change in (
        lambda records, at: records.pop(at),
        lambda records, at: records.insert(at, records[at]),
        lambda records, at: records.insert(0, records[at]),
        lambda records, at: records.insert(1, records[at]),
        lambda records, at: records.insert(at + 2, records[at]),
        lambda records, at: records.append(records.pop(at)),
        lambda records, at: records.insert(at + 1, records.pop(at)),
        lambda records, at: records.__setitem__(at, wire.record(20, b"\2")),
        lambda records, at: records.__setitem__(at, wire.record(20, b"\1\1")),
        lambda records, at: records.__setitem__(at, wire.record(20, b"")),
        lambda records, at: records.__setitem__(at, wire.record(23, b"\1")),
        lambda records, at: records.insert(at, wire.record(21, b"\1\0")),
    ):
        with pytest.raises(ObserveError) as caught:
            read(changed(change))
        assert caught.value.code in ("tls", "secret")


def followed_by(more: bytes) -> Callable[[bytes], bytes]:
    return lambda same: same + more


@pytest.mark.parametrize(
    "name", ["client_key_exchange", "done", "ticket", "client_hello", "client_finished", "site_finished"]
)
def test_a_message_that_ends_a_flight_ends_its_record(name: str) -> None:
    ticket = bytes(4) + wire.vec(2, b"ticket")
    for behind in (HELLO_REQUEST, b"\0", b"\0\0\0\1"):
        assert "goes on behind" in refused(Tls12(ticket=ticket, change={name: followed_by(behind)}))


# The messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [each_alone, pieces(50), pieces(1)])
def test_messages_come_in_any_records(cut: Any) -> None:
    ticket = bytes(4) + wire.vec(2, b"ticket")
    fields: dict[str, Any] = {"ticket": ticket, "asks": True, "status": b"\1" + wire.vec(3, b"state")}
    assert read(talked(cut=cut, **fields)).closed


@pytest.mark.parametrize(
    "name",
    [
        *("server_hello", "certificate", "key_exchange", "done", "client_key_exchange"),
        *("client_finished", "site_finished", "ticket", "client_certificate", "certificate_request"),
    ],
)
def test_no_message_can_be_missing_doubled_or_another(name: str) -> None:
    fields: dict[str, Any] = {"ticket": bytes(4) + wire.vec(2, b"ticket"), "asks": True}
    assert read(talked(**fields)).closed
    for change in (
        *((lambda same: same[:1] + wire.vec(3, same[4:-1]),) if name != "done" else ()),  # less in it
        lambda same: same[:1] + wire.vec(3, same[4:] + b"\0"),  # and more
        lambda same: b"",
        lambda same: same + same,
        lambda same: HELLO_REQUEST + same,
        lambda same: HELLO_REQUEST,
        lambda same: same[:-1],
        lambda same: same + b"\0",
    ):
        with pytest.raises(ObserveError) as caught:
            read(talked(change={name: change}, **fields))
        assert caught.value.code in ("tls", "unsupported", "size", "certificate")


FLIGHT = ("server_hello", "certificate", "status", "key_exchange", "certificate_request", "done")


@pytest.mark.parametrize("first", FLIGHT)
@pytest.mark.parametrize("second", FLIGHT)
def test_the_messages_of_the_site_have_an_order(first: str, second: str) -> None:
    fields: dict[str, Any] = {"asks": True, "status": b"\1" + wire.vec(3, b"state"), "swapped": (first, second)}
    if first == second:
        assert read(talked(**fields)).closed
    else:
        refused(talked(**fields))


def test_what_was_not_agreed_on_does_not_come_and_what_was_does() -> None:
    ticket, status = bytes(4) + wire.vec(2, b"ticket"), b"\1" + wire.vec(3, b"state")
    refused(talked(ticket=ticket, agreed={35: None}))
    refused(talked(offered={35: b""}, agreed={35: b""}))
    refused(talked(status=status, agreed={5: None}))
    assert read(talked(offered={5: b"\1\0\0\0\0"}, agreed={5: b""})).closed  # RFC 6066, 8: it may come
    assert read(talked(ticket=bytes(4) + wire.vec(2, b""))).closed
    refused(talked(change={"client_key_exchange": lambda same: wire.message(11, bytes(3)) + same}))
    refused(talked(change={"client_key_exchange": lambda same: same + wire.message(15, bytes(8))}))


@pytest.mark.parametrize(
    "fields",
    [
        {"ticket": b""},
        {"ticket": bytes(4)},
        {"ticket": bytes(4) + wire.vec(2, b"ticket") + b"\0"},
        {"status": b""},
        {"status": b"\2" + wire.vec(3, b"state")},
        {"status": b"\1" + wire.vec(3, b"")},
        {"status": b"\1" + wire.vec(3, b"state") + b"\0"},
        {"share": b""},
        {"share": b"\0"},
        {"share": wire.vec(1, b"abc") + b"\0"},
        {"share": b"\4abc"},
        *(
            {"asks": True, "change": {"certificate_request": lambda _, body=body: wire.message(13, body)}}
            for body in (
                b"",
                b"\0" + wire.u16s(0x0403) + b"\0\0",
                b"\1\1\0\0\0\0",
                b"\1\1\0\1\4\0\0",
                b"\1\1" + wire.u16s(0x0403),
                b"\1\1" + wire.u16s(0x0403) + b"\0\0\0",
            )
        ),
        {"change": {"done": lambda _: wire.message(14, b"\0")}},
        {"change": {"certificate": lambda _: wire.message(11, b"\0\0")}},
        {"change": {"certificate": lambda _: wire.message(11, wire.vec(3, b"\0\0\1"))}},
        {"change": {"certificate": lambda same: wire.message(11, same[4:] + b"\0")}},
    ],
)
def test_malformed_messages_are_refused(fields: dict[str, Any]) -> None:
    assert "malformed" in refused(talked(**fields))


def test_a_site_shows_certificates_and_not_too_many() -> None:
    one = certificate_of("p256")
    assert len(read(talked(chain=(one,) * 10)).chain) == 10
    for chain in ((), (b"",), (one, b""), (one,) * 11):
        refused(talked(chain=chain), "certificate")


# The hellos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"offered": {23: None}}, "tls"),  # answered, and not offered
        ({"agreed": {23: None}}, "unsupported"),
        ({"offered": {23: None}, "agreed": {23: None}}, "unsupported"),
        ({"offered": {23: b"\0"}}, "tls"),
        ({"agreed": {23: b"\0"}}, "tls"),
        ({"agreed": {0: b"\0"}}, "tls"),
        ({"ticket": bytes(6), "agreed": {35: b"\0"}}, "tls"),
        ({"offered": {5: b"\1\0\0\0\0"}, "agreed": {5: b"\0"}}, "tls"),
        # Renegotiation, secured and none.
        ({"agreed": {0xFF01: None}}, "tls"),
        ({"agreed": {0xFF01: b""}}, "tls"),
        ({"agreed": {0xFF01: wire.vec(1, bytes(24))}}, "tls"),
        ({"suites": tuple(SUITES)}, "tls"),
        ({"offered": {0xFF01: wire.vec(1, bytes(12))}}, "tls"),
        ({"offered": {0xFF01: wire.vec(1, bytes(12))}, "agreed": {0xFF01: wire.vec(1, bytes(24))}}, "tls"),
        # Choices.
        ({"suites": (RSA_128, 0x00FF)}, "tls"),
        ({"session": bytes(range(32))}, "tls"),  # as a site that resumes has it
        ({"agreed": {22: b""}, "offered": {22: b""}}, "unsupported"),
        ({"agreed": {1: b"\1"}, "offered": {1: b"\1"}}, "unsupported"),
        ({"agreed": {18: b""}}, "tls"),
        ({"agreed": {16: wire.protocols(b"h2")}}, "unsupported"),
        ({"agreed": {16: wire.protocols(b"http/1.0")}}, "tls"),
        ({"agreed": {16: wire.protocols(b"http/1.1", b"h2")}}, "tls"),
        ({"agreed": {16: b""}}, "tls"),
        ({"offered": {16: None}}, "tls"),
        ({"agreed": {11: b""}}, "tls"),
        ({"agreed": {11: b"\0"}}, "tls"),
        ({"agreed": {11: b"\1\1"}}, "tls"),
        ({"agreed": {11: b"\2\0"}}, "tls"),
        ({"agreed": {11: b"\1\0\0"}}, "tls"),
        # Names.
        ({"offered": {0: None}}, "tls"),
        ({"host": "other.example"}, "tls"),
        ({"offered": {0: wire.vec(2, b"\0" + wire.vec(2, HOST.encode()) + b"\0" + wire.vec(2, b"a.example"))}}, "tls"),
        ({"offered": {0: wire.vec(2, b"\1" + wire.vec(2, HOST.encode()))}}, "tls"),
        # Versions.
        ({"offered": {43: wire.u16s(0x0304, size=1)}}, "tls"),
        ({"offered": {43: wire.u16s(0x0304, 0x0303, size=1)}, "site_random": bytes(24) + b"DOWNGRD\1"}, "tls"),
        ({"offered": {43: wire.u16s(0x0304, 0x0303, size=1)}, "site_random": bytes(24) + b"DOWNGRD\0"}, "tls"),
        ({"offered": {42: b""}}, "tls"),  # early data
    ],
)
def test_hellos_that_do_not_agree_on_a_full_handshake(fields: dict[str, Any], code: str) -> None:
    refused(talked(**fields), code)


@pytest.mark.parametrize(
    "fields",
    [
        {"offered": {43: wire.u16s(0x0304, 0x0303, size=1)}},
        {"site_random": bytes(24) + b"DOWNGRD\1"},  # to a client that does no better
        {"session": bytes(32)},
        {"answer_session": b""},
        {"suites": tuple(SUITES), "offered": {0xFF01: b"\0"}},
        {"offered": {16: None}, "agreed": {16: None}},
        {"agreed": {16: None}},
        {"agreed": {0: None, 11: None}},
        {"agreed": {11: b"\3\0\1\2"}},
        {"offered": {18: b""}, "agreed": {18: wire.vec(2, b"timestamps")}},
        {"offered": {35: b"a ticket that the site does not take"}},
        {"hello_version": b"\3\3"},
    ],
)
def test_hellos_that_do(fields: dict[str, Any]) -> None:
    assert read(talked(**fields)).closed


def test_a_retry_is_not_of_this_version() -> None:
    from notary.observe.worlds import RETRY

    refused(talked(site_random=RETRY))


# The signature -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "key", "scheme"),
    [
        *((ECDSA_128, key, scheme) for key in ("p256", "p384", "p521") for scheme in (0x0403, 0x0503, 0x0603)),
        *((RSA_128, "rsa", scheme) for scheme in (0x0401, 0x0804, 0x0805, 0x0806)),
        (ECDSA_128, "ed25519", 0x0807),
    ],
)
def test_schemes_of_signatures(suite: int, key: str, scheme: int) -> None:
    assert read(talked(suite=suite, key=key, scheme=scheme)).closed
    assert "was not offered" in refused(talked(suite=suite, key=key, scheme=scheme, schemes=(0x0501,)))


@pytest.mark.parametrize(
    ("suite", "key", "scheme"),
    [
        (RSA_128, "p256", 0x0403),
        (ECDSA_128, "rsa", 0x0804),
        (RSA_128, "ed25519", 0x0807),
        (ECDSA_128, "p256", 0x0804),
        (ECDSA_128, "p256", 0x0807),
        (RSA_128, "rsa", 0x0403),
        (RSA_128, "rsa", 0x0809),  # for other keys of RSA
        (RSA_128, "rsa", 0x0201),  # SHA-1
        (ECDSA_128, "p256", 0x0203),
    ],
)
def test_keys_suites_and_schemes_fit_one_another(suite: int, key: str, scheme: int) -> None:
    offered = (0x0201, 0x0203, *Tls12().schemes)
    refused(talked(suite=suite, key=key, scheme=scheme, schemes=offered))


@pytest.mark.parametrize("suite", [ECDSA_128, RSA_128])
def test_the_signature_is_over_these_randoms_and_this_key(suite: int) -> None:
    fields: dict[str, Any] = {"suite": suite, "key": kind_of(suite), "scheme": 0x0403 if suite == ECDSA_128 else 0x0804}
    parameters = b"\3" + wire.u16(29) + wire.vec(1, bytes(range(32)))
    ours, theirs = bytes([7]) * 32, bytes([9]) * 32
    assert read(talked(wrongly_signed=ours + theirs + parameters, **fields)).closed
    for wrong in (
        theirs + ours + parameters,
        ours + bytes(32) + parameters,
        bytes(32) + theirs + parameters,
        ours + theirs + parameters[:-1] + b"\0",
        ours + theirs,
        parameters,
    ):
        assert "not the site's" in refused(talked(wrongly_signed=wrong, **fields))


@pytest.mark.parametrize(("group", "size"), [(23, 65), (24, 97), (25, 133), (29, 32), (30, 56)])
def test_groups_of_the_key_exchange(group: int, size: int) -> None:
    assert read(talked(group=group, point=bytes(size), share=wire.vec(1, bytes(size)))).closed
    for wrong in (b"", bytes(size - 1), bytes(size + 1)):
        assert "group" in refused(talked(group=group, point=wrong))
    assert "was not offered" in refused(talked(group=group, point=bytes(size), groups=(22,)))
    for curve in (b"\1", b"\2"):
        assert "group" in refused(talked(curve=curve, group=group, point=bytes(size)))


def test_groups_that_are_not_read() -> None:
    assert "not read" in refused(talked(group=22, point=bytes(32), groups=(22, 29)))
    assert "list" in refused(talked(offered={10: None}))
    assert "list" in refused(talked(offered={13: None}))


def test_a_signature_without_a_form_is_malformed() -> None:
    for change in (
        lambda _: wire.message(12, b""),
        lambda _: wire.message(12, b"\3\0\x1d\x20" + bytes(31)),
        lambda same: wire.message(12, same[4:] + b"\0"),
        lambda same: wire.message(12, same[4:-1]),
    ):
        assert "malformed" in refused(talked(change={"key_exchange": change}))


# Finished ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["client_finished", "site_finished"])
def test_a_finished_fits_what_was_said(name: str) -> None:
    for change in (
        lambda same: same[:-1] + bytes([same[-1] ^ 1]),
        lambda same: wire.message(20, bytes(12)),
        lambda same: wire.message(20, b""),
        lambda same: wire.message(20, same[4:] + b"\0"),
        lambda same: wire.message(20, same[4:-1]),
    ):
        assert "Finished" in refused(talked(change={name: change}))


def test_what_was_recorded_is_what_both_sides_finished_on() -> None:
    """Somebody changes a message that no signature covers: the keys still open, and Finished shows it."""
    for name, (old, new) in {
        "client": (wire.u16s(*SUITES, 0x00FF), wire.u16s(*reversed(SUITES), 0x00FF)),
        "site": (wire.extension(11, b"\1\0"), wire.extension(11, b"\1\0")[:-1] + b"\0"),
    }.items():
        made = Changed(talked())
        records = getattr(made, name)
        records[0] = records[0].replace(old, new)
        if old != new:
            assert "Finished" in refused(made)
    made = Changed(talked(ticket=bytes(4) + wire.vec(2, b"ticket")))
    made.site = [one.replace(b"ticket", b"TICKET") for one in made.site]
    assert "Finished" in refused(made)


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


SESSION = talked(ticket=bytes(4) + wire.vec(2, b"ticket"), asks=True)
