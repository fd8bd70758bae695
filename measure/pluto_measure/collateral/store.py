"""The collateral that a state directory keeps, and its memory against rollback.

    STATE/collateral/memory.json         the newest editions seen (pluto_measure.collateral.memory)
    STATE/collateral/<fmspc>-<ca>.json   the newest bundle of one FMSPC and CA (pluto_measure.formats.collateral_bundle)
    STATE/collateral/lock                locked while something is changed

How files are written: `pluto_measure.state_folder`. The memory is renamed before the bundle. So a process that ends
between the two leaves a bundle that the memory calls old, which is refused until it is fetched again; never a bundle
that the memory does not know. For the same reason a memory that is gone while bundles are there counts as damaged.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pluto_measure.collateral.memory import LIMIT as MEMORY_LIMIT
from pluto_measure.collateral.memory import Memory, Rollback, Seen, compare, remember
from pluto_measure.errors import FormatError, RefusedError, UsageError
from pluto_measure.formats.collateral_bundle import LIMIT as BUNDLE_LIMIT
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_measure.state_folder import PATIENCE, StateFolder

_BUNDLE: Final = re.compile(r"([0-9a-f]{12})-(platform|processor)\.json", re.ASCII)


class RolledBackError(RefusedError):
    """Collateral that is older than what was seen before."""

    def __init__(self, rollbacks: Sequence[Rollback]) -> None:
        self.rollbacks = tuple(rollbacks)
        super().__init__(f"older than once seen: {'; '.join(map(str, rollbacks))}")

    def fields(self) -> dict[str, object]:
        return {"rollbacks": [rollback.to_json() for rollback in self.rollbacks]}


class Store(StateFolder):
    """A state directory's collateral. Nothing is made before something is to be kept."""

    def __init__(
        self,
        state: Path,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(state / "collateral", "memory.json", patience=patience, sleep=sleep, monotonic=monotonic)

    def memory(self) -> Memory:
        """What was seen; empty in a new state directory. FormatError for a damaged memory or one that is gone."""
        found = self.remembered(
            Memory.parse, MEMORY_LIMIT, what="collateral memory", of="collateral", has_more=self.families
        )
        return Memory() if found is None else found

    def bundle(self, fmspc: bytes, ca: str) -> Bundle | None:
        """The newest bundle that was kept. FormatError where it is damaged."""
        path = self._path(fmspc, ca)
        data = self.read(path, BUNDLE_LIMIT)
        if data is None:
            return None
        try:
            return Bundle.parse(data)
        except FormatError as error:
            hint = f"run 'pluto-measure collateral fetch --fmspc {fmspc.hex()} --ca {ca} --state {self.folder.parent}'"
            raise FormatError("collateral bundle", f"{path} is damaged: {error}", hint=hint) from error

    def families(self) -> tuple[tuple[bytes, str], ...]:
        """The FMSPC and CA of every bundle, in order."""
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be read: {error.strerror}") from error
        return tuple((bytes.fromhex(match[1]), match[2]) for match in map(_BUNDLE.fullmatch, names) if match)

    def keep(self, items: Sequence[tuple[Seen, Bundle]]) -> None:
        """Keep bundles whose collateral was verified, and remember it: all of them or none.

        RolledBackError where one is older than what was seen, also by a process that was quicker.
        """
        with self.locked():
            memory = self.memory()
            if rollbacks := [one for seen, _ in items for one in compare(memory, seen)]:
                raise RolledBackError(rollbacks)
            for seen, _ in items:
                memory = remember(memory, seen)
            with contextlib.ExitStack() as written:
                # Everything that can fail for want of room comes before the first rename.
                bundles = [written.enter_context(self.prepared(*self._merged(seen, new))) for seen, new in items]
                with self.prepared(self.memory_path, memory.to_text()) as rename:
                    rename()
                for rename in bundles:
                    rename()
            self.flush_folder()

    def remember(self, seen: Seen) -> None:
        """Remember collateral that was verified and came from elsewhere. The memory never becomes older by it."""
        with self.locked():
            before = self.memory()
            after = remember(before, seen)
            if after == before:
                return
            with self.prepared(self.memory_path, after.to_text()) as rename:
                rename()
            self.flush_folder()

    def _path(self, fmspc: bytes, ca: str) -> Path:
        return self.folder / f"{fmspc.hex()}-{ca}.json"

    def _merged(self, seen: Seen, new: Bundle) -> tuple[Path, str]:
        try:
            old = self.bundle(seen.fmspc, seen.ca)
        except FormatError:
            old = None  # damaged; the new one takes its place
        new = new.part(seen.fmspc, seen.ca)
        return self._path(seen.fmspc, seen.ca), (new if old is None else old.merged(new)).to_text()
