"""Programs on the path that run Python code of a test, with all that the test can import."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def program(folder: Path, name: str, code: str) -> None:
    """`name` in `folder` runs the code; its words are in `sys.argv`."""
    folder.mkdir(exist_ok=True)
    script, path = folder / f"{name}.py", folder / name
    found = "".join(f"sys.path.insert(0, {place!r})\n" for place in reversed(sys.path) if place)
    script.write_text(f"import sys\n{found}{code}\n")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    path.chmod(0o755)


def trusting(root: bytes) -> str:
    """Code before a program's own: it takes whose root this is, in DER, for Intel."""
    digest = hashlib.sha256(root).hexdigest()
    roots = f"intel_pki.INTEL_ROOTS = frozenset({{bytes.fromhex({digest!r})}})"
    return f"from pluto_measure.verify import intel_pki\n{roots}\n"


def of(module: str) -> str:
    """Code that is the program with this `main`: "pluto_measure.cli"."""
    return f"from {module} import main\nsys.exit(main(sys.argv[1:]))"
