"""TLS 1.3 of a recording: what is opened, and every reason for which nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from notary.observe import wire
from notary.observe.worlds import (
    HOST,
    LIMITS,
    P256,
    RETRY,
    SUITES,
    X25519,
    Change,
    Cut,
    Tls13,
    certificate_of,
    coalesced,
    each_alone,
    judge,
    pieces,
    read,
    talked,
)
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "notary" / "observe"
QUESTION, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nthe answer"
TO_P256 = {51: wire.u16(P256)}
SIZE_LIMIT = {28: wire.u16(16385)}


def refusal(made: Any, **others: Any) -> tuple[str, str]:
    with pytest.raises(ObserveError) as caught:
        read(made, **others)
    return caught.value.code, caught.value.problem


def body(change: Any) -> Any:
    """A change of a message's body; its length is put right."""
    return lambda message: wire.message(message[0], change(message[4:]))


# What is opened


@pytest.mark.parametrize("suite", SUITES)
def test_suites(suite: int) -> None:
    seen = read(talked(suite=suite))
    assert (seen.version, seen.client, seen.site, seen.closed) == ("TLSv1.3", QUESTION, ANSWER, True)
    assert seen.chain == (certificate_of("p256"),)


@pytest.mark.parametrize("section", [3, 5])
def test_traces_of_rfc_8448(section: int) -> None:
    """Written by other hands: 3 is a simple handshake, 5 one with a HelloRetryRequest."""
    trace = json.loads((VECTORS / f"rfc8448-section-{section}.json").read_text())
    sent = {side: b"".join(bytes.fromhex("".join(one["bytes"])) for one in trace[side]) for side in ("client", "site")}
    seen = opened(Recording(**sent), bytes.fromhex(trace["secret"]), host="server", judge=judge, limits=LIMITS)
    data = bytes(range(50)) if section == 3 else b""
    assert (seen.client, seen.site, seen.closed) == (data, data, section == 3)
    assert x509.load_der_x509_certificate(seen.chain[0]).serial_number == 2


@pytest.mark.parametrize(
    ("key", "scheme"),
    [
        *(("p256", 0x0403), ("p384", 0x0503), ("p521", 0x0603), ("ed25519", 0x0807)),
        *(("rsa", 0x0804), ("rsa", 0x0805), ("rsa", 0x0806)),
    ],
)
def test_signature_schemes(key: str, scheme: int) -> None:
    assert read(talked(key=key, scheme=scheme)).site == ANSWER


@pytest.mark.parametrize("cut", [coalesced, each_alone, pieces(1), pieces(7), pieces(300)])
@pytest.mark.parametrize("retry", [None, TO_P256])
def test_messages_over_records(cut: Cut, retry: dict[int, bytes] | None) -> None:
    assert read(talked(cut=cut, hello_cut=cut, retry=retry, asks=True)).site == ANSWER


@pytest.mark.parametrize("retry", [TO_P256, {44: wire.vec(2, b"cookie")}, {**TO_P256, 44: wire.vec(2, b"cookie")}])
@pytest.mark.parametrize("suite", SUITES)
def test_hello_retry(retry: dict[int, bytes], suite: int) -> None:
    assert read(talked(retry=retry, suite=suite)).site == ANSWER


def test_second_hello_may_pad_and_drop_its_pre_shared_key() -> None:
    assert read(talked(retry=TO_P256, again={21: bytes(9), 41: None}, offered={41: b"binders"})).site == ANSWER


@pytest.mark.parametrize(
    "fields",
    [
        {"dummies": False, "session": b""},
        {"hello_version": b"\3\3"},
        {"asks": True},
        {"agreed": {}, "offered": {16: None}},
        {"agreed": {}},
        {"agreed": {10: wire.u16s(X25519, P256)}},
        {"offered": {16: wire.protocols(b"h2", b"http/1.1")}},
        {"offered": {41: b"a ticket that the site does not take"}},
        {"offered": {0x1A1A: b"", 0x2A2A: b"\0"}, "agreed": {}},
    ],
)
def test_variants(fields: dict[str, Any]) -> None:
    assert read(talked(**fields)).site == ANSWER


