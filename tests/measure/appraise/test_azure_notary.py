"""The two ends fit: what the notary's helper makes on an Azure machine is what the verifier accepts."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from pluto_measure.appraise.expected import KeyExpected
from pluto_measure.claims import KeyClaims
from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope
from pluto_measure.findings import NotAuthentic
from pluto_measure.formats import hcl
from pluto_measure.verify.azure import verify_azure
from pluto_notary.evidence.azure import AzureSources, HclReport, imds_quote
from pluto_notary.evidence.helper import Helper
from pluto_notary.evidence.messages import AzureParts, KeyRequest, parse_parts
from pluto_notary.evidence.provider import Issue, envelope_of
from pluto_notary.evidence.tpm_device import Tpm
from pluto_notary.limits import TokenBucket
from simulators import trust_domains
from simulators.azure_evidence import CONFIG, POLICY, TRUST, AzureMachine, appraised, rsa_key
from simulators.intel import NOW
from simulators.launches import LAUNCH
from simulators.notary.azure import AK, CERTIFICATE, AzureTpm, Metadata, hcl_report
from simulators.notary.evidence import STATEMENT_KEY
from simulators.tpm_quotes import AK_USAGE, certificate

MACHINE = AzureMachine(key=AK)


def host(body: bytes) -> Any:
    """The metadata service, with Intel's quote of the TD report that it is sent."""
    service = Metadata()
    service(body)
    quote = MACHINE.quote_over(b"")[1].with_report(reportdata=service.seen[-1][128:192]).quote
    return Metadata(change=lambda _: {"quote": base64url(quote)})(body)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def made(device: AzureTpm) -> Envelope:
    sources = AzureSources(
        Tpm(device, sleep=lambda _: None), imds_quote(host), MACHINE.log_bytes, lambda: CONFIG, lambda _: None
    )
    helper = Helper(sources, bucket=TokenBucket(rate=1, burst=1, now=0), clock=lambda: 0.0)
    request = KeyRequest(STATEMENT_KEY)
    parts = parse_parts(helper.answer(request.to_body()))
    assert isinstance(parts, AzureParts)
    return Envelope.parse(envelope_of(request, Issue(3, NOW, bytes.fromhex(LAUNCH.build_id)), parts).to_text())


def device(**changes: Any) -> AzureTpm:
    paravisor = dataclasses.replace(MACHINE, **changes)
    return AzureTpm(registers={"sha256": MACHINE.registers()}, report=paravisor.hcl)


def test_what_the_notary_makes_is_accepted() -> None:
    machine = device()
    leaf = certificate("vm", AK, "issuer", rsa_key("issuer"), ca=False, usage=AK_USAGE)
    machine.indexes[CERTIFICATE] = bytearray(leaf.ljust(3087, b"\0"))
    appraisal = appraised(MACHINE, envelope=made(machine), expected=KeyExpected(STATEMENT_KEY))
    assert trust_domains.failed(appraisal) == []
    assert appraisal.accepted


def test_a_machine_without_a_certificate_is_left_to_the_policy() -> None:
    appraisal = appraised(MACHINE, envelope=made(device()), expected=KeyExpected(STATEMENT_KEY), policy=POLICY)
    assert trust_domains.failed(appraisal) == ["policy.ak_trust"]


def test_both_ends_refuse_reports_of_other_hardware() -> None:
    machine = device(report={"kind": 2})
    data = machine.report(bytes(64))
    for parse in (HclReport.parse, hcl.HclReport.parse):
        with pytest.raises(FormatError):
            parse(data)


def test_both_ends_read_the_same_out_of_a_report() -> None:
    data = MACHINE.hcl(bytes(range(64)))
    ours, theirs = hcl.HclReport.parse(data), HclReport.parse(data)
    assert (ours.runtime_data, ours.user_data) == (theirs.runtime_data, theirs.user_data)
    with pytest.raises(FormatError):  # a bare form of the notary's own tests, which names no key and no size
        hcl.HclReport.parse(hcl_report(bytes(64)))


def test_evidence_for_another_key_is_refused() -> None:
    envelope = made(device())
    claims = KeyClaims(b"\3" * 33, CONFIG, bytes.fromhex(LAUNCH.build_id))
    changed = Envelope(
        envelope.platform, envelope.epoch, envelope.issued_at, envelope.evidence, claims
    )  # fmt: skip
    collateral, roots = trust_domains.collateral_of(MACHINE.world), frozenset({trust_domains.ROOT})
    with pytest.raises(NotAuthentic, match=r"binding\.user_data.*binding\.extra_data"):
        verify_azure(changed, collateral, roots, at=NOW, ak=TRUST)
