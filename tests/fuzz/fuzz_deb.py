"""Any bytes read as a Debian package give members below the root, each once, within the limits, or a FormatError."""

from __future__ import annotations

from pluto_image.debian.deb import Limits, read
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError
from simulators.debs import ar, control_tar, deb, directory, entry, tar

LIMITS = Limits(total=1 << 22, ratio_free=1 << 20, members=1000, control=1 << 20)


def target(data: bytes) -> None:
    """Read everything; what comes out keeps the promises of `Member`."""
    try:
        found = list(read(data, limits=LIMITS).members)
    except FormatError:
        return
    paths = [member.path for member in found]
    assert len(set(paths)) == len(paths)
    assert not any(part in ("", ".", "..") for path in paths for part in path.split("/"))
    assert all(bool(member.link) == (member.kind is Kind.SYMLINK) for member in found)


def seeds() -> list[bytes]:
    """Packages of each compression, and one without any, where mutations reach the tar headers."""
    entries = [
        directory("./"), directory("./d/"), entry("./d/f", b"content"), entry("./d/" + "n" * 120, b""),
        entry("./d/l", kind=b"2", link="f"), entry("./d/h", kind=b"1", link="./d/f"),
    ]  # fmt: skip
    plain = ar([("debian-binary", b"2.0\n"), ("control.tar", control_tar()), ("data.tar", tar(entries))])
    return [plain, *(deb(entries, suffix=suffix) for suffix in (".xz", ".gz", ".zst"))]
