"""The interface as an OpenAPI 3.1 document, for programs: what routes.py answers, no more. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pluto_measure.formats.strict_json import canonical
from pluto_notary import __version__
from pluto_notary.protocol.errors import CODES

_ADDRESS: Final = "^0x[0-9a-f]{40}$"
_ENVELOPE: Final = {"type": "object", "description": "an evidence envelope (docs/formats/evidence.md)"}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "path": {"type": ["string", "null"]},
            },
        }
    },
}
_ORDER: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "version",
        "manifest",
        "variables",
        "recipient",
        "chainId",
        "contract",
        "nonce",
        "reveal",
        "legacy",
    ],
    "properties": {
        "version": {"const": 2},
        "manifest": {"type": "object", "description": "docs/formats/manifest.md"},
        "variables": {"type": "object", "maxProperties": 100, "additionalProperties": {"type": "string"}},
        "recipient": {"type": "string", "pattern": _ADDRESS},
        "chainId": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
        "contract": {"type": "string", "pattern": _ADDRESS},
        "nonce": {"type": "string", "pattern": "^(?!0+$)[0-9a-f]{64}$"},
        "reveal": {"enum": ["values", "commitments"]},
        "legacy": {"type": "boolean"},
    },
}
_MEANINGS: Final = {
    400: "not a request that this path has",
    405: "another method is answered here",
    408: "the request did not come in time",
    413: "the body is too large, or may not be there",
    422: "the web site's answer, or a variable, is not what the manifest states",
    426: "another version of WebSocket is spoken here",
    429: "asked for too often",
    431: "the head is too large",
    500: "the notary failed",
    502: "the web site failed",
    503: "not now",
    504: "it took too long",
}


@cache
def text() -> bytes:
    """The document, canonical JSON."""
    return canonical(document())


def document() -> dict[str, Any]:
    """The document as values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pluto TEE notary",
            "version": __version__,
            "description": "Nothing here is worth more than the evidence that you appraise: docs/protocol.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/health": {"get": _get("health", "Version and build", _object("status", "version", "buildId"))},
            "/openapi.json": {"get": _get("openapi", "This document", {"type": "object"})},
            "/v1/evidence": {"get": _evidence()},
            "/v1/meta/keys": {"get": _get("keys", "The keys of this process with their evidence", _keys())},
            "/v1/tee": {"get": _channel()},
            "/v1/proxy": {"post": _post("proxy", "Fetch and prove in one call", _ORDER, _PROVED)},
            "/v1/verify": {"post": _verify()},
        },
    }


_COMMON: Final = (400, 405, 408, 413, 431, 500, 503, 504)  # of every path
_PROVED: Final = ("the proof (docs/formats/proof.md)", 422, 429, 502)
_CHECKED: Final = ("what holds, and what was not checked", 429)


def _get(name: str, summary: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": _responses(summary, schema, *errors)}


def _post(name: str, summary: str, body: dict[str, Any], answers: tuple[Any, ...]) -> dict[str, Any]:
    described, *errors = answers
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(described, {"type": "object"}, *errors),
    }


def _verify() -> dict[str, Any]:
    found = _post("verify", "What can be said of a proof without a policy", {"type": "object"}, _CHECKED)
    mode = {"enum": ["fetch", "observe", "any"], "default": "fetch"}
    about = "the mode that the statement must be of; what was observed is refused unless it is asked for"
    return {**found, "parameters": [{"name": "mode", "in": "query", "description": about, "schema": mode}]}


def _evidence() -> dict[str, Any]:
    nonce = {"type": "string", "pattern": "^([0-9a-f]{2}){1,64}$"}
    found = _get("evidence", "Fresh evidence of this machine", _ENVELOPE, 429)
    return {**found, "parameters": [{"name": "nonce", "in": "query", "required": True, "schema": nonce}]}


def _channel() -> dict[str, Any]:
    names = {
        "session_id": {"type": "string", "format": "uuid"},
        "target_host": {"type": "string", "pattern": "^[0-9A-Za-z._-]{1,253}$"},
        "target_port": {"type": "integer", "minimum": 1, "maximum": 65535},
    }
    return {
        "operationId": "channel",
        "summary": "An attested channel: Upgrade: websocket or tcp",
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in names.items()],
        "responses": {
            "101": {"description": "the inner TLS begins; what may follow has these codes: " + ", ".join(CODES)},
            **_errors(426),
        },
    }


def _keys() -> dict[str, Any]:
    evidence = {**_ENVELOPE, "type": ["object", "null"]}
    text = {"type": "string"}
    statement = {
        "type": "object",
        "required": ["publicKey", "address", "evidence"],
        "properties": {"publicKey": text, "address": {"type": "string", "pattern": _ADDRESS}, "evidence": evidence},
    }
    channel = {
        "type": "object",
        "required": ["publicKey", "epoch", "evidence"],
        "properties": {"publicKey": text, "epoch": {"type": "integer", "minimum": 0}, "evidence": _ENVELOPE},
    }
    return {
        "type": "object",
        "required": ["statement", "channel"],
        "properties": {"statement": statement, "channel": channel},
    }


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _responses(described: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    return {"200": {"description": described, "content": {"application/json": {"schema": schema}}}, **_errors(*errors)}


def _errors(*codes: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _ERROR}}
    found = {str(code): {"description": _MEANINGS[code], "content": content} for code in sorted({*_COMMON, *codes})}
    for code in (429, 503):
        if str(code) in found:
            found[str(code)]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return found
