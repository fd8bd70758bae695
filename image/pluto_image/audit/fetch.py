"""Fetches the security tracker's data: https alone, bounded in size and time. What arrives is checked by `tracker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pluto_image.audit import tracker
from pluto_image.inputs import download
from pluto_measure.errors import SourceError, UsageError

if TYPE_CHECKING:
    import requests

URL: Final = "https://security-tracker.debian.org/tracker/data/json"
LIMITS: Final = download.Limits(connect=10.0, read=60.0, total=600.0)


def fetch(url: str = URL, limits: download.Limits = LIMITS, largest: int = tracker.LIMIT) -> bytes:
    """The data. UsageError for a URL that is not https, SourceError where it cannot be had."""
    if not url.startswith("https://"):
        raise UsageError(f"the tracker's URL must begin with https://, and {url[:80]!r} does not")
    data = download.get(url, limit=largest, limits=limits, using=_only_https())
    if not data.lstrip().startswith(b"{"):
        raise SourceError(f"{url}: what came is no JSON object")
    return data


def _only_https() -> requests.Session:
    """A session that has no way to speak without TLS, so that no redirect leads there."""
    made = download.session()
    made.adapters.pop("http://")
    return made
