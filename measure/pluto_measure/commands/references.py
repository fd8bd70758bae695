"""The reference values that a call names, and the signed releases that they come from."""

from __future__ import annotations

import argparse
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
    from pluto_measure.publish.memory import Memory
    from pluto_measure.trust import Trust
    from pluto_measure.vouched import Vouched

_LIMIT: Final = 64 * 1024 * 1024
_MEASUREMENTS: Final = "measurements.json"


def reference_values(arguments: argparse.Namespace, at: datetime) -> tuple[list[Measurements], list[str]]:
    """All of --reference, and what to say of them. With --trust each is vouched for by the release that it lies in.

    UsageError, FormatError. Whether a release is accepted is a finding, not an error.
    """
    trust = _trust(arguments.trust)
    if trust is None:
        return [_values(path)[0] for path in arguments.reference], []
    if not arguments.reference:
        wants = f"the trust file wants {trust.k} of {len(trust.organisations)} organisations"
        return [], [f"{wants}; no reference values were given"]
    found, notes = [], []
    for path in arguments.reference:
        values, data = _values(path)
        folder = path if path.is_dir() else path.parent
        if (folder / "release.json").is_file():
            if not path.is_dir() and path.name != _MEASUREMENTS:
                raise UsageError(f"{path} lies in a release, whose reference values are {_MEASUREMENTS}")
            values = replace(values, vouched=_vouched(arguments, folder, data, trust, at))
        else:
            notes.append(f"no release.json lies beside {path}, so nobody signed these values")
        found.append(values)
    return found, notes


def _trust(path: Path | None) -> Trust | None:
    if path is None:
        return None
    # Imported here: most calls name no trust file yet.
    from pluto_measure.trust import Trust

    data = files.read(path, what="trust", limit=TRUST_LIMIT)
    with files.naming("trust", path):
        return Trust.parse(data)


def _values(path: Path) -> tuple[Measurements, bytes]:
    """measurements.json, by its name or by that of the folder of its release: parsed, and as it stands."""
    file = path / _MEASUREMENTS if path.is_dir() else path
    data = files.read(file, what="reference", limit=_LIMIT)
    with files.naming("reference", file, _MEASUREMENTS):
        return Measurements.parse(data), data


def _vouched(arguments: argparse.Namespace, folder: Path, values: bytes, trust: Trust, at: datetime) -> Vouched:
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
    return judge_release(received, demands, opener(arguments.sigstore_root)).vouched()


def _memory(state: Path | None) -> Memory | None:
    from pluto_measure.publish.folder import ReleaseMemory

    return None if state is None else ReleaseMemory(state).load()
