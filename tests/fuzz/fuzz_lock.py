"""Any bytes read as lock.json give a lock that survives its own text, or a FormatError."""

from __future__ import annotations

from pathlib import Path

from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError

LOCK = Path(__file__).parents[2] / "image/notary/lock.json"


def target(data: bytes) -> None:
    """Parse; what parses is written and parsed again."""
    try:
        lock = Lock.parse(data)
    except FormatError:
        return
    assert Lock.parse(lock.to_text()) == lock


def seeds() -> list[bytes]:
    """A lock with one entry of each kind, cut from the real one."""
    real = Lock.parse(LOCK.read_bytes())
    small = Lock(1, real.definition_digest, real.archives, real.image[:2], real.tools[:1], (), real.derived)
    return [small.to_text().encode(), Lock(1, "ab" * 32, (), (), (), (), ()).to_text().encode()]
