"""Requests and answers of every kind survive their bodies, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.claims import SessionClaims
from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope, TpmQuote
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import (
    LARGEST_REQUEST,
    AzureParts,
    ChannelRequest,
    EvidenceRequest,
    KeyRequest,
    LegacyRequest,
    NodeRequest,
    Parts,
    SessionRequest,
    TdxParts,
    TokenParts,
    TpmParts,
    parse_parts,
    parse_request,
)
from pluto_notary.evidence.provider import Issue, envelope_of
from simulators.notary.evidence import STATEMENT_KEY, every_purpose
from simulators.tpm_quotes import BOOT, NOW, registers_of

B32 = st.binary(min_size=32, max_size=32)
REGISTERS = registers_of(BOOT)
REQUESTS = st.one_of(
    st.builds(NodeRequest, st.binary(min_size=1, max_size=64), B32),
    st.builds(ChannelRequest, B32, st.integers(0, 2**53 - 1), B32),
    st.builds(SessionRequest, B32, B32, B32),
    st.builds(KeyRequest, st.builds(lambda head, rest: bytes([head]) + rest, st.sampled_from([2, 3]), B32)),
    st.builds(LegacyRequest, B32),
)
EXAMPLES: dict[str, Parts] = {
    "tpm": TpmParts(TpmQuote(b"a", b"s", REGISTERS), b"public", (b"der",), b"log", bytes(32)),
    "tdx": TdxParts(b"quote", b"log", bytes(32)),
    "azure": AzureParts(
        b"hcl", b"quote", TpmQuote(b"a", b"s", {"sha256": REGISTERS["sha256"]}), b"der", b"log", bytes(32)
    ),
    "confidential-space": TokenParts("e30.e30.c2ln", bytes(32)),
}


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_a_request_survives_its_body_and_says_its_purpose(request_: EvidenceRequest | LegacyRequest) -> None:
    body = request_.to_body()
    assert len(body) <= LARGEST_REQUEST
    assert parse_request(body) == request_
    assert json.loads(body)["purpose"] == request_.purpose


@settings(max_examples=100, deadline=None)
@given(REQUESTS, B32, B32)
def test_claims_are_those_of_the_request(
    request_: EvidenceRequest | LegacyRequest, config: bytes, build: bytes
) -> None:
    if isinstance(request_, LegacyRequest):
        return
    claims = request_.claims(config, build)
    assert (claims.purpose, claims.config_digest, claims.build_id) == (request_.purpose, config, build)
    for field in type(request_).__match_args__:
        assert getattr(claims, field) == getattr(request_, field)


GOOD: dict[str, dict[str, Any]] = {
    request.purpose: json.loads(request.to_body())
    for request in (
        NodeRequest(b"n", bytes(32)),
        ChannelRequest(bytes(32), 1, bytes(32)),
        SessionRequest(bytes(32), bytes(32), bytes(32)),
        KeyRequest(STATEMENT_KEY),
        LegacyRequest(bytes(32)),
    )
}
FOREIGN = {"binding": "00" * 64, "configDigest": "00" * 32, "buildId": "00" * 32, "data": "", "audience": "x"}


@pytest.mark.parametrize("purpose", GOOD)
def test_no_request_has_room_for_bytes_to_be_quoted(purpose: str) -> None:
    """What the helper quotes is made of typed fields alone: nothing more can be said, nothing left out."""
    good = GOOD[purpose]
    members = {name: value for one in GOOD.values() for name, value in one.items()} | FOREIGN
    for name, value in members.items():
        if name not in good:
            with pytest.raises(FormatError):
                parse_request(json.dumps({**good, name: value}).encode())
    for name in good:
        wrongs: list[Any] = [None, [], 1.5, "zz", "00", -1, True]
        for wrong in wrongs:
            if name == "nonce" and wrong == "00" and purpose == "node":
                continue
            with pytest.raises(FormatError):
                parse_request(json.dumps({**good, name: wrong}).encode())
        with pytest.raises(FormatError):
            parse_request(json.dumps({key: value for key, value in good.items() if key != name}).encode())


@pytest.mark.parametrize("purpose", ["cluster", "session-signature", "", "Node"])
def test_a_purpose_that_no_evidence_has_is_refused(purpose: str) -> None:
    with pytest.raises(FormatError, match="not known"):
        parse_request(json.dumps({"version": 1, "purpose": purpose}).encode())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_parts_survive_their_body_and_become_an_envelope_that_parses(kind: str) -> None:
    parts = EXAMPLES[kind]
    assert parse_parts(parts.to_body()) == parts
    for request in (NodeRequest(b"n", bytes(32)), ChannelRequest(bytes(32), 9, bytes(32)), KeyRequest(STATEMENT_KEY)):
        envelope = envelope_of(request, Issue(4, NOW, b"\xb1" * 32), parts)
        assert Envelope.parse(envelope.to_text()) == envelope
        assert (envelope.type, envelope.epoch) == (kind, 9 if request.purpose == "channel" else 4)


def test_the_envelope_of_a_session_does_not_carry_its_keying_material() -> None:
    envelope = envelope_of(
        SessionRequest(b"\xe3" * 32, bytes(32), bytes(32)), Issue(0, NOW, bytes(32)), EXAMPLES["tdx"]
    )
    assert "e3" * 32 not in envelope.to_text()
    assert isinstance(every_purpose(bytes(32))["session"], SessionClaims)


@pytest.mark.parametrize(("vendor", "platform"), [("", "qemu-tdx"), ("Google", "gcp-tdx"), ("QEMU", "qemu-tdx")])
def test_the_platform_follows_the_kind_of_evidence_and_the_vendor(vendor: str, platform: str) -> None:
    request, issue = NodeRequest(b"n", bytes(32)), Issue(0, NOW, bytes(32))
    assert envelope_of(request, issue, EXAMPLES["tdx"], vendor=vendor).platform == platform
    assert envelope_of(request, issue, EXAMPLES["tpm"], vendor=vendor).platform == "qemu-vtpm"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_parts_are_read_strictly(kind: str) -> None:
    good = json.loads(EXAMPLES[kind].to_body())
    for name in good:
        missing = {key: value for key, value in good.items() if key != name}
        for wrong in (missing, {**good, name: None}, {**good, name: "~"}, {**good, "more": 1}):
            with pytest.raises((FormatError, EvidenceError)):
                parse_parts(json.dumps(wrong).encode())
    for other in EXAMPLES.keys() - {kind}:
        with pytest.raises(FormatError):
            parse_parts(json.dumps({**good, "type": other}).encode())


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c.d", "a..c", "a.b.", "a.b.c\n", "a.b.c ", "a.b.ü", "x" * 70000 + ".b.c"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(FormatError):
        parse_parts(json.dumps({**json.loads(EXAMPLES["confidential-space"].to_body()), "token": token}).encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_request(body)
    with pytest.raises((FormatError, EvidenceError)):
        parse_parts(body)
