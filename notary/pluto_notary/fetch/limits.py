"""What one fetch may cost. Pure."""

from __future__ import annotations

from pluto_measure.record import record


@record
class FetchLimits:
    """Bounds of one fetch. Sizes in bytes, times in seconds."""

    total_seconds: float = 30.0  # for all of it
    idle_seconds: float = 10.0  # for any single wait for the site, once connected
    resolve_seconds: float = 5.0
    connect_seconds: float = 5.0  # for one address
    addresses: int = 4  # of the answer are tried, in its order
    target_bytes: int = 8 * 1024  # path and query of the request
    request_bytes: int = 2 * 1024 * 1024  # body of the request
    head_bytes: int = 64 * 1024  # status line and headers of the answer, all interim answers included
    headers: int = 128
    interim: int = 8  # answers with a status of 1xx
    body_bytes: int = 64 * 1024 * 1024  # of the answer, coded and decoded
    pieces: int = 8 * 1024  # chunks or frames of a body, on top of one for each PIECE_BYTES

    def pieces_for(self, size: int) -> int:
        """How many pieces a body may have come in once it has `size` bytes: tiny ones cost more than they carry."""
        return self.pieces + size // PIECE_BYTES

    @property
    def wire_bytes(self) -> int:
        """All that is read from the site: the body, and room for what TLS and HTTP add."""
        return self.body_bytes + self.body_bytes // 4 + 1024 * 1024


PIECE_BYTES = 256
