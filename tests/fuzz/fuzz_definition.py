"""Any bytes read as image.toml give a definition with one digest, or a FormatError."""

from __future__ import annotations

from pathlib import Path

from pluto_image.definition import parse
from pluto_measure.errors import FormatError

DEFINITION = Path(__file__).parents[2] / "image/notary/image.toml"


def target(data: bytes) -> None:
    """Parse; a definition is the same when it is parsed again."""
    try:
        found = parse(data)
    except FormatError:
        return
    assert parse(data) == found
    assert len(found.digest) == len(found.lock_digest) == 32


def seeds() -> list[bytes]:
    """The part of the real definition that decides the lock, which stands before the recipe."""
    return [DEFINITION.read_bytes().split(b"\n[kernel]", 1)[0]]
