"""NTS key establishment, from the client's side: bytes of the TLS session in, cookies out. RFC 8915, section 4. Pure.

record  = u16 critical bit ‖ type, u16 length of body, body         all big-endian
request = next protocol [NTPv4], AEAD algorithm [AES-SIV-CMAC-256], end of message

RECEIVING --record--> RECEIVING --end of message--> DONE       anything else --FormatError--> FAILED, for good
"""

from __future__ import annotations

from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.trusted_time.siv import KEY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Exporter = Callable[[bytes, int, bytes], bytes]

PORT: Final = 4460
ALPN: Final = b"ntske/1"
EXPORTER_LABEL: Final = b"EXPORTER-network-time-security"
NTP_PORT: Final = 123
NTPV4, AES_SIV_CMAC_256 = 0, 15
LARGEST_RESPONSE: Final = 16 * 1024
LARGEST_COOKIE: Final = 512  # keeps a packet with one within any path's size
COOKIES: Final = 8  # that a server should give, and that we keep at most
_CRITICAL: Final = 0x8000
_END, _PROTOCOL, _ERROR, _WARNING, _ALGORITHM, _COOKIE, _SERVER, _PORT = range(8)
_HEAD: Final = 4
_ERRORS: Final = {0: "unrecognised critical record", 1: "bad request", 2: "internal server error"}


@record
class Keys:
    """Both directions' keys of one key establishment. Secret."""

    client_to_server: bytes
    server_to_client: bytes

    def __repr__(self) -> str:
        return "Keys(secret)"


@record
class Established:
    """What the server gave. `server` is None where NTP is spoken at the NTS-KE server's own address."""

    cookies: tuple[bytes, ...]
    server: str | None
    port: int


def exporter_contexts() -> tuple[bytes, bytes]:
    """The exporter's contexts of the client's and of the server's key. RFC 8915, section 5.1."""
    head = NTPV4.to_bytes(2, "big") + AES_SIV_CMAC_256.to_bytes(2, "big")
    return head + b"\0", head + b"\1"


def export_keys(export: Exporter) -> Keys:
    """The keys of a TLS session; `export` is called as RFC 8446, 7.5: label, length in bytes, context."""
    ours, theirs = (export(EXPORTER_LABEL, KEY_BYTES, context) for context in exporter_contexts())
    return Keys(ours, theirs)


def request() -> bytes:
    """The whole request."""
    return (
        encode(_PROTOCOL, NTPV4.to_bytes(2, "big"), critical=True)
        + encode(_ALGORITHM, AES_SIV_CMAC_256.to_bytes(2, "big"), critical=True)
        + encode(_END, b"", critical=True)
    )


def encode(kind: int, body: bytes, *, critical: bool) -> bytes:
    """One record."""
    return (kind | (_CRITICAL if critical else 0)).to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


class KeyExchange:
    """The server's response. Every method raises FormatError, and after the first one always the same."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._taken = 0  # bytes in complete records
        self._failed: FormatError | None = None
        self._once: dict[int, bytes] = {}
        self._cookies: list[bytes] = []
        self.established: Established | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes of the server. What comes after the end of the message is not looked at."""
        if self.established is not None:
            return
        if self._failed is not None:
            raise self._failed
        self._buffer += data
        try:
            while self.established is None and self._next():
                pass
            if self.established is None and self._taken + len(self._buffer) > LARGEST_RESPONSE:
                raise _wrong(f"the response is larger than {LARGEST_RESPONSE} bytes")
        except FormatError as error:
            self._failed = error
            self._buffer.clear()
            raise

    def end(self) -> None:
        """The server has closed the session."""
        if self.established is None:
            self._failed = self._failed or _wrong("the session ended before the message did")
            raise self._failed

    def _next(self) -> bool:
        if len(self._buffer) < _HEAD:
            return False
        head = int.from_bytes(self._buffer[:2], "big")
        size = _HEAD + int.from_bytes(self._buffer[2:_HEAD], "big")
        if self._taken + size > LARGEST_RESPONSE:
            raise _wrong(f"the response is larger than {LARGEST_RESPONSE} bytes")
        if len(self._buffer) < size:
            return False
        body = bytes(self._buffer[_HEAD:size])
        del self._buffer[:size]
        self._taken += size
        self._record(head & ~_CRITICAL, body, critical=bool(head & _CRITICAL))
        return True

    def _record(self, kind: int, body: bytes, *, critical: bool) -> None:
        if kind == _ERROR:
            code = int.from_bytes(body, "big")
            raise _wrong(f"the server answered: {_ERRORS.get(code, 'an error of its own')}")
        if kind == _WARNING:  # no code is registered, and an unknown one is an error: section 4.1.4
            raise _wrong("the server answered with a warning")
        if kind == _COOKIE:
            self._cookie(body)
        elif kind in (_END, _PROTOCOL, _ALGORITHM, _SERVER, _PORT):
            if kind in self._once:
                raise _wrong(f"record {kind} stands twice")
            self._once[kind] = body
        elif critical:
            raise _wrong("the server demands what we do not know")
        if kind == _END:
            self.established = self._conclude()

    def _cookie(self, body: bytes) -> None:
        # A cookie fills an extension field, whose padding could not be told from it: RFC 7822, section 3.
        if not 0 < len(body) <= LARGEST_COOKIE or len(body) % 4:
            raise _wrong(f"a cookie of {len(body)} bytes")
        if len(self._cookies) < COOKIES and body not in self._cookies:
            self._cookies.append(body)

    def _conclude(self) -> Established:
        if self._once[_END]:
            raise _wrong("the end of the message has a body")
        if self._once.get(_PROTOCOL) != NTPV4.to_bytes(2, "big"):
            raise _wrong("the server does not speak NTPv4")
        if self._once.get(_ALGORITHM) != AES_SIV_CMAC_256.to_bytes(2, "big"):
            raise _wrong("the server does not speak AES-SIV-CMAC-256")
        if not self._cookies:
            raise _wrong("no cookie")
        server = None if (name := self._once.get(_SERVER)) is None else _host(name)
        port = self._once.get(_PORT, NTP_PORT.to_bytes(2, "big"))
        if len(port) != 2 or not any(port):
            raise _wrong("the port is none")
        return Established(tuple(self._cookies), server, int.from_bytes(port, "big"))


def _host(body: bytes) -> str:
    """A name or an address in ASCII, RFC 8915, section 4.1.7. What it leads to is judged after resolution."""
    text = body.decode("ascii", "replace").removesuffix(".").lower()
    if not 0 < len(text) <= 253 or not set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-._:"):
        raise _wrong("the name of the NTP server is none")
    return text


def _wrong(problem: str) -> FormatError:
    return FormatError("key exchange", problem)
