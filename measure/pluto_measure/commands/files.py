"""Files named on the command line: read whole with a limit, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError, UsageError

LIMIT: Final = 512 * 1024 * 1024


def read(path: Path, *, what: str, limit: int = LIMIT) -> bytes:
    """A file's bytes. UsageError where it cannot be read, FormatError where it is larger than `limit`."""
    data = read_head(path, limit + 1, what=what)
    if len(data) > limit:
        raise FormatError(what, f"{path} is larger than {limit} bytes")
    return data


def read_head(path: Path, size: int, *, what: str) -> bytes:
    """At most the first `size` bytes of a file. UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL, or what no file system can spell
        raise UsageError(f"{what} {str(path)!r} cannot be a file's name") from error


@contextmanager
def naming(kind: str, path: Path, root: str = "") -> Iterator[None]:
    """Say in which file a format error was found, as in `policy late.toml: version is missing`.

    `root` is what the parser calls the whole file, if not `kind`; it is left out, the file's name says as much.
    """
    try:
        yield
    except FormatError as error:
        said, root = str(error), root or kind
        if error.what == root or error.what.startswith(f"{root}."):
            said = said.removeprefix(root).lstrip(".: ")
        named = FormatError(f"{kind} {path}", said, hint=error.hint)
        named.offset = error.offset
        raise named from error


def refuse_no_place(option: str, path: Path | None) -> None:
    """What cannot be written is said before there is anything to lose. UsageError."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")


def write(path: Path, content: str | bytes) -> None:
    """Write to a temporary name beside `path`, then rename: the file is the old one or the new one."""
    # Imported here: most commands write nothing.
    import tempfile

    temporary = None
    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content.encode() if isinstance(content, str) else content)
        # A temporary file is made private; this one is to be read like any other.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
