"""Any bytes read as a wheel give plain files below the root, each once, within the limits, or a FormatError."""

from __future__ import annotations

import io
import zipfile

from pluto_image.formats.unzip import Limits, read
from pluto_measure.errors import FormatError

LIMITS = Limits(total=1 << 20, members=1000, path=256)


def target(data: bytes) -> None:
    """Read everything; what comes out keeps the promises of `read`."""
    try:
        found = read(data, what="wheel", want=lambda _: True, limits=LIMITS)
    except FormatError:
        return
    assert len(found) <= LIMITS.members
    assert sum(map(len, found.values())) <= LIMITS.total
    assert not any(part in ("", ".", "..") or "\\" in part for path in found for part in path.split("/"))


def seeds() -> list[bytes]:
    """Wheels stored and deflated, with a folder, one with an empty file."""
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in (("tiny/", b""), ("tiny/a.py", b"x = 1\n" * 20), ("tiny/b.py", b"")):
                archive.writestr(zipfile.ZipInfo(name), data, method)
        made.append(out.getvalue())
    return made