def test_weakness_12_key_updates_of_both_sides() -> None:
    made = Tls13()
    for turn in range(5):
        made.client.data(b"question %d\n" % turn, zeros=turn)
        made.client.update(b"\1")
        made.site.data(b"answer %d\n" % turn, zeros=100 * turn)
        made.site.update()
        made.site.ticket()
    seen = read(made)
    assert (seen.client, seen.site, seen.closed) == (made.client.said, made.site.said, False)


def test_largest_and_smallest_records() -> None:
    made = Tls13()
    made.site.data(bytes(1 << 14))
    made.site.data(b"")
    made.site.data(b"x", zeros=(1 << 14) - 1)
    made.site.data(b"\0\0")
    assert read(made).site == made.site.said


def test_record_size_limit() -> None:
    limits = {"offered": {28: wire.u16(500)}, "agreed": {28: wire.u16(64)}, "cut": pieces(63)}
    made = Tls13(**limits)  # type: ignore[arg-type]
    made.client.data(bytes(60), zeros=3)
    made.site.data(bytes(499))
    assert read(made).site == made.site.said
    made.client.data(bytes(60), zeros=4)
    assert refusal(made) == ("tls", "a record holds more than the other side's record_size_limit")
    made = Tls13(**limits)  # type: ignore[arg-type]
    made.site.data(bytes(500))
    assert refusal(made) == ("tls", "a record holds more than the other side's record_size_limit")


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_cut_between_records_and_nowhere_else(side: str) -> None:
    """Behind the handshake a direction may end with any record; then nobody says that it was all."""
    made = talked()
    whole, records = getattr(made.recording, side), getattr(made, side).records
    ends = {len(b"".join(records[:count])) for count in range(3, len(records))}
    for end in range(len(whole)):
        cut = replace(made.recording, **{side: whole[:end]})
        if end in ends:
            seen = opened(cut, made.secret, host=HOST, judge=judge, limits=LIMITS)
            assert QUESTION.startswith(seen.client)
            assert ANSWER.startswith(seen.site)
            assert seen.closed == (side == "client")
        else:
            with pytest.raises(ObserveError):
                opened(cut, made.secret, host=HOST, judge=judge, limits=LIMITS)


# The secret


def test_weakness_11_secret_of_another_session() -> None:
    other = talked(suite=0x1303, host="other.example", retry=TO_P256)
    for wrong in (other.secret, bytes(32), talked().secret[::-1]):
        assert refusal(talked(), secret=wrong) == ("secret", "the secret does not open what the site sent")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("change", [-1, 1, 16, -32])
def test_secret_of_another_length(suite: int, change: int) -> None:
    secret = talked(suite=suite).secret
    wrong = secret[:change] if change < 0 else secret + bytes(change)
    assert refusal(talked(suite=suite), secret=wrong) == ("secret", "the secret is not as long as the suite's hash")


def test_weakness_11_secret_of_the_application_does_not_do() -> None:
    made = talked()
    master = made.schedule.master_secret(made.secret)
    for wrong in (master, made.site.secret, made.client.secret):
        assert refusal(made, secret=wrong)[0] == "secret"


