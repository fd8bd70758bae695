"""Which generations of a deployment were accepted from this computer: what a host says of an earlier one is held to it.

    STATE/deployments/<key>.accepted.json   the ids of generations, the newest last

A generation's id is the digest of release, configuration, tools and shape. Without it a host could offer, as the
machine to go back to, one of an accepted release with another configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pluto_deploy.engine.scene import Generation
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.state_folder import StateFolder

VERSION: Final = 1
_MOST: Final = 1000
_LIMIT: Final = 1 << 20
_WHAT: Final = "accepted generations"


class Accepted:
    """Of one deployment, below the state directory `state`. Nothing is made before something is to be kept."""

    def __init__(self, state: Path, key: str) -> None:
        self._path = state / "deployments" / f"{key}.accepted.json"
        self._folder = StateFolder(state / "deployments", self._path.name)

    def load(self) -> tuple[str, ...]:
        """The ids, the newest last. FormatError for a damaged file: it decides what is known."""
        self._folder.refuse_open_folder()
        data = self._folder.read(self._path, _LIMIT)
        if data is None:
            return ()
        fields = Fields(loads(data, what=_WHAT, limit=_LIMIT), what=_WHAT)
        version, known = fields.take("version", int), fields.take("generations", list)
        fields.end()
        if version != VERSION or not all(isinstance(one, str) for one in known):
            raise FormatError(_WHAT, f"{self._path} is damaged", hint=f"remove it: rm {self._path}")
        return tuple(known)

    def refuse_unwritable(self) -> None:
        """UsageError, SourceError where nothing can be kept: said before anything is changed, not after it."""
        with self._folder.locked(), self._folder.prepared(self._path, "0" * 4096):
            return  # what was written on trial is removed again

    def remember(self, generation: Generation) -> None:
        """Keep an accepted generation in mind."""
        with self._folder.locked():
            known = [one for one in self.load() if one != generation.id]
            text = pretty({"version": VERSION, "generations": [*known, generation.id][-_MOST:]})
            with self._folder.prepared(self._path, text) as rename:
                rename()
