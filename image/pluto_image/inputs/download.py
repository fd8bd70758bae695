"""One file over HTTP, with limits: size before a byte is read, time per answer and in all, attempts.

What arrives is not checked here; callers compare hash or signature. `requests` is imported when the first file is
asked for, since commands that need no network must start quickly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pluto_measure.errors import SourceError

if TYPE_CHECKING:
    import requests

_CHUNK: Final = 1 << 16
_REDIRECTS: Final = 5
_GRACE: Final = 0.2  # seconds in which a download finds out by itself that its time is over, and says more
_BUSY: Final = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience in seconds (`total`: for one file, all attempts together) and attempts per URL."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 300.0
    attempts: int = 2
    pause: float = 0.5


class SourceFailedError(SourceError):
    """A URL that did not deliver. `down`: its host is not worth asking again; `retry`: it may do better at once."""

    def __init__(self, url: str, problem: str, *, down: bool = False, retry: bool = False) -> None:
        self.url, self.problem, self.down, self.retry = url, problem, down, retry
        super().__init__(f"{url}: {problem}")


def session() -> requests.Session:
    """A session that asks for plain bytes and follows few redirects. Not shared between threads."""
    import requests

    made = requests.Session()
    made.max_redirects = _REDIRECTS
    made.headers["Accept-Encoding"] = "identity"
    return made


def get(
    url: str,
    *,
    limit: int,
    limits: Limits,
    using: requests.Session | None = None,
    accept: Callable[[bytes], bool] = lambda _: True,
) -> bytes:
    """The content of `url`, at most `limit` bytes, that `accept` takes. Raises SourceFailedError."""
    deadline = time.monotonic() + limits.total
    with using or session() as one:
        for attempt in range(1, limits.attempts + 1):
            try:
                data = _once(one, url, limit, limits, deadline)
                if not accept(data):
                    raise SourceFailedError(url, f"wrong content ({len(data)} bytes)")
                return data
            except SourceFailedError as error:
                if not error.retry or attempt == limits.attempts or time.monotonic() > deadline:
                    raise
            time.sleep(limits.pause * attempt)
    raise SourceFailedError(url, "no attempt is allowed")


def _once(using: requests.Session, url: str, limit: int, limits: Limits, deadline: float) -> bytes:
    """`_read` in a thread of its own, which is left behind at the deadline.

    Time-outs of the library hold for one read of a socket: names that do not resolve, handshakes and headers that come
    byte by byte end at no deadline of ours. The thread ends with its connection, and a daemon's ends with the process;
    the host counts as down, so at most one per worker is left behind.
    """
    answer: Future[bytes] = Future()

    def run() -> None:
        try:
            answer.set_result(_read(using, url, limit, limits, deadline))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            answer.set_exception(error)

    threading.Thread(target=run, name="pluto-download", daemon=True).start()
    try:
        return answer.result(max(0.0, deadline - time.monotonic()) + _GRACE)
    except TimeoutError as error:
        raise SourceFailedError(url, f"not done after {limits.total:g} s", down=True) from error


def _read(using: requests.Session, url: str, limit: int, limits: Limits, deadline: float) -> bytes:
    import requests
    import urllib3

    try:
        with using.get(url, stream=True, timeout=(limits.connect, limits.read)) as response:
            _check_head(response, url, limit)
            chunks, size = [], 0
            # Undecoded, since a compressed answer could be a bomb; read1, since read would wait for a whole chunk
            # and a mirror that sends a byte now and then could hold us for hours.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise SourceFailedError(url, f"more than {limit} bytes")
                if time.monotonic() > deadline:
                    raise SourceFailedError(url, f"not done after {limits.total:g} s", down=True)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise SourceFailedError(url, "no answer in time", down=True) from error
    except requests.TooManyRedirects as error:
        raise SourceFailedError(url, f"more than {_REDIRECTS} redirects") from error
    except requests.ConnectionError as error:
        raise SourceFailedError(url, f"no connection ({_cause(error)})", down=True, retry=True) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        raise SourceFailedError(url, f"broke off ({_cause(error)})", retry=True) from error
    return b"".join(chunks)


def _check_head(response: requests.Response, url: str, limit: int) -> None:
    if response.status_code != 200:
        busy = response.status_code in _BUSY
        raise SourceFailedError(url, f"status {response.status_code}", down=response.status_code == 429, retry=busy)
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise SourceFailedError(url, f"announces {length} bytes, at most {limit} are wanted")


def _cause(error: BaseException) -> str:
    """The innermost reason: the libraries wrap it several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)[:120] or type(error).__name__