# The hellos


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": "other.example"}, "the client does not name the host, as its one server name"),
        ({"host": HOST.upper()}, "the client does not name the host, as its one server name"),
        ({"offered": {0: None}}, "the client does not name the host, as its one server name"),
        (
            {"offered": {0: wire.vec(2, 2 * (b"\0" + wire.vec(2, HOST.encode())))}},
            "the client does not name the host, as its one server name",
        ),
        ({"offered": {42: b""}}, "the client offers early data"),
        ({"retry": TO_P256, "again": {42: b""}}, "the client offers early data"),
        ({"retry": TO_P256, "again": {0: None}}, "the client does not name the host, as its one server name"),
        ({"offered": {41: b"", 7: b""}}, "the client's pre_shared_key is not its last extension"),
        ({"offered": {41: b"x"}, "chosen": {41: b"\0\0"}}, "the connection resumes an earlier one"),
        ({"chosen": {41: b"\0\0"}}, "the connection resumes an earlier one"),
        ({"suites": (0x1302, 0x1303)}, "the site chose a suite that was not offered"),
        ({"offered": {43: wire.u16s(0x0303, size=1)}}, "the site chose a version that was not offered"),
        ({"offered": {43: None}}, "the site chose a version that was not offered"),
        ({"chosen": {16: wire.protocols(b"http/1.1")}}, "the site's hello has other extensions than it has to"),
        ({"chosen": {51: None}}, "the site's hello has other extensions than it has to"),
        ({"chosen": {0xFF01: b"\0"}}, "the site answers an extension that was not offered"),
        (
            {"chosen": {51: wire.u16(P256) + wire.vec(2, b"key")}},
            "the site chose a group for which the client sent no key",
        ),
        ({"chosen": {51: wire.u16(X25519)}}, "the site's key is malformed"),
        ({"chosen": {51: wire.u16(X25519) + wire.vec(2, b"")}}, "the site's key is malformed"),
        ({"chosen": {51: wire.u16(X25519) + wire.vec(2, b"k") + b"k"}}, "the site's key is malformed"),
        ({"offered": {51: None}}, "the site answers an extension that was not offered"),
        ({"offered": {51: b"\0\5abc"}}, "the client's keys are absent or malformed"),
        ({"offered": {51: wire.vec(2, b"") + b"\0"}}, "the client's keys are absent or malformed"),
        (
            {"offered": {51: wire.vec(2, 2 * (wire.u16(X25519) + wire.vec(2, b"k")))}},
            "the client sent two keys for a group, or one for a group that it does not offer",
        ),
        (
            {"offered": {10: wire.u16s(P256)}},
            "the client sent two keys for a group, or one for a group that it does not offer",
        ),
        ({"offered": {10: None}}, "a list of numbers is absent or malformed"),
        ({"offered": {13: None}}, "a list of numbers is absent or malformed"),
        ({"behind": {"client_hello": b"\1"}}, "a record goes on behind a message that has to end it"),
        ({"behind": {"site_hello": b"\1"}}, "a record goes on behind a message that has to end it"),
        (
            {"behind": {"site_hello": wire.message(8, b"\0\0")}, "retry": TO_P256},
            "a record goes on behind a message that has to end it",
        ),
    ],
)
def test_refused_hello(fields: dict[str, Any], problem: str) -> None:
    assert refusal(talked(**fields)) == ("tls", problem)


