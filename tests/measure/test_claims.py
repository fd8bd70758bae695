"""Claims of every purpose: their bindings, their one spelling, and the schema that says the same."""

from __future__ import annotations

import copy
import hashlib
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.claims import AnyClaims, ChannelClaims, KeyClaims, SessionClaims, parse_claims
from pluto_measure.errors import FormatError
from pluto_measure.evidence import PURPOSES, Envelope, binding
from pluto_measure.formats.strict_json import Fields
from pluto_measure.record import replace
from simulators.notary.evidence import CHANNEL_KEY, EKM, NONCE, STATEMENT_KEY, every_purpose, tpm_envelope
from simulators.tpm_quotes import Machine

BUILD = b"\xb1" * 32
CONFIG, OUTER = b"\x11" * 32, b"\x22" * 32
ALL = every_purpose(BUILD, CONFIG, OUTER)
DOCUMENTS: dict[str, dict[str, Any]] = {
    purpose: json.loads(tpm_envelope(Machine(), claims).to_text()) for purpose, claims in ALL.items()
}
# Computed once from the rule of docs/formats/evidence.md; they never change.
KNOWN = {
    "channel": (b"\x33" * 32, CONFIG, (7).to_bytes(8, "big"), OUTER),
    "session": (bytes(range(32)), b"\x44" * 32, b"\x33" * 32, CONFIG),
    "key": (STATEMENT_KEY, CONFIG),
}


def parsed(document: dict[str, Any]) -> Envelope:
    return Envelope.parse(json.dumps(document))


@pytest.mark.parametrize("purpose", KNOWN)
def test_the_binding_of_a_purpose_is_the_rule_over_its_fields_in_order(purpose: str) -> None:
    text = b"pluto-tee/v2" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (purpose.encode(), *KNOWN[purpose])
    )
    assert binding(purpose, KNOWN[purpose]) == hashlib.sha512(text).digest()
    claims: dict[str, AnyClaims] = {
        "channel": ChannelClaims(b"\x33" * 32, CONFIG, 7, OUTER, BUILD),
        "session": SessionClaims.of(bytes(range(32)), b"\x44" * 32, b"\x33" * 32, CONFIG, BUILD),
        "key": KeyClaims(STATEMENT_KEY, CONFIG, BUILD),
    }
    assert claims[purpose].binding() == binding(purpose, KNOWN[purpose])
    assert claims[purpose].binding().hex() == KNOWN_BINDINGS[purpose]


KNOWN_BINDINGS = {
    "channel": (
        "499a3007546b2701cc775835edb85e6372a6c26866f2883e59ee3a4a2195bbb9"
        "33d65b2e5af638ad156038ba5bfff5e97fd90c3b22c48230fcb6a9c0598df307"
    ),
    "session": (
        "8d8582449a3981002cf1130dbd7e6a6acad72eb0ec43a88d46d7b99c7d0a98f8"
        "5d15d18305122b901eab85c41532ab2c1d6e0641b43c463114a018aec8a926ed"
    ),
    "key": (
        "669d90a2e00e6ab64d9bbcd21e86e91c29ae57acb308dae9126d7f0e89dbb328"
        "4fd05a43ff51b2cd680e623f98fdfa8af1fe6216705c10365de4b7b66a0bdb15"
    ),
}


@pytest.mark.parametrize("purpose", ALL)
def test_an_envelope_of_each_purpose_parses_back(purpose: str) -> None:
    envelope = tpm_envelope(Machine(), ALL[purpose])
    found = Envelope.parse(envelope.to_text())
    claims = found.claims
    if isinstance(claims, SessionClaims):
        assert claims.ekm is None, "the envelope does not carry it"
        claims = claims.opened(EKM)
    assert claims == ALL[purpose]
    assert claims.purpose == purpose
    assert claims.binding() == ALL[purpose].binding()
    assert len({one.binding() for one in ALL.values()}) == len(ALL)


def test_the_exported_keying_material_is_not_in_the_envelope() -> None:
    text = tpm_envelope(Machine(), ALL["session"]).to_text()
    assert EKM.hex() not in text
    assert hashlib.sha256(EKM).hexdigest() in text


def test_claims_of_a_session_bind_nothing_until_they_are_opened() -> None:
    sealed = parsed(DOCUMENTS["session"]).claims
    assert isinstance(sealed, SessionClaims)
    with pytest.raises(ValueError, match="not known"):
        sealed.binding()
    with pytest.raises(ValueError, match="another EKM"):
        sealed.opened(b"\0" * 32)
    assert sealed.opened(EKM).binding() == binding("session", (EKM, NONCE, CHANNEL_KEY, CONFIG))


@pytest.mark.parametrize("purpose", ALL)
def test_every_member_of_claims_is_needed_and_none_is_added(purpose: str) -> None:
    document = DOCUMENTS[purpose]
    validator = schema()
    validator.validate(document)
    for name in document["claims"]:
        missing = copy.deepcopy(document)
        del missing["claims"][name]
        other = copy.deepcopy(document)
        other["claims"][name] = None
        for wrong in (missing, other):
            assert not validator.is_valid(wrong)
            with pytest.raises(FormatError):
                parsed(wrong)
    for name in {name for one in DOCUMENTS.values() for name in one["claims"]} - set(document["claims"]):
        more = copy.deepcopy(document)
        more["claims"][name] = "00" * 32
        assert not validator.is_valid(more)
        with pytest.raises(FormatError):
            parsed(more)


@pytest.mark.parametrize(
    ("purpose", "name", "value", "schema_too"),
    [
        ("channel", "epoch", -1, True),
        ("channel", "epoch", 2**53, True),
        ("channel", "epoch", True, True),
        ("channel", "epoch", 6, False),  # not that of `freshness`
        ("channel", "channelKey", "00" * 31, True),
        ("session", "nonce", "00", True),
        ("session", "ekmDigest", "AA" * 32, True),
        ("key", "statementKey", "04" + "00" * 32, True),
        ("key", "statementKey", "02" + "00" * 31, True),
        ("key", "statementKey", "04" + "00" * 64, True),
        ("key", "purpose", "channel", True),
        ("channel", "purpose", "cluster", True),
    ],
)
def test_a_wrong_value_is_refused(purpose: str, name: str, value: object, schema_too: bool) -> None:
    document = copy.deepcopy(DOCUMENTS[purpose])
    document["claims"][name] = value
    with pytest.raises(FormatError):
        parsed(document)
    assert schema().is_valid(document) != schema_too


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_channel_claims_survive_their_spelling_and_each_field_moves_the_binding(
    epoch: int, key: bytes, to: bytes
) -> None:
    claims = ChannelClaims(key, CONFIG, epoch, OUTER, BUILD)
    assert parse_claims(Fields(claims.to_json(), what="claims")) == claims
    for field in ("channel_key", "config_digest", "outer_key_digest"):
        changed = replace(claims, **{field: to})
        assert (changed.binding() == claims.binding()) == (getattr(claims, field) == to)
    assert replace(claims, epoch=epoch ^ 1).binding() != claims.binding()
    assert replace(claims, build_id=to).binding() == claims.binding()


def test_what_a_channel_key_signs_is_no_evidence() -> None:
    assert "session-signature" in PURPOSES
    fields = [b"\1" * 32] * 4
    assert binding("session-signature", fields) not in (binding("session", fields), binding("channel", fields))


def schema() -> jsonschema.Draft202012Validator:
    found = json.loads(resources.files("pluto_measure").joinpath("schemas/evidence.json").read_text())
    return jsonschema.Draft202012Validator(found)
