"""What one client, and all clients together, may cost. Pure: the time is an argument."""

from __future__ import annotations

from pluto_measure.record import record


@record
class Limits:
    """Bounds of the HTTPS server. Sizes in bytes, times in seconds, rates per second."""

    head_bytes: int = 8 * 1024  # request line and headers
    connections: int = 64  # at once; more wait in the kernel's queue
    requests: int = 100  # in one connection
    handshake_seconds: float = 10.0
    request_seconds: float = 10.0  # from the first wait to a complete request head
    response_seconds: float = 20.0  # for a slow reader
    connection_seconds: float = 120.0
    evidence_seconds: float = 20.0  # for the evidence helper
    evidence_rate: float = 4.0
    evidence_burst: int = 16
    stop_seconds: float = 3.0  # for what is in flight when the server stops


class TokenBucket:
    """Allows `burst` at once and `rate` per second in the long run."""

    def __init__(self, *, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst, self._level, self._last = rate, burst, float(burst), now

    def take(self, now: float) -> bool:
        """Whether one more is allowed at time `now` (seconds of a clock that does not go back)."""
        self._level = min(self._burst, self._level + (now - self._last) * self._rate)
        self._last = now
        if self._level < 1:
            return False
        self._level -= 1
        return True