@pytest.mark.parametrize(
    ("change", "code", "problem"),
    [
        (
            {"server_hello": lambda m: m.replace(b"\x13\x01\0", b"\x13\x04\0")},
            "unsupported",
            "the site chose a suite that is not read here",
        ),
        (
            {"server_hello": lambda m: m.replace(b"\3\4\0\x33", b"\3\5\0\x33")},
            "unsupported",
            "the site chose a version of TLS that does not exist",
        ),
        (
            {"server_hello": lambda m: m.replace(bytes(range(32)), bytes(32))},
            "tls",
            "the site does not give the session_id back",
        ),
        ({"server_hello": lambda m: b"\1" + m[1:]}, "tls", "the site does not begin with a hello"),
        (
            {"client_hello": lambda m: b"\2" + m[1:]},
            "tls",
            "the messages of the handshake are not those that have to come",
        ),
    ],
)
def test_refused_changed_hello(change: Change, code: str, problem: str) -> None:
    assert refusal(talked(change=change)) == (code, problem)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"retry": {}}, "the site's retry asks for nothing, or for what may not be asked for"),
        (
            {"retry": {**TO_P256, 16: wire.protocols(b"http/1.1")}},
            "the site's retry asks for nothing, or for what may not be asked for",
        ),
        ({"retry": {51: wire.u16(X25519)}}, "the client does not send the one key that the site may ask for"),
        ({"retry": {51: b"\0" + wire.u16(P256)}}, "the client does not send the one key that the site may ask for"),
        (
            {"retry": TO_P256, "again": {10: wire.u16s(X25519)}},
            "the client's second hello is another than its first",
        ),
        (
            {"retry": TO_P256, "offered": {10: wire.u16s(X25519)}},
            "the client does not send the one key that the site may ask for",
        ),
        ({"retry": TO_P256, "again": {16: None}}, "the client's second hello is another than its first"),
        ({"retry": TO_P256, "chosen": {41: b"\0\0"}}, "the connection resumes an earlier one"),
        (
            {"retry": TO_P256, "chosen": {51: wire.u16(X25519) + wire.vec(2, b"key")}},
            "the site chose a group for which the client sent no key",
        ),
        ({"retry": TO_P256, "again": {49: b""}}, "the client's second hello is another than its first"),
        (
            {"retry": {44: wire.vec(2, b"cookie")}, "again": {44: None}},
            "the client's second hello is another than its first",
        ),
        (
            {"retry": {44: wire.vec(2, b"cookie")}, "again": {44: wire.vec(2, b"biscuit")}},
            "the client's second hello is another than its first",
        ),
        ({"retry": TO_P256, "again": {44: b"\0\1c"}}, "the client's second hello is another than its first"),
        (
            {"retry": {44: wire.vec(2, b"cookie")}, "again": {51: wire.vec(2, wire.u16(X25519) + wire.vec(2, b"k"))}},
            "the client's second hello has keys that were not asked for",
        ),
        (
            {"retry": TO_P256, "again": {51: wire.vec(2, wire.u16(X25519) + wire.vec(2, b"k"))}},
            "the client does not send the one key that the site may ask for",
        ),
        (
            {
                "retry": TO_P256,
                "again": {
                    51: wire.vec(2, b"".join(wire.u16(one) + wire.vec(2, b"k") for one in (P256, X25519))),
                },
            },
            "the client does not send the one key that the site may ask for",
        ),
        (
            {"retry": TO_P256, "change": {"second_hello": lambda m: m.replace(bytes([7]) * 32, bytes([8]) * 32)}},
            "the client's second hello is another than its first",
        ),
        (
            {"retry": TO_P256, "change": {"second_hello": lambda m: m.replace(b"\x13\x02", b"\x13\x05")}},
            "the client's second hello is another than its first",
        ),
        (
            {"retry": TO_P256, "change": {"retry": lambda m: m.replace(b"\x13\x01\0", b"\x13\x03\0")}},
            "the site asks twice, or chose another suite after its retry",
        ),
        (
            {"retry": TO_P256, "change": {"server_hello": lambda m: m.replace(bytes([9]) * 32, RETRY)}},
            "the site asks twice, or chose another suite after its retry",
        ),
    ],
)
def test_refused_retry(fields: dict[str, Any], problem: str) -> None:
    assert refusal(talked(**fields)) == ("tls", problem)


# The site's flight

MALFORMED_CHAIN = "the site's message with certificates is malformed"
UNEXPECTED = "the messages of the handshake are not those that have to come"
NOT_AGREED = "the site agrees to an extension that is not expected or was not offered"


