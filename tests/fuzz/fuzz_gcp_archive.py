"""Any bytes are a gzip of bounded size that zlib unpacks to the same, or a FormatError; any tar has its differences."""

from __future__ import annotations

import gzip
from contextlib import suppress
from io import BytesIO

from pluto_image.outputs import deflate, gcp
from pluto_image.rebuild.explain.gzip import inflated
from pluto_image.rebuild.explain.tar import tar_differences
from pluto_measure.errors import FormatError

_SIZE = 4096
_MOST = 1 << 20
_TAR = gcp.header(_SIZE, 1_700_000_000) + b"disk".ljust(_SIZE, b"\0") + bytes(1024)


def target(data: bytes) -> None:
    archive = data
    with suppress(FormatError):
        view = inflated(data, "gcp.tar.gz", most=_MOST)
        archive = view.read(0, view.size)
        assert len(archive) == view.size <= _MOST
        assert archive == gzip.GzipFile(fileobj=BytesIO(data)).read()
    if archive == _TAR:
        return
    found = list(tar_differences("gcp.tar.gz", archive, _TAR, lambda name: name))
    assert found
    assert all(text.isprintable() for one in found for text in (one.where, one.published, one.rebuilt, one.meaning))


def seeds() -> list[bytes]:
    """A small archive as it is written, the tar alone, one with a second member, and more zeros than may be."""
    written = b"".join(deflate.gzip(len(_TAR), [(0, _TAR)]))
    twice = _TAR[: 512 + _SIZE] + _TAR
    return [written, _TAR, twice, gzip.compress(twice, mtime=0), b"".join(deflate.gzip(1 << 26, []))]
