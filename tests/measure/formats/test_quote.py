"""TDX quotes: what another program writes is read back to the byte, real ones are read, all else is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import split_pem
from pluto_measure.formats.quote import INTEL_QE_VENDOR, LIMIT, QeReport, Quote, ServiceTds, begins, is_hex, unwrap
from simulators import intel
from simulators.intel.dissect import Parts

PCK = intel.Authority.make().pck()
KINDS = [(4, intel.TD10), (5, intel.TD10), (5, intel.TD15), (5, intel.TD15EX)]
NAMES = {intel.TD10: "1.0", intel.TD15: "1.5", intel.TD15EX: "1.5-Ex"}
SIGNATURES: dict[str, Any] = {"signature": bytes(range(64)), "qe_signature": bytes(range(64, 128))}


def made(version: int = 4, kind: int = intel.TD10, **changes: Any) -> bytes:
    return intel.quote(PCK, intel.TdReport(kind), version=version, **{**SIGNATURES, **changes})


def refused(data: bytes) -> FormatError:
    with pytest.raises(FormatError) as caught:
        Quote.parse(data)
    return caught.value


# Real quotes: file, version, TD report, bytes after the quote, how many of them are not zero, TDATTRIBUTES

REAL = [
    ("attestation-rs/az_tdx/td-quote.bin", 4, "1.0", 70, 0, 0),
    ("attestation-rs/tdx_quote_live.dat", 4, "1.0", 307, 0, intel.SEPT_VE_DISABLE),
    ("cc-trusted-api/quote.bin", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("dcap-qvl/near_quote_hex.txt", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("dcap-qvl/quote-from-tappd.hex", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("dcap-qvl/tdx-quote.hex", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("dcap-qvl/tdx_quote", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("dcap-qvl/tdx_quote_outdated", 5, "1.5", 0, 0, intel.SEPT_VE_DISABLE),
    ("go-tdx-guest/ccel/cos-113-tdx-quote.dat", 4, "1.0", 3065, 0, intel.SEPT_VE_DISABLE),
    ("go-tdx-guest/quote_v5_sample.dat", 5, "1.5", 0, 0, intel.SEPT_VE_DISABLE),
    ("go-tdx-guest/tdx_prod_quote_SPR_E4.dat", 4, "1.0", 39, 39, intel.PKS),
    ("near-mpc/quote.json", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
    ("openenclave/tdx_quote", 4, "1.0", 0, 0, 0),
    ("openenclave/tdx_quote-moduleupdate-seamldr5.dat", 5, "1.5", 0, 0, intel.SEPT_VE_DISABLE),
    ("openenclave/tdx_quote_v5", 5, "1.5", 0, 0, intel.SEPT_VE_DISABLE | intel.MIGRATABLE),
    ("trustee/az-tdx-vtpm/td-quote.bin", 4, "1.0", 70, 0, 0),
    ("trustee/tdx_quote_4.dat", 4, "1.0", 0, 0, intel.SEPT_VE_DISABLE | intel.DEBUG),
    ("trustee/tdx_quote_5.dat", 5, "1.5", 0, 0, intel.SEPT_VE_DISABLE),
    ("trustee/tdx_quote_6.dat", 4, "1.0", 70, 0, intel.SEPT_VE_DISABLE),
]
WITH_SERVICE_TD = {"openenclave/tdx_quote_v5", "trustee/tdx_quote_5.dat"}


@pytest.mark.parametrize(("name", "version", "report", "after", "not_zero", "attributes"), REAL, ids=lambda each: each)
def test_a_real_quote_is_read(
    vectors: Path, name: str, version: int, report: str, after: int, not_zero: int, attributes: int
) -> None:
    data = unwrap((vectors / "quotes" / name).read_bytes())
    quote, parts = Quote.parse(data), Parts(data)
    assert begins(data)
    assert (quote.version, quote.report.version) == (version, report)
    assert (len(data) - quote.extent, sum(map(bool, data[quote.extent :]))) == (after, not_zero)
    assert int.from_bytes(quote.report.td_attributes, "little") == attributes
    assert (quote.report.mr_service_td is not None) == (report == "1.5")
    assert any(quote.report.mr_service_td or b"") == (name in WITH_SERVICE_TD)
    assert quote.vendor_id == INTEL_QE_VENDOR
    assert len(split_pem(quote.certificates, what="quote.certificates")) == 3
    assert (quote.signed, quote.signature, quote.attestation_key) == (parts.signed, parts.signature, parts.key)
    assert (quote.qe_report.raw, quote.qe_signature) == (parts.qe_report, parts.qe_signature)
    assert (quote.qe_auth_data, quote.certificates) == (parts.auth_data, parts.certificates)
    assert Quote.parse(data[: quote.extent]) == quote, "what follows is part of nothing"


@pytest.mark.parametrize(
    ("name", "version", "report"),
    [row[:3] for row in REAL if row[0] in ("openenclave/tdx_quote_v5", "near-mpc/quote.json")],
)
def test_every_truncation_of_a_real_quote_is_refused(vectors: Path, name: str, version: int, report: str) -> None:
    data = unwrap((vectors / "quotes" / name).read_bytes())
    for size in range(Quote.parse(data).extent):
        refused(data[:size])


@pytest.mark.parametrize("name", ["dcap-qvl/sgx_quote", "trustee/occlum_quote.dat"])
def test_a_real_sgx_quote_is_named_so(vectors: Path, name: str) -> None:
    data = (vectors / "quotes" / name).read_bytes()
    assert begins(data)
    assert "is an SGX quote" in str(refused(unwrap(data)))


def test_one_real_quote_in_two_encodings_is_one_quote(vectors: Path) -> None:
    data = (vectors / "quotes/dcap-qvl/tdx_quote").read_bytes()
    assert unwrap(data) == data
    assert unwrap(data.hex().encode()) == data
    assert unwrap(json.dumps(list(data), indent=1).encode()) == data


# Against the writer in tests/simulators

byte_fields = {
    field.name: st.binary(min_size=len(value), max_size=len(value))
    for field in fields(intel.TdReport)
    if isinstance(value := field.default, bytes)
}
digest = st.binary(min_size=48, max_size=48)
reports = st.builds(
    intel.TdReport,
    kind=st.sampled_from(list(NAMES)),
    tdattributes=st.integers(0, 2**64 - 1),
    xfam=st.integers(0, 2**64 - 1),
    rtmrs=st.tuples(digest, digest, digest, digest),
    tee_tcb_svn2=st.binary(min_size=16, max_size=16),
    initial_tee_tcb_svn=st.binary(min_size=16, max_size=16),
    vm_id=st.integers(0, 255),
    **byte_fields,
)
enclaves = st.builds(
    intel.EnclaveReport,
    cpusvn=st.binary(min_size=16, max_size=16),
    miscselect=st.integers(0, 2**32 - 1),
    attributes=st.binary(min_size=16, max_size=16),
    mrenclave=st.binary(min_size=32, max_size=32),
    mrsigner=st.binary(min_size=32, max_size=32),
    isvprodid=st.integers(0, 2**16 - 1),
    isvsvn=st.integers(0, 2**16 - 1),
)


@settings(max_examples=60, deadline=None)
@given(
    report=reports,
    qe=enclaves,
    ends=st.binary(max_size=80),
    auth=st.binary(max_size=80),
    pem=st.binary(max_size=80),
    qe_data=st.binary(min_size=64, max_size=64),
    user=st.binary(min_size=20, max_size=20),
    vendor=st.binary(min_size=16, max_size=16),
)
def test_what_the_writer_wrote_is_read_back(
    report: intel.TdReport,
    qe: intel.EnclaveReport,
    ends: bytes,
    auth: bytes,
    pem: bytes,
    qe_data: bytes,
    user: bytes,
    vendor: bytes,
) -> None:
    version = 4 if report.kind == intel.TD10 else 5
    more: dict[str, Any] = {"inner_data": pem, "qe_report_data": qe_data, "user_data": user, "vendor_id": vendor}
    written = intel.Quote(
        PCK, report, version, trailing=ends, auth_data=auth, qe_report=qe, qe_svn=7, pce_svn=9, **SIGNATURES, **more
    )
    data = written.encode()
    quote = Quote.parse(data)
    assert (quote.version, quote.vendor_id, quote.user_data) == (version, vendor, user)
    assert (quote.signed, quote.signature, quote.qe_signature) == (written.signed(), *SIGNATURES.values())
    assert (quote.qe_auth_data, quote.certificates) == (auth, pem)
    assert quote.extent == len(data) - len(ends)
    check_report(quote, report)
    read = quote.qe_report
    assert read == QeReport.parse(read.raw)
    assert (read.cpu_svn, read.misc_select, read.attributes) == (qe.cpusvn, qe.miscselect, qe.attributes)
    assert (read.mr_enclave, read.mr_signer) == (qe.mrenclave, qe.mrsigner)
    assert (read.isv_prod_id, read.isv_svn, read.report_data) == (qe.isvprodid, qe.isvsvn, qe_data)


def check_report(quote: Quote, report: intel.TdReport) -> None:
    read = quote.report
    assert read.version == NAMES[report.kind]
    assert (read.tee_tcb_svn, read.mr_seam, read.mr_signer_seam) == (
        report.tee_tcb_svn,
        report.mrseam,
        report.mrsignerseam,
    )
    assert read.seam_attributes == report.seamattributes
    assert struct.unpack("<QQ", read.td_attributes + read.xfam) == (report.tdattributes, report.xfam)
    assert list(read.registers) == ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    assert tuple(read.registers.values()) == (report.mrtd, *report.rtmrs)
    assert (read.mr_config_id, read.mr_owner, read.mr_owner_config) == (
        report.mrconfigid,
        report.mrowner,
        report.mrownerconfig,
    )
    assert read.report_data == report.reportdata
    from_15 = report.kind >= intel.TD15
    assert read.tee_tcb_svn_2 == (report.tee_tcb_svn2 if from_15 else None)
    assert read.mr_service_td == (report.mrservicetd if from_15 else None)
    expected = ServiceTds(
        vm_id=bytes([report.vm_id]),
        td_id=report.td_id,
        device_info=report.device_info,
        initial_hash=report.initial_service_td_hash,
        initial_attributes=report.initial_service_td_attributes,
        initial_cpu_svn=report.initial_cpusvn,
        initial_tee_tcb_svn=report.initial_tee_tcb_svn or b"",
        initial_fmspc=report.initial_fmspc,
        current_hash=report.current_service_td_hash,
        current_attributes=report.current_service_td_attributes,
    )
    assert read.service_tds == (expected if report.kind == intel.TD15EX else None)


@pytest.mark.parametrize(("version", "kind"), KINDS)
def test_every_truncation_is_refused(version: int, kind: int) -> None:
    data = made(version, kind)
    assert Quote.parse(data).extent == len(data)
    for size in range(len(data)):
        refused(data[:size])


@pytest.mark.parametrize(("version", "kind"), KINDS)
def test_a_bit_in_the_signed_part_is_a_bit_of_the_facts(version: int, kind: int) -> None:
    data = made(version, kind)
    quote = Quote.parse(data)
    for at in range(len(quote.signed)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert Quote.parse(flipped).signed != quote.signed
        except FormatError:
            assert at < 8 or 48 <= at < 54, "of version, key type, TEE type, and body type and size alone"


# Any bytes

HEADS = [made(version, kind)[: 48 + 6 * (version == 5)] for version, kind in KINDS]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=2048) | st.builds(bytes.__add__, st.sampled_from(HEADS), st.binary(max_size=2048)))
def test_any_bytes_are_a_quote_or_a_format_error(data: bytes) -> None:
    with suppress(FormatError):
        assert 0 < Quote.parse(unwrap(data)).extent <= len(data)


@settings(max_examples=200, deadline=None)
@given(st.text('0123456789abcdefxX[], \n-.e"', max_size=40).map(str.encode) | st.binary(max_size=64))
def test_any_bytes_unwrap_or_are_a_format_error(data: bytes) -> None:
    with suppress(FormatError):
        assert len(unwrap(data)) <= len(data)


# What is refused, and what the error says


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "quote at offset 0x4: version 3 with TEE type 0x81 is an SGX quote, not a TDX quote"),
        ({"tee_type": 0}, "quote at offset 0x4: version 4 with TEE type 0x0 is an SGX quote, not a TDX quote"),
        ({"version": 5, "tee_type": 0}, "quote at offset 0x4: version 5 with TEE type 0x0 is an SGX quote"),
        ({"version": 0, "tee_type": 0}, "quote at offset 0x0: version 0 is neither 4 nor 5"),
        ({"version": 6}, "quote at offset 0x0: version 6 is neither 4 nor 5"),
        ({"tee_type": 0x82}, "quote at offset 0x4: TEE type 0x82 is not TDX (0x81)"),
        ({"key_type": 3}, "quote at offset 0x2: attestation key type 3 is not ECDSA P-256 (2)"),
        ({"version": 5, "body_type": 0}, "quote at offset 0x32: body type 0 is not one of 2, 3, 4"),
        ({"version": 5, "body_type": 5}, "quote at offset 0x32: body type 5 is not one of 2, 3, 4"),
        ({"version": 5, "body_type": 1}, "quote at offset 0x32: body type 1 is an SGX enclave report, not a TD report"),
        ({"version": 5, "body_size": 585}, "quote at offset 0x36: body size 585 is not 584, that of a TD report 1.0"),
        ({"version": 5, "body_type": 3}, "quote at offset 0x36: body size 584 is not 648, that of a TD report 1.5"),
        ({"version": 5, "body_type": 4}, "quote at offset 0x36: body size 584 is not 885, that of a TD report 1.5-Ex"),
        ({"signature_data_delta": 1}, "quote at offset 0x27c: signature needs"),
        ({"signature_data_delta": -1}, "quote.signature at offset 0x302: certification needs"),
        ({"signature_data_delta": 1, "trailing": b"x"}, "1 bytes left over"),
        ({"outer_type": 5}, "quote.signature at offset 0x2fe: certification data type 5 is not 6"),
        ({"outer_length_delta": 1}, "quote.signature at offset 0x302: certification needs"),
        ({"outer_length_delta": -1}, "1 bytes left over"),
        ({"auth_data_delta": 0xFFDF}, "QE authentication data needs 65535 bytes"),
        ({"inner_type": 1, "inner_data": b"x"}, "type 1 is not 5: a quote must carry its PCK certificate chain"),
        ({"inner_type": 6}, "type 6 is not 5: a quote must carry its PCK certificate chain"),
        ({"inner_length_delta": 1}, "chain needs"),
        ({"inner_length_delta": -1}, "1 bytes left over"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_quote_is_refused_with_its_reason(changes: dict[str, Any], message: str) -> None:
    assert message in str(refused(made(**changes)))


def test_an_enclave_in_a_quote_of_version_5_is_named_so() -> None:
    data = intel.quote(PCK, intel.EnclaveReport(), version=5, tee_type=0x81, **SIGNATURES)
    assert "SGX enclave report" in str(refused(data))
    whole = intel.quote(PCK, intel.EnclaveReport(), version=3, **SIGNATURES)
    assert "SGX quote" in str(refused(whole))


def test_zeros_are_not_called_an_sgx_quote() -> None:
    assert str(refused(bytes(5000))) == "quote at offset 0x0: version 0 is neither 4 nor 5"


def test_bytes_after_the_quote_are_accepted_and_belong_to_nothing() -> None:
    data = made()
    bare = Quote.parse(data)
    for after in (b"\0", bytes(70), b"\xff" * 39, made()):
        assert Quote.parse(data + after) == bare
    assert (bare.extent, bare.qe_auth_data, bare.certificates[-1:]) == (len(data), bytes(range(32)), b"\0")


def test_authentication_data_may_be_empty() -> None:
    assert Quote.parse(made(auth_data=b"")).qe_auth_data == b""


def test_a_quote_has_a_largest_size() -> None:
    data = made()
    assert Quote.parse(data + bytes(LIMIT - len(data))).extent == len(data)
    assert str(refused(data + bytes(LIMIT - len(data) + 1))) == "quote: 1048577 bytes are more than 1048576"


# Encodings


@pytest.mark.parametrize(
    "write",
    [
        bytes,
        lambda data: data.hex().encode(),
        lambda data: data.hex().upper().encode() + b"\n",
        lambda data: b"0x" + data.hex().encode(),
        lambda data: b"\r\n  " + data.hex(" ", 4).encode() + b"\t",
        lambda data: json.dumps(list(data)).encode(),
        lambda data: json.dumps(list(data), separators=(",", ":")).encode() + b"\n",
        lambda data: json.dumps(list(data), indent=2).encode(),
    ],
)
def test_every_encoding_is_the_same_quote(write: Any) -> None:
    data = made(5, intel.TD15)
    assert unwrap(write(data)) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"04000", "quote: is hex text with an odd number of digits (5)"),
        (b"0x0", "quote: is hex text with an odd number of digits (1)"),
        (b"[4,0,256]", "quote: is a JSON array, but not of bytes"),
        (b"[4,0,-1]", "quote: is a JSON array, but not of bytes"),
        (b"[4,0,1.0]", "quote: is a JSON array, but not of bytes"),
        (b"[4,0,1e1]", "quote: is a JSON array, but not of bytes"),
        (b"[4,[0]]", "quote: is a JSON array, but not of bytes"),
        (b'[4,"0"]', "quote: is a JSON array, but not of bytes"),
        (b"[4,true]", "quote: is a JSON array, but not of bytes"),
        (b"[1_0]", "quote: is a JSON array, but not of bytes"),
        (b"[04,00]", "quote: not JSON"),
        (b"[4,]", "quote: not JSON"),
        (b"[4 0]", "quote: not JSON"),
        (b"[" + b"9" * 5000 + b"]", "quote: not JSON"),
        (bytes(2 * LIMIT + 1), "quote: 2097153 bytes are more than 2097152"),
    ],
    ids=lambda each: each[:12],
)  # fmt: skip
def test_text_that_is_no_quote_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        unwrap(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("data", [b"", b"  \n", b"0x", b"xyz", b"[", b"]", b"{}", b'"00"', b"0x04 zz"])
def test_what_is_in_no_encoding_comes_back_for_the_parser_to_refuse(data: bytes) -> None:
    assert unwrap(data) == data
    assert "header needs 48 bytes" in str(refused(data))


def test_hex_text_is_told_from_everything_else() -> None:
    assert all(is_hex(data) for data in (b"04", b" 0x04\n", b"0A\n0b", b"0", made().hex().encode()))
    assert not any(is_hex(data) for data in (b"", b"0x", b"[4]", b"x", made()))


def test_an_empty_array_is_no_quote() -> None:
    assert unwrap(b"[ ]") == b""


def test_a_quote_begins_with_its_version_and_vendor() -> None:
    data = made()
    assert begins(data)
    assert begins(intel.quote(PCK, intel.EnclaveReport(), version=3, **SIGNATURES))
    assert not begins(data[:47])
    assert not begins(b"\6" + data[1:])
    assert not begins(made(vendor_id=bytes(16)))