@pytest.mark.parametrize(
    ("fields", "code", "problem"),
    [
        ({"agreed": {42: b""}}, "tls", NOT_AGREED),
        ({"agreed": SIZE_LIMIT}, "tls", NOT_AGREED),
        ({"agreed": {43: b"\3\4"}}, "tls", NOT_AGREED),
        ({"agreed": {1: b"\1"}, "offered": {1: b"\1"}}, "tls", NOT_AGREED),
        ({"agreed": {20: b"\2"}, "offered": {20: b"\1\2"}}, "tls", NOT_AGREED),
        ({"agreed": {0: b"\0"}}, "tls", "the site's answer to the server name is not empty"),
        ({"agreed": {10: b"\0"}}, "tls", "a list of numbers is absent or malformed"),
        ({"agreed": {16: wire.protocols(b"h2")}}, "tls", "the site chose a protocol that was not offered"),
        (
            {"agreed": {16: wire.protocols(b"h2")}, "offered": {16: wire.protocols(b"http/1.1", b"h2")}},
            "unsupported",
            "the site chose a protocol other than HTTP/1.1",
        ),
        (
            {"agreed": {16: wire.protocols(b"http/1.1", b"http/1.1")}},
            "tls",
            "the site chose a protocol that was not offered",
        ),
        ({"agreed": {16: b"\0\0"}}, "tls", "an ALPN extension is malformed"),
        ({"agreed": {28: wire.u16(63)}, "offered": SIZE_LIMIT}, "tls", "a record_size_limit is not one"),
        ({"agreed": {28: wire.u16(16386)}, "offered": SIZE_LIMIT}, "tls", "a record_size_limit is not one"),
        ({"agreed": SIZE_LIMIT, "offered": {28: b"\0\0\xff"}}, "tls", "a record_size_limit is not one"),
        ({"chain": ()}, "certificate", "the site shows no certificate, or too many"),
        ({"chain": (b"",)}, "certificate", "the site shows no certificate, or too many"),
        ({"chain": (certificate_of("p256"),) * 11}, "certificate", "the site shows no certificate, or too many"),
        ({"schemes": (0x0503, 0x0804)}, "tls", "the site signed with a scheme that was not offered"),
        (
            {"wrong_context": b"TLS 1.3, client CertificateVerify"},
            "tls",
            "the signature of the handshake is not the site's",
        ),
        ({"behind": {"site_finished": b"\4"}}, "tls", "a record goes on behind a message that has to end it"),
        (
            {"behind": {"client_finished": wire.message(24, b"\0")}},
            "tls",
            "a record goes on behind a message that has to end it",
        ),
        ({"asks": True, "shown": b"\0\0\0\6\0\0\1x\0\0"}, "unsupported", "the client shows a certificate of its own"),
        ({"asks": True, "shown": b"\1c\0\0\0"}, "unsupported", "the client shows a certificate of its own"),
    ],
)
def test_refused_flight(fields: dict[str, Any], code: str, problem: str) -> None:
    assert refusal(talked(**fields)) == (code, problem)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("encrypted_extensions", lambda m: b"\x0b" + m[1:], UNEXPECTED),
        ("encrypted_extensions", body(lambda _: b""), "the site's extensions are malformed"),
        ("encrypted_extensions", body(lambda b: b + b"\0"), "the site's extensions are malformed"),
        ("encrypted_extensions", lambda _: b"", UNEXPECTED),
        ("certificate", lambda _: b"", UNEXPECTED),
        ("certificate", body(lambda b: b"\1" + b), MALFORMED_CHAIN),
        ("certificate", body(lambda b: b + b"\0"), MALFORMED_CHAIN),
        ("certificate", body(lambda b: b[:-2] + wire.extensions({5: b"x"})), MALFORMED_CHAIN),
        ("certificate", body(lambda b: b[:-1]), MALFORMED_CHAIN),
        ("certificate_verify", lambda _: b"", UNEXPECTED),
        ("certificate_verify", body(lambda b: b + b"\0"), "the site's signature is malformed"),
        ("certificate_verify", body(lambda b: b[:1]), "the site's signature is malformed"),
        (
            "certificate_verify",
            body(lambda b: b[:4] + bytes(len(b) - 4)),
            "the signature of the handshake is not the site's",
        ),
        ("certificate_verify", body(lambda b: b[:2] + b"\0\0"), "the signature of the handshake is not the site's"),
        ("site_finished", lambda m: m[:-1] + bytes([m[-1] ^ 1]), "a Finished does not fit what was said before it"),
        ("site_finished", body(lambda b: b[:-1]), "a Finished does not fit what was said before it"),
        ("site_finished", body(lambda b: b + b"\0"), "a Finished does not fit what was said before it"),
        ("site_finished", body(lambda _: b""), "a Finished does not fit what was said before it"),
        ("client_finished", body(lambda b: b[::-1]), "a Finished does not fit what was said before it"),
        ("client_finished", lambda _: wire.message(5, b""), UNEXPECTED),
    ],
)
def test_refused_message(name: str, change: Any, problem: str) -> None:
    assert refusal(talked(change={name: change})) == ("tls", problem)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("certificate_request", body(lambda b: b"\1x" + b[1:]), "the site's extensions are malformed"),
        ("certificate_request", body(lambda b: b[:1]), "the site's extensions are malformed"),
        (
            "certificate_request",
            body(lambda _: b"\0" + wire.extensions({47: b"x"})),
            "the site's request for a certificate is malformed",
        ),
        ("client_certificate", lambda _: b"", UNEXPECTED),
        ("client_certificate", lambda m: m + m, UNEXPECTED),
    ],
)
def test_refused_request_for_a_certificate(name: str, change: Any, problem: str) -> None:
    assert refusal(talked(asks=True, change={name: change})) == ("tls", problem)


