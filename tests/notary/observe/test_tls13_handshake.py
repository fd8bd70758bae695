"""Handshakes of TLS 1.3 in a recording, and why they are refused: hellos, a retry, the site's flight, both Finished."""

from __future__ import annotations

from typing import Any

import pytest

from notary.observe import wire
from notary.observe.keys import certificate_of
from notary.observe.worlds import ANSWER, HOST, LIMITS, P256, RETRY, TO_P256, X25519, Change, read, refusal, talked
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened

SIZE_LIMIT = {28: wire.u16(16385)}


def body(change: Any) -> Any:
    """A change of a message's body; its length is put right."""
    return lambda message: wire.message(message[0], change(message[4:]))


# The hellos ----------------------------------------------------------------------------------------------------------


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


# The site's flight ---------------------------------------------------------------------------------------------------


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
