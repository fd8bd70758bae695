"""Quote collateral: the common JSON, there and back; and what all five parsers do with a mebibyte of garbage."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.collateral import LIMIT, Collateral, Signed
from pluto_measure.formats.pck import PckExtension, split_pem
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.formats.tcb_info import TcbInfo
from simulators.intel import ABSENT, healthy, tcb_info

HONEST = healthy().collateral
DOCUMENTS = ("tcb_info", "qe_identity")


def text_of(**changes: Any) -> str:
    return json.dumps(healthy().with_members(**changes).collateral)


def refused(text: str | bytes) -> str:
    with pytest.raises(FormatError) as caught:
        Collateral.parse(text if isinstance(text, bytes) else text.encode())
    return str(caught.value)


def parse(text: str) -> Collateral:
    return Collateral.parse(text.encode())


def check(collateral: Collateral, value: dict[str, Any]) -> None:
    for name, signed in zip(DOCUMENTS, (collateral.tcb_info, collateral.qe_identity), strict=True):
        assert signed.body == value[name].encode(), "byte for byte: it is signed"
        assert signed.signature.hex() == value[f"{name}_signature"].lower()
        assert signed.chain == value[f"{name}_issuer_chain"].encode()
    assert (collateral.root_crl.hex(), collateral.pck_crl.hex()) == (value["root_ca_crl"], value["pck_crl"])
    assert collateral.pck_crl_chain == value["pck_crl_issuer_chain"].encode()
    assert parse(collateral.to_text()) == collateral
    assert parse(json.dumps(collateral.to_json())) == collateral


# Real bundles


def test_every_real_bundle_is_read_and_written_back(vectors: Path) -> None:
    folder = vectors / "quotes"
    paths = sorted((folder / "derived/collateral").glob("*.json"))
    assert len(paths) > 15
    for path in [*paths, *sorted((folder / "dcap-qvl").glob("*collateral.json")), folder / "near-mpc/collateral.json"]:
        data = path.read_bytes()
        check(Collateral.parse(data), json.loads(data))


def test_a_real_bundle_has_documents_of_two_evaluations(vectors: Path) -> None:
    collateral = Collateral.parse((vectors / "quotes/near-mpc/collateral.json").read_bytes())
    numbers = [
        TcbInfo.parse(collateral.tcb_info.body).evaluation_number,
        QeIdentity.parse(collateral.qe_identity.body).evaluation_number,
    ]
    assert numbers == [20, 19]


def test_an_answer_of_intels_service_is_no_bundle(vectors: Path) -> None:
    data = (vectors / "quotes/attestation-rs/collateral/tcb_info_90c06f000000.json").read_bytes()
    assert refused(data) == "collateral: tcb_info_signature is missing"


# Ours


def test_what_the_writer_wrote_is_read_back() -> None:
    collateral = parse(json.dumps(HONEST))
    check(collateral, HONEST)
    assert list(collateral.to_json()) == list(HONEST)
    assert collateral.to_json() == HONEST


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(str.encode)
signed = st.builds(Signed, text, st.binary(min_size=64, max_size=64), text)
collaterals = st.builds(Collateral, signed, signed, st.binary(max_size=60), st.binary(max_size=60), text)


@settings(max_examples=150, deadline=None)
@given(collaterals)
def test_any_collateral_is_written_and_read_back(collateral: Collateral) -> None:
    assert parse(collateral.to_text()) == collateral
    assert collateral.to_text().endswith("}\n")


def test_tools_add_a_chain_and_remarks_which_nobody_looks_at() -> None:
    honest = parse(json.dumps(HONEST))
    for chain in ("anything", "", None):
        assert parse(text_of(pck_certificate_chain=chain)) == honest
    assert parse(text_of(_fmspc="30A06F", _valid_until=[{"a": 1}], _=None)) == honest
    assert parse(text_of(pck_crl_issuer_chain="")).pck_crl_chain == b""
    assert "pck_certificate_chain" not in honest.to_json()


def pem(der: bytes, kind: str = "X509 CRL") -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


@pytest.mark.parametrize("name", ["root_ca_crl", "pck_crl"])
def test_a_revocation_list_is_hex_of_either_case_or_pem(name: str) -> None:
    honest, der = parse(json.dumps(HONEST)), bytes.fromhex(HONEST[name])
    forms = [
        HONEST[name].upper(),
        pem(der),
        "\n " + pem(der).replace("\n", "\r\n"),
        pem(der).replace("\n", ""),
        pem(der).strip(),
    ]
    for form in forms:
        assert parse(text_of(**{name: form})) == honest


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("zz", "is not hex"),
        ("000", "is not hex"),
        ("0x00", "is not hex"),
        ("\u0660\u0660", "is not hex"),
        ("\ud800", "is not hex"),
        (pem(b"x", "CRL"), "is not hex"),
        (pem(b"x") + "00", "is not hex"),
        ("00" + pem(b"x"), "is not hex"),
        (pem(b"x") + pem(b"y"), "is not hex"),
        (pem(b"x").replace("=", ""), "is not base64 within its PEM block"),
        (pem(b"x").replace("=", "*"), "is not base64 within its PEM block"),
        (pem(b"x").replace("=", "\u00e9"), "is not base64 within its PEM block"),
        (pem(b"x").replace("=", "\udfff"), "is not base64 within its PEM block"),
    ],
)  # fmt: skip
def test_a_revocation_list_in_another_form_is_refused(value: str, problem: str) -> None:
    assert refused(text_of(root_ca_crl=value)) == f"collateral: root_ca_crl {problem}"
    assert refused(text_of(pck_crl=value)) == f"collateral: pck_crl {problem}"


def test_no_text_in_a_pem_block_escapes_as_another_error() -> None:
    """base64 refuses text that is not ASCII with a plain ValueError."""
    assert "is not base64" in refused(text_of(pck_crl=pem(b"x").replace("=", "\u00e9")))


@pytest.mark.parametrize("name", list(HONEST))
def test_each_member_is_text_and_required(name: str) -> None:
    values: tuple[object, ...] = (1, True, [], {})
    if name == "pck_crl_issuer_chain":  # the quote has the same certificates
        assert parse(text_of(**{name: ABSENT})) == parse(text_of(**{name: None})) == parse(text_of(**{name: ""}))
    else:
        assert refused(text_of(**{name: ABSENT})).startswith(f"collateral: {name} is missing")
        values = (None, *values)
    for value in values:
        assert refused(text_of(**{name: value})).startswith(f"collateral: {name} must be")


@pytest.mark.parametrize(
    "name", ["tcb_info", "qe_identity", "tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"]
)
def test_half_of_a_surrogate_pair_is_no_text(name: str) -> None:
    assert refused(text_of(**{name: "a\ud800b"})) == f"collateral: {name} is not text"


@pytest.mark.parametrize("name", ["tcb_info_signature", "qe_identity_signature"])
def test_a_signature_is_64_bytes_in_hex(name: str) -> None:
    assert parse(text_of(**{name: HONEST[name].upper()})) == parse(json.dumps(HONEST))
    assert refused(text_of(**{name: HONEST[name][2:]})) == f"collateral: {name} has 63 bytes, not 64"
    assert refused(text_of(**{name: HONEST[name] + "00"})) == f"collateral: {name} has 65 bytes, not 64"
    assert refused(text_of(**{name: ""})) == f"collateral: {name} has 0 bytes, not 64"
    assert refused(text_of(**{name: "g" * 128})) == f"collateral: {name} is not hex"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "collateral: must be an object, not list"),
        ("null", "collateral: must be an object, not NoneType"),
        ('"x"', "collateral: must be an object, not str"),
        ("", "collateral: not JSON"),
        ("{", "collateral: not JSON"),
        (text_of() + "{}", "collateral: not JSON"),
        (text_of()[:-1] + ',"tcb_info":""}', "collateral: key occurs twice"),
        (text_of()[:-1] + ',"tcb_\\u0069nfo":""}', "collateral: key occurs twice"),
        (text_of()[:-1] + ',"_x":{"a":1,"a":1}}', "collateral: key occurs twice"),
        (text_of()[:-1] + ',"_x":NaN}', "collateral: NaN is not JSON"),
        (text_of()[:-1] + ',"_x":' + "[" * 100_000 + "]" * 100_000 + "}", "collateral: not JSON"),
        (text_of(version=3), "collateral: unknown member version"),
        (text_of(Tcb_info=""), "collateral: unknown member Tcb_info"),
        (text_of(pck_certificate_chain=1), "collateral: pck_certificate_chain must be str or NoneType, not int"),
        (b"\xff", "collateral: not JSON"),
        (" " * (LIMIT + 1), f"collateral: {LIMIT + 1} bytes are more than {LIMIT}"),
    ],
    ids=lambda each: repr(each)[-30:],
)  # fmt: skip
def test_what_is_no_collateral_is_refused_with_its_reason(document: str | bytes, message: str) -> None:
    assert refused(document).startswith(message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 9000), st.booleans())
def test_any_bytes_are_collateral_or_a_format_error(data: bytes, at: int, alone: bool) -> None:
    honest = text_of().encode()
    with suppress(FormatError):
        Collateral.parse(data if alone else honest[:at] + data[:4] + honest[at + len(data[:2]) :])


# Bounds of all five parsers

MIB = 1024 * 1024
PARSERS: dict[str, Callable[[bytes], object]] = {
    "unwrap": unwrap,
    "quote": Quote.parse,
    "certificates": lambda data: split_pem(data, what="chain"),
    "extension": PckExtension.parse,
    "tcb info": TcbInfo.parse,
    "QE identity": QeIdentity.parse,
    "collateral": Collateral.parse,
}
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
INFO = tcb_info().encode()
GARBAGE = {
    "zeros": bytes(MIB),
    "every byte": bytes(range(256)) * (MIB // 256),
    "dashes": b"-" * MIB,
    "hex in pairs": b"aa " * (2 * MIB // 3),
    "a long number": b"9" * MIB,
    "array of small numbers": b"[" + b"1," * (MIB - 2) + b"1]",
    "array of large numbers": b"[" + b"999," * (MIB // 2 - 1) + b"9]",
    "array of texts": b"[" + b'"abcde",' * (MIB // 8 - 2) + b'""]',
    "array of objects": b'{"_":[' + b'{"":0},' * (MIB // 7 - 2) + b"0]}",
    "array of arrays": b'{"_":[' + b"[]," * (MIB // 3 - 4) + b"0]}",
    "members": b"{" + b",".join(b'"%x":0' % number for number in range(MIB // 10)) + b"}",
    "the same member": b"{" + b'"a":0,' * (MIB // 6 - 2) + b'"a":0}',
    "deep arrays": b"[" * MIB,
    "deep objects": b'{"a":' * (MIB // 5),
    "escapes": b'{"_":"' + b"\\u00e9" * (MIB // 6 - 2) + b'"}',
    "characters of four bytes": b'{"_":"' + "\U0001f600".encode() * (MIB // 4 - 3) + b'"}',
    "a document with a member": INFO[:-1] + b',"_":[' + b"{}," * ((MIB - len(INFO)) // 3 - 4) + b"0]}",
    "a level many times": b'{"id":"TDX","version":3,"tcbType":0,"tcbLevels":[' + b"{}," * (MIB // 3 - 20) + b"{}]}",
    "beginnings of certificates": BEGIN * (MIB // len(BEGIN)),
    "one long certificate": BEGIN + b"aa " * (MIB // 3 - 20) + END,
    "empty certificates": (BEGIN + END) * (MIB // len(BEGIN + END)),
    "a certificate without an end": BEGIN + b"A" * MIB,
    "a list without an end": b'{"root_ca_crl":"-----BEGIN X509 CRL-----' + b"a " * (MIB // 2 - 30) + b'"}',
    "sequences in sequences": b"\x30\x82\xff\xff" * (MIB // 4),
    "a sequence of empty ones": b"\x30\x82\xff\xfc" + b"\x30\x00" * 0x7FFE,
}  # fmt: skip


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("parser", PARSERS)
def test_a_mebibyte_of_garbage_takes_little_memory(parser: str, kind: str) -> None:
    with memory_below(64 * MIB), suppress(FormatError):
        PARSERS[parser](GARBAGE[kind])