def test_certificate_extensions_that_were_offered() -> None:
    change = {"certificate": _with_extensions({5: b"stapled", 18: b"timestamps"})}
    offered = {5: b"\1\0\0\0\0", 18: b""}
    assert read(talked(offered=offered, change=change)).site == ANSWER
    assert refusal(talked(change=change)) == ("tls", MALFORMED_CHAIN)


def _with_extensions(found: dict[int, bytes]) -> Any:
    entry = wire.vec(3, certificate_of("p256")) + wire.extensions(found)
    return lambda _: wire.message(11, b"\0" + wire.vec(3, entry))


@pytest.mark.parametrize(
    ("key", "scheme"),
    [("p384", 0x0403), ("p256", 0x0503), ("p521", 0x0503), ("rsa", 0x0401), ("rsa", 0x0809), ("ed25519", 0x0403)],
)
def test_scheme_that_does_not_fit_the_key(key: str, scheme: int) -> None:
    problem = "the signature of the handshake has a scheme that does not fit the site's key"
    assert refusal(talked(key=key, scheme=scheme)) == ("tls", problem)


def test_key_for_pss_alone() -> None:
    """With the same length: the kind of the key and parameters that are an empty sequence."""
    rsa, pss = bytes.fromhex("300d06092a864886f70d0101010500"), bytes.fromhex("300d06092a864886f70d01010a3000")
    leaf = certificate_of("rsa").replace(rsa, pss)
    assert leaf != certificate_of("rsa")
    problem = "the signature of the handshake has a scheme that does not fit the site's key"
    for scheme in (0x0804, 0x0809):
        assert refusal(talked(key="rsa", scheme=scheme, chain=(leaf,))) == ("tls", problem)


def test_key_of_another_certificate() -> None:
    made = talked(chain=(certificate_of("p384"),), scheme=0x0503)
    assert refusal(made) == ("tls", "the signature of the handshake is not the site's")


def test_judge_has_the_chain_as_it_was_sent_and_the_last_word() -> None:
    chain = (certificate_of("p256"), certificate_of("rsa"), b"not a certificate")
    shown = []

    def refuse(given: tuple[bytes, ...]) -> Any:
        shown.append(given)
        raise ObserveError("certificate", "no")

    made = talked(chain=chain)
    assert read(made).chain == chain
    with pytest.raises(ObserveError, match="certificate"):
        opened(made.recording, made.secret, host=HOST, judge=refuse, limits=LIMITS)
    assert shown == [chain]


# Records


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("retry", [None, TO_P256])
def test_weakness_12_records_dropped_repeated_swapped(side: str, suite: int, retry: dict[int, bytes] | None) -> None:
    """No record but a change_cipher_spec, or the last, can be away; none can come twice or at another's place."""
    count = len(getattr(talked(suite=suite, retry=retry), side).records)
    for at in range(count):
        for act in ("drop", "repeat", "swap"):
            made = talked(suite=suite, retry=retry)
            records = getattr(made, side).records
            dummy = records[at][0] == 20
            if act == "drop":
                del records[at]
            elif act == "repeat":
                records.insert(at, records[at])
            elif at + 1 < count:
                records[at], records[at + 1] = records[at + 1], records[at]
                dummy = dummy or records[at][0] == 20
            if dummy or (act == "drop" and at == count - 1) or (act == "swap" and at == count - 1):
                continue
            assert refusal(made)[0] in ("tls", "secret"), (at, act)


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_records_of_the_other_direction(side: str) -> None:
    made = talked()
    for at in range(3, 5):
        mixed = talked()
        getattr(mixed, side).records[at] = (made.site if side == "client" else made.client).records[at]
        assert refusal(mixed) == ("tls", "a record does not open with its key")


