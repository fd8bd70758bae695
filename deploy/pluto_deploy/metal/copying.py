"""Copies files to a host: in pieces, so that memory stays small; resumed where a connection was lost; by digest.

A file lies under a name that ends in `.partial` until its SHA-256 was computed on the host and is the wanted one.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from pluto_deploy.metal.connection import Connection
from pluto_measure.errors import SourceError, VerificationError

PIECE: Final = 1 << 20
_SMALL: Final = 1 << 16  # bytes of an answer of one line
_FULL: Final = "No space left on device"
Told = Callable[[int, int], None]  # bytes that are there, bytes in all
_SUMS: Final = "SHA256SUMS"


def put_file(connection: Connection, source: Path, dest: PurePosixPath, digest: str, told: Told) -> None:
    """Copy `source` to `dest` (mode 0444), whose SHA-256 in hex is `digest`. Goes on where an earlier copy ended.

    SourceError where the host is full or lost, VerificationError where what arrived is something else.
    """
    if _is_there(connection, dest, digest):
        return
    partial, size = f"{dest}.partial", source.stat().st_size
    script = 'mkdir -p "$(dirname "$1")" && touch "$1" && stat -c %s "$1"'
    begun = _number(connection, connection.check(["sh", "-c", script, "sh", partial], most=_SMALL))
    if begun > size:
        connection.check(["rm", "-f", "--", partial])
        begun = 0
    # Each piece to its own place: of a connection that was lost, the host may still write what it had received.
    place = [f"of={partial}", f"seek={begun}", "oflag=seek_bytes", "conv=notrunc", "bs=1M", "status=none"]
    answer = connection.send(["dd", *place], _pieces(source, begun, size, told))
    if answer.code:
        if _FULL in answer.errors:
            connection.run(["rm", "-f", "--", partial])
            raise SourceError(f"{connection.login}: the disk is full: {dest} needs {size >> 20} MiB")
        raise SourceError(f"{connection.login}: {dest} was not written: {answer.errors or answer.code}")
    if not _says(connection.check(["sha256sum", "--", partial], timeout=600.0, most=_SMALL), digest):
        connection.check(["rm", "-f", "--", partial])
        raise VerificationError(f"{connection.login}: what arrived as {dest} is not what was sent; copy it again")
    connection.check(["sh", "-c", 'chmod 0444 "$1" && sync "$1" && mv -f "$1" "$2"', "sh", partial, str(dest)])


def put_tree(connection: Connection, source: Path, dest: PurePosixPath, told: Told) -> None:
    """Copy a folder to `dest`, whole or not at all; every file is hashed on the host before it counts.

    Beside the files lies their digest list, SHA256SUMS. SourceError, VerificationError.
    """
    partial = f"{dest}.partial"
    connection.check(["sh", "-c", 'rm -rf "$1" && mkdir -p "$1"', "sh", partial])
    sums, total = digest_list(source)
    pieces = _archive(source, sums, total, told)
    answer = connection.send(["tar", "-x", "--no-same-owner", "-C", partial, "-f", "-"], pieces)
    if answer.code:
        connection.run(["rm", "-rf", "--", partial])
        said = answer.errors.rpartition("\n")[2] or f"exit code {answer.code}"
        what = "the disk is full" if _FULL in answer.errors else said
        raise SourceError(f"{connection.login}: {dest} was not written: {what}")
    check = f"cd {shlex.quote(partial)} && sha256sum --quiet --strict -c {_SUMS}"
    if connection.run(["sh", "-c", check], timeout=600.0).code:
        connection.run(["rm", "-rf", "--", partial])
        raise VerificationError(f"{connection.login}: what arrived as {dest} is not what was sent; copy it again")


def digest_list(source: Path) -> tuple[bytes, int]:
    """SHA256SUMS of a folder, in the form of sha256sum, and the size of its files."""
    lines, total = [], 0
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(source).as_posix()}\n")
        total += path.stat().st_size
    return "".join(lines).encode(), total


def _is_there(connection: Connection, dest: PurePosixPath, digest: str) -> bool:
    answer = connection.run(["sha256sum", "--", str(dest)], timeout=600.0, most=_SMALL)
    return answer.code == 0 and _says(answer.output, digest)


def _says(output: bytes, digest: str) -> bool:
    """Whether sha256sum(1) found this digest; it marks names that it had to escape by a backslash."""
    return output.lstrip(b"\\").startswith(digest.encode() + b" ")


def _number(connection: Connection, output: bytes) -> int:
    text = output.strip()
    if not (text.isdigit() and len(text) < 20):
        raise SourceError(f"{connection.login}: says that a file has {text[:40]!r} bytes")
    return int(text)


def _pieces(source: Path, begun: int, size: int, told: Told) -> Iterator[bytes]:
    with source.open("rb") as file:
        file.seek(begun)
        told(begun, size)
        while piece := file.read(PIECE):
            begun += len(piece)
            yield piece
            told(begun, size)


class _Piped(io.RawIOBase):
    """Takes what tarfile writes; gives it away in pieces."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.waiting.append(bytes(data))
        return len(data)


def _archive(source: Path, sums: bytes, total: int, told: Told) -> Iterator[bytes]:
    """A tar archive of the folder, one file at a time."""
    piped, done = _Piped(), 0
    with tarfile.open(fileobj=piped, mode="w|", format=tarfile.GNU_FORMAT, bufsize=PIECE) as archive:
        for path in sorted(source.rglob("*")):
            info = archive.gettarinfo(path, path.relative_to(source).as_posix())
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
            if info.isreg():
                with path.open("rb") as file:
                    archive.addfile(info, file)
                done += info.size
                told(done, total)
            elif info.isdir() or info.issym():
                archive.addfile(info)
            yield from _given(piped)
        info = tarfile.TarInfo(_SUMS)
        info.size, info.mode = len(sums), 0o444
        archive.addfile(info, io.BytesIO(sums))
    yield from _given(piped)


def _given(piped: _Piped) -> Iterator[bytes]:
    given, piped.waiting = piped.waiting, []
    yield from given
