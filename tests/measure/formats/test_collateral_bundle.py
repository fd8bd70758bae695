"""Collateral bundles: documents byte for byte as they were signed, read strictly; the forms that services answer in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import answers
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import (
    LIMIT,
    Bundle,
    Given,
    NotInBundleError,
    is_bundle,
    read_collateral,
)
from pluto_measure.formats.collateral_document import Document
from simulators.intel import healthy, pcs_response, tcb_info, world
from simulators.intel.der import Machine
from simulators.intel.pcs import OLD_TCB_HEADER

FMSPC = Machine.fmspc
OTHER = bytes.fromhex("00806f050000")
EARLIER, LATER = datetime(2026, 11, 19, 8, 0, tzinfo=UTC), datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
COMMON = healthy().collateral
COLLATERAL = Collateral.parse(json.dumps(COMMON).encode())
EARLY = healthy().with_collateral(info=tcb_info(evaluation=21)).collateral
CHAIN = "TCB-Info-Issuer-Chain"


def document(kind: Any, common: Any = COMMON, *, update: str = "standard", **changes: Any) -> Document:
    """A document as a service answers; `changes` are arguments of pcs_response and fields of Document."""
    form = {name: changes.pop(name) for name in ("crl_form", "old_header") if name in changes}
    headers, body = pcs_response(kind, common, **form)
    made = {
        "tcb": Document("tcbInfo", body, headers, update=update, fmspc=FMSPC, fetched_at=LATER),
        "qe_identity": Document("qeIdentity", body, headers, update=update, fetched_at=LATER),
        "pck_crl": Document("pckCrl", body, headers, ca="platform", fetched_at=LATER),
        "root_crl": Document("rootCrl", body, headers, fetched_at=EARLIER),
    }[kind]
    return replace(made, **changes)


def documents(*left_out: str) -> list[Document]:
    kinds = [kind for kind in ("tcb", "qe_identity", "pck_crl", "root_crl") if kind not in left_out]
    return [document(kind) for kind in kinds]


BUNDLE = Bundle.of(documents())
EARLY_PART = [document("tcb", EARLY, update="early"), document("qe_identity", EARLY, update="early")]
JSON = BUNDLE.to_json()


def changed(**changes: Any) -> bytes:
    return json.dumps({**JSON, **changes}).encode()


def with_first(**changes: Any) -> bytes:
    """The bundle whose first document, TCB info, has other members; None removes one."""
    listed: Any = json.loads(json.dumps(JSON["documents"]))
    listed[0] = {name: value for name, value in {**listed[0], **changes}.items() if value is not None}
    return changed(documents=listed)


def test_documents_come_out_as_they_were_signed() -> None:
    assert BUNDLE.collateral(FMSPC, "platform") == COLLATERAL
    assert Bundle.parse(BUNDLE.to_text().encode()) == BUNDLE


def test_a_member_is_cut_out_byte_for_byte() -> None:
    text = '{ "fmspc" : "30A06F000000",\t"a":[1, {"b":"}\\"tcbInfo\\":"}], "é":1.50 }'
    body = f' {{ "signature" :"{"0a" * 64}" ,\n"tcbInfo" :  {text}\r\n}} '.encode()
    assert answers.wrapped(body, "tcbInfo", what="x")[:2] == (text.encode(), b"\x0a" * 64)
    body = f'{{"tcbInfo":{text},"signature":"{"0A" * 64}"}}'.encode()
    assert answers.wrapped(body, "tcbInfo", what="x")[:2] == (text.encode(), b"\x0a" * 64)
    assert answers.wrapped(answers.wrap(text.encode(), bytes(64), "tcbInfo"), "tcbInfo", what="x")[0] == text.encode()


SIGNED = '"signature":"' + "00" * 64 + '"'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (f'{{"tcbInfo":{{}},"tcbInfo":{{}},{SIGNED}}}', "key occurs twice"),
        (f'{{"tcbInfo":{{"a":1,"a":2}},{SIGNED}}}', "key occurs twice"),
        (f'{{"tcbInfo":{{}},{SIGNED},{SIGNED}}}', "key occurs twice"),
        (f'{{"tcbInfo":{{}},{SIGNED},"more":1}}', "not an object of tcbInfo and signature"),
        (f'{{"enclaveIdentity":{{}},{SIGNED}}}', "not an object of tcbInfo and signature"),
        ('{"tcbInfo":{}}', "not an object of tcbInfo and signature"),
        ("[]", "not an object of tcbInfo and signature"),
        (f'{{"tcbInfo":[],{SIGNED}}}', "tcbInfo must be an object"),
        ('{"tcbInfo":{},"signature":"00"}', "signature must be 128 hex digits"),
        ('{"tcbInfo":{},"signature":7}', "signature must be 128 hex digits"),
        (f'{{"tcbInfo":{{}},{SIGNED}}}x', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("<html>", "not JSON"),
    ],
)
def test_answers_that_are_refused(body: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        answers.wrapped(body.encode(), "tcbInfo", what="x")


def test_an_answer_has_a_limit() -> None:
    with pytest.raises(FormatError, match="more than"):
        answers.wrapped(b" " * (answers.DOCUMENT_LIMIT + 1), "tcbInfo", what="x")


@pytest.mark.parametrize("form", ["der", "hex", "pem"])
def test_a_revocation_list_in_any_form(form: str) -> None:
    assert document("pck_crl", crl_form=form).crl() == COLLATERAL.pck_crl
    assert document("root_crl", crl_form=form).crl() == COLLATERAL.root_crl


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0",
        b"\x31\x00",
        b"\x30\x01",
        b"\x30\x00\x00",
        b"\x30\x80\x00\x00",
        b"\x30\x81",
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"3000 00",
        b"300",
        COLLATERAL.pck_crl[:-1],
        COLLATERAL.pck_crl + b"\n",
        b"-----BEGIN X509 CRL-----\nMAA=\n",
        b"-----BEGIN X509 CRL-----\nMA\n-----END X509 CRL-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_revocation_list(body: bytes) -> None:
    with pytest.raises(FormatError):
        answers.crl(body, what="CRL")


@pytest.mark.parametrize("body", [b"\x30\x00", b" 3000\n", b"\x30\x81\x01\x05"])
def test_what_may_be_one(body: bytes) -> None:
    assert answers.crl(body, what="CRL")[0] == 0x30


@given(st.binary(max_size=200).map(lambda data: bytes(byte & 0x7F for byte in data)))
def test_percent_encoding_comes_back(data: bytes) -> None:
    assert answers.percent_decoded(answers.percent_encoded(data), what="x") == data


def test_percent_decoding_is_strict() -> None:
    assert answers.percent_decoded("a+b%2Bc%0a/=", what="x") == b"a+b+c\n/="
    for text in ("%", "%4", "%4g", "%%41", "a b", "a\n", "\u00e9", "%u0041", "\x7f"):
        with pytest.raises(FormatError, match="not URL-encoded"):
            answers.percent_decoded(text, what="x")
    with pytest.raises(FormatError, match="not ASCII"):
        answers.percent_decoded("%C3%A9", what="x")


def test_header_names_have_no_case_and_an_older_form() -> None:
    chain = COLLATERAL.tcb_info.chain
    value = document("tcb").headers[CHAIN]
    assert document("tcb", old_header=True).headers.keys() >= {OLD_TCB_HEADER}
    for headers in ({CHAIN.lower(): value}, {OLD_TCB_HEADER.upper(): value}, {CHAIN: value, OLD_TCB_HEADER: value}):
        assert document("tcb", headers=headers).chain() == chain
    with pytest.raises(FormatError, match="two issuer chains that differ"):
        document("tcb", headers={CHAIN: value, OLD_TCB_HEADER: value + "a"}).chain()
    with pytest.raises(FormatError, match=f"has no header {CHAIN}"):
        document("tcb", headers={}).chain()
    assert document("pck_crl", headers={}).chain() == b""


def test_a_document_is_what_it_is_said_to_be() -> None:
    with pytest.raises(FormatError, match=r"TCB info \(standard\) of FMSPC 00806f050000: is for FMSPC '30a06f000000'"):
        Bundle.of([document("tcb", fmspc=OTHER)])
    with pytest.raises(FormatError, match=r"TCB info .*twice"):
        Bundle.of([document("tcb"), document("tcb")])
    with pytest.raises(FormatError, match="has 257 documents, more than 256"):
        Bundle.of(
            document("tcb", tcb_body(number.to_bytes(6, "big")), fmspc=number.to_bytes(6, "big"))
            for number in range(257)
        )


def tcb_body(fmspc: bytes) -> dict[str, Any]:
    return {**COMMON, "tcb_info": json.dumps({"fmspc": fmspc.hex()})}


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("tcb", "has no TCB info (standard) of FMSPC 30a06f000000"),
        ("qe_identity", "has no QE identity (standard)"),
        ("pck_crl", "has no PCK CRL of the platform CA"),
        ("root_crl", "has no root CRL"),
    ],
)
def test_what_is_missing_is_named(missing: str, named: str) -> None:
    bundle = Bundle.of(documents(missing))
    with pytest.raises(NotInBundleError) as caught:
        bundle.collateral(FMSPC, "platform")
    assert caught.value.problem == named
    assert caught.value.hint == "run 'pluto-measure collateral fetch'"
    with pytest.raises(NotInBundleError, match="of the processor CA"):
        BUNDLE.collateral(FMSPC, "processor")


def test_collateral_for_verify_from_either_form() -> None:
    both = Bundle.of([*BUNDLE.documents, *EARLY_PART])
    early = Collateral.parse(json.dumps(EARLY).encode())
    assert read_collateral(json.dumps(COMMON).encode(), FMSPC, "platform") == Given(COLLATERAL, None, None)
    assert read_collateral(BUNDLE.to_text().encode(), FMSPC, "platform") == Given(COLLATERAL, None, EARLIER)
    assert read_collateral(both.to_text().encode(), FMSPC, "platform") == Given(COLLATERAL, early, EARLIER)
    with pytest.raises(NotInBundleError, match="FMSPC 00806f050000"):
        read_collateral(both.to_text().encode(), OTHER, "platform")
    half = Bundle.of([*BUNDLE.documents, EARLY_PART[0]])
    assert half.given(FMSPC, "platform") == Given(COLLATERAL, None, EARLIER)  # what is not whole foretells nothing
    no_time = [replace(one, fetched_at=None) if one.kind == "pckCrl" else one for one in BUNDLE.documents]
    assert Bundle.of(no_time).given(FMSPC, "platform").fetched_at is None


def test_the_forms_are_told_by_the_first_member() -> None:
    assert is_bundle(b' {\n"format" :1')
    assert not is_bundle(b'{"_remark": {"format": 1}}')
    assert not is_bundle(json.dumps(COMMON).encode())
    remark = {"_remark": {"format": "x"}, **COMMON}
    assert read_collateral(json.dumps(remark).encode(), FMSPC, "platform").standard == COLLATERAL


def test_the_common_json_becomes_a_bundle_and_comes_back() -> None:
    for one, ca in ((COLLATERAL, "platform"), (replace(COLLATERAL, pck_crl_chain=b""), "processor")):
        bundle = Bundle.of_collateral(one, ca=ca, fetched_at=LATER)
        assert Bundle.parse(bundle.to_text().encode()).given(FMSPC, ca) == Given(one, None, LATER)
    assert Bundle.of_collateral(COLLATERAL, ca="platform").given(FMSPC, "platform").fetched_at is None


def test_collateral_that_would_not_come_back_is_refused() -> None:
    spaced = replace(COLLATERAL, tcb_info=replace(COLLATERAL.tcb_info, body=COLLATERAL.tcb_info.body + b"\n"))
    with pytest.raises(FormatError, match="byte for byte"):
        Bundle.of_collateral(spaced, ca="platform")
    foreign = replace(COLLATERAL, pck_crl_chain=b"\xc3\xa9")
    with pytest.raises(FormatError, match="not ASCII"):
        Bundle.of_collateral(foreign, ca="platform")
    for body in (b"{}", COLLATERAL.qe_identity.body + b',"signature":""'):
        with pytest.raises(FormatError):
            Bundle.of_collateral(
                replace(COLLATERAL, qe_identity=replace(COLLATERAL.qe_identity, body=body)), ca="platform"
            )


def test_bundles_merge_and_part() -> None:
    other = world(machine={"fmspc": OTHER}, ca="processor", collateral={"info": tcb_info(fmspc=OTHER)})
    common = Collateral.parse(json.dumps(other.collateral).encode())
    newer = Bundle.of_collateral(common, ca="processor", fetched_at=LATER)
    merged = BUNDLE.merged(newer)
    assert merged.given(OTHER, "processor").standard == common
    assert merged.find("rootCrl") == newer.find("rootCrl"), "the newer one's"
    pairs = [(fmspc, ca) for fmspc in (OTHER, FMSPC) for ca in ("platform", "processor")]
    assert merged.families() == tuple(pairs)
    assert merged.part(FMSPC, "platform").families() == ((FMSPC, "platform"),)
    assert merged.part(FMSPC, "platform").collateral(FMSPC, "platform").tcb_info == COLLATERAL.tcb_info
    assert len(merged.part(OTHER, "processor").documents) == 4


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (changed(format="x"), "format is 'x'"),
        (changed(version=2), "version 2 is not known"),
        (changed(version=True), "version must be int"),
        (changed(documents={}), "documents must be list"),
        (changed(documents=[1]), "must be an object"),
        (changed(more=1), "unknown member more"),
        (b"[]", "must be an object"),
        (b"[" + b"1," * 20_000 + b"1]", "more than 16384 members"),
        (b'{"format":"' + b"x" * LIMIT + b'"}', "more than"),
        (with_first(kind="tcbinfo"), "kind 'tcbinfo' is not one of"),
        (with_first(kind="qeIdentity"), "unknown member fmspc"),
        (with_first(kind="rootCrl"), "unknown member"),
        (with_first(kind="pckCrl"), "ca is missing"),
        (with_first(update="late"), "update 'late' is not one of"),
        (with_first(update=None), "update is missing"),
        (with_first(fmspc="30A06F000000"), "must be 12 lower-case hex digits"),
        (with_first(fmspc=None), "fmspc is missing"),
        (with_first(ca="platform"), "unknown member ca"),
        (with_first(fetchedAt="2026-11-20T08:00:00+00:00"), "not a time such as"),
        (with_first(fetchedAt=1), "fetchedAt must be str"),
        (with_first(headers=[]), "headers must be dict"),
        (with_first(headers={CHAIN: 1}), "headers must be at most"),
        (with_first(headers={str(number): "" for number in range(17)}), "headers must be at most"),
        (with_first(headers={"a": "", "A": ""}), "a header occurs twice"),
        (with_first(headers={"a": "\n"}), "printable ASCII"),
        (with_first(headers={"\ud800": ""}), "printable ASCII"),
        (with_first(body="e30"), "body is not base64"),
        (with_first(body="e3 0="), "body is not base64"),
        (with_first(body="\u00e9"), "body is not base64"),
        (with_first(body="e31="), "one spelling"),
        (with_first(body="e30="), "not an object of tcbInfo"),
        (with_first(body=None), "body is missing"),
    ],
)
def test_bundles_that_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Bundle.parse(data)


SCHEMA = json.loads((resources.files("pluto_measure") / "schemas/collateral-bundle.json").read_text())


def test_the_schema_accepts_what_we_write_and_refuses_what_we_refuse() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for bundle in (
        BUNDLE,
        Bundle.of([*BUNDLE.documents, *EARLY_PART]),
        Bundle.of_collateral(COLLATERAL, ca="platform"),
    ):
        validator.validate(bundle.to_json())
    refused = (
        changed(version=2),
        changed(more=1),
        with_first(kind="qeIdentity"),
        with_first(kind="pckCrl"),
        with_first(update=None),
        with_first(fmspc="30A06F000000"),
        with_first(ca="platform"),
        with_first(headers={"a": "\na"}),
        with_first(body="e30"),
        with_first(more=1),
    )
    for data in refused:
        assert not validator.is_valid(json.loads(data)), data[:200]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_a_bundle_is_a_bundle_or_a_format_error(data: st.DataObject) -> None:
    text = bytearray(BUNDLE.to_text().encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    try:
        parsed = Bundle.parse(bytes(text))
    except FormatError:
        return
    assert Bundle.parse(parsed.to_text().encode()) == parsed


@pytest.mark.parametrize(
    "name", ["sample_tcbInfo_response", "sample_tcbinfo_response_v5", "sample_qeIdentity_response"]
)
def test_recorded_answers_of_intel(vectors: Path, name: str) -> None:
    body = (vectors / "quotes/go-tdx-guest" / name).read_bytes()
    member = "enclaveIdentity" if "qe" in name else "tcbInfo"
    text, signature, _ = answers.wrapped(body, member, what=name)
    assert answers.wrap(text, signature, member) == body.strip()


def test_recorded_collateral_becomes_a_bundle_and_comes_back(vectors: Path) -> None:
    paths = sorted((vectors / "quotes/derived/collateral").glob("*.json"))
    assert paths
    for path in paths:
        collateral = Collateral.parse(path.read_bytes())
        bundle = Bundle.of_collateral(collateral, ca="platform")
        ((fmspc, ca),) = bundle.families()
        assert read_collateral(bundle.to_text().encode(), fmspc, ca).standard == collateral, path.name
