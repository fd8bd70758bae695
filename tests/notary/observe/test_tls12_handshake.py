"""Handshakes of TLS 1.2 in a recording: messages in place and form, hellos that agree, the signature, both Finished."""

from __future__ import annotations

from typing import Any

import pytest

from notary.observe import wire
from notary.observe.keys import certificate_of
from notary.observe.openssl import kind_of
from notary.observe.worlds import HOST, RETRY, each_alone, pieces, read, refused
from notary.observe.worlds12 import ECDSA_128, HELLO_REQUEST, RSA_128, SUITES, Changed, Tls12, talked
from pluto_notary.observe.errors import ObserveError

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
