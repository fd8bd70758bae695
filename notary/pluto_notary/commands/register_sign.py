"""`pluto-notary register sign`: verify a notary's key, and sign that it fits. Reads files and the clock."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import cloud_options, files
from pluto_measure.commands.values import time_or_now
from pluto_measure.errors import PlutoError
from pluto_notary.commands.register_files import add_output, add_registry, put, registry_of, signing_key
from pluto_notary.commands.verify_proof import add_judges

if TYPE_CHECKING:
    from pluto_measure.policy import Policy
    from pluto_measure.publish.judge import Judgement
    from pluto_notary.registry.shown import ShownKey
    from pluto_notary.statement.judge import Brought

_POLICY_LIMIT: Final = 1024 * 1024
_LIMIT: Final = 8 * 1024 * 1024

DESCRIPTION: Final = """Verify the evidence of a notary's signing key as 'pluto-notary verify-proof' does, as of now,
and sign for the key registry on a chain that the key fits: until the collateral runs out, and no longer than the
registry takes. What is for development is refused whatever the policy says: no evidence, debug builds, roots of pretend
hardware, TPMs of software. Nothing is sent anywhere. Exit code 3 malformed, 4 not authentic, 5 refused."""


def add(actions: argparse._SubParsersAction[Any]) -> None:
    """Add the action to `register`."""
    sub = actions.add_parser("sign", help="verify a notary's key and sign that it fits", description=DESCRIPTION)
    sub.add_argument(
        "evidence",
        metavar="EVIDENCE",
        type=Path,
        help="a proof that the key signed, or what the notary answers at /v1/meta/keys",
    )
    add_registry(sub)
    sub.add_argument(
        "--until",
        metavar="TIME",
        help="sign for this time, as the others do, such as 2026-12-01T00:00:00Z (default: the latest that is good)",
    )
    add_judges(sub, collateral="Intel's collateral for the notary's platform", state="")
    add_output(sub)
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Verify, sign, write. UsageError, FormatError, VerificationError, RefusedError."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.commands.references import remember as remember_releases
    from pluto_notary.registry.judge import fit_key
    from pluto_notary.registry.shown import shown_key

    registry, policy = registry_of(arguments), _policy(arguments.policy)
    until = None if arguments.until is None else time_or_now("--until", arguments.until)
    signing_key(arguments)  # what cannot sign is said before anything is judged
    data = files.read(arguments.evidence, what="evidence", limit=_LIMIT)
    with files.naming("evidence", arguments.evidence):
        shown = shown_key(data)
    inputs = _Inputs(arguments, shown, policy)
    try:
        claim, found = fit_key(shown, policy, datetime.now(UTC), brought=inputs.brought, until=until)
    except PlutoError as error:
        error.hint = error.hint or "; ".join(inputs.notes) or None  # such as what to fetch
        raise
    if arguments.state is not None:
        inputs.remember_collateral()
        remember_releases(arguments.state, inputs.judged)
    result = put(arguments, claim, registry, more={"appraisal": found.to_json()})
    return replace(result, notes=tuple(dict.fromkeys(inputs.notes)))


class _Inputs:
    """What the files of the call say; `notes` for people, `judged` the releases, of the first time that was asked."""

    def __init__(self, arguments: argparse.Namespace, shown: ShownKey, policy: Policy | None) -> None:
        self._given, self._shown, self._policy = arguments, shown, policy
        self.notes: list[str] = []
        self.judged: list[Judgement] = []
        self._first: Brought | None = None

    def brought(self, at: datetime) -> Brought:
        """By what evidence is judged as of a time: releases have dates of their own. UsageError, FormatError."""
        from pluto_measure.appraise import NOTHING, parse_evidence, quote_of
        from pluto_measure.commands.quote_inputs import QuoteFiles, tdx_inputs
        from pluto_measure.commands.references import reference_values
        from pluto_notary.statement.judge import Brought

        given, tdx, more = self._given, NOTHING, list[str]()
        references, notes, judged = reference_values(given, at)
        quote = quote_of(parse_evidence(self._shown.envelope))
        if quote is not None:
            sources = QuoteFiles(
                given.evidence,
                given.collateral,
                given.state,
                endorsements=tuple(given.endorsement),
                ak_issuers=tuple(given.ak_issuers),
            )
            tdx, more = tdx_inputs(sources, quote, self._policy, None)
        found = Brought(references=references, tdx=tdx, space=cloud_options.space_inputs(given.google_keys))
        if self._first is None:
            self._first, self.judged = found, judged
            self.notes += notes + more
        return found

    def remember_collateral(self) -> None:
        from pluto_measure.commands.quote_inputs import remember

        if self._first is not None and self._first.tdx.collateral is not None:
            self.notes += remember(self._given.state, self._first.tdx.collateral)


def _policy(path: Path | None) -> Policy | None:
    from pluto_measure.policy import Policy
    from pluto_notary.registry.judge import check_policy

    policy = None
    if path is not None:
        data = files.read(path, what="policy", limit=_POLICY_LIMIT)
        with files.naming("policy", path):
            policy = Policy.parse(data)
    check_policy(policy)
    return policy
