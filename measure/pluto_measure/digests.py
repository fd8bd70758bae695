"""Digests by algorithm, and the pair of both that one launch needs (SHA-256 for TPMs, SHA-384 for TDX and TPMs)."""

from __future__ import annotations

import hashlib

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, Self

# Hash algorithms of event logs and PCR banks: TCG Algorithm Registry, table 3. Value: identifier, size in bytes.
ALGORITHMS: Final[dict[str, tuple[int, int]]] = {
    "sha1": (0x0004, 20),
    "sha256": (0x000B, 32),
    "sha384": (0x000C, 48),
    "sha512": (0x000D, 64),
}
NAME_OF: Final[dict[int, str]] = {number: name for name, (number, _) in ALGORITHMS.items()}


def digest(algorithm: str, *chunks: bytes | memoryview) -> bytes:
    """The digest of bytes, or of chunks in order; `algorithm` is a key of ALGORITHMS."""
    state = hashlib.new(algorithm, usedforsecurity=algorithm != "sha1")
    for chunk in chunks:
        state.update(chunk)
    return state.digest()


@record
class Digests:
    """One content in both algorithms: 32 and 48 bytes. In JSON: {"sha256": hex, "sha384": hex}.

    Somebody else's input may be known by one of them alone; the other is empty, and asking for it is a FormatError.
    """

    sha256: bytes
    sha384: bytes

    def __post_init__(self) -> None:
        sizes = (len(self.sha256), len(self.sha384))
        if sizes not in ((32, 48), (0, 48), (32, 0)):
            raise FormatError("digests", f"sizes are {sizes[0]} and {sizes[1]} bytes, not 32 and 48")

    @classmethod
    def of(cls, data: bytes | Iterable[bytes | memoryview]) -> Self:
        """Digests of bytes, or of chunks in order."""
        chunks = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        small, large = hashlib.sha256(), hashlib.sha384()
        for chunk in chunks:
            small.update(chunk)
            large.update(chunk)
        return cls(small.digest(), large.digest())

    def __getitem__(self, algorithm: str) -> bytes:
        """The digest by the algorithm's name: "sha256" or "sha384". FormatError where it is not known."""
        found = {"sha256": self.sha256, "sha384": self.sha384}[algorithm]
        if not found:
            known = (self.sha256 or self.sha384).hex()
            raise FormatError("digests", f"the {algorithm} digest is not known of the input with the digest {known}")
        return found

    def to_json(self) -> dict[str, str]:
        both = {"sha256": self.sha256.hex(), "sha384": self.sha384.hex()}
        return {name: text for name, text in both.items() if text}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """{sha256, sha384}, one of them alone, or a SHA-384 in hex. FormatError."""
        if isinstance(value, str):
            return cls(b"", unhex(value, 48, what=what))
        fields = Fields(value, what=what)
        small, large = fields.get("sha256", "", str), fields.get("sha384", "", str)
        fields.end()
        if not (small or large):
            raise FormatError(what, "has neither sha256 nor sha384")
        return cls(
            unhex(small, 32, what=f"{what}.sha256") if small else b"",
            unhex(large, 48, what=f"{what}.sha384") if large else b"",
        )
