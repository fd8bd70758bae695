"""Where a request may go: over TLS, or to this computer; and never elsewhere than to whom it was meant for. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from pluto_measure.errors import SourceError, UsageError

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_PORTS: Final = {"https": 443, "http": 80}


def secure(url: str) -> str:
    """The URL. UsageError, without the URL, unless it is https or leads to this computer."""
    scheme, host, _ = _origin(url)
    if not host or (scheme != "https" and not (scheme == "http" and host in _LOOPBACK)):
        raise UsageError("an address of a cloud must begin with https://")
    return url


def within(base: str, location: str | None, *, service: str) -> str:
    """`location` as a whole URL. SourceError where there is none or it leads to another server than `base`.

    A token that is meant for a server goes along with every request, so where these go is not the answer's to say.
    """
    if not location:
        raise SourceError(f"{service}: an answer does not say where to go on (no Location)")
    try:
        url = urljoin(base, location)
    except ValueError:
        url = ""
    if _origin(url) != _origin(base):
        raise SourceError(f"{service}: an answer leads to another server, {_origin(url)[1] or '?'}")
    return url


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; ("", "", 0) for what is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0