@pytest.mark.parametrize("at", [2, 3, 4])
def test_tampered_record_of_the_client(at: int) -> None:
    """The site's records have opened by then: the secret is the right one."""
    made = talked()
    made.client.records[at] = made.client.records[at][:-1] + bytes([made.client.records[at][-1] ^ 1])
    assert refusal(made) == ("tls", "a record does not open with its key")


def test_record_of_another_session() -> None:
    made, other = talked(), talked(suite=0x1303)
    made.site.records[3] = other.site.records[3]
    assert refusal(made) == ("tls", "a record does not open with its key")


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_nothing_after_close_notify(side: str) -> None:
    for late in ("data", "close", "update"):
        made = talked()
        saying = getattr(made, side)
        getattr(saying, late)(*([b"more"] if late == "data" else []))
        assert refusal(made) == ("tls", "there is a record after close_notify")
    made = talked()
    made.site.records.append(b"\x17\3\3\0\x20half of it")
    assert refusal(made) == ("tls", "a direction ends within a record")


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("alert", [b"\2\x14", b"\1\x5a", b"\2\x28", b"\1", b"", b"\1\0\0", b"\3\0"])
def test_alerts(side: str, alert: bytes) -> None:
    made = Tls13()
    getattr(made, side).seal(21, alert)
    assert refusal(made) == ("tls", "there is an alert other than close_notify")


@pytest.mark.parametrize("side", ["client", "site"])
def test_alerts_in_the_handshake(side: str) -> None:
    for at in (0, 1, 2):
        made = talked()
        getattr(made, side).records.insert(at, wire.record(21, b"\2\x28"))
        assert refusal(made)[0] == "tls"


def test_protected_alert_in_the_handshake() -> None:
    made = Tls13()
    made.site.use(made.schedule.derive(made.secret, "s hs traffic", made.transcript[: _hellos(made)]))
    del made.site.records[2:]
    made.site.seal(21, b"\2\x28")
    assert refusal(made) == ("tls", "there is something else than the handshake before its end")


def _hellos(made: Tls13) -> int:
    """How long the hellos are in the transcript."""
    return sum(len(side.records[0]) - 5 for side in (made.client, made.site))


def test_unprotected_where_protection_is_due() -> None:
    made = talked()
    made.site.records[2] = wire.record(22, wire.message(8, b"\0\0"))
    assert refusal(made) == ("tls", "a record is not protected where it has to be")
    for late in (wire.record(22, b"\4"), wire.record(21, b"\1\0"), wire.record(20, b"\1")):
        made = talked()
        made.site.records.insert(4, late)
        assert refusal(made) == ("tls", "a record is not protected where it has to be")


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize(
    ("at", "content", "problem"),
    [
        (0, b"\1", "a change_cipher_spec stands where none may be"),
        (1, b"\2", "a change_cipher_spec is not the one byte that it is"),
        (1, b"\1\1", "a change_cipher_spec is not the one byte that it is"),
        (1, b"", "a record without protection is empty or too long"),
        (3, b"\1", "a record is not protected where it has to be"),
    ],
)
def test_change_cipher_spec(side: str, at: int, content: bytes, problem: str) -> None:
    made = talked(hello_version=b"\3\3")
    getattr(made, side).records.insert(at, wire.record(20, content))
    code, said = refusal(made)
    if side == "site" and at == 0:  # the version is read off the first record
        problem = "the site's direction does not begin with its hello"
    assert (code, said) == ("tls", problem)


def test_change_cipher_spec_within_a_message_and_too_often() -> None:
    made = talked(cut=pieces(100))
    made.site.records.insert(3, wire.record(20, b"\1"))
    assert refusal(made) == ("tls", "a change_cipher_spec stands where none may be")
    made = talked()
    made.site.records[1:2] = [wire.record(20, b"\1")] * LIMITS.idle_records
    assert read(made).site == ANSWER
    made.site.records.insert(1, wire.record(20, b"\1"))
    assert refusal(made) == ("tls", "a change_cipher_spec stands where none may be")


def test_types_inside() -> None:
    for kind in (20, 24, 255):
        made = Tls13()
        made.site.seal(kind, b"x")
        assert refusal(made) == ("tls", "a record has a type inside that does not exist")
    made = Tls13()
    made.site.seal(0, b"", zeros=40)
    assert refusal(made) == ("tls", "a record has no type inside")


