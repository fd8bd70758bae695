"""What Google's own description of its interfaces allows: which method a request is, and what is wrong with it."""

from __future__ import annotations

import functools
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

FILE = Path(__file__).with_name("schemas.json")
_INTEGERS = {"int32": 1 << 31, "uint32": 1 << 32}


class WrongRequestError(Exception):
    """A request that the real service would not take, or that says what nobody knows."""


@dataclass(frozen=True)
class Call:
    """A request that is one of a method. `at`: the values in its path."""

    method: str
    at: Mapping[str, str]
    query: Mapping[str, str]
    body: Any


@functools.cache
def documents() -> dict[str, Any]:
    """The excerpt, read once."""
    found: dict[str, Any] = json.loads(FILE.read_bytes())
    return found


def call_of(service: str, verb: str, path: str, query: Mapping[str, str], body: Any) -> Call:
    """The one method that a request is of, checked. `path`: below the service's base. WrongRequestError."""
    document = documents()[service]
    for name, method in document["methods"].items():
        if method["verb"] != verb or (at := _matched(method["path"], path)) is None:
            continue
        _check_query(document, name, method, at, query)
        schema = method.get("request")
        if (schema is None or name == "objects.insert") != (body is None):
            raise WrongRequestError(f"{name}: {'no body belongs here' if schema is None else 'the body is missing'}")
        if body is not None:
            check(service, {"$ref": schema}, body, name, asked=method["id"])
        return Call(name, at, query, body)
    raise WrongRequestError(f"no method of {service} is {verb} {path}")


def check(service: str, schema: Mapping[str, Any], value: Any, where: str, *, asked: str | None) -> None:
    """A value against its type. `asked`: of which method's request it is, None for an answer. WrongRequestError."""
    if "$ref" in schema:
        schema = documents()[service]["schemas"][schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "object":
        _check_object(service, schema, value, where, asked)
    elif kind == "array":
        if not isinstance(value, list):
            raise WrongRequestError(f"{where}: is no array")
        for index, one in enumerate(value):
            check(service, schema["items"], one, f"{where}[{index}]", asked=asked)
    elif not _is_kind(kind, schema.get("format", ""), value):
        raise WrongRequestError(f"{where}: {value!r} is no {kind} {schema.get('format', '')}")
    if "enum" in schema and value not in schema["enum"]:
        raise WrongRequestError(f"{where}: {value!r} is not one of {schema['enum']}")
    if "pattern" in schema and asked is not None:
        for one in value if isinstance(value, list) else [value]:
            if not re.fullmatch(schema["pattern"], one):
                raise WrongRequestError(f"{where}: {one!r} does not match {schema['pattern']}")


def _check_object(service: str, schema: Mapping[str, Any], value: Any, where: str, asked: str | None) -> None:
    if not isinstance(value, dict):
        raise WrongRequestError(f"{where}: is no object")
    known = schema.get("properties", {})
    for name, one in value.items():
        kind = known.get(name, schema.get("more"))
        if kind is None:
            raise WrongRequestError(f"{where}: has no member {name}")
        if asked is not None and kind.get("output"):
            raise WrongRequestError(f"{where}.{name}: is the service's to say")
        check(service, kind, one, f"{where}.{name}", asked=asked)
    for name, kind in known.items():
        if asked in kind.get("required", ()) and name not in value:
            raise WrongRequestError(f"{where}: {name} is missing")


def _is_kind(kind: str, form: str, value: Any) -> bool:
    if kind == "string":
        if form in ("int64", "uint64") and isinstance(value, str):
            return re.fullmatch(r"-?[0-9]{1,19}" if form == "int64" else r"[0-9]{1,20}", value) is not None
        return isinstance(value, str)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INTEGERS.get(form, 1 << 53)
    return kind == "any" or isinstance(value, bool if kind == "boolean" else int | float)


def _matched(template: str, path: str) -> dict[str, str] | None:
    names = re.findall(r"{\+?([a-zA-Z]+)}", template)
    form = "".join(
        f"(?P<{part[1:-1].lstrip('+')}>{'.+' if part[1] == '+' else '[^/]+'})"
        if part.startswith("{")
        else re.escape(part)
        for part in re.split(r"({[^}]+})", template)
    )
    found = re.fullmatch(form, path)
    return None if found is None else {name: unquote(found[name]) for name in names}


def _check_query(
    document: Mapping[str, Any], name: str, method: Mapping[str, Any], at: Mapping[str, str], query: Mapping[str, str]
) -> None:
    parameters = method["parameters"]
    for key, value in query.items():
        known = parameters.get(key, {"location": "query"} if key in (*document["common"], "uploadType") else None)
        if known is None or known["location"] != "query":
            raise WrongRequestError(f"{name}: there is no parameter {key}")
        number = known.get("type") == "integer" or "int" in known.get("format", "")
        if number and not re.fullmatch(r"-?[0-9]+", value):
            raise WrongRequestError(f"{name}: {key} is no number")
    for key, known in parameters.items():
        given = at if known["location"] == "path" else query
        if known.get("required") and key not in given:
            raise WrongRequestError(f"{name}: {key} is missing")
        if key in given and "pattern" in known and not re.fullmatch(known["pattern"], given[key]):
            raise WrongRequestError(f"{name}: {key} cannot be {given[key]!r}")
    # Ours, not Google's: whatever changes something can be asked for twice.
    if "requestId" in parameters:
        try:
            right = uuid.UUID(query.get("requestId", "")).int != 0
        except ValueError:
            right = False
        if not right:
            raise WrongRequestError(f"{name}: requestId is no UUID")
