"""From bytes to a verdict: which kind of evidence it is, and its way through verification and appraisal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import Expected, NodeExpected, opened
from pluto_measure.appraise.request import NO_SPACE, NOTHING, SpaceInputs, TdxInputs
from pluto_measure.appraise.tdx import TdxEvidenceGiven, appraise_quote
from pluto_measure.errors import FormatError
from pluto_measure.evidence import AzureEvidence, Envelope, TdxEvidence, TokenEvidence, TpmEvidence
from pluto_measure.findings import Finding, NotAuthentic
from pluto_measure.formats import eventlog, logs
from pluto_measure.formats.quote import INTEL_QE_VENDOR, Quote, unwrap
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy
from pluto_measure.record import replace

# The first two bytes of a quote, of any version that `Quote.parse` can name.
_VERSIONS: Final = (b"\3\0", b"\4\0", b"\5\0")
# A TD report as TDG.MR.REPORT gives it (Intel TDX module ABI 348551, TDREPORT_STRUCT): its size and REPORTTYPE.TYPE.
_TD_REPORT_SIZE: Final = 1024
_TD_REPORT_TYPE: Final = b"\x81"
_INSPECT: Final = "run 'pluto-measure inspect FILE'"


def verify_evidence(
    raw: bytes | str,
    references: Sequence[Measurements],
    policy: Policy | None,
    at: datetime,
    nonce: bytes | None,
    outer_key_digest: bytes | None,
    tdx: TdxInputs = NOTHING,
    space: SpaceInputs = NO_SPACE,
) -> Appraisal:
    """Parse, verify and appraise one piece of evidence of a node at the time `at` (aware).

    `raw`: an envelope, or a bare TDX quote (raw, hex text, JSON array of bytes). `nonce`: what the caller sent;
    `outer_key_digest`: SHA-256 of the SubjectPublicKeyInfo (DER) of the TLS key that the caller saw. Without a policy
    the strict one applies. FormatError for malformed evidence; everything else is a finding.
    """
    return verify_expected(raw, NodeExpected(nonce, outer_key_digest), references, policy, at, tdx, space)


def verify_expected(
    raw: bytes | str,
    expected: Expected,
    references: Sequence[Measurements],
    policy: Policy | None,
    at: datetime,
    tdx: TdxInputs = NOTHING,
    space: SpaceInputs = NO_SPACE,
) -> Appraisal:
    """The same for evidence of any purpose: `expected` says of which, and what the verifier knows of its claims."""
    parsed = parse_evidence(raw)
    if isinstance(parsed, Envelope):
        if isinstance(claims := opened(parsed.claims, expected), Finding):
            return _undecided(parsed, claims)
        parsed = replace(parsed, claims=claims)
        if isinstance(parsed.evidence, TokenEvidence):
            return _token(parsed, references, policy, at, expected, space)
        if isinstance(parsed.evidence, AzureEvidence):
            return _azure(parsed, references, policy, at, expected, tdx)
    if isinstance(parsed, Quote) or isinstance(parsed.evidence, TdxEvidence):
        given = _given(parsed, tdx.log)
        return appraise_quote(given, references, policy, at=at, expected=expected, tdx=tdx)
    # Imported here, as what appraises quotes of TDX needs nothing of TPMs.
    from pluto_measure.appraise.tpm import appraise_tpm
    from pluto_measure.verify.tpm import verify_tpm

    assert isinstance(parsed.evidence, TpmEvidence), "the other types have had their answer"
    log = eventlog.parse(parsed.evidence.log)
    try:
        quote = verify_tpm(parsed, at=at)
    except NotAuthentic as error:
        return Appraisal(False, False, "tpm", parsed.platform, None, None, {}, error.findings)
    return appraise_tpm(quote, log, references, policy, at=at, expected=expected)


def _azure(
    parsed: Envelope,
    references: Sequence[Measurements],
    policy: Policy | None,
    at: datetime,
    expected: Expected,
    tdx: TdxInputs,
) -> Appraisal:
    # Imported here, as what appraises quotes of TDX needs nothing of Azure.
    from pluto_measure.appraise.azure import appraise_envelope

    rules, issuers = policy.azure if policy is not None else None, tdx.ak_issuers
    return appraise_envelope(parsed, references, policy, rules, at=at, expected=expected, tdx=tdx, ak_issuers=issuers)


def _token(
    parsed: Envelope,
    references: Sequence[Measurements],
    policy: Policy | None,
    at: datetime,
    expected: Expected,
    space: SpaceInputs,
) -> Appraisal:
    # Imported here, as nothing of tokens is needed for any other evidence.
    from pluto_measure.appraise.confidential_space import appraise_envelope

    rules = policy.confidential_space if policy is not None else None
    return appraise_envelope(parsed, references, policy, rules, at=at, expected=expected, space=space)


def parse_evidence(raw: bytes | str) -> Envelope | Quote:
    """What the evidence is, told by its content: JSON is an envelope, all else a bare quote. FormatError."""
    data = raw.encode() if isinstance(raw, str) else raw
    if not data.strip():
        raise FormatError("evidence", "is empty")
    if data.lstrip().startswith(b"{"):
        return _envelope(data)
    quote = unwrap(data)
    if len(quote) == _TD_REPORT_SIZE and quote.startswith(_TD_REPORT_TYPE):
        raise FormatError("evidence", "a TD report, not a quote")
    if quote[:2] not in _VERSIONS and quote[12:28] != INTEL_QE_VENDOR:
        raise FormatError("evidence", "neither an envelope nor a TDX quote", hint=_INSPECT)
    return Quote.parse(quote)


def _envelope(data: bytes) -> Envelope:
    try:
        return Envelope.parse(data)
    except FormatError as error:
        if error.what == "evidence" and error.problem.startswith("type is missing"):
            raise FormatError("evidence", f"JSON, but no envelope: {error.problem}", hint=_INSPECT) from error
        raise


def _undecided(parsed: Envelope, refusal: Finding) -> Appraisal:
    """Nothing was verified: the evidence is refused for one reason alone."""
    return Appraisal(False, False, parsed.type, parsed.platform, None, None, {}, (refusal,), undecided=True)


def quote_of(parsed: Envelope | Quote) -> Quote | None:
    """The TDX quote in it; None where it is evidence of another kind. FormatError."""
    if isinstance(parsed, Quote):
        return parsed
    if isinstance(parsed.evidence, AzureEvidence):
        return Quote.parse(parsed.evidence.td_quote)
    return Quote.parse(parsed.evidence.quote) if isinstance(parsed.evidence, TdxEvidence) else None


def _given(parsed: Envelope | Quote, log: bytes | None) -> TdxEvidenceGiven:
    quote = quote_of(parsed)
    assert quote is not None, "only evidence of type tdx comes here"
    if isinstance(parsed, Quote):
        return TdxEvidenceGiven(quote, None, logs.parse(log) if log is not None else None)
    assert isinstance(parsed.evidence, TdxEvidence), "only evidence of type tdx comes here"
    return TdxEvidenceGiven(quote, parsed, logs.parse(parsed.evidence.log) if parsed.evidence.log else None)
