"""`pluto_image.cli` with disks of 64 MiB instead of a GiB: hashing zeros is what a tiny build waits for. For tests."""

from __future__ import annotations

from pluto_image import cli
from pluto_image.formats import disk
from pluto_image.outputs import gcp

SIZE = 64 << 20


def main(argv: list[str] | None = None) -> int:
    """The same as `pluto_image.cli.main`."""
    disk.SIZE = SIZE  # type: ignore[misc]  # a constant everywhere else
    gcp._GIB = SIZE  # type: ignore[misc]
    return cli.main(argv)
