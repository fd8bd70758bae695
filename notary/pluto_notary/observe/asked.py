"""Whether the request that was seen is the one that the manifest makes. Pure.

In `fetch` the notary writes the request, so that a client has no say in it beyond the manifest's variables. Here the
client wrote it, and is held to the same: a free header, say a User-Agent that the site repeats in its page, would let
it write into the answer. So each header of the manifest is there once, with its value, and beside these there is only
what tells a site nothing more than `fetch` tells it:

    accept           */*                        accept-encoding  codings that are read here, without weights
    accept-language  *                          user-agent       as `fetch` has it
    connection       close, keep-alive          content-length   the body's

A client that needs another value of one of them states it in the manifest.
"""

from __future__ import annotations

from pluto_measure.record import replace
from pluto_notary.fetch.decode import CODINGS
from pluto_notary.fetch.outgoing import ADDED
from pluto_notary.manifest.members import ROOT
from pluto_notary.observe.errors import ObserveError
from pluto_notary.web import WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

_CONNECTION: Final = ("close", "keep-alive")
_NEUTRAL: Final = {**dict(ADDED), "accept-language": "*"}
_DROPPED: Final = frozenset(("connection", "content-length"))  # said of the connection, which is not handed on
# A manifest that states these says what its URL and its body say; `exchanges` has read the request by them.
_FRAMED: Final = ("host", "content-length")


def check(seen: WebRequest, wanted: WebRequest) -> WebRequest:
    """The request that was seen, in the form that `fetch` gives. Raises ObserveError (violation).

    `seen` as `exchanges` gives it: for its host, of one length. `wanted`: what the manifest makes of its variables.
    """
    for name, was, meant in (
        ("method", seen.method, wanted.method),
        ("url", seen.url, wanted.url),
        ("body", seen.body, wanted.body),
    ):
        if was != meant:
            raise _violation(name, "is not what the site was asked")
    for name, value in wanted.headers:
        if name not in _FRAMED and [_said(*one) for one in seen.headers if one[0] == name] != [_said(name, value)]:
            raise _violation(f"headers.{name}", "is not what the site was told, once")
    stated = {name for name, _ in wanted.headers}
    for name, value in seen.headers:
        if name not in stated and not _neutral(name, value):
            raise _violation("headers", "do not state a header that the site was told")
    if len({name for name, _ in seen.headers}) != len(seen.headers):
        raise _violation("headers", "were told to the site more than once")
    dropped = _DROPPED | ({"accept-language"} - stated)
    return replace(seen, headers=tuple(header for header in seen.headers if header[0] not in dropped))


def _said(name: str, value: str) -> str:
    """A value for comparison: what is said of the connection has no case."""
    return value.lower() if name == "connection" else value


def _neutral(name: str, value: str) -> bool:
    """Whether a header tells the site no more than `fetch` does."""
    if name == "connection":
        return value.lower() in _CONNECTION
    if name == "accept-encoding":
        return {item.strip(" \t").lower() for item in value.split(",")} <= {*CODINGS, ""}
    return name == "content-length" or _NEUTRAL.get(name) == value


def _violation(path: str, problem: str) -> ObserveError:
    return ObserveError("violation", f"{ROOT}.request.{path}: {problem}")
