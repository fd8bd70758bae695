"""Which request gets which answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.errors import EvidenceError, PeerError
from pluto_notary.server import routes
from pluto_notary.server.routes import EvidenceWanted, Request, Response, route

BUILD = "ab" * 32


def ask(target: str, method: str = "GET") -> Response | EvidenceWanted:
    return route(Request(method, target), version="0.1.0", build_id=BUILD)


def test_health_is_answered_at_once() -> None:
    answer = ask("/health")
    assert isinstance(answer, Response)
    assert json.loads(answer.body) == {"status": "ok", "version": "0.1.0", "buildId": BUILD}


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_a_nonce_of_1_to_64_bytes_wants_evidence(nonce: bytes) -> None:
    assert ask(f"/v1/evidence?nonce={nonce.hex()}") == EvidenceWanted(nonce)


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 404, "path"),
        ("GET", "/health/", 404, "path"),
        ("GET", "/v1/evidence/", 404, "path"),
        ("GET", "https://x/health", 404, "path"),
        ("GET", "*", 404, "path"),
        ("GET", "/v1/../health", 404, "path"),
        ("POST", "/health", 405, "method"),
        ("HEAD", "/health", 405, "method"),
        ("OPTIONS", "/v1/evidence", 405, "method"),
        ("GET", "/health?", 400, "query"),
        ("GET", "/v1/evidence", 400, "query"),
        ("GET", "/v1/evidence?nonce=", 400, "query"),
        ("GET", "/v1/evidence?nonce=0", 400, "query"),
        ("GET", "/v1/evidence?nonce=AB", 400, "query"),
        ("GET", "/v1/evidence?nonce=0g", 400, "query"),
        ("GET", "/v1/evidence?nonce=%30%30", 400, "query"),
        ("GET", "/v1/evidence?nonce=00&nonce=01", 400, "query"),
        ("GET", "/v1/evidence?nonce=00&x=1", 400, "query"),
        ("GET", "/v1/evidence?x=1&nonce=00", 400, "query"),
        ("GET", "/v1/evidence?nonce=00#a", 400, "query"),
        ("GET", "/v1/evidence?nonce=" + "00" * 65, 400, "query"),
    ],
)
def test_what_is_not_served_is_refused_with_status_and_code(method: str, target: str, status: int, code: str) -> None:
    with pytest.raises(PeerError) as caught:
        ask(target, method)
    answer = routes.refusal(caught.value)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
    assert (("allow", "GET") in answer.headers) == (status == 405)
    assert answer.reason


def test_the_reasons_for_missing_evidence_stay_inside() -> None:
    answer = routes.no_evidence(EvidenceError("device", "TPM2_Quote failed at /dev/tpmrm0"))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "device")
    assert b"tpm" not in answer.body.lower()
    assert routes.too_often().status == 429
