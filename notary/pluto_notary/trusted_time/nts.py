"""One operator's NTS session without a socket: requests out, answers in, samples. RFC 8915, section 5; RFC 5905. Pure.

    IDLE --request--> WAITING --authentic answer--> IDLE              one request, at most one answer
    WAITING --anything else--> WAITING                                no error: whoever guesses must not end the wait
    WAITING --request--> WAITING                                      the answer before is given up
    IDLE | WAITING --authentic DENY, RSTR, NTSN--> REFUSED, for good

Each request takes a cookie out, so that none is used twice, and asks for as many as are missing.
"""

from __future__ import annotations

from typing import Final

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.record import record
from pluto_notary.trusted_time import packet as ntp
from pluto_notary.trusted_time.agree import Rules, Sample
from pluto_notary.trusted_time.errors import SampleError
from pluto_notary.trusted_time.key_exchange import COOKIES, LARGEST_COOKIE, Keys
from pluto_notary.trusted_time.siv import NONCE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROUNDING: Final = 1e-6  # seconds; doubles of today's Unix time are 2.4e-7 apart
_REFUSALS: Final = (b"DENY", b"RSTR", b"NTSN")
_LARGEST_REQUEST: Final = 1280  # RFC 8200, section 5: what every path carries; fewer placeholders rather than more
_LOWEST_STRATUM: Final = 15


@record
class _Pending:
    identifier: bytes
    transmit: int
    sent_at: float


class Association:
    """Keys and cookies from one key establishment, and the request that is out."""

    def __init__(self, keys: Keys, cookies: Iterable[bytes]) -> None:
        self._keys = keys
        self._cookies = list(cookies)
        self._pending: _Pending | None = None
        self._refused = False
        self.rejected = False  # somebody answered that the server does not know our cookie; not authentic

    @property
    def usable(self) -> bool:
        """Whether another request can be made."""
        return bool(self._cookies) and not self._refused

    def request(self, random: Callable[[int], bytes], now: float) -> bytes:
        """The next packet for the server, to be sent at local time `now`. It must be `usable`."""
        assert self.usable
        cookie = self._cookies.pop(0)
        identifier, transmit = random(ntp.IDENTIFIER_BYTES), random(8)
        self._pending = _Pending(identifier, int.from_bytes(transmit, "big"), now)
        packet = ntp.client_header(self._pending.transmit)
        packet += ntp.field(ntp.UNIQUE_IDENTIFIER, identifier) + ntp.field(ntp.COOKIE, cookie)
        placeholder = ntp.field(ntp.PLACEHOLDER, bytes(len(cookie)))
        room = _LARGEST_REQUEST - len(packet) - 4 - 4 - NONCE_BYTES - 16
        missing = COOKIES - len(self._cookies) - 1  # the answer to the cookie itself brings one
        packet += placeholder * max(0, min(missing, room // len(placeholder)))
        return ntp.sealed(packet, self._keys.client_to_server, random(NONCE_BYTES))

    def receive(self, packet: bytes, operator: int, rules: Rules, now: float) -> Sample | None:
        """The sample in a packet that came at local time `now`; None if it is not the answer that is waited for.

        SampleError (kiss, unsynchronised, width, epoch) if the server, and nobody else, said what helps nobody.
        """
        if self._pending is None:
            return None
        try:
            header, fields = ntp.parse(packet)
            if not self._ours(header, fields):
                return None
            if fields[-1].kind != ntp.AUTHENTICATOR:
                self.rejected |= header.stratum == 0 and header.reference == b"NTSN"
                return None
            encrypted = ntp.opened(packet, fields[-1], self._keys.server_to_client)
        except (FormatError, VerificationError):
            return None
        pending, self._pending = self._pending, None
        self.rejected = False
        self._keep(field.body for field in encrypted if field.kind == ntp.COOKIE)
        self._listen(header)
        return _sample(header, pending.sent_at, now, operator, rules)

    def _ours(self, header: ntp.Header, fields: tuple[ntp.Field, ...]) -> bool:
        assert self._pending is not None
        identifiers = [field.body for field in fields if field.kind == ntp.UNIQUE_IDENTIFIER]
        return (
            (header.version, header.mode, header.origin) == (ntp.VERSION, ntp.SERVER, self._pending.transmit)
            and identifiers == [self._pending.identifier]
        )  # fmt: skip

    def _keep(self, cookies: Iterable[bytes]) -> None:
        for cookie in cookies:
            if len(self._cookies) < COOKIES and len(cookie) <= LARGEST_COOKIE and cookie not in self._cookies:
                self._cookies.append(cookie)

    def _listen(self, header: ntp.Header) -> None:
        """SampleError if the server says that it has no time, or none for us. RFC 5905, sections 7.3 and 7.4."""
        if header.stratum == 0:
            self._refused = header.reference in _REFUSALS
            raise SampleError("kiss", "the server asks us to come less often, or not at all")
        if header.leap == ntp.UNKNOWN_LEAP or header.stratum > _LOWEST_STRATUM:
            raise SampleError("unsynchronised", "the server's own clock is not synchronised")
        if header.receive == 0 or header.transmit == 0:
            raise SampleError("unsynchronised", "the server's answer has no time in it")


def _sample(header: ntp.Header, sent_at: float, now: float, operator: int, rules: Rules) -> Sample:
    """What follows for Unix time minus local time from an answer, however unequal the two ways were.

    The server received after we sent and sent before we received; its own clock may be wrong by half its root delay
    and its root dispersion, and is as fine as its precision. Our clock may drift while the request is out.
    """
    error = header.root_delay / 2 + header.root_dispersion + header.precision + ROUNDING
    received = ntp.unix_seconds(header.receive, rules.built_at)
    sent = ntp.unix_seconds(header.transmit, rules.built_at)
    low, high = sent - now - error, received - sent_at + error + (now - sent_at) * rules.drift_ppm / 1e6
    if not (received <= sent and low <= high):
        raise SampleError("width", "the server held the request for longer than it was away")
    if not high - low <= rules.sample_width:
        raise SampleError("width", "the answer took too long, or is too vague")
    if now + high < rules.built_at:
        raise SampleError("epoch", "the server claims a time before the image was built")
    return Sample(operator, low, high, now)