def test_oversize() -> None:
    for content, zeros in ((bytes((1 << 14) + 1), 0), (b"x", 1 << 14)):
        made = Tls13()
        made.site.data(content, zeros)
        assert refusal(made) == ("tls", "a record holds more than may be")
    made = Tls13()
    made.site.data(bytes((1 << 14) + 240))
    assert len(made.site.records[-1]) == 5 + (1 << 14) + 256 + 1
    assert refusal(made) == ("tls", "a record is longer than may be")
    assert refusal(Tls13(hello_cut=lambda _: [bytes((1 << 14) + 1)]))[0] == "tls"


def test_short_record() -> None:
    for size in range(18):
        made = Tls13()
        made.client.records.append(wire.record(23, bytes(size)))
        assert refusal(made) == ("tls", "a record does not open with its key")


# After the handshake


@pytest.mark.parametrize(
    ("side", "messages", "problem"),
    [
        ("client", [wire.message(24, b"\2")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(24, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(24, b"\0\0")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(4, bytes(14))], "there is a message after the handshake that may not be"),
        ("site", [wire.message(13, b"\0\0\0")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(0, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(5, b"\0")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(1, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(4, bytes(13))], "a session ticket is malformed"),
        ("site", [wire.message(4, bytes(9) + b"\0\0\0\0")], "a session ticket is malformed"),
        ("site", [wire.message(4, bytes(9) + b"\0\1t\0\0\0")], "a session ticket is malformed"),
        (
            "site",
            [wire.message(24, b"\0"), wire.message(24, b"\0")],
            "a record goes on behind a message that has to end it",
        ),
        ("site", [wire.message(24, b"\0"), b"\4"], "a record goes on behind a message that has to end it"),
        ("client", [b"\x18\0\0"], "a direction ends within a message of the handshake"),
        ("client", [b""], "a record of the handshake is empty"),
    ],
)
def test_refused_after_the_handshake(side: str, messages: list[bytes], problem: str) -> None:
    made = Tls13()
    getattr(made, side).handshake(*messages)
    assert refusal(made) == ("tls", problem)


def test_message_is_not_interrupted() -> None:
    for kind, content in ((23, b"data"), (21, b"\1\0")):
        made = Tls13()
        made.site.handshake(b"\4\0")
        made.site.seal(kind, content)
        assert refusal(made) == ("tls", "a message of the handshake is interrupted")


def test_ticket_over_two_records() -> None:
    made = Tls13()
    ticket = wire.message(4, bytes(8) + b"\0" + wire.vec(2, b"t") + b"\0\0")
    made.site.handshake(ticket[:9])
    made.site.handshake(ticket[9:] + ticket)
    made.site.data(b"data")
    assert read(made).site == b"data"


# Limits


def test_limits() -> None:
    made = talked()
    for one in ({"client_bytes": len(made.recording.client) - 1}, {"site_bytes": len(made.recording.site) - 1}):
        assert refusal(made, limits=replace(LIMITS, **one)) == ("size", "the recording is too large")
    assert read(made, limits=replace(LIMITS, client_bytes=len(made.recording.client))).site == ANSWER
    few = replace(LIMITS, records=1)
    assert refusal(made, limits=few) == ("size", "there are too many records for what they carry")
    small = replace(LIMITS, message_bytes=250)
    assert refusal(made, limits=small) == ("size", "a message of the handshake is too large")
    assert refusal(made, limits=replace(LIMITS, messages=5)) == ("size", "there are too many messages of the handshake")
    assert refusal(made, limits=replace(LIMITS, handshake_bytes=400)) == ("size", "the handshake is too large")


def test_updates_of_keys_are_counted() -> None:
    made = Tls13()
    for _ in range(LIMITS.key_updates):
        made.client.update()
    assert read(made).client == b""
    made.client.update()
    assert refusal(made) == ("size", "there are too many updates of keys")


def test_nothing_of_it_is_shown_by_accident() -> None:
    made = talked()
    assert "answer" not in repr(read(made))
    assert repr(made.recording) == f"Recording({len(made.recording.client)} and {len(made.recording.site)} bytes)"
