"""Evidence of an Azure machine against a paravisor's TPM and a metadata service in memory, and genuine reports."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.evidence import AzureEvidence, Envelope, tpm_extra_data
from pluto_measure.formats import tpm
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence import azure, tpm_commands
from pluto_notary.evidence.azure import AzureSources, HclReport, imds_quote
from pluto_notary.evidence.helper import Helper
from pluto_notary.evidence.messages import AzureParts, KeyRequest, parse_parts
from pluto_notary.evidence.provider import Issue, envelope_of
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from pluto_notary.limits import TokenBucket
from simulators.notary.azure import AK, CERTIFICATE, REPORT, USER_DATA, AzureTpm, Metadata, hcl_report
from simulators.notary.configfs_tsm import quote_of
from simulators.notary.evidence import STATEMENT_KEY

BOUND = bytes(range(64))
VECTORS = Path(os.environ.get("PLUTO_VECTORS", Path(__file__).resolve().parents[4] / "shared/vectors")) / "quotes"
GENUINE = (
    "azure-cvm-tooling/hcl-report-tdx.bin",
    "attestation-rs/az_tdx/hcl-report.bin",
    "trustee/az-tdx-vtpm/hcl-report.bin",
)


def sources(device: AzureTpm, host: Metadata | None = None, waits: list[float] | None = None) -> AzureSources:
    machine = Tpm(device, sleep=lambda _: None)
    wait = (waits if waits is not None else []).append
    return AzureSources(machine, imds_quote(host or Metadata()), lambda: b"log", lambda: b"\7" * 32, wait)


def code(call: Callable[[], object]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("stale", range(6))
def test_all_three_parts_carry_the_binding(stale: int) -> None:
    device, host, waits = AzureTpm(stale=stale), Metadata(), list[float]()
    parts = sources(device, host, waits).parts(BOUND, b"\7" * 32)
    report = HclReport.parse(parts.hcl_report)
    assert report.user_data == BOUND
    assert host.seen == [report.td_report]
    assert parts.td_quote == quote_of(hashlib.sha256(report.runtime_data).digest() + bytes(32))
    attest = tpm.Attest.parse(parts.quote.attest)
    assert attest.extra_data == tpm_extra_data(BOUND)
    signature = tpm.parse_signature(parts.quote.signature)
    assert isinstance(signature, tpm.RsassaSignature)
    AK.public_key().verify(signature.signature, parts.quote.attest, padding.PKCS1v15(), hashes.SHA256())
    assert len(waits) == stale + 1
    assert sum(waits) < 8


def test_the_helper_and_the_notary_make_an_envelope_of_it() -> None:
    helper = Helper(sources(AzureTpm()), bucket=TokenBucket(rate=1, burst=1, now=0), clock=lambda: 0.0)
    request = KeyRequest(STATEMENT_KEY)
    parts = parse_parts(helper.answer(request.to_body()))
    assert isinstance(parts, AzureParts)
    issue = Issue(3, datetime(2026, 11, 20, tzinfo=UTC), bytes(32))
    envelope = Envelope.parse(envelope_of(request, issue, parts).to_text())
    assert (envelope.type, envelope.platform) == ("azure", "azure-tdx")
    assert isinstance(envelope.evidence, AzureEvidence)
    assert HclReport.parse(envelope.evidence.hcl_report).user_data == envelope.claims.binding()


def test_an_index_of_another_size_is_made_anew_and_a_right_one_is_kept() -> None:
    device = AzureTpm()
    device.indexes[USER_DATA] = bytearray(10)
    machine = sources(device)
    machine.parts(BOUND, bytes(32))
    assert (0x122 in device.seen, device.seen.count(0x12A)) == (True, 1)
    machine.parts(BOUND[::-1], bytes(32))
    assert device.seen.count(0x12A) == 1


def test_a_report_that_never_names_what_was_written_is_no_evidence() -> None:
    assert code(lambda: sources(AzureTpm(stale=99)).parts(BOUND, bytes(32))) == "device"
    lying = AzureTpm(report=lambda _: hcl_report(b"\xee" * 64))
    assert code(lambda: sources(lying).parts(BOUND, bytes(32))) == "device"


def test_registers_that_change_once_are_quoted_again_and_those_that_never_rest_are_refused() -> None:
    left = [1]

    def extend(device: AzureTpm) -> None:
        if left[0]:
            left[0] -= 1
            device.registers["sha256"] = {**device.registers["sha256"], "pcr16": bytes([left[0] + 1]) * 32}

    device = AzureTpm(before_quote=extend)
    sources(device).parts(BOUND, bytes(32))
    left[0] = 99
    assert code(lambda: sources(device).parts(BOUND, bytes(32))) == "device"


CERTIFICATE_DER = b"\x30\x82\x01\x00" + b"\xcc" * 256


@pytest.mark.parametrize(
    ("stored", "found"),
    [(CERTIFICATE_DER + bytes(500), CERTIFICATE_DER), (bytes(700), b""), (b"\x30\x03abc", b""), (None, b"")],
)
def test_the_certificate_loses_the_zeros_behind_it(stored: bytes | None, found: bytes) -> None:
    device = AzureTpm()
    if stored is not None:
        device.indexes[CERTIFICATE] = bytearray(stored)
    assert sources(device).parts(BOUND, bytes(32)).ak_certificate == found


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "nothing": lambda answer: {},
    "a number": lambda answer: {"quote": 1},
    "no base64": lambda answer: {"quote": "~~~"},
    "another report's quote": lambda answer: {"quote": base64.urlsafe_b64encode(quote_of(BOUND)).decode()},
    "zeros": lambda answer: {"quote": base64.urlsafe_b64encode(bytes(5000)).decode()},
    "empty": lambda answer: {"quote": ""},
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_the_host_answers_is_looked_at(answer: str) -> None:
    with pytest.raises((EvidenceError, FormatError)):
        sources(AzureTpm(), Metadata(change=ANSWERS[answer])).parts(BOUND, bytes(32))


@pytest.mark.parametrize(("status", "expected"), [(429, "busy"), (500, "device"), (415, "device"), (404, "device")])
def test_a_metadata_service_that_refuses_is_an_error_with_a_code(status: int, expected: str) -> None:
    assert code(lambda: sources(AzureTpm(), Metadata(status)).parts(BOUND, bytes(32))) == expected


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_reports_of_tdx_machines_parse(name: str) -> None:
    if not (VECTORS / name).is_file():
        pytest.skip("no recorded evidence (PLUTO_VECTORS)")
    report = HclReport.parse((VECTORS / name).read_bytes())
    assert report.user_data == bytes(64)
    assert len(report.td_report) == 1024


def test_a_genuine_report_of_an_sev_machine_is_refused() -> None:
    path = VECTORS / "azure-cvm-tooling/hcl-report-snp.bin"
    if not path.is_file():
        pytest.skip("no recorded evidence (PLUTO_VECTORS)")
    with pytest.raises(FormatError, match="types are"):
        HclReport.parse(path.read_bytes())


GOOD = hcl_report(BOUND)


@pytest.mark.parametrize("at", [0, 32 + 128, 32 + 128 + 32, 1224, 1228, 1300, 2599])
def test_a_report_that_was_touched_is_refused(at: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= 1
    with pytest.raises(FormatError):
        HclReport.parse(bytes(changed))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 2600))
def test_any_bytes_are_a_report_or_an_error(garbage: bytes, cut: int) -> None:
    for data in (garbage, GOOD[:cut], GOOD[:cut] + garbage):
        try:
            assert HclReport.parse(data).user_data == BOUND
        except FormatError:
            continue


def test_a_machine_is_told_by_the_index_of_its_report() -> None:
    device = AzureTpm()
    assert azure.is_azure(Tpm(device, sleep=lambda _: None))
    del device.indexes[REPORT]
    assert not azure.is_azure(Tpm(device, sleep=lambda _: None))


def test_an_index_without_end_is_not_read() -> None:
    device = AzureTpm()
    device.indexes[REPORT] = bytearray(tpm_commands.LARGEST_INDEX + 1)
    with pytest.raises(FormatError, match="more than"):
        azure.read_index(Tpm(device, sleep=lambda _: None), REPORT)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_from_a_device_are_an_error(garbage: bytes) -> None:
    for parse in (tpm_commands.nv_public, tpm_commands.nv_data):
        with pytest.raises((FormatError, TpmError)):
            parse(garbage)


@pytest.mark.interop
def test_a_real_tpm_defines_writes_reads_and_removes_an_index(emulator: socket.socket) -> None:
    machine = Tpm(DescriptorTransport(emulator.fileno()), sleep=time.sleep)
    assert not azure.is_azure(machine)
    azure.write_index(machine, USER_DATA, BOUND)
    assert azure.read_index(machine, USER_DATA) == BOUND
    longer = bytes(1500)
    public = tpm_commands.nv_public(machine.send(tpm_commands.nv_read_public(USER_DATA)))
    assert (public.index, public.size) == (USER_DATA, 64)
    assert public.attributes & tpm_commands.NV_OWNER == tpm_commands.NV_OWNER
    tpm_commands.done("", machine.send(tpm_commands.nv_define_space(REPORT, len(longer))))
    for at in (0, 1000):
        tpm_commands.done("", machine.send(tpm_commands.nv_write(REPORT, longer[at : at + 1000], at)))
    assert azure.read_index(machine, REPORT) == longer
    azure.write_index(machine, USER_DATA, b"\1" * 32)
    assert azure.read_index(machine, USER_DATA) == b"\1" * 32
    assert azure.is_azure(machine)
