"""Whether `prove` and `appraise` believe a notary: its evidence, by what the call names. Reads files and the clock."""

from __future__ import annotations

import argparse
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.appraise import (
    NOTHING,
    ChannelExpected,
    KeyExpected,
    SessionExpected,
    parse_evidence,
    quote_of,
    verify_expected,
)
from pluto_measure.commands import files
from pluto_measure.commands.cloud_options import space_inputs
from pluto_measure.commands.quote_inputs import QuoteFiles, remember, tdx_inputs
from pluto_measure.commands.references import reference_values
from pluto_measure.commands.references import remember as remember_releases
from pluto_measure.errors import FormatError, RefusedError, VerificationError
from pluto_measure.formats.strict_json import loads
from pluto_measure.policy import Policy
from pluto_notary.statement.checks import signer_of

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal
    from pluto_measure.evidence import Envelope
    from pluto_measure.findings import Finding
    from pluto_measure.formats.quote import Quote
    from pluto_measure.progress import Progress
    from pluto_notary.client.prove import Shown
    from pluto_notary.statement.proof import Proof

_POLICY_LIMIT: Final = 1024 * 1024
_COLLATERAL_LIMIT: Final = 16 * 1024 * 1024
# What errors of the evidence's parts call it.
_EVIDENCE: Final = Path("of the notary")


class NotAcceptedError(RefusedError):
    """The notary's evidence was refused. `findings`: those that refused."""

    def __init__(self, findings: tuple[Finding, ...], *, hint: str | None = None) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(f"the notary is not accepted: {_summary(findings)}", hint=hint)


class NotAuthenticError(VerificationError):
    """What the notary sent is not evidence of anything. `findings`: those that failed."""

    def __init__(self, findings: tuple[Finding, ...], *, hint: str | None = None) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(f"the notary is not authentic: {_summary(findings)}", hint=hint)


class Judge:
    """Appraises what a notary shows of itself. `appraisal`: of its channel; None where that was left out.

    `collateral`: what its last evidence was judged by, in the common JSON; b"" for evidence without.
    Made before anything is sent: UsageError and FormatError for files that cannot be used.
    """

    def __init__(self, arguments: argparse.Namespace, progress: Progress) -> None:
        self._given, self._progress = arguments, progress
        self._policy: Policy | None = None
        if arguments.policy is not None:
            data = files.read(arguments.policy, what="policy", limit=_POLICY_LIMIT)
            with files.naming("policy", arguments.policy):
                self._policy = Policy.parse(data)
        if arguments.collateral is not None:
            files.read_head(arguments.collateral, 1, what="collateral")
        self._space = space_inputs(arguments.google_keys)
        self._references, self.notes, self._releases = reference_values(arguments, datetime.now(UTC))
        self.appraisal: Appraisal | None = None
        self.collateral = b""

    def __call__(self, shown: Shown) -> None:
        """Judge the channel. NotAcceptedError, NotAuthenticError; FormatError, RefusedError as `appraised`."""
        if self._given.insecure_skip_appraisal:
            self._progress.step("warning: the notary was not appraised (--insecure-skip-appraisal)")
            return
        found = self.appraisal = self._accepted(self.appraised(shown))
        self._progress.step(f"the notary is accepted: {found.evidence_type} on {found.platform}")

    def judged_key(self, proof: Proof) -> Proof:
        """The proof, once its key was judged, so that none is kept that this policy refuses. As `__call__`.

        It names the collateral by which its evidence was judged, where that is a file, or is going to be one.
        """
        if self._given.insecure_skip_appraisal:
            return proof
        public = signer_of(proof.statement.digest(), proof.signature)
        if proof.key_evidence is None or public is None:
            raise VerificationError("the notary's proof has no evidence of its signing key")
        self._accepted(self._appraised(proof.key_evidence.envelope, KeyExpected(public)))
        self.remember_releases()
        if self._given.collateral is not None:
            kept = files.read(self._given.collateral, what="collateral", limit=_COLLATERAL_LIMIT)
        elif self._given.collateral_out is not None:
            kept = self.collateral
        else:
            return proof
        return proof.with_collateral(hashlib.sha256(kept).digest())

    def appraised(self, shown: Shown) -> Appraisal:
        """What the evidence of a session is worth. FormatError; RefusedError for what proves nothing."""
        evidence = shown.evidence
        if shown.fresh:
            return self._appraised(evidence.envelope, SessionExpected(shown.ekm, shown.nonce, evidence.channel_key))
        expected = ChannelExpected(evidence.channel_key, evidence.epoch, shown.outer_key_digest)
        return self._appraised(evidence.envelope, expected)

    def remember_releases(self) -> None:
        """Keep in mind the releases by which all was accepted. RefusedError for one that is older than once seen."""
        if self._given.state is not None:
            remember_releases(self._given.state, self._releases)

    def _appraised(self, evidence: bytes, expected: ChannelExpected | SessionExpected | KeyExpected) -> Appraisal:
        given, tdx = self._given, NOTHING
        notes: list[str] = []
        quote = quote_of(_parsed(evidence))
        if quote is not None:
            sources = QuoteFiles(
                _EVIDENCE,
                given.collateral,
                given.state,
                endorsements=tuple(given.endorsement),
                ak_issuers=tuple(given.ak_issuers),
            )
            tdx, notes = tdx_inputs(sources, quote, self._policy, None)
        self.collateral = b"" if tdx.collateral is None else tdx.collateral.to_text().encode()
        found = verify_expected(
            evidence, expected, self._references, self._policy, datetime.now(UTC), tdx, self._space
        )  # fmt: skip
        if given.state is not None and tdx.collateral is not None and found.authentic:
            notes += remember(given.state, tdx.collateral)
        self.notes = [*dict.fromkeys([*self.notes, *notes])]
        return found

    def _accepted(self, found: Appraisal) -> Appraisal:
        if found.accepted:
            return found
        for one in found.failures:
            self._progress.step(f"REFUSED  {one.id}: {one.text}")
        kind = NotAcceptedError if found.exit_code == RefusedError.exit_code else NotAuthenticError
        raise kind(found.failures, hint="; ".join(self.notes) or None)


def _parsed(evidence: bytes) -> Envelope | Quote:
    """The evidence, told apart by its content. FormatError; RefusedError for what proves nothing."""
    try:
        return parse_evidence(evidence)
    except FormatError as error:
        document = loads(evidence, what="evidence")
        if isinstance(document, dict) and document.get("type") == "insecure":
            text = "its evidence is of the type 'insecure', which proves nothing: it is run for development"
            raise RefusedError(f"the notary is not accepted: {text}") from error
        raise FormatError("evidence of the notary", str(error).removeprefix("evidence").lstrip(".: ")) from error


def _summary(findings: tuple[Finding, ...]) -> str:
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{findings[0].id}: {findings[0].text}{more}"
