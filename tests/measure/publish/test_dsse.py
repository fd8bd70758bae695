"""DSSE envelopes: what is signed, one signature in each, one spelling, and no byte that can change unseen."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.publish.dsse import Envelope, pae, signed, unbase64
from pluto_measure.publish.keys import key_id, verifies
from pluto_measure.publish.statement import PAYLOAD_TYPE
from simulators.releases import ED25519, KEYS, P256, TEXT

# DSSE 1.0.2, protocol.md, "Test vectors": key, payload and signature (r and s side by side).
SPEC_KEY = (
    46950820868899156662930047687818585632848591499744589407958293238635476079160,
    5640078356564379163099075877009565129882514886557779369047442380624545832820,
)
SPEC_TYPE, SPEC_PAYLOAD = "http://example.com/HelloWorld", b"hello world"
SPEC_SIGNATURE = base64.b64decode(
    "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
)


def envelope(**changes: Any) -> dict[str, Any]:
    return {**signed(b"payload", ED25519).to_json(), **changes}


def parse(document: object) -> Envelope:
    return Envelope.parse(json.dumps(document))


def one(**changes: Any) -> dict[str, Any]:
    whole = envelope()
    return {**whole, "signatures": [{**whole["signatures"][0], **changes}]}


def test_the_encoding_and_the_signature_of_the_specification() -> None:
    message = pae(SPEC_TYPE, SPEC_PAYLOAD)
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    key = ec.EllipticCurvePublicNumbers(*SPEC_KEY, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(SPEC_SIGNATURE[at : at + 32], "big") for at in (0, 32))
    assert verifies(key, encode_dss_signature(r, s), message)
    assert not verifies(key, encode_dss_signature(r, s), SPEC_PAYLOAD)


def test_lengths_are_of_bytes_and_not_of_characters() -> None:
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()))
def test_no_two_contents_have_one_encoding(one: tuple[str, bytes], two: tuple[str, bytes]) -> None:
    try:
        assert (pae(*one) == pae(*two)) == (one == two)
    except UnicodeEncodeError:
        assert any("\ud800" <= char <= "\udfff" for char in one[0] + two[0])


@pytest.mark.parametrize("kind", KEYS)
@given(payload=st.binary(max_size=200))
def test_what_is_signed_is_read_and_verifies(kind: str, payload: bytes) -> None:
    made = signed(payload, KEYS[kind])
    read = Envelope.parse(made.to_text().encode())
    assert read == made
    assert (read.payload, read.payload_type) == (payload, PAYLOAD_TYPE)
    assert read.keyid == key_id(KEYS[kind].public_key())
    assert verifies(KEYS[kind].public_key(), read.signature, read.message)
    assert Envelope.parse(read.to_text()).to_text() == made.to_text()


@pytest.mark.parametrize("number", [0, 2, 3])
def test_exactly_one_signature(number: int) -> None:
    whole = envelope()
    with pytest.raises(FormatError, match=f"holds {number} signatures, not one"):
        parse({**whole, "signatures": whole["signatures"] * number})


SUFFIXES = ["/", " ", "; charset=utf-8", "x"]


@pytest.mark.parametrize("kind", ["", "application/json", PAYLOAD_TYPE.title(), *(PAYLOAD_TYPE + x for x in SUFFIXES)])
def test_another_payload_type(kind: str) -> None:
    with pytest.raises(FormatError, match=r"payloadType .* is not application/vnd"):
        parse(envelope(payloadType=kind))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        envelope(added=1),
        envelope(payload=None),
        envelope(payload=["cGF5bG9hZA=="]),
        envelope(payloadType=None),
        envelope(signatures={}),
        envelope(signatures=None),
        envelope(signatures=["x"]),
        one(added=1),
        one(keyid=None),
        one(sig=None),
        one(sig="00"),
        one(keyid="0" * 101),
        one(sig=base64.b64encode(bytes(257)).decode()),
    ],
    ids=range(16),
)
def test_what_is_no_envelope(document: object) -> None:
    with pytest.raises(FormatError):
        parse(document)


@pytest.mark.parametrize("name", ["payload", "payloadType", "signatures"])
def test_each_member_is_required_and_there_once(name: str) -> None:
    whole = envelope()
    with pytest.raises(FormatError, match=f"{name} is missing"):
        parse({other: value for other, value in whole.items() if other != name})
    text = json.dumps(whole)[:-1] + f", {json.dumps(name)}: {json.dumps(whole[name])}}}"
    with pytest.raises(FormatError, match=f"key occurs twice: '{name}'"):
        Envelope.parse(text)


@pytest.mark.parametrize("name", ["keyid", "sig"])
def test_each_member_of_the_signature_is_required_and_there_once(name: str) -> None:
    (signature,) = envelope()["signatures"]
    with pytest.raises(FormatError, match=f"{name} is missing"):
        parse(envelope(signatures=[{other: value for other, value in signature.items() if other != name}]))
    text = json.dumps(envelope()).replace(f'"{name}":', f'"{name}": "", "{name}":')
    with pytest.raises(FormatError, match=f"key occurs twice: '{name}'"):
        Envelope.parse(text)


def test_base64_has_one_spelling() -> None:
    assert unbase64("AAE=", "x") == b"\0\1"
    for text in ("AAE", "AAF=", "AA E=", "AAE=\n", "AAE==", "=AAE", "A", "AA-_", "AAÉ=", "AAE=AAE="):
        with pytest.raises(FormatError, match="base64"):
            unbase64(text, "x")
    for text in ("AA==", "++//", ""):
        assert base64.b64encode(unbase64(text, "x")).decode() == text


@given(st.binary())
def test_base64_round_trip(data: bytes) -> None:
    assert unbase64(base64.b64encode(data).decode(), "x") == data


@given(st.text(max_size=20))
def test_any_text_is_base64_or_a_format_error(text: str) -> None:
    try:
        data = unbase64(text, "x")
    except FormatError:
        return
    assert base64.b64encode(data).decode() == text


def test_an_envelope_that_is_too_large() -> None:
    with pytest.raises(FormatError, match="bytes are more than"):
        Envelope.parse(b" " * (32 * 1024 * 1024 + 1))


@pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "P-256"])
def test_no_change_of_a_byte_verifies_for_another_content(key: Any) -> None:
    """Every byte of the file: it is refused, does not verify, or is the same envelope with other white space."""
    made = signed(TEXT[:60], key)
    text = made.to_text().encode()
    same = 0
    for place in range(len(text)):
        for bits in (*(1 << bit for bit in range(8)), 0x29, 0xFF):  # 0x29: between a blank and a tab
            changed = bytearray(text)
            changed[place] ^= bits
            try:
                read = Envelope.parse(bytes(changed))
            except FormatError:
                continue
            if read == made:
                assert text[place : place + 1] in b" \n", "only white space may change"
                same += 1
                continue
            is_named = read.keyid == made.keyid
            assert not (is_named and verifies(key.public_key(), read.signature, read.message)), (place, bits)
    assert same > 0
