"""What decides about another attempt: how long a service wants to be left alone, and why there was no answer. Pure."""

from __future__ import annotations

import email.utils
from datetime import UTC


def seconds(value: str | None, now: float) -> float | None:
    """Retry-After: seconds, or a date (RFC 9110, section 10.2.3); None for neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is in UTC, as all dates of HTTP are.
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def causes(error: BaseException) -> list[BaseException]:
    """An error with all that it wraps, as requests and urllib3 wrap: a reason, an argument, a cause."""
    found: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            left += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
    return found
