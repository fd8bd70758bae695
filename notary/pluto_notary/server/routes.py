"""Which request gets which answer. Pure: a request in, a response or a wish for evidence out.

GET /health                     {"buildId", "status", "version"}
GET /v1/evidence?nonce=HEX      an evidence envelope for the purpose `node`; 1 to 64 bytes in lower-case hex
"""

from __future__ import annotations

import re
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.evidence import parse_nonce
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError, PeerError

HEALTH_PATH: Final = "/health"
EVIDENCE_PATH: Final = "/v1/evidence"

_NONCE_QUERY: Final = re.compile(r"nonce=([0-9A-Za-z]*)")
_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}
# What a client may do about missing evidence: ask later.
_RETRY_SECONDS: Final = 1


@record
class Request:
    """Method and target of a request that has no body."""

    method: str
    target: str


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


def route(request: Request, *, version: str, build_id: str) -> Response | EvidenceWanted:
    """What to do about a request. PeerError for one that has no answer."""
    path, mark, query = request.target.partition("?")
    if path not in (HEALTH_PATH, EVIDENCE_PATH):
        raise PeerError(404, "path", f"only {HEALTH_PATH} and {EVIDENCE_PATH} are here")
    if request.method != "GET":
        raise PeerError(405, "method", "only GET is answered here")
    if path == HEALTH_PATH:
        if mark:
            raise PeerError(400, "query", f"{HEALTH_PATH} takes no query")
        return document({"status": "ok", "version": version, "buildId": build_id})
    return EvidenceWanted(_nonce(query))


def document(value: dict[str, object]) -> Response:
    """A successful answer."""
    return Response(200, canonical(value))


def refusal(error: PeerError) -> Response:
    """The answer to a request that breaks the rules."""
    headers = (("allow", "GET"),) if error.status == 405 else ()
    return Response(error.status, _error(error.code, error.problem), headers)


def no_evidence(error: EvidenceError) -> Response:
    """The answer when there is no evidence; its details stay here."""
    text = "evidence cannot be had now"
    return Response(503, _error(error.code, text), (("retry-after", str(_RETRY_SECONDS)),))


def too_often() -> Response:
    """The answer to more requests for evidence than the machine gives."""
    return Response(429, _error("rate", "evidence is asked for too often"), (("retry-after", str(_RETRY_SECONDS)),))


def _error(code: str, message: str) -> bytes:
    return canonical({"error": {"code": code, "message": message}})


def _nonce(query: str) -> bytes:
    if not (match := _NONCE_QUERY.fullmatch(query)):
        raise PeerError(400, "query", "the query must be nonce=HEX and nothing else")
    try:
        return parse_nonce(match[1])
    except FormatError as error:
        raise PeerError(400, "query", "nonce must be 1 to 64 bytes in lower-case hex") from error
