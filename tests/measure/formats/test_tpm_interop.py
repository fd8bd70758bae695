"""A TPM that others wrote (swtpm) makes structures that we read, verify and appraise, byte for byte."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_measure.appraise import verify_evidence
from pluto_measure.digests import ALGORITHMS
from pluto_measure.evidence import BANKS, Claims, Envelope, TpmEvidence, tpm_extra_data
from pluto_measure.formats import tpm
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.tpm import verify_tpm
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from simulators import policies
from simulators.software_tpm import swtpm
from simulators.tpm_quotes import BOOT, NOW, Event, log_of, reference_of, tpm_evidence

pytestmark = pytest.mark.interop

CLAIMS = Claims("node", b"nonce", hashlib.sha256(b"").digest(), bytes(range(32)), b"\xb1" * 32)
POLICY = dataclasses.replace(policies.POLICY, config_digest="any")


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[DescriptorTransport]:
    """A freshly started swtpm."""
    program, environment = swtpm()
    path = tmp_path / "tpm.sock"
    server = ["--tpmstate", f"dir={tmp_path}", "--server", f"type=unixio,path={path}"]
    argv = [*program, "socket", "--tpm2", *server, "--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(argv, env=environment)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            for _ in range(200):
                if connection.connect_ex(str(path)) == 0:
                    break
                time.sleep(0.02)
            yield DescriptorTransport(connection.fileno())
    finally:
        process.kill()
        process.wait()


def extend(transport: DescriptorTransport, event: Event) -> None:
    """TPM2_PCR_Extend (Part 3, 22.2) in both banks."""
    index, _, data = event
    digests = b"".join(ALGORITHMS[bank][0].to_bytes(2) + hashlib.new(bank, data).digest() for bank in BANKS)
    authorisation = (0x4000_0009).to_bytes(4) + bytes(5)
    body = index.to_bytes(4) + len(authorisation).to_bytes(4) + authorisation + len(BANKS).to_bytes(4) + digests
    response = transport((0x8002).to_bytes(2) + (10 + len(body)).to_bytes(4) + (0x182).to_bytes(4) + body)
    assert response[6:10] == bytes(4)


def evidence(transport: DescriptorTransport) -> Envelope:
    device = Tpm(transport, sleep=time.sleep)
    quote = device.quote(tpm_extra_data(CLAIMS.binding()))
    return Envelope("qemu-vtpm", 0, NOW, TpmEvidence(quote, device.public(), (), log_of(BOOT)), CLAIMS)


def test_structures_of_swtpm_are_read_and_written_byte_for_byte(transport: DescriptorTransport) -> None:
    envelope = evidence(transport)
    inside = tpm_evidence(envelope)
    assert tpm.Attest.parse(inside.quote.attest).marshal() == inside.quote.attest
    assert tpm.parse_signature(inside.quote.signature).marshal() == inside.quote.signature
    assert tpm.parse_public(inside.ak_public).marshal() == inside.ak_public
    verify_tpm(envelope, at=NOW)


def test_a_boot_that_swtpm_quoted_is_accepted_and_one_more_event_is_refused(transport: DescriptorTransport) -> None:
    reference = reference_of()
    rules = dict(reference.profiles[0].registers) | {"pcr10": RegisterRule("zero", (), "computed")}
    profile = dataclasses.replace(reference.profiles[0], registers=rules)
    references = [dataclasses.replace(reference, profiles=(profile,))]
    for event in BOOT:
        extend(transport, event)
    raw = evidence(transport).to_text()
    appraisal = verify_evidence(raw, references, POLICY, NOW, CLAIMS.nonce, CLAIMS.outer_key_digest)
    assert appraisal.failures == ()
    assert appraisal.accepted

    extend(transport, (12, 13, b"credential"))
    raw = evidence(transport).to_text()
    appraisal = verify_evidence(raw, references, POLICY, NOW, CLAIMS.nonce, CLAIMS.outer_key_digest)
    assert [finding.id for finding in appraisal.failures] == ["register.pcr12"]
