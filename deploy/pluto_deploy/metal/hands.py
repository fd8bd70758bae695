"""What is done on a host, one call each: files, units, the program of ours that is sent along. Decides nothing."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Final

from pluto_deploy.engine.scene import SLOTS
from pluto_deploy.metal import layout
from pluto_deploy.metal.connection import Connection
from pluto_deploy.metal.layout import FIRST_LEASE, LAST_LEASE
from pluto_deploy.metal.seen import Seen
from pluto_deploy.metal.slots import Owner, Placed
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats.strict_json import loads

_LARGEST_ANSWER: Final = 64 << 20  # bytes: the files of a release but for its image, base64


@dataclass(frozen=True, slots=True)
class Hands:
    """On one host. Every method raises SourceError with the host's name where it did not do as asked."""

    connection: Connection

    def look(self, name: str) -> Seen:
        """Everything about the deployment `name`, and what there is beside it."""
        folder = layout.domain(name)
        slots = {
            letter: {
                "folder": str(folder / letter),
                "record": str(folder / letter / "slot.json"),
                "unit": f"pluto-td-{name}-{letter}.service",
            }
            for letter in SLOTS
        }
        ask = {
            "name": name,
            "slots": slots,
            "images": str(layout.IMAGES),
            "tools": str(layout.TOOLS),
            "domains": str(layout.DOMAINS),
            "leases": str(layout.LEASES),
            "prepared": str(layout.PREPARED),
            "serving": str(layout.serving(name)),
            "traffic": str(layout.traffic(name)),
        }
        answer = self._ask("look", ask)
        try:
            return Seen.parse(answer)
        except FormatError as error:
            raise SourceError(f"{self.connection.login}: {error}", hint=error.hint) from error

    def lease(self, name: str) -> None:
        """A number of the host's for each slot of the deployment that has none."""
        ask = {"name": name, "letters": list(SLOTS), "leases": str(layout.LEASES)}
        self._ask("lease", {**ask, "first": FIRST_LEASE, "last": LAST_LEASE})

    def write(self, placed: Sequence[Placed], *, folders: Sequence[tuple[str, int, Owner]] = ()) -> None:
        """Files, each whole or not at all, and folders before them."""
        files = [[str(one.path), one.mode, list(one.owner), base64.b64encode(one.content).decode()] for one in placed]
        self._ask("write", {"folders": [[path, mode, list(owner)] for path, mode, owner in folders], "files": files})

    def remove(self, paths: Sequence[PurePosixPath]) -> None:
        """Files and folders away, those that are there."""
        self._ask("write", {"gone": [str(path) for path in paths]})

    def take(self, partial: PurePosixPath | str, place: PurePosixPath) -> None:
        """A folder that was filled beside its place into its place."""
        self._ask("take", {"partial": str(partial), "place": str(place)})

    def listed(self, folder: PurePosixPath) -> list[str]:
        """The files below a folder by their paths in it."""
        paths = self._ask("list", {"folder": str(folder)}).get("paths")
        if not isinstance(paths, list) or not all(isinstance(one, str) and _is_inside(one) for one in paths):
            raise SourceError(f"{self.connection.login}: answers nonsense of {folder}")
        return paths

    def read(self, paths: Sequence[PurePosixPath], *, tail: int | None = None) -> dict[PurePosixPath, bytes | None]:
        """Files, at most `tail` bytes of their end; None for those that are not there."""
        found = self._ask("read", {"paths": [str(path) for path in paths], "tail": tail}).get("files")
        try:
            assert isinstance(found, dict)
            given = {path: found[str(path)] for path in paths}
            return {path: None if one is None else base64.b64decode(one, validate=True) for path, one in given.items()}
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self.connection.login}: answers nonsense of {paths[0]}") from error

    def systemctl(self, verb: str, *words: str, may_fail: bool = False, seconds: float = 120.0) -> None:
        """One call of systemctl(1)."""
        argv = ["systemctl", verb, *words]
        answer = self.connection.run(argv, timeout=seconds)
        if answer.code and not may_fail:
            said = answer.errors.splitlines()[0] if answer.errors else f"exit code {answer.code}"
            raise SourceError(f"{self.connection.login}: {shlex.join(argv)}: {said}")

    def _ask(self, verb: str, ask: Mapping[str, Any]) -> dict[str, Any]:
        """One call of `remote.py` on the host."""
        program = resources.files("pluto_deploy.metal").joinpath("remote.py").read_text()
        program += f"\nsys.exit(main({verb!r}, {json.dumps(ask)!r}))\n"
        output = self.connection.check(["python3", "-I", "-"], data=program.encode(), most=_LARGEST_ANSWER)
        try:
            answer = loads(output, what="host", limit=_LARGEST_ANSWER)
        except FormatError as error:
            raise SourceError(f"{self.connection.login}: answers nonsense: {error}") from error
        if not isinstance(answer, dict) or "error" in answer:
            said = answer.get("error") if isinstance(answer, dict) else "no object"
            raise SourceError(f"{self.connection.login}: {str(said)[:300]}")
        return answer


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and name.isprintable()
