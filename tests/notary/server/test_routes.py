"""Which request gets which answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.errors import EvidenceError, PeerError
from pluto_notary.events import REFUSALS
from pluto_notary.limits import Limits
from pluto_notary.protocol.errors import CODES, ChannelError
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.server import openapi, routes
from pluto_notary.server.routes import (
    EvidenceWanted,
    JudgementWanted,
    KeysWanted,
    ProofWanted,
    Request,
    Response,
    Wanted,
    largest_body,
    route,
)

BUILD = "ab" * 32


def ask(target: str, method: str = "GET", body: bytes = b"") -> Response | Wanted:
    return route(Request(method, target, body), version="0.1.0", build_id=BUILD)


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
        ("GET", "/v1/proxy", 405, "method"),
        ("GET", "/v1/verify", 405, "method"),
        ("POST", "/v1/tee", 405, "method"),
        ("POST", "/v1/meta/keys", 405, "method"),
        ("POST", "/v1/proxy?x=1", 400, "query"),
        ("POST", "/v1/verify?", 400, "query"),
        ("POST", "/v1/verify?mode=", 400, "query"),
        ("POST", "/v1/verify?mode=all", 400, "query"),
        ("POST", "/v1/verify?mode=observe&mode=fetch", 400, "query"),
        ("POST", "/v1/verify?mode=%6fbserve", 400, "query"),
        ("POST", "/v1/verify?Mode=any", 400, "query"),
        ("GET", "/openapi.json?", 400, "query"),
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
    answer = routes.refusal(caught.value, target.partition("?")[0])
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
    allowed = (("allow", routes.METHODS[target]),) if status == 405 else ()
    assert answer.headers == allowed
    assert answer.reason


def test_a_body_is_handed_on_where_one_may_come() -> None:
    assert ask("/v1/proxy", "POST", b"{}") == ProofWanted(b"{}")
    assert ask("/v1/verify", "POST", b"{}") == JudgementWanted(b"{}")
    assert ask("/v1/verify?mode=fetch", "POST", b"{}") == JudgementWanted(b"{}", ("fetch",))
    assert ask("/v1/verify?mode=observe", "POST", b"{}") == JudgementWanted(b"{}", ("observe",))
    assert ask("/v1/verify?mode=any", "POST", b"{}") == JudgementWanted(b"{}", ("fetch", "observe"))
    assert ask("/v1/meta/keys") == KeysWanted()
    limits = Limits()
    sizes = {
        (method, path): largest_body(method, path, limits) for path in routes.METHODS for method in ("GET", "POST")
    }
    assert {key for key, size in sizes.items() if size} == {("POST", "/v1/proxy"), ("POST", "/v1/verify")}
    assert "secret" not in repr([Request("POST", "/secret", b"secret", ((b"a", b"secret"),)), ProofWanted(b"secret")])


def test_a_request_for_a_channel_is_one() -> None:
    headers = ((b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"TCP"))
    wanted = route(Request("GET", "/v1/tee?target_port=443", headers=headers), version="0.1.0", build_id=BUILD)
    assert isinstance(wanted, Upgrade)
    assert (wanted.protocol, wanted.target_port) == ("tcp", 443)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_status_that_the_document_and_an_event_know(code: str) -> None:
    answer = routes.no_proof(ChannelError(code, "a sentence", path="a.path"))
    assert json.loads(answer.body) == {"error": {"code": code, "message": "a sentence", "path": "a.path"}}
    assert answer.reason
    assert str(answer.status) in openapi.document()["paths"]["/v1/proxy"]["post"]["responses"]
    assert code in REFUSALS


def test_the_document_has_every_route_and_no_other() -> None:
    paths = openapi.document()["paths"]
    assert {path: list(methods) for path, methods in paths.items()} == {
        path: [method.lower()] for path, method in routes.METHODS.items()
    }
    answer = ask("/openapi.json")
    assert isinstance(answer, Response)
    assert json.loads(answer.body) == openapi.document()


def test_the_reasons_for_missing_evidence_stay_inside() -> None:
    answer = routes.no_evidence(EvidenceError("device", "TPM2_Quote failed at /dev/tpmrm0"))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "device")
    assert b"tpm" not in answer.body.lower()
    assert routes.too_often().status == 429
