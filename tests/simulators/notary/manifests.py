"""Manifests and answers of sites that do not exist: a bank's JSON, a shop's page; exchanges with them; the schema."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.manifest import Manifest, Value
from pluto_notary.web import Exchange, Headers, WebRequest, WebResponse

SCHEMA = json.loads((Path(__file__).parents[3] / "notary/pluto_notary/schemas/manifest.v2.json").read_text())
BANK: dict[str, Any] = {
    "manifestVersion": "2",
    "id": "bank-balance",
    "title": "A balance at the example bank",
    "request": {
        "method": "GET",
        "url": "https://api.bank.example/v1/accounts?limit=2",
        "headers": {"Authorization": "Bearer <% token %>", "Accept": "application/json"},
        "vars": {"token": {"description": "access token", "pattern": "^[a-z0-9]{8}$"}},
    },
    "response": {
        "status": "200",
        "headers": {"Content-Type": "application/json"},
        "body": {
            "format": "json",
            "extractors": [
                {
                    "id": "balance",
                    "description": "balance in the account's currency",
                    "selector": ["accounts", "0", "balance"],
                    "type": "number",
                    "predicates": [{"type": "value", "comparison": "greaterThanOrEqual", "value": 1000}],
                },
                {"id": "currency", "description": "", "selector": ["accounts", "0", "currency"], "type": "string"},
            ],
        },
    },
}
ACCOUNTS = b'{"accounts":[{"balance":1234.5,"currency":"EUR"},{"balance":9,"currency":"USD"}],"next":null}'
SHOP: dict[str, Any] = {
    "manifestVersion": "2",
    "title": "A member of the example shop",
    "request": {
        "method": "GET", "url": "https://shop.example/account",
        "headers": {"Cookie": "sid=<% sid %>"}, "vars": {"sid": {}},
    },
    "response": {
        "status": "200",
        "headers": {"Content-Type": "text/html; charset=utf-8"},
        "body": {
            "format": "html",
            "extractors": [
                {"id": "level", "description": "", "selector": ["#member", ".level"], "type": "string"},
                {"id": "points", "selector": ["#member [data-points]"], "type": "number", "attribute": "data-points"},
                {"id": "orders", "description": "", "selector": ["table.orders", "td.number"], "type": "array"},
            ],
        },
    },
}  # fmt: skip
# The `response` of a manifest that asks for a price, in JSON.
PRICE: dict[str, Any] = {
    "status": "200",
    "headers": {"content-type": "application/json"},
    "body": {"format": "json", "extractors": [{"id": "price", "selector": ["price"], "type": "string"}]},
}
ACCOUNT_PAGE = b"""<!DOCTYPE html>
<html><head><title>Your account</title><script>var level = "<b class=level>no</b>";</script></head><body>
<div id="member" class="box wide"><h1>Hello,
   Ada &amp; friends</h1><p class="level"> Gold <!-- not --> member </p><span data-points="1250">1&nbsp;250</span></div>
<table class="orders"><tr><td class="number">A-1</td><td>7.50</tr>
<tr><td class="number">A-2</td><td>12.00</td></tr></table>
</body></html>
"""
JSON_HEADERS: Headers = (("content-type", "application/json"), ("server", "example"))
HTML_HEADERS: Headers = (("content-type", "text/html; charset=utf-8"),)
VARIABLES = {"token": "abcd1234", "sid": "s3cr3t"}


def changed(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A copy with other members; `request__url="…"` reaches into objects."""
    found = copy.deepcopy(document)
    for path, value in members.items():
        *parents, name = path.split("__")
        inner = found
        for parent in parents:
            inner = inner[parent]
        inner[name] = value
    return found


def asking(*extractors: dict[str, Any], document: dict[str, Any] = BANK) -> dict[str, Any]:
    """The manifest with other extractors."""
    return changed(document, response__body__extractors=list(extractors))


def extractor(*selector: str, type: str = "string", **members: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": "x", "description": "", "selector": list(selector), "type": type, **members}


def predicate(type: str, comparison: str, value: Any = None, **members: Any) -> dict[str, Any]:  # noqa: A002
    given = {} if value is None else {"value": value}
    return {"type": type, "comparison": comparison, **given, **members}


def parsed(document: dict[str, Any]) -> Manifest:
    return Manifest.parse(json.dumps(document).encode())


def asked(manifest: Manifest, variables: dict[str, str] | None = None) -> WebRequest:
    names = {variable.name for variable in manifest.asked.variables}
    given = VARIABLES if variables is None else variables
    return manifest.request({name: value for name, value in given.items() if name in names})


def answered(
    request: WebRequest,
    body: bytes,
    headers: Headers = JSON_HEADERS,
    *,
    status: int = 200,
    reason: str = "OK",
    version: str = "HTTP/1.1",
) -> Exchange:
    """The exchange with a site that answers so; what was sent is what `fetch` makes of the request."""
    sent = prepared(request, FetchLimits())
    return Exchange(sent, WebResponse(version, status, reason, headers, body), bytes(32), "192.0.2.1", 1.0, 2.0)


def judged(
    document: dict[str, Any], body: bytes = ACCOUNTS, headers: Headers = JSON_HEADERS, **how: Any
) -> tuple[Value, ...]:
    """The values that a manifest takes from an answer. Violation."""
    manifest = parsed(document)
    request = asked(manifest)
    return manifest.values(request, answered(request, body, headers, **how))


def found(
    document: dict[str, Any], body: bytes = ACCOUNTS, headers: Headers = JSON_HEADERS, **how: Any
) -> dict[str, Any]:
    """The same, as id and Python value."""
    return {value.id: json.loads(value.json) for value in judged(document, body, headers, **how)}
