"""How the builder that is installed here differs from the one in a release's source.tar. Reads its own files only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pluto_image
import pluto_measure

# Where a builder's packages lie in source.tar.
FOLDERS: Final = {"image/pluto_image/": pluto_image, "measure/pluto_measure/": pluto_measure}


def differing(files: Mapping[str, bytes]) -> tuple[str, ...] | None:
    """Paths of the builder, as in source.tar, that differ here; None if source.tar holds no builder."""
    if not any(path.startswith(tuple(FOLDERS)) for path in files):
        return None
    found = []
    for folder, package in FOLDERS.items():
        root = Path(str(package.__file__)).parent
        published = {path.removeprefix(folder) for path in files if path.startswith(folder)}
        here = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
        for name in sorted(published | here):
            path = root / name
            if not path.is_file() or name not in published or path.read_bytes() != files[folder + name]:
                found.append(folder + name)
    return tuple(found)
