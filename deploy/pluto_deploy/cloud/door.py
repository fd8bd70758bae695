"""The one way to a cloud's REST interface: a request with a token, its answer, what is worth another attempt. Thin IO.

A redirect is never followed, an answer is never larger than was said, and every call ends at its deadline. What is
asked again is only what may be asked twice: `repeatable` requests, and any that was refused before it did something
(429, 503 with Retry-After, a token that ran out) or never left. No token, no signed URL and no body is ever part of an
error.
"""

from __future__ import annotations

import io
import json
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from pluto_deploy.cloud import attempts
from pluto_measure.errors import SourceError
from pluto_measure.wording import printable

if TYPE_CHECKING:
    import requests

_FAILED: Final = (500, 502, 503, 504)
_LONGEST_TEXT: Final = 300  # characters of a cloud's own words that are repeated
_PIECE: Final = 1 << 16  # bytes
ANSWER_LIMIT: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and attempts. `total` is for one call with all its attempts and pauses."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 180.0
    attempts: int = 6
    pause: float = 0.5  # before the second attempt; it doubles, with chance in it
    longest_pause: float = 30.0


class CloudError(SourceError):
    """A cloud that did not do what was asked. `code` is the cloud's own word; `status` 0: there was no answer.

    `sent`: whether the request may have had an effect.
    """

    def __init__(
        self, service: str, act: str, problem: str, *, status: int = 0, code: str = "", sent: bool = True,
        hint: str | None = None,
    ) -> None:  # fmt: skip
        self.service, self.act, self.problem = service, act, problem
        self.status, self.code, self.sent = status, code, sent
        told = " ".join(part for part in (str(status or ""), code) if part)
        super().__init__(f"{service}: {act}: {problem}" + (f" ({told})" if told else ""), hint=hint)


class _FinalError(CloudError):
    """One that another attempt would not change."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with names in lower case, the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON. ValueError for what is none, or is nested too deeply to be read."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class Token(Protocol):
    """Gives the value of Authorization; asked anew after it was refused. SourceError where there is none."""

    def __call__(self, *, fresh: bool = False) -> str: ...


# What is sent: bytes, or what opens a file that is sent from where it stands to its end.
Body = bytes | Callable[[], IO[bytes]]
# Code and words of an answer that is an error; ("", "") where it has none.
Explain = Callable[[Answer], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Time and chance, for tests to replace. `random` gives 0 to 1."""

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = lambda: 0.5


