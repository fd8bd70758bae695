"""Which request gets which answer. Pure: a request in, a response or a wish for more than a response out.

GET  /health                    {"buildId", "status", "version"}
GET  /openapi.json              this interface, for programs
GET  /v1/evidence?nonce=HEX     an evidence envelope for the purpose `node`; 1 to 64 bytes in lower-case hex
GET  /v1/meta/keys              the keys of this process, each with its evidence
GET  /v1/tee                    a channel: Upgrade: websocket or tcp (docs/protocol.md)
POST /v1/proxy                  a `fetch` as in a channel, as one call; its answer is the proof
POST /v1/verify[?mode=MODE]     what can be said of a proof of this mode (fetch, observe, any) without a policy
"""

from __future__ import annotations

import re
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.evidence import parse_nonce
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError, PeerError
from pluto_notary.limits import Limits
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.server import openapi

HEALTH_PATH: Final = "/health"
OPENAPI_PATH: Final = "/openapi.json"
EVIDENCE_PATH: Final = "/v1/evidence"
KEYS_PATH: Final = "/v1/meta/keys"
TEE_PATH: Final = "/v1/tee"
PROXY_PATH: Final = "/v1/proxy"
VERIFY_PATH: Final = "/v1/verify"
METHODS: Final = {
    HEALTH_PATH: "GET",
    OPENAPI_PATH: "GET",
    EVIDENCE_PATH: "GET",
    KEYS_PATH: "GET",
    TEE_PATH: "GET",
    PROXY_PATH: "POST",
    VERIFY_PATH: "POST",
}

MODES: Final = {"mode=fetch": ("fetch",), "mode=observe": ("observe",), "mode=any": ("fetch", "observe")}

Headers = tuple[tuple[bytes, bytes], ...]

_NONCE_QUERY: Final = re.compile(r"nonce=([0-9A-Za-z]*)")
_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    422: b"Unprocessable Content",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
# What a client may do about missing evidence: ask later.
_RETRY_SECONDS: Final = 1
_LATER: Final = ("busy", "clock", "evidence", "rate")
# Of the codes of docs/protocol.md; all others are 400, the client's own doing.
_STATUS: Final = {
    **dict.fromkeys(("busy", "clock", "evidence"), 503),
    **dict.fromkeys(("resolve", "connect", "certificate", "tls", "http", "redirect", "size"), 502),
    "violation": 422,
    "rate": 429,
    "time": 504,
    "internal": 500,
}


@record
class Request:
    """One request; header names in lower case."""

    method: str
    target: str
    body: bytes = b""
    headers: Headers = ()

    def __repr__(self) -> str:
        return f"Request({len(self.body)} bytes)"  # the text of an error or a task quotes no client


