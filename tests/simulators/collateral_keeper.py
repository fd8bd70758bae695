"""A program that keeps the collateral of a bundle in a state directory, to be killed or run several times at once.

    collateral_keeper.py STATE BUNDLE

It verifies nothing: what it keeps is signed by a pretend Intel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pluto_measure.collateral.memory import Seen
from pluto_measure.collateral.store import Store
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_measure.verify.collateral import check_collateral


def items(bundle: Bundle) -> list[tuple[Seen, Bundle]]:
    """What `Store.keep` takes, of every FMSPC and CA."""
    return [(Seen.of(check_collateral(bundle.collateral(*family))), bundle) for family in bundle.families()]


def main(words: Sequence[str]) -> int:
    state, path = words
    Store(Path(state)).keep(items(Bundle.parse(Path(path).read_bytes())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
