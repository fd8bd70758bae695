"""Everything that a manifest states, held against what was asked and answered. Pure.

    request -> status, version, message -> headers -> body -> values, each of its type and with its predicates

Raises nothing but Violation. Where something does not hold there are no values at all, and nothing to sign. A value
that is not required, and is not there, of another type or fails a predicate, is left out, and nothing is said of it.
"""

from __future__ import annotations

from http import HTTPStatus

from pluto_measure.errors import FormatError
from pluto_notary.manifest import version1
from pluto_notary.manifest.canonical import canonical
from pluto_notary.manifest.document import is_text, kind_of, read
from pluto_notary.manifest.extract_json import LIMITS, NotFoundError, value_at
from pluto_notary.manifest.members import ROOT
from pluto_notary.manifest.model import Extractor, Request, Response, Value
from pluto_notary.manifest.predicates import unmet
from pluto_notary.manifest.request import KNOWN
from pluto_notary.manifest.violation import Violation, Work
from pluto_notary.web import Exchange, Headers, WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

LARGEST_VALUES: Final = 1024 * 1024  # bytes of all values in canonical form
# What `fetch` sends beside what the manifest states.
ADDED: Final = (*KNOWN, "accept", "accept-encoding", "user-agent")


def enforce(
    asked: Request, answered: Response, request: WebRequest, exchange: Exchange, work: Work
) -> tuple[Value, ...]:
    """The values, if all holds; else Violation. `request`: what the manifest's request became with its variables."""
    _check_request(asked, request, exchange.request)
    _check_head(asked, answered, exchange.response)
    _check_headers(answered, exchange.response)
    return _values(answered, exchange.response, work)


def _check_request(asked: Request, request: WebRequest, sent: WebRequest) -> None:
    """What was sent is what was meant to be, and that is what the manifest states."""
    for name, stated, meant, was in (
        ("method", asked.method, request.method, sent.method),
        ("url", (asked.host, asked.port, asked.target), _place(request), _place(sent)),
        ("body", request.body, request.body, sent.body),
        ("headers", tuple(name for name, _ in asked.headers), tuple(name for name, _ in request.headers), None),
    ):
        if stated != meant or (was is not None and was != meant):
            raise Violation(f"{ROOT}.request.{name}", "is not what was asked")
    left = list(sent.headers)
    known = {"host": asked.authority, "connection": "close", "content-length": str(len(request.body))}
    for header in request.headers:
        if header in left:
            left.remove(header)
        elif known.get(header[0]) != header[1].lower():
            raise Violation(f"{ROOT}.request.headers.{header[0]}", "is not what was asked")
    stated_names = {name for name, _ in request.headers}
    for name, value in left:
        if name not in ADDED or name in stated_names or value.lower() != known.get(name, value.lower()):
            raise Violation(f"{ROOT}.request.headers", "are more than the manifest states")


def _place(request: WebRequest) -> tuple[str, int, str]:
    return request.host, request.port, request.target


def _check_head(asked: Request, answered: Response, response: WebResponse) -> None:
    if response.status != answered.status:
        raise Violation(f"{ROOT}.response.status", f"the answer has status {response.status}")
    for name, version in (("request", asked.version), ("response", answered.version)):
        if version is not None and response.version != version:
            raise Violation(f"{ROOT}.{name}.version", "the connection spoke another version")
    standard = _phrase(answered.status)
    if response.reason:
        fits = response.reason == (answered.message or standard)
    elif response.version == "HTTP/2":  # which has no phrases: the status stands for its own
        fits = answered.message in (None, standard)
    else:
        fits = answered.message is None
    if not fits:
        raise Violation(f"{ROOT}.response.message", "the answer has another reason phrase, or none")


def _phrase(status: int) -> str | None:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return None


def _check_headers(answered: Response, response: WebResponse) -> None:
    for name, stated in answered.headers:
        path = f"{ROOT}.response.headers.{name}"
        values = _all(response.headers, name)
        if len(values) != 1:
            raise Violation(path, "the answer does not have this header, or has it more than once")
        same = _media(values[0]) == _media(stated) if name == "content-type" else values[0] == stated
        if not same:
            raise Violation(path, "the answer has another value")


def _all(headers: Headers, name: str) -> list[str]:
    return [value for given, value in headers if given.lower() == name]


def _media(content_type: str) -> tuple[str, ...]:
    """Type and parameters for comparison; case and quotes of what is a token do not matter, order does."""
    first, *parameters = content_type.split(";")
    found = [first.strip(" \t").lower()]
    for parameter in parameters:
        name, _, value = parameter.strip(" \t").partition("=")
        folded = value.lower() if name.lower() == "charset" else value
        found.append(f"{name.lower()}={folded.strip(chr(34))}")
    return tuple(found)


def _values(answered: Response, response: WebResponse, work: Work) -> tuple[Value, ...]:
    if not answered.extractors:
        return ()
    try:
        take = _taker(answered, response)
        values, size = [], 0
        for index, extractor in enumerate(answered.extractors):
            value = _value(extractor, take, f"{ROOT}.response.body.extractors[{index}]", work)
            if value is not None:
                values.append(value)
                size += len(value.json)
            if size > LARGEST_VALUES:
                raise Violation(f"{ROOT}.response.body", f"its values have more than {LARGEST_VALUES} bytes")
    except FormatError as error:
        raise Violation(f"{ROOT}.response.body", f"the answer's body {error.problem}") from error
    except (MemoryError, RecursionError):
        raise Violation(f"{ROOT}.response.body", "the answer's body is too much to judge") from None
    return tuple(values)


def _taker(answered: Response, response: WebResponse) -> Callable[[Extractor], Any]:
    """What takes an extractor's value from the body. FormatError."""
    if answered.format == "json":
        document = read(response.body, LIMITS, what="body")
        return lambda extractor: _from_json(document, extractor)
    # Imported here: a server that judges JSON alone never loads it.
    from pluto_notary.manifest.extract_html import page, value_in

    soup = page(response.body, _all(response.headers, "content-type")[0])
    return lambda extractor: value_in(soup, extractor)


def _from_json(document: Any, extractor: Extractor) -> Any:
    if extractor.path is None:
        return value_at(document, extractor.selector)
    found, value = version1.walk(document, extractor.path)
    if not found:
        raise NotFoundError("the path leads to nothing")
    return value


def _value(extractor: Extractor, take: Callable[[Extractor], Any], path: str, work: Work) -> Value | None:
    """The value, or None where it is not required and does not fit."""
    try:
        value = take(extractor)
        problem, where = _unfit(extractor, value), path
        for index, predicate in enumerate(extractor.predicates if problem is None else ()):
            where = f"{path}.predicates[{index}]"
            if problem := unmet(value, predicate, work):
                break
    except NotFoundError as error:
        problem, where = str(error), path
    if problem is None:
        return Value(extractor.id, kind_of(value), canonical(value))
    if extractor.required:
        raise Violation(where, problem)
    return None


def _unfit(extractor: Extractor, value: Any) -> str | None:
    kind = kind_of(value)
    if isinstance(value, str) and not is_text(value):
        return "the value is not text that UTF-8 can spell"
    return None if extractor.type in (None, kind) else f"the value is not of type {extractor.type}"