@record
class Response:
    """A JSON document with its status."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> bytes:
        return _REASONS.get(self.status, b"")


@record
class EvidenceWanted:
    """The client wants evidence for this nonce (1 to 64 bytes)."""

    nonce: bytes


@record
class KeysWanted:
    """The client wants to know the keys of this process."""


@record
class ProofWanted:
    """The client wants something fetched and proved; `order` is the JSON of a `fetch`."""

    order: bytes

    def __repr__(self) -> str:
        return f"ProofWanted({len(self.order)} bytes)"


@record
class JudgementWanted:
    """The client wants to know about a proof, if its statement is of one of these modes."""

    proof: bytes
    modes: tuple[str, ...] = ("fetch",)

    def __repr__(self) -> str:
        return f"JudgementWanted({len(self.proof)} bytes)"


Wanted = EvidenceWanted | KeysWanted | ProofWanted | JudgementWanted | Upgrade


def route(request: Request, *, version: str, build_id: str) -> Response | Wanted:
    """What to do about a request. PeerError for one that has no answer."""
    check(request.method, request.target)
    path, mark, query = request.target.partition("?")
    if path == EVIDENCE_PATH:
        return EvidenceWanted(_nonce(query))
    if path == TEE_PATH:
        return Upgrade.parse(request.target, request.headers)
    if path == VERIFY_PATH:
        return JudgementWanted(request.body, _modes(query) if mark else ("fetch",))
    if mark:
        raise PeerError(400, "query", f"{path} takes no query")
    if path == HEALTH_PATH:
        return document({"status": "ok", "version": version, "buildId": build_id})
    if path == OPENAPI_PATH:
        return Response(200, openapi.text())
    if path == KEYS_PATH:
        return KeysWanted()
    return ProofWanted(request.body)


def check(method: str, target: str) -> None:
    """PeerError where nothing is, and for a method that is not answered there."""
    path = target.partition("?")[0]
    if path not in METHODS:
        raise PeerError(404, "path", f"only {', '.join(sorted(METHODS))} are here")
    if method != METHODS[path]:
        raise PeerError(405, "method", f"only {METHODS[path]} is answered here")


def largest_body(method: str, target: str, limits: Limits) -> int:
    """How large the body of a request may be, in bytes."""
    if method != "POST":
        return 0
    return {PROXY_PATH: limits.order_bytes, VERIFY_PATH: limits.proof_bytes}.get(target.partition("?")[0], 0)


def document(value: dict[str, object]) -> Response:
    """A successful answer."""
    return Response(200, canonical(value))


def refusal(error: PeerError, path: str = "") -> Response:
    """The answer to a request that breaks the rules."""
    headers: tuple[tuple[str, str], ...] = ()
    if error.status == 405 and path in METHODS:
        headers = (("allow", METHODS[path]),)
    elif error.status == 426:  # RFC 9110, 15.5.22; RFC 6455, 4.4
        headers = (("connection", "upgrade"), ("upgrade", "websocket, tcp"), ("sec-websocket-version", "13"))
    return Response(error.status, _error(error.code, error.problem), headers)


def no_proof(error: ChannelError) -> Response:
    """The answer to a `fetch` that gave no proof."""
    body = {"code": error.code, "message": error.problem, "path": error.path}
    retry = (("retry-after", str(_RETRY_SECONDS)),) if error.code in _LATER else ()
    return Response(_STATUS.get(error.code, 400), canonical({"error": body}), retry)


def no_evidence(error: EvidenceError) -> Response:
    """The answer when there is no evidence; its details stay here."""
    text = "evidence cannot be had now"
    return Response(503, _error(error.code, text), (("retry-after", str(_RETRY_SECONDS)),))


def busy() -> Response:
    """The answer where there is no room for another channel."""
    return Response(503, _error("busy", "there are as many channels as there may be"), (("retry-after", "10"),))


def full() -> PeerError:
    """For a body that there is no room for now."""
    return PeerError(503, "busy", "there is no room for another large body")


def too_often() -> Response:
    """The answer to more requests than one client, or all of them, may make."""
    return Response(429, _error("rate", "this is asked for too often"), (("retry-after", str(_RETRY_SECONDS)),))


def late() -> Response:
    """The answer where we did not get ready in time."""
    return Response(504, _error("time", "the answer took too long"))


def broken() -> Response:
    """The answer where we failed. Why is nobody's business."""
    return Response(500, _error("internal", "the notary failed"))


def _error(code: str, message: str) -> bytes:
    return canonical({"error": {"code": code, "message": message}})


def _modes(query: str) -> tuple[str, ...]:
    if (modes := MODES.get(query)) is None:
        raise PeerError(400, "query", f"the query must be one of {', '.join(MODES)}")
    return modes


def _nonce(query: str) -> bytes:
    if not (match := _NONCE_QUERY.fullmatch(query)):
        raise PeerError(400, "query", "the query must be nonce=HEX and nothing else")
    try:
        return parse_nonce(match[1])
    except FormatError as error:
        raise PeerError(400, "query", "nonce must be 1 to 64 bytes in lower-case hex") from error
