"""The launch endorsements that a state directory keeps, and its memory against older ones.

    STATE/endorsements/memory.json     what was seen (pluto_measure.collateral.endorsement_memory)
    STATE/endorsements/<mrtd>.base64   the newest endorsement of one MRTD
    STATE/endorsements/lock            locked while something is changed

How files are written: `pluto_measure.state_folder`. The memory is renamed first, so a process that ends between the two
leaves an endorsement that the memory calls old, never one that it does not know. A memory that is gone while
endorsements are there counts as damaged.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.collateral.endorsement_memory import LIMIT as MEMORY_LIMIT
from pluto_measure.collateral.endorsement_memory import EndorsementMemory
from pluto_measure.errors import FormatError, RefusedError, UsageError
from pluto_measure.formats.endorsement import LIMIT
from pluto_measure.state_folder import PATIENCE, StateFolder

if TYPE_CHECKING:
    from pluto_measure.verify.launch_endorsement import VerifiedEndorsement

_KEPT: Final = re.compile(r"([0-9a-f]{96})\.base64", re.ASCII)
_TEXT_LIMIT: Final = LIMIT * 3 // 2


class OlderEndorsementError(RefusedError):
    """An endorsement that is older than what was seen before."""

    def __init__(self, mrtd: bytes, older: Sequence[str]) -> None:
        self.mrtd, self.older = mrtd, list(older)
        super().__init__(f"launch endorsement of {mrtd.hex()[:16]}…: older than once seen: {'; '.join(older)}")


class EndorsementStore(StateFolder):
    """A state directory's launch endorsements. Nothing is made before something is to be kept."""

    def __init__(
        self,
        state: Path,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(state / "endorsements", "memory.json", patience=patience, sleep=sleep, monotonic=monotonic)

    def memory(self) -> EndorsementMemory:
        """What was seen; empty in a new state directory. FormatError for a damaged memory or one that is gone."""
        found = self.remembered(
            EndorsementMemory.parse,
            MEMORY_LIMIT,
            what="endorsement memory",
            of="endorsements",
            has_more=self.mrtds,
        )
        return EndorsementMemory() if found is None else found

    def mrtds(self) -> tuple[bytes, ...]:
        """The MRTDs whose endorsements are kept, in order."""
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be read: {error.strerror}") from error
        return tuple(bytes.fromhex(match[1]) for match in map(_KEPT.fullmatch, names) if match)

    def endorsement(self, mrtd: bytes) -> bytes | None:
        """The endorsement of an MRTD as it came, not verified; None where none is kept. FormatError."""
        text = self.read(self._path(mrtd), _TEXT_LIMIT)
        if text is None:
            return None
        try:
            return base64.b64decode(text.strip(), validate=True)
        except binascii.Error as error:
            hint = f"run 'pluto-measure endorsement fetch {mrtd.hex()} --state {self.folder.parent}'"
            raise FormatError("launch endorsement", f"{self._path(mrtd)} is damaged", hint=hint) from error

    def keep(self, verified: VerifiedEndorsement, mrtd: bytes, data: bytes) -> None:
        """Keep `data`, the endorsement that was verified, as that of one of its MRTDs, and remember it.

        OlderEndorsementError where it is older than what was seen, also by a process that was quicker.
        """
        with self.locked():
            memory = self.memory()
            if older := memory.older(verified, mrtd):
                raise OlderEndorsementError(mrtd, older)
            text = base64.b64encode(data).decode() + "\n"
            with self.prepared(self._path(mrtd), text) as rename_data:
                with self.prepared(self.memory_path, memory.with_seen(verified, mrtd).to_text()) as rename:
                    rename()
                rename_data()
            self.flush_folder()

    def remember(self, verified: VerifiedEndorsement, mrtd: bytes) -> None:
        """Remember an endorsement that was verified and came from elsewhere. The memory never becomes older by it."""
        with self.locked():
            before = self.memory()
            after = before.with_seen(verified, mrtd)
            if after == before:
                return
            with self.prepared(self.memory_path, after.to_text()) as rename:
                rename()
            self.flush_folder()

    def _path(self, mrtd: bytes) -> Path:
        return self.folder / f"{mrtd.hex()}.base64"
