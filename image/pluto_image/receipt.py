"""The receipt of a build: what went in and what came out, so that the same build need not be done twice.

It lies beside DIST (`.NAME.receipt.json`), never in it, and proves nothing to anybody: it only says that size, time,
inode and digest of every input were such and such. Inputs are compared by size, time and inode first; a file that
changed in one of them is hashed again. Outputs are compared in the same way, and hashed with `check`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pluto_image import artifact
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.publish.listing import names

_VERSION: Final = 1
# A file that was written within this many nanoseconds before the receipt may change again within one tick of its clock.
_RACY: Final = 2_000_000_000


def path_for(out: Path) -> Path:
    """Where the receipt of a DIST lies."""
    return out.parent / f".{out.name}.receipt.json"


def facts(inputs: Iterable[Path], now: int) -> dict[str, list[Any]]:
    """Size, time, inode and digest of every input by path, for `write`. `now` in nanoseconds since 1970.

    Take them before the build reads the files: a file that changes meanwhile then counts as changed.
    """
    return {str(path): _fact(path, now) for path in sorted(set(inputs))}


def write(out: Path, *, flavour: str, inputs: Mapping[str, list[Any]], sums: Mapping[str, str]) -> None:
    """Note a build that has just been done. `inputs`: their `facts`. An unwritable folder is no error."""
    outputs = {name: [*_stat(out / name), digest] for name, digest in sorted(sums.items())}
    document = {"version": _VERSION, "flavour": flavour, "tool": _tool(), "inputs": dict(inputs), "outputs": outputs}
    place = path_for(out)
    temporary = place.with_name(place.name + ".partial")
    try:
        temporary.write_text(json.dumps(document), encoding="utf-8")
        os.replace(temporary, place)  # noqa: PTH105  Path.replace returns a path nobody needs
    except OSError:
        temporary.unlink(missing_ok=True)  # without a receipt the next build is done in full


def holds(out: Path, *, flavour: str, inputs: Iterable[Path], check: bool) -> bool:
    """Whether DIST is what a build of these inputs would give. `check`: hash all inputs and outputs again."""
    try:
        document = json.loads(path_for(out).read_text(encoding="utf-8"))
        known = document["inputs"]
        if (document["version"], document["flavour"], document["tool"]) != (_VERSION, flavour, _tool()):
            return False
        if {str(path) for path in inputs} != set(known):
            return False
        if not all(_same(Path(path), fact, check) for path, fact in known.items()):
            return False
        present = {name for name in names(out) if not artifact.is_about_a_release(name)}
        outputs: dict[str, list[Any]] = document["outputs"]
        return (
            present == {*outputs, "SHA256SUMS"}
            and all(_same(out / name, fact, check) for name, fact in outputs.items())
            and _sums_hold(out, outputs)
        )
    except (OSError, ValueError, KeyError, TypeError, FormatError, UsageError):
        return False  # no receipt, or none that we wrote


def _sums_hold(out: Path, outputs: Mapping[str, list[Any]]) -> bool:
    wanted = "".join(f"{outputs[name][3]}  {name}\n" for name in sorted(outputs))
    return (out / "SHA256SUMS").read_bytes() == wanted.encode()


def _fact(path: Path, now: int) -> list[Any]:
    size, time, inode = _stat(path)
    # A file changed a moment ago might change again without its time moving: it is hashed at the next build.
    digest = path.name if path.parent.parent.name == "sha256" else _digest(path)  # the store has just verified it
    return [size, time if now - time > _RACY else -1, inode, digest]


def _same(path: Path, fact: list[Any], check: bool) -> bool:
    size, time, inode, digest = fact
    found = _stat(path)
    if found[0] != size:
        return False
    if not check and found == [size, time, inode]:
        return True
    return bool(_digest(path) == digest)


def _stat(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tool() -> list[str]:
    """What else could change the result: the interpreter, and the compressor's installed version by its folder."""
    return [sys.version, sys.prefix]
