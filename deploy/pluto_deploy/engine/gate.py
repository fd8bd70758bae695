"""The gate: nothing serves that was not appraised. Asks a machine for evidence, with a fresh nonce, and judges it."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pluto_deploy.engine.evidence import Seen, fetch
from pluto_deploy.engine.target import Address
from pluto_deploy.engine.wish import Expected
from pluto_measure.appraise import (
    NO_SPACE,
    NOTHING,
    Appraisal,
    SpaceInputs,
    TdxInputs,
    parse_evidence,
    quote_of,
    verify_evidence,
)
from pluto_measure.commands.quote_inputs import QuoteFiles, remember, remember_endorsements, tdx_inputs
from pluto_measure.errors import RefusedError, SourceError, VerificationError
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.findings import Finding
from pluto_measure.formats.quote import Quote
from pluto_measure.wording import counted

REQUEST_SECONDS: Final = 60.0  # one request: a TPM signs slowly under emulation
_NONCE: Final = 32  # bytes
_PAUSE: Final = 0.1
_ENDORSED: Final = "gcp-tdx"  # the platform whose firmware Google endorses
# Findings about what runs in the machine. All others are about the evidence, or about what the policy wants beside it.
_MEASURED: Final = (
    *("log.", "register.", "claims.build_id", "release.attributes", "release.xfam"),
    *("container.image_digest", "container.image_id", "container.args", "container.cmd_override", "container.env"),
)


class NotAttestedError(RefusedError):
    """The machine's evidence was refused. `findings`: those that refused."""

    def __init__(self, findings: tuple[Finding, ...], hint: str | None = None) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(summary(findings), hint=hint)


class NotAuthenticError(VerificationError):
    """What the machine sent is not evidence of anything. `findings`: those that failed."""

    def __init__(self, findings: tuple[Finding, ...], hint: str | None = None) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(summary(findings), hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Appraises machines. `patience`: seconds that a machine may take until it answers at all.

    `state`: where collateral is kept and what was seen is remembered; `collateral`: a file that is used instead.
    `space`: what a token of Confidential Space from an address is judged by, such as the machine that it must be; None:
    nothing beside the policy. `ak_issuers`: files with certificates above the key of an Azure machine's TPM.
    `endorsements`: files with Google's launch endorsements, beside what `state` keeps.
    """

    expected: Expected
    state: Path | None = None
    collateral: Path | None = None
    space: Callable[[Address], SpaceInputs] | None = None
    ak_issuers: tuple[Path, ...] = ()
    endorsements: tuple[Path, ...] = ()
    patience: float = 20.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    nonce: Callable[[int], bytes] = secrets.token_bytes

    def __call__(self, address: Address) -> Appraisal:
        """The appraisal of accepted evidence.

        Raises NotAttestedError and NotAuthenticError for all other, FormatError for what is none, SourceError where
        there is no answer.
        """
        appraisal, notes = self.appraise(address)
        if appraisal.accepted:
            return appraisal
        kind = NotAttestedError if appraisal.exit_code == RefusedError.exit_code else NotAuthenticError
        raise kind(appraisal.failures, _hint(appraisal, notes, self.state))

    def appraise(self, address: Address) -> tuple[Appraisal, list[str]]:
        """The appraisal of what answers there, whatever it says, and notes for people. FormatError, SourceError."""
        nonce = self.nonce(_NONCE)
        seen = self._fetched(address, nonce)
        parsed = parse_evidence(seen.evidence)
        tdx, notes = self._inputs(parsed)
        is_token = isinstance(parsed, Envelope) and isinstance(parsed.evidence, TokenEvidence)
        space = self.space(address) if self.space is not None and is_token else NO_SPACE
        expected = self.expected
        appraisal = verify_evidence(
            seen.evidence, [expected.references], expected.policy, self.now(), nonce, seen.key_digest, tdx, space
        )
        if self.state is not None and tdx.collateral is not None and appraisal.authentic:
            remember(self.state, tdx.collateral)
        quote = quote_of(parsed)
        if self.state is not None and quote is not None and appraisal.accepted and appraisal.platform == _ENDORSED:
            remember_endorsements(self.state, tdx, expected.policy, quote, self.now())
        return appraisal, notes

    def _fetched(self, address: Address, nonce: bytes) -> Seen:
        limit = time.monotonic() + self.patience
        while True:
            try:
                return fetch(address, nonce, timeout=REQUEST_SECONDS)
            except SourceError:
                # A port is forwarded before the guest listens, so the first connections may be reset.
                if time.monotonic() > limit:
                    raise
                time.sleep(_PAUSE)

    def _inputs(self, parsed: Envelope | Quote) -> tuple[TdxInputs, list[str]]:
        quote = quote_of(parsed)
        if quote is None:
            return NOTHING, []
        given = QuoteFiles(
            Path("evidence"), self.collateral, self.state, endorsements=self.endorsements, ak_issuers=self.ak_issuers
        )
        return tdx_inputs(given, quote, self.expected.policy, None)


def summary(findings: tuple[Finding, ...]) -> str:
    """One sentence for many findings: what was measured stands first, and the log before all, since it tells most."""
    measured = [finding for finding in findings if finding.id.startswith(_MEASURED)]
    told = next((finding for finding in measured if finding.id.startswith("log.events.")), None)
    first = told or (*measured, *findings)[0]
    what = "the machine is not what was released" if measured else "the machine's evidence is not accepted"
    more = f" (and {counted(len(findings) - 1, 'more finding')})" if len(findings) > 1 else ""
    return f"{what}: {first.id}: {first.text}{more}"


def _hint(appraisal: Appraisal, notes: list[str], state: Path | None) -> str | None:
    """How to get collateral: the note about it names the platform; or Google's word about its firmware."""
    missing = {finding.id: finding for finding in appraisal.failures}
    if "collateral.given" in missing and notes:
        return notes[0]
    if (endorsed := missing.get("endorsement.given")) is not None:
        to = ["--state", str(state)] if state is not None else ["--out", "FILE"]
        return f"run '{shlex.join(['pluto-measure', 'endorsement', 'fetch', str(endorsed.actual), *to])}'"
    return None
