"""The head of an answer: rules that HTTP/1.1 and HTTP/2 share. Pure."""

from __future__ import annotations

from pluto_notary.fetch.decode import Body, codings
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import TOKEN
from pluto_notary.web import Headers

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterable

BODILESS = (204, 205, 304)


def checked_headers(raw: Iterable[tuple[bytes, bytes]], limits: FetchLimits) -> Headers:
    """Names in lower case, values as Latin-1. Raises TargetError (http, size).

    Refused: a name that is no token, control characters in a value, content-length twice or not as digits.
    """
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")) for name, value in raw)
    if len(headers) > limits.headers:
        raise TargetError("size", "the answer has too many headers")
    if sum(len(name) + len(value) + 32 for name, value in headers) > limits.head_bytes:
        raise TargetError("size", "the answer's headers are too large")
    for name, value in headers:
        if not name or not TOKEN.issuperset(name):
            raise TargetError("http", "the answer has a header whose name is not a token")
        if not value.isprintable() and any((c < " " and c != "\t") or c == "\x7f" for c in value):
            raise TargetError("http", "the answer has a header with control characters")
    lengths = [value for name, value in headers if name == "content-length"]
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() and len(length) < 20 for length in lengths):
        raise TargetError("http", "the answer does not say one length")
    return headers


def new_body(method: str, status: int, headers: Headers, limits: FetchLimits) -> Body:
    """Where the answer's body goes, with the length and the codings of its head. Raises TargetError (http, size)."""
    if method == "HEAD" or status in BODILESS:
        return Body((), limits, length=0)
    lengths = [int(value) for name, value in headers if name == "content-length"]
    if any(length > limits.body_bytes for length in lengths):
        raise TargetError("size", "the answer's body is too large")
    return Body(codings(headers), limits, length=lengths[0] if lengths else None)
