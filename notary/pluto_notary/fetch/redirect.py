"""Where an answer points to instead of answering. Pure: whoever asked for it decides what to do with it."""

from __future__ import annotations

from pluto_notary.fetch.errors import TargetError
from pluto_notary.web import Exchange, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

REDIRECTS: Final = (301, 302, 303, 307, 308)  # RFC 9110, section 15.4


def is_redirect(response: WebResponse) -> bool:
    """Whether this answer only points elsewhere."""
    return response.status in REDIRECTS


def location(exchange: Exchange) -> tuple[str, int, str]:
    """Host, port and target that the answer points to, not checked in any way. Raises TargetError (redirect).

    Read are https URLs in full and paths from the root; a fragment is dropped.
    """
    values = [value for name, value in exchange.response.headers if name == "location"]
    if not is_redirect(exchange.response) or len(values) != 1:
        raise TargetError("redirect", "the answer does not say where to go")
    url = values[0].partition("#")[0]
    if url.startswith("/") and not url.startswith("//"):
        return exchange.request.host, exchange.request.port, url
    if not url.startswith("https://"):
        raise TargetError("redirect", "the answer does not point to an https URL")
    rest = url.removeprefix("https://")
    end = min((at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0), default=len(rest))
    authority, target = rest[:end], rest[end:]
    host, colon, port = authority.partition(":")
    if "@" in authority or (colon and not (port.isascii() and port.isdigit() and len(port) <= 5)):
        raise TargetError("redirect", "the answer points to a URL with an unusual authority")
    return host.lower(), int(port) if colon else 443, target if target.startswith("/") else f"/{target}"
