"""Python wheels from a package index: fetched by the machine's own pip, accepted by hash only.

Wheels of the image are those for which Debian has no package; the builder's own go into the bundle
(`builder_wheels`). No index is named here: pip knows the one that the machine's owner configured. Wheels are only data
for the builder; nothing is installed and no code of theirs runs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_image.errors import UnavailableError
from pluto_image.inputs.fetch import Progress, Sources, Step, ensure
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Wheel

_TIMEOUT: Final = 300.0
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Target:
    """For whom pip is asked: implementation and version of Python, ABI tags, platform tags (PEP 425)."""

    implementation: str
    python: str
    abis: tuple[str, ...]
    platforms: tuple[str, ...]


DEBIAN: Final = Target(  # the interpreter of Debian 13, whatever runs the builder
    "cp",
    "3.13",
    ("cp313", "abi3", "none"),
    ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64", "any"),
)


def ensure_wheels(
    wheels: Iterable[Wheel],
    store: Store,
    sources: Sources,
    *,
    offline: bool = False,
    pip_options: Sequence[str] = (),
    target: Callable[[Wheel], Target] = lambda _: DEBIAN,
    progress: Progress | None = None,
) -> None:
    """Bring wheels into the store: bundle and project stores first, then pip. Raises UnavailableError, SourceError.

    `target` says for whom pip is asked for a wheel. `pip_options` are for callers that keep wheels in a folder
    ("--no-index", "--find-links=DIR").
    """
    wanted = tuple(wheels)
    try:
        ensure(wanted, store, sources, offline=offline)
        return
    except UnavailableError:
        if offline:
            raise
    batches: dict[Target, list[Wheel]] = {}
    for wheel in _absent(wanted, store):
        batches.setdefault(target(wheel), []).append(wheel)
    done, total = 0, sum(map(len, batches.values()))
    with ThreadPoolExecutor(_WORKERS) as pool:
        for batch in pool.map(lambda name: _deliver(name, batches[name], store, pip_options), batches):
            done += len(batch)
            if progress is not None:
                progress(Step(batch[-1].file, "pip", sum(wheel.size for wheel in batch), done, total))
    if lost := _absent(wanted, store):
        names = sorted({f"{wheel.name} {wheel.version}" for wheel in lost})
        raise UnavailableError(names, [f"{wheel.file} by pip" for wheel in lost])


def _absent(wheels: Iterable[Wheel], store: Store) -> list[Wheel]:
    return [wheel for wheel in wheels if not store.has(wheel.sha256, wheel.size)]


def _deliver(target: Target, batch: Sequence[Wheel], store: Store, options: Sequence[str]) -> Sequence[Wheel]:
    """Ask pip for a batch, and where it refuses the batch for one wheel's sake, for each wheel. Returns the batch."""
    _by_pip(target, batch, store, options)
    if len(batch) > 1:
        for wheel in _absent(batch, store):
            _by_pip(target, [wheel], store, options)
    return batch


def _by_pip(target: Target, batch: Sequence[Wheel], store: Store, options: Sequence[str]) -> None:
    """Put into the store what pip delivers with the locked hash."""
    with tempfile.TemporaryDirectory(prefix="pluto-wheel-") as folder:
        requirements = Path(folder) / "requirements.txt"
        lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in batch]
        requirements.write_text("".join(lines))
        # fmt: off
        argv = [
            sys.executable, "-m", "pip", "download",
            "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--only-binary=:all:", "--require-hashes",
            f"--python-version={target.python}", f"--implementation={target.implementation}",
            *(f"--abi={name}" for name in target.abis),
            *(f"--platform={name}" for name in target.platforms),
            f"--dest={folder}", f"--requirement={requirements}",
            *options,
        ]
        # fmt: on
        try:
            subprocess.run(argv, capture_output=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return
        for wheel in batch:
            path = Path(folder) / wheel.file
            if path.is_file() and path.stat().st_size == wheel.size:
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == wheel.sha256:
                    store.put(data)
