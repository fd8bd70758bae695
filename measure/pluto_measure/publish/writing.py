"""Signs a statement and puts the signature beside it. Thin: keys and payload come from the caller."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError, UsageError
from pluto_measure.publish.dsse import Envelope, signed
from pluto_measure.publish.keys import PrivateKey, key_id, private_key
from pluto_measure.publish.notices import CONFIRMATION, REVOCATION
from pluto_measure.publish.signature import FOLDER
from pluto_measure.publish.statement import Statement

_LARGEST_KEY: Final = 64 * 1024
_NAME: Final = 16  # hex digits of a key's id that name its file


def load_key(path: Path, password_file: Path | None) -> PrivateKey:
    """A private key from a file that nobody else may read. UsageError, FormatError."""
    password = None if password_file is None else _secret(password_file).rstrip(b"\r\n")
    return private_key(_secret(path), password, what=str(path))


def by_key(payload: bytes, key: PrivateKey, kind: str = "") -> tuple[str, bytes]:
    """A plain key's signature: the file's name and its bytes. FormatError where the payload is no statement.

    `kind` names what is no signature of the release itself, such as a revocation.
    """
    Statement.parse(payload)
    name = f"{key_id(key.public_key())[:_NAME]}{_ending(kind)}.dsse.json"
    return name, signed(payload, key).to_text().encode()


def keyless(payload: bytes, kind: str = "") -> tuple[str, bytes]:
    """A keyless signature with this machine's identity. SourceError, UsageError where it has none."""
    from pluto_measure.publish import keyless as sigstore  # loads slowly, and only where it is asked for

    Statement.parse(payload)
    bundle = sigstore.sign(payload)
    return f"{hashlib.sha256(bundle).hexdigest()[:_NAME]}{_ending(kind)}.sigstore.json", bundle


def _ending(kind: str) -> str:
    return f".{kind}" if kind else ""


def put(statement: Path, name: str, data: bytes, out: Path | None) -> Path:
    """Write a signature to `out`, else into the folder signatures beside the statement. UsageError."""
    path = out if out is not None else statement.parent / FOLDER / name
    if path.parent.is_symlink() and out is None:
        raise UsageError(f"{path.parent} is a link, and what it leads to is not this release's")
    if (path.is_file() or path.is_symlink()) and not _is_replaced_by(path, data):
        raise UsageError(f"{path} is there already, and is not this signer's signature of this statement")
    temporary = None
    try:
        path.parent.mkdir(exist_ok=True)
        # A name that nobody can have guessed: a release may come from somebody who laid a link in its place.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _is_replaced_by(path: Path, data: bytes) -> bool:
    """Whether a file is an older signature by the same key over the same statement, or an older one of its kind about
    the same files: an earlier confirmation, say."""
    if path.is_symlink():
        return False
    try:
        old, new = Envelope.parse(path.read_bytes()), Envelope.parse(data)
        if old.keyid != new.keyid:
            return False
        if old.payload == new.payload:
            return True
        before, after = Statement.parse(old.payload), Statement.parse(new.payload)
    except (OSError, FormatError):
        return False
    kinds = (CONFIRMATION, REVOCATION)
    same = (before.predicate_type, before.subjects) == (after.predicate_type, after.subjects)
    return same and after.predicate_type in kinds


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"{path}: others may read it", hint=f"run 'chmod 600 {path}'")
            data = file.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_KEY:
        raise FormatError(str(path), f"is larger than {_LARGEST_KEY} bytes")
    return data
