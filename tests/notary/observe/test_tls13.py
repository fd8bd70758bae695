"""TLS 1.3 of a recording: what is opened, by which secret, and within which bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from notary.observe import wire
from notary.observe.keys import certificate_of
from notary.observe.worlds import (
    ANSWER,
    LIMITS,
    P256,
    QUESTION,
    SUITES,
    TO_P256,
    X25519,
    Cut,
    Tls13,
    coalesced,
    each_alone,
    judge,
    pieces,
    read,
    refusal,
    talked,
)
from pluto_measure.record import replace
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "notary" / "tls"

# What is opened ------------------------------------------------------------------------------------------------------


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


# The secret ----------------------------------------------------------------------------------------------------------


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


# Limits --------------------------------------------------------------------------------------------------------------


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
