"""Verify evidence of Azure machines: from scratch, one more of a machine, appraised; beside the TD quote in it alone.

The evidence is made here, by the pretend Intel and the pretend Microsoft of the tests, with keys as long as genuine
ones: 2048 bits for the TPM's key, 4096 for the certificates above it. "From scratch" is with everything forgotten that
we remember between quotes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench_verify import forget, times
from figures import Row

from pluto_measure.evidence import AzureEvidence
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote
from pluto_measure.verify.azure import AkTrust, verify_azure
from pluto_measure.verify.quote import verify_quote
from simulators.azure_evidence import AzureMachine, appraised, rsa_key
from simulators.intel import NOW
from simulators.tpm_quotes import AK_USAGE, certificate
from simulators.trust_domains import ROOT

RUNS = 301
MOST = 1.5  # times the quote alone


def rows(work: Path) -> Iterator[Row]:
    issuer, root = rsa_key("long issuer", 4096), rsa_key("long root", 4096)
    chain = (
        certificate("vm", rsa_key("ak"), "issuer", issuer, ca=False, usage=AK_USAGE),
        certificate("issuer", issuer, "root", root, ca=True),
        certificate("root", root, "root", root, ca=True),
    )
    machine = AzureMachine(certificates=chain[:1])
    ak = AkTrust(roots=frozenset({hashlib.sha256(chain[2]).digest()}), issuers=chain[1:])
    envelope, text, roots = machine.envelope(), json.dumps(machine.world.collateral).encode(), frozenset({ROOT})
    assert isinstance(envelope.evidence, AzureEvidence)
    raw = envelope.evidence.td_quote

    def whole() -> object:
        return verify_azure(envelope, Collateral.parse(text), roots, at=NOW, ak=ak)

    def alone() -> object:
        return verify_quote(Quote.parse(raw), Collateral.parse(text), roots)

    theirs = times(alone, runs=RUNS, before=forget)
    own = times(whole, runs=RUNS, before=forget)
    limit = round(MOST * median(theirs), 2)
    yield Row("verify Azure evidence from scratch", "ms", own, limit, "the TD quote in it alone", theirs)
    collateral = Collateral.parse(text)
    theirs = times(lambda: verify_quote(Quote.parse(raw), collateral, roots), runs=RUNS)
    own = times(lambda: verify_azure(envelope, collateral, roots, at=NOW, ak=ak), runs=RUNS)
    yield Row("verify one more of an Azure machine", "ms", own, None, "the TD quote in it alone", theirs)
    yield Row("verify and appraise one more", "ms", times(lambda: appraised(machine, envelope=envelope), runs=31))
