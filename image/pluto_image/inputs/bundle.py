"""All inputs of a build in one deterministic tar: packages, wheels, derived inputs, indexes and signed Release files.

    lock.json                 the lock
    evidence/ID.InRelease     signed Release files
    wheels.json               names of the builder's own wheels, if they are in the bundle
    sha256/ab/<hex>           every other file, by its content, sorted

One header form (ustar), mode 0444, no owner, no time; a tar of the same locks has the same bytes everywhere. Reading
takes regular files in sha256/ only, one pass, and every content is hashed before it reaches the store. Format:
docs/formats/bundle.md. requirements/bootstrap.py reads with this module, so it needs the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Final

from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, SourceError, VerificationError

_BLOCK: Final = 512
_RECORD: Final = 20 * _BLOCK
_NAME: Final = re.compile(rb"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_LARGEST: Final = 2**32
_LARGEST_LOCK: Final = 64 * 1024 * 1024


def write(
    path: Path,
    lock: Lock,
    evidence: Mapping[str, bytes],
    contents: Iterable[str],
    store: Store,
    *,
    wheels: bytes | None = None,
) -> int:
    """Write the bundle; `contents` are the SHA-256 of what must be in it. Returns its size in bytes.

    `wheels`: requirements/wheels.json, if the builder's wheels are among the contents. Raises SourceError if the store
    lacks a content or the disk is full; then `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                texts = {"lock.json": lock.to_text().encode()}
                texts |= {f"evidence/{name}.InRelease": evidence[name] for name in sorted(evidence)}
                if wheels is not None:
                    texts["wheels.json"] = wheels
                size = _write(file, texts, contents, store)
                file.close()
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
    return size


def lock_of(path: Path) -> bytes:
    """The lock that a bundle was made for. Raises FormatError for what is no bundle, SourceError."""
    try:
        with path.open("rb") as file:
            header = _header(file)
            if header is None or header[0] != b"lock.json" or header[1] > _LARGEST_LOCK:
                raise FormatError(f"bundle {path}", "does not begin with a lock.json")
            return _content(file, header[1])
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def unpack(path: Path, store: Store, wanted: set[str]) -> set[str]:
    """Put the wanted contents of a bundle into the store; returns those found.

    Raises FormatError, SourceError, and VerificationError for a content that is not what its name says.
    """
    found: set[str] = set()
    try:
        with path.open("rb") as file:
            while header := _header(file):
                name, size = header
                match = _NAME.fullmatch(name)
                sha256 = match.group(2).decode() if match else ""
                if sha256 not in wanted:
                    _skip(file, size)
                    continue
                data = _content(file, size)
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise VerificationError(f"bundle {path}: the content named {sha256} is another one")
                store.put(data)
                found.add(sha256)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    return found


def _write(file: IO[bytes], texts: Mapping[str, bytes], contents: Iterable[str], store: Store) -> int:
    size = sum(_member(file, name, data) for name, data in texts.items())
    for sha256 in sorted(set(contents)):
        data = store.get(sha256)
        if data is None:
            raise SourceError(f"{sha256} is not in the store, or was damaged there")
        size += _member(file, f"sha256/{sha256[:2]}/{sha256}", data)
    end = 2 * _BLOCK
    end += -(size + end) % _RECORD
    file.write(bytes(end))
    return size + end


def _member(file: IO[bytes], name: str, data: bytes) -> int:
    """One file of a ustar archive (POSIX pax, "ustar Interchange Format"). Returns the bytes written."""
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000444\0",  # mode
        b"0000000\0" * 2,  # uid, gid
        b"%011o\0" % len(data),
        b"%011o\0" % 0,  # mtime
        b" " * 8,  # checksum, counted as blanks
        b"0",  # regular file
        bytes(100),  # link name
        b"ustar\x0000",
        bytes(32 + 32),  # owner names
        b"0000000\0" * 2,  # device numbers
        bytes(155 + 12),  # prefix, padding
    )
    header = bytearray(b"".join(fields))
    header[148:156] = b"%06o\0 " % sum(header)
    padding = -len(data) % _BLOCK
    file.write(header)
    file.write(data)
    file.write(bytes(padding))
    return _BLOCK + len(data) + padding


def _header(file: IO[bytes]) -> tuple[bytes, int] | None:
    """Name and size of the next member; None at the end. Anything but our own header form is refused."""
    at = file.tell()
    block = file.read(_BLOCK)
    if len(block) == _BLOCK and not any(block):
        return None
    if len(block) != _BLOCK:
        raise FormatError("bundle", "is cut", offset=at)
    blank = block[:148] + b" " * 8 + block[156:]
    if block[148:156] != b"%06o\0 " % sum(blank) or block[257:265] != b"ustar\x0000" or block[156:157] != b"0":
        raise FormatError("bundle", "is not a file of 'pluto-image bundle'", offset=at)
    digits = block[124:135]
    if not (digits.isdigit() and b"8" not in digits and b"9" not in digits) or int(digits, 8) > _LARGEST:
        raise FormatError("bundle", f"size {digits!r} is malformed", offset=at)
    return block[:100].rstrip(b"\0"), int(digits, 8)


def _content(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size or len(file.read(-size % _BLOCK)) != -size % _BLOCK:
        raise FormatError("bundle", "is cut", offset=file.tell())
    return data


def _skip(file: IO[bytes], size: int) -> None:
    file.seek(size + (-size % _BLOCK), os.SEEK_CUR)
