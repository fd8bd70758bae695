"""What is asked of a web site, checked and completed before the first byte leaves. Pure.

A request says one thing about whom it is for: the host of the URL. A Host header or an absolute-form target may repeat
it, and is then dropped; one that differs, or comes twice, is refused (RFC 9112, section 3.2).
"""

from __future__ import annotations

from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.web import Headers, WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

# What we add where the request does not say otherwise.
ADDED: Final = (("accept", "*/*"), ("accept-encoding", "gzip, br, deflate"), ("user-agent", "pluto-notary"))
# Headers of the connection, which is ours.
_OURS: Final = frozenset(
    (
        *("expect", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
    )
)
TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_VALUE: Final = frozenset("\t") | frozenset(map(chr, range(0x20, 0x7F)))
_TARGET: Final = _VALUE - frozenset("\t #")
_METHODS_REFUSED: Final = ("CONNECT", "TRACE")
_VALUE_BYTES: Final = 32 * 1024  # all names and values together


def prepared(request: WebRequest, limits: FetchLimits) -> WebRequest:
    """The request as it will be sent: origin-form, no header of the connection, ADDED, content-length.

    Raises TargetError: "http" for what we do not send, "size" for too much of it.
    """
    method = request.method
    if not (method.isascii() and method.isalpha() and method.isupper()) or method in _METHODS_REFUSED:
        raise TargetError("http", "this method is not sent")
    if len(request.body) > limits.request_bytes:
        raise TargetError("size", "the request's body is too large")
    headers = _headers(request, limits)
    present = {name for name, _ in headers}
    headers += [(name, value) for name, value in ADDED if name not in present]
    if request.body or method in ("POST", "PUT", "PATCH"):
        headers.append(("content-length", str(len(request.body))))
    return replace(request, target=_target(request, limits), headers=tuple(headers))


def _target(request: WebRequest, limits: FetchLimits) -> str:
    target = request.target
    if not target.startswith("/"):
        origin = f"https://{request.authority}"
        target, matches = target.removeprefix(origin), target.startswith(origin)
        if not matches or not target.startswith(("/", "?")):
            raise TargetError("http", "the request's target does not belong to its host")
        target = target if target.startswith("/") else f"/{target}"
    if len(target) > limits.target_bytes:
        raise TargetError("size", "the request's target is too long")
    if not _TARGET.issuperset(target):
        raise TargetError("http", "the request's target has characters that a target does not have")
    return target


def _headers(request: WebRequest, limits: FetchLimits) -> list[tuple[str, str]]:
    if len(request.headers) > limits.headers:
        raise TargetError("size", "the request has too many headers")
    if sum(len(name) + len(value) for name, value in request.headers) > _VALUE_BYTES:
        raise TargetError("size", "the request's headers are too large")
    for name, value in request.headers:
        if not name or not TOKEN.issuperset(name):
            raise TargetError("http", "the request has a header whose name is not a lower-case token")
        if not _VALUE.issuperset(value) or value != value.strip():
            raise TargetError("http", "the request has a header whose value cannot be sent as it is")
        if name in _OURS:
            raise TargetError("http", f"the header {name} belongs to the connection")
    _repeated(request.headers, "host", request.authority)
    _repeated(request.headers, "connection", "close")
    _repeated(request.headers, "content-length", str(len(request.body)))
    dropped = ("host", "connection", "content-length")
    return [header for header in request.headers if header[0] not in dropped]


def _repeated(headers: Headers, name: str, ours: str) -> None:
    """Refuse a header of ours that says something else, or says it twice."""
    values = [value for given, value in headers if given == name]
    if len(values) > 1 or (values and values[0].lower() != ours):
        raise TargetError("http", f"the header {name} does not say what the request is")
