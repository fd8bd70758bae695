"""One document of a service, by as many attempts as it takes and as the limits allow."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from email.message import Message
from typing import Final

from pluto_measure.collateral.transport import Answer, BrokenError, Clock, Limits, Transport
from pluto_measure.errors import SourceError

_BUSY: Final = (429, 500, 502, 503, 504)


class NoAnswerError(SourceError):
    """A service that did not give a document. `status`: of its last answer, None where there was none."""

    def __init__(self, document: str, url: str, problem: str, status: int | None = None) -> None:
        self.document, self.url, self.problem, self.status = document, url, problem, status
        if status in (400, 404) and "update=early" in url:
            self.hint = "a service without the early update: add '--update standard'"
        super().__init__(f"{document}: {url}: {problem}")


def fetch(transport: Transport, name: str, url: str, limits: Limits, clock: Clock) -> Answer:
    """The answer 200. NoAnswerError, which calls the document `name`."""
    deadline = clock.monotonic() + limits.total
    wait, attempt = limits.pause, 1
    while True:
        asked, status = 0.0, None
        try:
            answer = transport.get(url, deadline)
            if answer.status == 200:
                return answer
            problem, status = refusal(answer), answer.status
            if status not in _BUSY:
                raise NoAnswerError(name, url, problem, status)
            asked = retry_after(answer.headers, clock.now())
        except BrokenError as error:
            problem = str(error)
            if error.final:
                raise NoAnswerError(name, url, problem) from error
        # Spread, so that many verifiers that were refused at once do not come back at once.
        pause = max(asked, wait * (1 + clock.spread()))
        if asked > limits.longest_wait:
            raise NoAnswerError(name, url, f"{problem}; it asks to wait for {asked:.0f} s", status)
        if attempt == limits.attempts or clock.monotonic() + pause > deadline:
            raise NoAnswerError(name, url, f"{problem}, at attempt {attempt}", status)
        clock.sleep(pause)
        wait, attempt = wait * 2, attempt + 1


def refusal(answer: Answer) -> str:
    """What an answer that is not 200 says, in words."""
    meaning = {
        301: "redirects elsewhere, and redirects are not followed",
        401: "wants credentials",
        403: "refuses us",
        404: "does not know it",
        410: "has this evaluation no more",
        429: "has too many requests",
    }
    code = 301 if answer.status in (302, 303, 307, 308) else answer.status
    words = f"{meaning[code]} (status {answer.status})" if code in meaning else f"status {answer.status}"
    for name in ("Location", "Error-Code", "Error-Message", "Request-ID"):
        if value := answer.headers.get(name):
            shown = "".join(char for char in str(value)[:120] if char.isascii() and char.isprintable())
            words += f", {name} {shown!r}"
    return words


def retry_after(headers: Message, now: datetime) -> float:
    """Seconds that the service asks for, RFC 9110 section 10.2.3; 0 where it asks for none that we understand."""
    text = str(headers.get("Retry-After", "")).strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (moment.astimezone(UTC) - now).total_seconds()) if moment.tzinfo else 0.0
