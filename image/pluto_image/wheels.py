"""Python wheels for which Debian has no package: fetched by the machine's own pip, accepted by hash only.

No package index is named here: pip knows the one that the machine's owner configured. Wheels are only data for the
builder; nothing is installed and no code of theirs runs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pluto_image.errors import UnavailableError
from pluto_image.fetch import Sources, ensure, missing
from pluto_image.lockfile import Wheel
from pluto_image.store import Store

PYTHON: Final = "3.13"  # the interpreter of Debian 13, whatever runs the builder
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64", "any")
_TIMEOUT: Final = 300.0


def ensure_wheels(
    wheels: Iterable[Wheel], store: Store, sources: Sources, *, offline: bool = False, pip_options: Sequence[str] = ()
) -> None:
    """Bring wheels into the store: bundle and project stores first, then pip. Raises UnavailableError, SourceError.

    `pip_options` are for callers that keep wheels in a folder ("--no-index", "--find-links=DIR").
    """
    wanted = tuple(wheels)
    try:
        ensure(wanted, store, sources, offline=offline)
        return
    except UnavailableError:
        if offline:
            raise
    lost = [wheel for wheel in wanted if wheel in missing(wanted, store) and not _by_pip(wheel, store, pip_options)]
    if lost:
        names = sorted(f"{wheel.name} {wheel.version}" for wheel in lost)
        raise UnavailableError(names, [f"{wheel.file} by pip" for wheel in lost])


def _by_pip(wheel: Wheel, store: Store, options: Sequence[str]) -> bool:
    """Whether pip delivered the file with the locked hash; it is in the store then."""
    with tempfile.TemporaryDirectory(prefix="pluto-wheel-") as folder:
        requirement = Path(folder) / "requirement.txt"
        requirement.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        # fmt: off
        argv = [
            sys.executable, "-m", "pip", "download",
            "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--only-binary=:all:", "--require-hashes",
            f"--python-version={PYTHON}", "--implementation=cp",
            f"--abi=cp{PYTHON.replace('.', '')}", "--abi=abi3", "--abi=none",
            *(f"--platform={name}" for name in PLATFORMS),
            f"--dest={folder}", f"--requirement={requirement}",
            *options,
        ]
        # fmt: on
        try:
            subprocess.run(argv, capture_output=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        path = Path(folder) / wheel.file
        if not path.is_file() or path.stat().st_size != wheel.size:
            return False
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != wheel.sha256:
            return False
        store.put(data)
        return True
