"""Any bytes read as a Packages index or a Release file give packages with sane paths and sizes, or a FormatError."""

from __future__ import annotations

from datetime import UTC, datetime

from pluto_image.debian.archive import PackageIndex, parse_release
from pluto_measure.errors import FormatError
from simulators.debian_mirror import FakeDeb, packages_index, release_text


def target(data: bytes) -> None:
    """Read the bytes as both; every package named is parsed."""
    try:
        found = parse_release(data, what="Release")
        assert all(size >= 0 and len(digest) == 32 for size, digest in found.indexes.values())
    except FormatError:
        found = None
    try:
        index = PackageIndex(data, archive="main", architecture="amd64")
        names = {line[9:].strip() for line in data.decode().split("\n") if line.startswith("Package: ")}
        for name in names:
            for candidate in (*index.named(name), *index.providing(name)):
                assert candidate.path.startswith("pool/")
                assert ".." not in candidate.path
                assert candidate.size >= 0
    except FormatError:
        return


def seeds() -> list[bytes]:
    """An index with every field that is read, and a Release file."""
    fields = {"Depends": "bb (>= 1) | cc [amd64]", "Provides": "vv (= 1)", "Source": "src (2.0-1)", "Breaks": "dd:any"}
    index = packages_index([FakeDeb("aa", "1:1.0-1", fields), FakeDeb("bb", "2~rc1")]).encode()
    date = datetime(2026, 9, 1, tzinfo=UTC)
    release = release_text("trixie", {"main/binary-amd64/Packages.xz": index}, date=date, valid_until=date).encode()
    return [index, release]
