"""What `pluto-measure verify` brings to a TDX quote: collateral from a file or the state directory, and its memory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.appraise import TdxInputs
from pluto_measure.commands import files
from pluto_measure.commands.cloud_options import read_issuers
from pluto_measure.errors import FormatError
from pluto_measure.findings import failures
from pluto_measure.formats import endorsement
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import Given, NotInBundleError, read_collateral
from pluto_measure.formats.endorsement import LIMIT
from pluto_measure.formats.quote import Quote
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.verify.collateral import CheckedCollateral, check_collateral
from pluto_measure.verify.intel_pki import INTEL_ROOTS, PckChain, pck_chain

if TYPE_CHECKING:
    from pluto_measure.collateral.endorsement_memory import EndorsementMemory

_COLLATERAL_LIMIT: Final = 16 * 1024 * 1024
_LOG_LIMIT: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class QuoteFiles:
    """Where a caller has what a TDX quote is judged by; `evidence` only names it in errors."""

    evidence: Path
    collateral: Path | None = None
    state: Path | None = None
    log: Path | None = None
    endorsements: tuple[Path, ...] = ()
    ak_issuers: tuple[Path, ...] = ()


def tdx_inputs(
    given: QuoteFiles, quote: Quote, policy: Policy | None, report_data: bytes | None
) -> tuple[TdxInputs, list[str]]:
    """What is given, read, and notes for people. What is not there is for a finding to say."""
    rules = (policy or STRICT).tdx or STRICT.tdx
    roots = INTEL_ROOTS | frozenset(rules.insecure_roots if rules else ())
    endorsements, memory = _endorsements(given, quote)
    log = None if given.log is None else files.read(given.log, what="log", limit=_LOG_LIMIT)
    with files.naming("evidence", given.evidence):
        pck = pck_chain(quote.certificates, roots)
    found, notes = _given(given, pck)
    inputs = TdxInputs(
        report_data=report_data,
        log=log,
        endorsements=endorsements,
        endorsement_memory=memory,
        ak_issuers=read_issuers(given.ak_issuers),
    )
    if found is None:
        return inputs, notes
    with files.naming("collateral", given.collateral or given.state or given.evidence):
        checked = check_collateral(found.standard, roots)  # remembered until the appraisal asks for it again
    rollbacks = None if given.state is None else _rollbacks(given.state, checked)
    return replace(inputs, collateral=found.standard, early=found.early, rollbacks=rollbacks), notes


def remember(state: Path, collateral: Collateral) -> list[str]:
    """Remember the collateral of an authentic quote, every part of which was verified with it.

    What other roots than Intel's signed says nothing about Intel's.
    """
    from pluto_measure.collateral.memory import Seen
    from pluto_measure.collateral.store import Store

    checked = check_collateral(collateral)
    if failures(checked.findings):
        return ["this collateral is not Intel's, so it is not remembered"]
    Store(state).remember(Seen.of(checked))
    return []


def _endorsements(given: QuoteFiles, quote: Quote) -> tuple[tuple[bytes, ...], EndorsementMemory | None]:
    """Launch endorsements from files, and the one that the state directory keeps of the quote's MRTD."""
    read = []
    for path in given.endorsements:
        data = files.read(path, what="launch endorsement", limit=LIMIT)
        with files.naming("launch endorsement", path):
            endorsement.parse(data)
        read.append(data)
    if given.state is None:
        return tuple(read), None
    # Imported here: most calls keep no state.
    from pluto_measure.collateral.endorsement_store import EndorsementStore

    store = EndorsementStore(given.state)
    kept = store.endorsement(quote.report.registers["mrtd"])
    return (*read, *([] if kept is None else [kept])), store.memory()


def remember_endorsements(state: Path, tdx: TdxInputs, policy: Policy | None, quote: Quote, at: datetime) -> None:
    """Remember Google's endorsements of the MRTD of evidence that was accepted."""
    from pluto_measure.appraise.launch_endorsement import genuine_of, read_endorsements, rules_of
    from pluto_measure.collateral.endorsement_store import EndorsementStore

    mrtd, rules = quote.report.registers["mrtd"], rules_of(policy or STRICT, tdx, at)
    for one in genuine_of(read_endorsements(tdx.endorsements, rules), mrtd):
        EndorsementStore(state).remember(one, mrtd)


def fetching(fmspc: str, ca: str, state: Path) -> str:
    """The command that fetches a platform's collateral into a state directory. `fmspc`: 12 hex digits, or a word."""
    words = ["pluto-measure", "collateral", "fetch", "--fmspc", fmspc, "--ca", ca, "--state", str(state)]
    return f"run '{shlex.join(words)}'"


def _given(given: QuoteFiles, pck: PckChain) -> tuple[Given | None, list[str]]:
    fmspc, ca = pck.extension.fmspc, pck.ca or "platform"
    how = "" if given.state is None else f": {fetching(fmspc.hex(), ca, given.state)}"
    without = f"{how}, and leave --collateral out" if how else ""
    if given.collateral is not None:
        data = files.read(given.collateral, what="collateral", limit=_COLLATERAL_LIMIT)
        with files.naming("collateral", given.collateral):
            try:
                return read_collateral(data, fmspc, ca), []
            except NotInBundleError as error:
                return None, [f"{given.collateral}: {error}{without}"]
    if given.state is None:
        return None, []
    # Imported here: most calls keep no state.
    from pluto_measure.collateral.store import Store

    bundle = Store(given.state).bundle(fmspc, ca)
    if bundle is None:
        return None, [f"{given.state} has no collateral of FMSPC {fmspc.hex()} and the {ca} CA{how}"]
    with files.naming("collateral", given.state):
        return bundle.given(fmspc, ca), []


def _rollbacks(state: Path, checked: CheckedCollateral) -> tuple[str, ...]:
    """What of the collateral is older than once seen. What does not verify is refused for that, not for its age."""
    from pluto_measure.collateral.memory import Seen, compare
    from pluto_measure.collateral.store import Store

    if failures(checked.findings):
        return ()
    try:
        seen = Seen.of(checked)
    except FormatError:  # a list of revoked PCK certificates that neither PCK CA issued: `pck.crl` refuses it
        return ()
    return tuple(str(item) for item in compare(Store(state).memory(), seen))
