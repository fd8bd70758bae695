"""One HTTP request and its answer, with limits that hold against any server: time, size, no redirects, TLS verified.

`urllib.request` does the protocol. Time-outs of sockets are not trusted to keep a deadline: each request runs in a
thread of its own, which is left behind when its time is over.
"""

from __future__ import annotations

import http.client
import ipaddress
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from typing import IO, Final
from urllib.parse import urlsplit

from pluto_measure.errors import UsageError

USER_AGENT: Final = "pluto-measure"
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience in seconds: `read` for one answer of a socket, `total` for one document; size in bytes."""

    read: float = 15.0
    total: float = 60.0
    attempts: int = 4
    pause: float = 0.5  # before the second attempt, and twice that before each further one
    longest_wait: float = 30.0  # that a service may ask for by Retry-After
    size: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks, so that tests need not wait. `spread` gives 0.0 to 1.0."""

    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    spread: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    body: bytes


class BrokenError(Exception):
    """An attempt without an answer. `final`: another one would end like it."""

    def __init__(self, problem: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(problem)


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """Lets a redirect be what it is: an answer that is not 200."""

    def redirect_request(  # the base class names them so
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class Transport:
    """Requests to one service. `url` is any URL of it; UsageError unless it is https or its host is this machine."""

    def __init__(
        self, url: str, *, insecure_http: bool, context: ssl.SSLContext | None, limits: Limits, clock: Clock
    ) -> None:
        check_url(url, insecure_http)
        self._limits, self._clock = limits, clock
        self._opener = _opener(url, context or ssl.create_default_context())

    def get(self, url: str, deadline: float) -> Answer:
        """One request, done at the `deadline` of the monotonic clock. BrokenError where no answer came.

        Names that do not resolve, handshakes and headers that come byte by byte keep no time-out of a socket. The
        thread ends with its connection, or with the process.
        """
        left = deadline - self._clock.monotonic()
        answer: Future[Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(self._read(url, deadline))
            except BaseException as error:  # noqa: BLE001  handed to the thread that waits
                answer.set_exception(error)

        threading.Thread(target=run, name="pluto-collateral", daemon=True).start()
        try:
            return answer.result(max(0.0, left))
        except TimeoutError as error:
            raise BrokenError(f"no answer within {self._limits.total:g} s", final=True) from error

    def _read(self, url: str, deadline: float) -> Answer:
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})  # noqa: S310  _check_url
        try:
            with self._opener.open(request, timeout=self._limits.read) as response:
                return Answer(response.status, response.headers, self._body(response, deadline))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, b"")
        except urllib.error.URLError as error:
            untrusted = isinstance(error.reason, ssl.SSLCertVerificationError)
            raise BrokenError(f"no connection ({error.reason})", final=untrusted) from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise BrokenError(f"broke off ({str(error)[:120] or type(error).__name__})") from error

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        length = response.headers.get("Content-Length", "")
        announced = int(length) if length.isascii() and length.isdigit() else None
        if announced is not None and announced > self._limits.size:
            raise BrokenError(f"announces {announced} bytes, more than {self._limits.size}", final=True)
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._limits.size:
                raise BrokenError(f"sends more than {self._limits.size} bytes", final=True)
            if self._clock.monotonic() > deadline:
                raise BrokenError("does not end its answer", final=True)
        if announced is not None and size != announced and "Transfer-Encoding" not in response.headers:
            raise BrokenError(f"broke off after {size} of {announced} bytes")
        return b"".join(chunks)


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_url(url: str, insecure_http: bool) -> None:
    """UsageError for what is no base URL of a service, or goes over the network without TLS."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}") from error
    if "@" in parts.netloc:
        raise UsageError("the URL of a service has no name and no password in it")
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is not the base URL of a service, such as https://pccs.example")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{url!r} has characters that a URL has not")
    if parts.scheme == "http" and not insecure_http and not is_loopback(host):
        problem = f"{url}: without TLS anybody in between can keep newer collateral from you"
        raise UsageError(problem, hint="give --insecure-http if that is nobody you fear")


def _opener(base: str, context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Only what is needed: no files, no FTP, no cookies, no passwords. A machine's own services need no proxy."""
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError("the TLS context does not verify")
    local = is_loopback(urlsplit(base).hostname or "")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if local else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _RefuseRedirects(),
    ):
        opener.add_handler(handler)
    return opener
