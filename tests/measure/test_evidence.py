"""The binding rule and the envelope: one spelling, nothing unknown, nothing missing."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.evidence import PURPOSES, Envelope, binding, format_time, parse_nonce, parse_time, tpm_extra_data
from simulators.tpm_quotes import Machine, tpm_evidence
from simulators.trust_domains import TrustDomain

ENVELOPE = Machine().evidence(b"nonce")
DOCUMENT: dict[str, Any] = json.loads(ENVELOPE.to_text())
TDX_ENVELOPE = TrustDomain().envelope(b"nonce")
TDX_DOCUMENT: dict[str, Any] = json.loads(TDX_ENVELOPE.to_text())


def test_the_binding_is_sha512_over_tag_purpose_and_length_prefixed_fields() -> None:
    text = b"pluto-tee/v2" + b"\0\0\0\4node" + b"\0\0\0\1n" + b"\0\0\0\2cc" + b"\0\0\0\0"
    assert binding("node", (b"n", b"cc", b"")) == hashlib.sha512(text).digest()


def test_the_binding_of_a_known_input_never_changes() -> None:
    bound = binding("node", (bytes(range(32)), b"\x11" * 32, b"\x22" * 32))
    assert bound.hex() == KNOWN_BINDING
    assert tpm_extra_data(bound) == hashlib.sha256(bound).digest()


KNOWN_BINDING = (
    "2964f0cac12a76bec92245c6a49d2b07fe3432deaeda0324b2d76555210dc1c1"
    "0469b03c6df5223d2a177b6097a8764ebdd3cebefc61e65e433cd1bd67a4ca50"
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=3, max_size=3), st.lists(st.binary(max_size=8), min_size=3, max_size=3))
def test_different_fields_have_different_bindings(first: list[bytes], second: list[bytes]) -> None:
    assert (binding("node", first) == binding("node", second)) == (first == second)


def test_purposes_with_as_many_fields_have_different_bindings() -> None:
    fields = [b"a", b"b", b"c", b"d"]
    assert binding("channel", fields) != binding("session", fields)


@pytest.mark.parametrize("purpose", [*PURPOSES, "nothing", ""])
def test_a_binding_with_a_wrong_number_of_fields_is_refused(purpose: str) -> None:
    for count in {0, 1, 7} - {len(PURPOSES.get(purpose, ()))}:
        with pytest.raises(ValueError, match="does not have"):
            binding(purpose, [b"x"] * count)


@pytest.mark.parametrize("envelope", [ENVELOPE, TDX_ENVELOPE], ids=["tpm", "tdx"])
def test_an_envelope_that_we_write_parses_back(envelope: Envelope) -> None:
    assert Envelope.parse(envelope.to_text()) == envelope
    assert Envelope.parse(envelope.to_text()).type == envelope.to_json()["type"]


def _paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [(*at, key) for key in value] + [path for key in value for path in _paths(value[key], (*at, key))]
    return []


def _changed(path: tuple[Any, ...], change: Any, of: dict[str, Any] = DOCUMENT) -> str:
    document = copy.deepcopy(of)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return json.dumps(document)


PATHS = _paths(DOCUMENT)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(path))
def test_a_missing_member_is_refused(path: tuple[Any, ...]) -> None:
    with pytest.raises(FormatError):
        Envelope.parse(_changed(path, lambda parent, key: parent.pop(key)))


@pytest.mark.parametrize("path", [path for path in PATHS if len(path) < 5], ids=lambda path: ".".join(path))
def test_a_member_of_another_kind_is_refused(path: tuple[Any, ...]) -> None:
    for value in (None, True, 1.5, -1, [1], {"x": 1}, "\N{SNOWMAN}"):
        with pytest.raises(FormatError):
            Envelope.parse(_changed(path, lambda parent, key, value=value: parent.update({key: value})))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("platfrom",), "; there is platfrom"),
        (("plattform", "Platform", "platforms", "platfor", "other"), r"; there are plat\w+, \w+, \w+"),
        (("other",), ""),
        (("platform\n",), ""),  # not for a terminal
        (("platform" * 100_000,), ""),  # comparing takes the square of a name's length
        (tuple(f"x{number:03}" for number in range(1000)), ""),
    ],
)
def test_a_member_that_is_missing_stands_beside_those_that_look_like_it(names: tuple[str, ...], said: str) -> None:
    document = {**DOCUMENT, **dict.fromkeys(names, 1)}
    del document["platform"]
    with pytest.raises(FormatError, match=f"^evidence: platform is missing{said}$"):
        Envelope.parse(json.dumps(document))


@pytest.mark.parametrize("path", [(), *[path for path in PATHS if len(path) < 4]], ids=lambda path: ".".join(path))
def test_an_unknown_member_is_refused(path: tuple[Any, ...]) -> None:
    document = copy.deepcopy(DOCUMENT)
    inner = document
    for key in path:
        inner = inner[key]
    if not isinstance(inner, dict):
        return
    inner["more"] = 1
    with pytest.raises(FormatError, match="unknown member more"):
        Envelope.parse(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("type",), "sev", "type 'sev' is not known"),
        (("type",), "tdx", "tdQuote is missing"),
        (("version",), 2, "version 2 is not known"),
        (("platform",), "", "must be a name"),
        (("platform",), "a\nb", "must be a name"),
        (("freshness", "epoch"), -1, "is negative"),
        (("freshness", "issuedAt"), "2026-11-20T12:00:00+00:00", "not a time"),
        (("freshness", "issuedAt"), "2026-1-20T12:00:00Z", "not a time"),
        (("claims", "purpose"), "cluster", "purpose 'cluster' is not carried"),
        (("claims", "purpose"), "session-signature", "is not carried"),
        (("claims", "purpose"), "key", "statementKey is missing"),
        (("claims", "nonce"), "", "must be 1 to 64 bytes"),
        (("claims", "nonce"), "ab" * 65, "must be 1 to 64 bytes"),
        (("claims", "nonce"), "AB", "lower-case hex"),
        (("claims", "nonce"), "abc", "not hex"),
        (("claims", "configDigest"), "AA" * 32, "lower-case hex"),
        (("evidence", "akPublic"), "AA", "not base64"),
        (("evidence", "akPublic"), "AB==", "not the one spelling"),
        (("evidence", "akCertificates"), [""] * 9, "9 certificates are more than 8"),
        (("evidence", "akCertificates"), [1], "must be text"),
        (("evidence", "tpmQuote", "registers", "sha256", "pcr0"), "00" * 31, "lower-case hex digits"),
    ],
)
def test_a_wrong_value_is_refused_by_name(path: tuple[Any, ...], value: object, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Envelope.parse(_changed(path, lambda parent, key: parent.update({key: value})))


def test_a_third_bank_is_refused() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["evidence"]["tpmQuote"]["registers"]["sha1"] = {}
    with pytest.raises(FormatError, match="unknown member sha1"):
        Envelope.parse(json.dumps(document))


def test_an_envelope_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FormatError, match="more than"):
        Envelope.parse(b" " * (4 * 1024 * 1024 + 1))


def test_base64_of_the_log_is_what_the_kernel_gave() -> None:
    assert base64.b64decode(DOCUMENT["logs"]["tpm"]) == tpm_evidence(ENVELOPE).log


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1)))
def test_a_time_has_one_spelling(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_time(format_time(moment), what="time") == moment


def test_a_nonce_has_one_to_64_bytes() -> None:
    assert parse_nonce("00") == b"\0"
    assert parse_nonce("ff" * 64) == b"\xff" * 64


TDX_PATHS = _paths(TDX_DOCUMENT)


def test_a_trust_domains_envelope_has_its_quote_and_its_log() -> None:
    domain = TrustDomain()
    assert base64.b64decode(TDX_DOCUMENT["evidence"]["tdQuote"]) == domain.quote(b"nonce")
    assert base64.b64decode(TDX_DOCUMENT["logs"]["ccel"]) == domain.log_bytes()
    assert set(TDX_DOCUMENT["evidence"]) == {"tdQuote"}
    assert TDX_DOCUMENT.keys() == DOCUMENT.keys()


@pytest.mark.parametrize("path", TDX_PATHS, ids=lambda path: ".".join(path))
def test_a_trust_domains_envelope_is_read_as_strictly(path: tuple[Any, ...]) -> None:
    wrong = [
        _changed(path, lambda parent, key: parent.pop(key), TDX_DOCUMENT),
        _changed(path, lambda parent, _: parent.update(more=1), TDX_DOCUMENT),
        *(
            _changed(path, lambda parent, key, v=v: parent.update({key: v}), TDX_DOCUMENT)
            for v in (None, 1.5, [1], "~")
        ),
    ]
    for text in wrong:
        with pytest.raises(FormatError):
            Envelope.parse(text)


def test_what_belongs_to_the_other_type_is_refused() -> None:
    for name in ("evidence", "logs"):
        for of, other in ((DOCUMENT, TDX_DOCUMENT), (TDX_DOCUMENT, DOCUMENT)):
            mixed = {**copy.deepcopy(of), name: {**of[name], **other[name]}}
            with pytest.raises(FormatError, match="unknown member"):
                Envelope.parse(json.dumps(mixed))
            assert not schema().is_valid(mixed)


def schema() -> jsonschema.Draft202012Validator:
    found = json.loads(resources.files("pluto_measure").joinpath("schemas/evidence.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("of", [DOCUMENT, TDX_DOCUMENT], ids=["tpm", "tdx"])
def test_the_schema_accepts_what_we_write_and_refuses_what_we_refuse(of: dict[str, Any]) -> None:
    validator = schema()
    validator.validate(of)
    for path in _paths(of):
        missing = json.loads(_changed(path, lambda parent, key: parent.pop(key), of))
        unknown = json.loads(_changed(path, lambda parent, _: parent.update(more=1), of))
        other = json.loads(_changed(path, lambda parent, key: parent.update({key: None}), of))
        assert not any(validator.is_valid(document) for document in (missing, unknown, other)), path
