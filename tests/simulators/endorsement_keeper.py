"""A program that keeps a launch endorsement in a state directory, to be killed.

    endorsement_keeper.py STATE ENDORSEMENT ROOT MRTD

ROOT: SHA-256 in hex of the root that counts; it is a pretend Google's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pluto_measure.collateral.endorsement_store import EndorsementStore
from pluto_measure.verify.launch_endorsement import verify_endorsement


def main(words: Sequence[str]) -> int:
    state, path, root, mrtd = words
    data = Path(path).read_bytes()
    at = datetime(2026, 11, 20, tzinfo=UTC)
    verified = verify_endorsement(data, at=at, roots=frozenset({bytes.fromhex(root)}))
    EndorsementStore(Path(state)).keep(verified, bytes.fromhex(mrtd), data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
