"""Debian packages made by tests: well-formed ones, and any broken one by its parts."""

from __future__ import annotations

import gzip
import lzma
import tarfile
from collections.abc import Iterable, Mapping

import zstandard

CONTROL = "Package: {name}\nVersion: {version}\nArchitecture: amd64\nDescription: made by a test\n more\n"


def entry(path: str, data: bytes = b"", *, mode: int = 0o644, kind: bytes = b"0", link: str = "") -> tarfile.TarInfo:
    """A tar header; `kind` is the type flag. The content travels in the attribute `content`."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
    info.pax_headers = {"content": data.hex()}  # the one attribute that is free to use in GNU format
    return info


def directory(path: str) -> tarfile.TarInfo:
    return entry(path, mode=0o755, kind=b"5")


def tar(entries: Iterable[tarfile.TarInfo]) -> bytes:
    """A GNU tar archive of the entries, in the order given."""
    out = b""
    for info in entries:
        content = bytes.fromhex(info.pax_headers.get("content", ""))
        out += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An ar archive of (name, content)."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def compressed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".xz":
            return lzma.compress(data, preset=0)
        case ".gz":
            return gzip.compress(data, 1, mtime=0)
        case ".zst":
            return zstandard.ZstdCompressor(level=1).compress(data)
        case _:
            return data


def control_tar(name: str = "sample", version: str = "1.0-1", scripts: Mapping[str, bytes] | None = None) -> bytes:
    files = {"control": CONTROL.format(name=name, version=version).encode(), **(scripts or {})}
    return tar([directory("./"), *(entry(f"./{path}", data) for path, data in files.items())])


def deb(
    entries: Iterable[tarfile.TarInfo],
    *,
    name: str = "sample",
    version: str = "1.0-1",
    scripts: Mapping[str, bytes] | None = None,
    suffix: str = ".xz",
) -> bytes:
    """A package as dpkg-deb would make it."""
    return package(compressed(tar(entries), suffix), control_tar(name, version, scripts), suffix=suffix)


def package(data_tar: bytes, control: bytes | None = None, *, suffix: str = ".xz") -> bytes:
    """A package around a data.tar that is compressed already."""
    control = compressed(control_tar() if control is None else control, ".xz")
    return ar([("debian-binary", b"2.0\n"), ("control.tar.xz", control), (f"data.tar{suffix}", data_tar)])
