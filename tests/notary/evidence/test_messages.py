"""What notary and helper say to each other: round trips, and refusal of all else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.evidence import TpmQuote
from pluto_notary.errors import EVIDENCE_CODES, EvidenceError
from pluto_notary.evidence import messages
from pluto_notary.evidence.messages import NodeRequest, TpmParts
from simulators.tpm_quotes import registers_of

PARTS = TpmParts(TpmQuote(b"attest", b"signature", registers_of(())), b"public", (b"der",), b"log", bytes(32))


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.binary(min_size=32, max_size=32))
def test_a_request_survives_its_body(nonce: bytes, key: bytes) -> None:
    body = NodeRequest(nonce, key).to_body()
    assert len(body) <= messages.LARGEST_REQUEST
    assert NodeRequest.parse(body) == NodeRequest(nonce, key)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.lists(st.binary(max_size=9), max_size=3))
def test_parts_survive_their_body(attest: bytes, log: bytes, certificates: list[bytes]) -> None:
    parts = TpmParts(TpmQuote(attest, b"s", PARTS.quote.registers), b"public", tuple(certificates), log, b"\1" * 32)
    assert TpmParts.parse(parts.to_body()) == parts


@pytest.mark.parametrize("code", EVIDENCE_CODES)
def test_a_refusal_becomes_an_error_with_its_code(code: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        TpmParts.parse(messages.error_body(code))
    assert caught.value.code == code


def test_a_code_that_the_helper_cannot_know_is_not_passed_on() -> None:
    with pytest.raises(EvidenceError) as caught:
        TpmParts.parse(b'{"error":"attacker text","version":1}')
    assert caught.value.code == "unavailable"


GOOD = json.loads(NodeRequest(b"n", bytes(32)).to_body())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"purpose": "session"},
        {"purpose": "key"},
        {"nonce": ""},
        {"nonce": "00" * 65},
        {"nonce": "zz"},
        {"nonce": 1},
        {"outerKeyDigest": "00" * 31},
        {"outerKeyDigest": None},
        {"binding": "00" * 64},
        {"configDigest": "00" * 32},
    ],
)
def test_a_request_that_says_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        NodeRequest.parse(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("length", [1025, 2**32 - 1])
def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read(length: int) -> None:
    with pytest.raises(FormatError):
        messages.body_length(length.to_bytes(4, "big"), messages.LARGEST_REQUEST)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        NodeRequest.parse(body)
    with pytest.raises((FormatError, EvidenceError)):
        TpmParts.parse(body)