class Door:
    """A service behind one token. Not shared between threads: `another()` gives each its own connection."""

    def __init__(
        self,
        service: str,
        explain: Explain,
        *,
        token: Token | None = None,
        patience: Patience | None = None,
        waiting: Waiting | None = None,
        verify: bool | str = True,
    ) -> None:
        self.service, self._explain, self._token = service, explain, token
        self.patience, self.waiting, self._verify = patience or Patience(), waiting or Waiting(), verify
        self._session: requests.Session | None = None

    def another(self, waiting: Waiting | None = None) -> Door:
        """The same door with a connection of its own."""
        return self._copy(self._token, waiting or self.waiting)

    def with_token(self, token: Token | None) -> Door:
        """A door to the same service that shows this token."""
        return self._copy(token, self.waiting)

    def _copy(self, token: Token | None, waiting: Waiting) -> Door:
        return Door(
            self.service, self._explain, token=token, patience=self.patience, waiting=waiting, verify=self._verify
        )

    def ask(
        self,
        method: str,
        url: str,
        act: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: Collection[int] = (200,),
        repeatable: bool | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """One answer whose status is expected. CloudError for all else; `act` says in words what was to be done.

        `repeatable`: whether asking twice does no more than asking once; None: as the method has it (RFC 9110, 9.2.2).
        """
        again = method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS") if repeatable is None else repeatable
        deadline = self.waiting.clock() + self.patience.total
        attempt, renewed, token = 1, False, self._authorization(fresh=False)
        while True:
            last = attempt >= self.patience.attempts
            try:
                answer = self._once(method, url, act, query, {**token, **(headers or {})}, body, limit, deadline)
            except _FinalError:
                raise
            except CloudError as error:
                if last or (error.sent and not again) or not self._pause(attempt, None, deadline):
                    raise
                attempt += 1
                continue
            if answer.status in expect:
                return answer
            if answer.status == 401 and token and not renewed:  # at once, and no attempt of its own
                renewed, token = True, self._authorization(fresh=True)
                continue
            later = _may_be_asked_again(answer, repeatable=again)
            if last or not later or not self._pause(attempt, answer.headers.get("retry-after"), deadline):
                raise self.refusal(answer, act)
            attempt += 1

    def refusal(self, answer: Answer, act: str) -> CloudError:
        """What an answer says that is none of the expected ones."""
        code, words = self._explain(answer)
        text = printable(words.strip() or "refused")[:_LONGEST_TEXT]
        return CloudError(self.service, act, text, status=answer.status, code=printable(code)[:80])

    def close(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _pause(self, attempt: int, retry_after: str | None, deadline: float) -> bool:
        """Wait before another attempt; False where the deadline comes first."""
        waiting, patience = self.waiting, self.patience
        asked = attempts.seconds(retry_after, waiting.wall())
        own = min(patience.longest_pause, patience.pause * 2 ** (attempt - 1)) * (0.5 + waiting.random())
        seconds = own if asked is None else max(own, asked)
        if waiting.clock() + seconds >= deadline:
            return False
        waiting.sleep(seconds)
        return True

    def _once(
        self,
        method: str,
        url: str,
        act: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Body | None,
        limit: int,
        deadline: float,
    ) -> Answer:
        import requests
        import urllib3

        session, patience = self._connected(), self.patience
        left = deadline - self.waiting.clock()
        if left <= 0:
            raise CloudError(self.service, act, "not done in time", sent=False)
        with _opened(body) as data:
            try:
                with session.request(
                    method,
                    url,
                    params=query,
                    headers=headers,
                    data=data,
                    timeout=(min(patience.connect, left), min(patience.read, left)),
                    allow_redirects=False,
                    stream=True,
                    verify=self._verify,
                ) as response:
                    received = self._body(response, act, limit, deadline)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise self._lost(error, act, url) from None
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, received)

    def _lost(self, error: Exception, act: str, url: str) -> CloudError:
        """What became of a request that has no answer. Without the URL, which may be a key by itself."""
        import requests
        import urllib3

        host, causes = urlsplit(url).hostname or "?", attempts.causes(error)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return _FinalError(self.service, act, f"{host} cannot prove that it is {host}", sent=False)
        never_left = requests.ConnectTimeout, urllib3.exceptions.NewConnectionError
        problem = (
            f"{host} did not answer in time"
            if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError))
            else f"the connection to {host} failed ({type(error).__name__})"
        )
        return CloudError(self.service, act, problem, sent=not any(isinstance(cause, never_left) for cause in causes))

    def _authorization(self, *, fresh: bool) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": self._token(fresh=fresh)}

    def _body(self, response: requests.Response, act: str, limit: int, deadline: float) -> bytes:
        pieces, size = [], 0
        while piece := response.raw.read1(1 << 16, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise _FinalError(self.service, act, f"the answer has more than {limit} bytes")
            if self.waiting.clock() > deadline:
                raise CloudError(self.service, act, "not done in time")
        return b"".join(pieces)

    def _connected(self) -> requests.Session:
        import requests

        if self._session is None:
            self._session = requests.Session()
            self._session.headers["Accept-Encoding"] = "identity"
            # Else a line of ~/.netrc would take the place of our token.
            self._session.auth = _as_it_is
        return self._session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _opened(body: Body | None) -> AbstractContextManager[bytes | IO[bytes] | None]:
    """What is sent; a file is opened anew for every attempt.

    Much is sent like a file, in pieces: a socket's time-out is for all that it is given at once, and on a slow line a
    MiB takes longer than anything else may.
    """
    if body is None or isinstance(body, bytes):
        return nullcontext(io.BytesIO(body) if body and len(body) > _PIECE else body)
    try:
        return body()
    except OSError as error:
        raise SourceError(f"cannot read {error.filename}: {error.strerror or error}") from error


def _may_be_asked_again(answer: Answer, *, repeatable: bool) -> bool:
    """Whether the service refused before it did something, or doing it twice does no harm."""
    if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
        return True
    return repeatable and answer.status in _FAILED
