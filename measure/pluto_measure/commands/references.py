"""The reference values that a call names, and the signed releases that they come from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.commands import files
from pluto_measure.commands.release import TRUST_LIMIT, opener
from pluto_measure.digests import Digests
from pluto_measure.errors import UsageError
from pluto_measure.measurements import Measurements

if TYPE_CHECKING:
    from pluto_measure.publish.judge import Judgement
    from pluto_measure.publish.memory import Memory
    from pluto_measure.publish.trust import Trust

_LIMIT: Final = 64 * 1024 * 1024
_MEASUREMENTS: Final = "measurements.json"


def reference_values(
    arguments: argparse.Namespace, at: datetime
) -> tuple[list[Measurements], list[str], list[Judgement]]:
    """All of --reference, what to say of them, and the releases that they come from.

    With --trust each is vouched for by the release that it lies in; one that another of them revokes is refused.

    UsageError, FormatError. Whether a release is accepted is a finding, not an error.
    """
    trust = _trust(arguments.trust)
    if trust is None:
        return [_values(path)[0] for path in arguments.reference], [], []
    if not arguments.reference:
        wants = f"the trust file wants {trust.k} of {len(trust.organisations)} organisations"
        return [], [f"{wants}; no reference values were given"], []
    found: list[tuple[Measurements, Judgement | None]] = []
    notes = []
    for path in arguments.reference:
        values, data = _values(path)
        folder = path if path.is_dir() else path.parent
        if (folder / "release.json").is_file():
            if not path.is_dir() and path.name != _MEASUREMENTS:
                raise UsageError(f"{path} lies in a release, whose reference values are {_MEASUREMENTS}")
            found.append((values, _judged(arguments, folder, data, trust, at)))
        else:
            notes.append(f"no release.json lies beside {path}, so nobody signed these values")
            found.append((values, None))
    judged = [judgement for _, judgement in found if judgement is not None]
    return [_with_release(values, own, judged) for values, own in found], notes, judged


def remember(state: Path, judged: Sequence[Judgement]) -> None:
    """Keep the accepted releases in mind, once evidence was accepted by them. RefusedError as in `ReleaseMemory`.

    Revoked ones are kept in mind by `reference_values`, whatever becomes of the evidence.
    """
    from pluto_measure.publish.folder import ReleaseMemory

    for judgement in sorted(judged, key=lambda one: one.release.facts.place.sequence):
        if judgement.accepted:
            ReleaseMemory(state).remember(judgement.release, judgement.statement)


def _with_release(values: Measurements, own: Judgement | None, judged: Sequence[Judgement]) -> Measurements:
    if own is None:
        return values
    from pluto_measure.findings import Finding
    from pluto_measure.publish.memory import Memory

    vouched, others = own.vouched(), Memory({})
    for other in judged:
        if other is not own and other.accepted:
            others = others.remembering(other.release, other.statement)
    if others.forbids(own.release):
        text = "another release of this call revokes it, or says that only newer ones may run"
        findings = (*vouched.findings, Finding("release.rollback", "fail", text, None, vouched.sequence))
        vouched = replace(vouched, findings=findings)
    return replace(values, vouched=vouched)


def _trust(path: Path | None) -> Trust | None:
    if path is None:
        return None
    # Imported here: most calls name no trust file yet.
    from pluto_measure.publish.trust import Trust

    data = files.read(path, what="trust", limit=TRUST_LIMIT)
    with files.naming("trust", path):
        return Trust.parse(data)


def _values(path: Path) -> tuple[Measurements, bytes]:
    """measurements.json, by its name or by that of the folder of its release: parsed, and as it stands."""
    file = path / _MEASUREMENTS if path.is_dir() else path
    data = files.read(file, what="reference", limit=_LIMIT)
    with files.naming("reference", file, _MEASUREMENTS):
        return Measurements.parse(data), data


def _judged(arguments: argparse.Namespace, folder: Path, values: bytes, trust: Trust, at: datetime) -> Judgement:
    """The release's word for these very bytes; other files of the folder are not looked at."""
    from pluto_measure.publish import folder as releases
    from pluto_measure.publish.judge import Demands, judge_release

    received = replace(
        releases.read(folder, hashed=lambda _: False), measurements=values, digests={_MEASUREMENTS: Digests.of(values)}
    )
    demands = Demands(
        at=at,
        trust=trust,
        minimum_sequence=None,  # the policy's
        allow_debug=True,  # the policy's, too
        complete=None,
        memory=_memory(arguments.state),
    )
    judgement = judge_release(received, demands, opener(arguments.sigstore_root))
    if arguments.state is not None and judgement.revoked:
        releases.ReleaseMemory(arguments.state).remember_revoked(judgement.release)
    return judgement


def _memory(state: Path | None) -> Memory | None:
    from pluto_measure.publish.folder import ReleaseMemory

    return None if state is None else ReleaseMemory(state).load()
