"""What one client, and all clients together, may cost. Pure: the time is an argument."""

from __future__ import annotations

from pluto_measure.record import record


@record
class Limits:
    """Bounds of the HTTPS server. Sizes in bytes, times in seconds, rates per second."""

    head_bytes: int = 8 * 1024  # request line and headers
    connections: int = 2560  # at once; more wait in the kernel's queue
    connections_of_one: int = 128  # of one client's address (IPv6: its /64)
    channels: int = 2048  # at once, idle ones too
    fetches: int = 64  # at once, in channels and by /v1/proxy
    observed: int = 256  # connections to web sites that clients observe, at once, and what was recorded of them
    sites_of_one: int = 8  # fetches and observed connections at once, of one client's address
    fetch_rate: float = 4.0  # of one client's address
    fetch_burst: int = 32
    clients: int = 4096  # addresses that are remembered for their rates
    requests: int = 100  # in one connection
    handshake_seconds: float = 10.0
    request_seconds: float = 10.0  # from the first wait to a complete request
    answer_seconds: float = 120.0  # for all that we do about one request or message
    response_seconds: float = 20.0  # for a slow reader
    close_seconds: float = 5.0  # for what a slow reader has not read yet, and its close_notify
    connection_seconds: float = 120.0  # of HTTP; the next answer after it is the last
    idle_seconds: float = 300.0  # a channel whose client says nothing
    message_seconds: float = 60.0  # for one message of a channel, from its first byte to its last, either way
    channel_seconds: float = 1800.0
    observed_seconds: float = 120.0  # an observed connection, from its first byte to `close`
    observed_idle_seconds: float = 30.0  # one on which neither side says anything that the other takes
    reveal_seconds: float = 15.0  # from `closed` to `reveal`
    recorded_bytes: int = 128 * 1024 * 1024  # of all observed connections together
    recorded_free_bytes: int = 64 * 1024  # of each of them, that do not count
    openings: int = 2  # recordings that are opened at once
    openings_waiting: int = 30
    order_bytes: int = 2 * 1024 * 1024  # body of /v1/proxy, as of a `fetch`
    proof_bytes: int = 1024 * 1024  # body of /v1/verify: larger proofs are for verify-proof
    unfinished_bytes: int = 96 * 1024 * 1024  # of bodies that have begun to come, all clients'; the same of messages
    unfinished_free_bytes: int = 64 * 1024  # of each of them, that do not count
    verify_rate: float = 1.0  # of one client's address
    verify_burst: int = 8
    evidence_seconds: float = 20.0  # for the evidence helper
    evidence_rate: float = 4.0  # for all clients together: what the machine gives
    evidence_burst: int = 16
    evidence_rate_of_one: float = 1.0  # of one client's address
    evidence_burst_of_one: int = 8
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


class Shares:
    """At most `most` of something at once for each of many clients. Keeps nothing of clients that hold nothing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}

    def take(self, client: str) -> bool:
        """Whether the client may have one more."""
        held = self._held.get(client, 0)
        if held >= self._most:
            return False
        self._held[client] = held + 1
        return True

    def give_back(self, client: str) -> None:
        """The client has one less."""
        if (left := self._held[client] - 1) > 0:
            self._held[client] = left
        else:
            del self._held[client]


class Unfinished:
    """So many bytes of what clients have begun and not finished, all of them together; small ones do not count."""

    def __init__(self, most: int, free: int) -> None:
        self._left, self._free = most, free

    def grows(self, before: int, now: int) -> bool:
        """Whether something may have `now` bytes that had `before`. What shrinks always may; what ends has 0."""
        more = max(0, now - self._free) - max(0, before - self._free)
        if more > self._left:
            return False
        self._left -= more
        return True


class Rates:
    """A token bucket for each of many clients; of those beyond `clients` the longest silent one is forgotten.

    Forgetting favours nobody who is in a hurry: a bucket that was not asked for so long is full again.
    """

    def __init__(self, *, rate: float, burst: int, clients: int) -> None:
        self._rate, self._burst, self._clients = rate, burst, clients
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, client: str, now: float) -> bool:
        """Whether the client may do it once more at time `now`."""
        bucket = self._buckets.pop(client, None) or TokenBucket(rate=self._rate, burst=self._burst, now=now)
        if len(self._buckets) >= self._clients:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[client] = bucket
        return bucket.take(now)
