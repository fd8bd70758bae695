"""The response of a manifest of version 2, read strictly: what is stated of head and body. Pure."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.manifest.members import Members, below, checked_count, checked_text
from pluto_notary.manifest.model import Extractor, Predicate, Response
from pluto_notary.manifest.patterns import LONGEST, Pattern, Patterns
from pluto_notary.manifest.request import HEADER_VALUE, TOKEN, VERSIONS

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

MOST_HEADERS: Final = 25
MOST_EXTRACTORS: Final = 100
MOST_STEPS: Final = 32  # of a selector
MOST_PREDICATES: Final = 32  # of one extractor
DEEPEST_PREDICATE: Final = 8
LONGEST_ID: Final = 256
LONGEST_STEP: Final = 1024
TYPES: Final = ("string", "number", "boolean", "array", "object")
_EQUAL: Final = ("equal", "notEqual")
_ORDER: Final = ("greaterThan", "lessThan", "greaterThanOrEqual", "lessThanOrEqual")
_PARTS: Final = ("contains", "notContains")
_ENDS: Final = ("startsWith", "endsWith")
NESTING: Final = ("every", "some")
COMPARISONS: Final = {
    "value": (*_EQUAL, *_ORDER, *_PARTS, *_ENDS),
    "length": (*_EQUAL, *_ORDER),
    "regex": (*_EQUAL, *_PARTS),
    "string": (*_EQUAL, *_PARTS, *_ENDS),
    "array": ("includes", *NESTING),
}
_MOST_LENGTH: Final = 2**53 - 1


def parse_head(members: Members) -> tuple[int, str | None, str | None, tuple[tuple[str, str], ...]]:
    """Status, version, message and headers. FormatError."""
    status = members.text("status")
    if len(status) != 3 or not status.isascii() or not status.isdigit() or not "200" <= status <= "599":
        raise FormatError(members.at("status"), "must be the text of a final status, from 200 to 599")
    version = members.get("version")
    if version is not None and version not in VERSIONS:
        raise FormatError(members.at("version"), f"must be one of {', '.join(VERSIONS)}")
    message = members.optional_text("message", longest=1024)
    if message == "":
        raise FormatError(members.at("message"), "must not be empty; leave it out to accept none")
    headers = _headers(members)
    return int(status), version, message, headers


def parse_response(members: Members, patterns: Patterns) -> Response:
    """Version 2. FormatError."""
    status, version, message, headers = parse_head(members)
    body = members.sub("body")
    members.end()
    form = body.one_of("format", ("json", "html"))
    media = media_type(dict(headers)["content-type"])
    if media not in ("text/plain", "text/html" if form == "html" else "application/json") and not (
        form == "json" and media.endswith("+json")
    ):
        raise FormatError(body.at("format"), "does not fit the Content-Type that response.headers states")
    least = 1 if media == "application/json" else 0
    values = body.items("extractors", least=least, most=MOST_EXTRACTORS)
    path = body.at("extractors")
    body.end()
    extractors = tuple(_extractor(value, f"{path}[{index}]", form, patterns) for index, value in enumerate(values))
    ids: set[str] = set()
    for index, extractor in enumerate(extractors):
        if extractor.id in ids:
            raise FormatError(f"{path}[{index}].id", "occurs twice")
        ids.add(extractor.id)
    return Response(status, version, message, headers, form, extractors)


def media_type(content_type: str) -> str:
    """Type and subtype of a Content-Type, in lower case: RFC 9110, section 8.3.1."""
    return content_type.partition(";")[0].strip(" \t").lower()


def patterns_of(predicate: Predicate) -> list[Pattern]:
    """All patterns of a predicate and those nested in it."""
    own = [predicate.pattern] if predicate.pattern else []
    return own + (patterns_of(predicate.nested) if predicate.nested else [])


def _headers(members: Members) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, value in members.named("headers", most=MOST_HEADERS).items():
        path, lower = below(members.at("headers"), name), name.lower()
        if not TOKEN.fullmatch(name):
            raise FormatError(path, "is not the name of a header")
        if lower in found:
            raise FormatError(path, "occurs twice, as case does not matter")
        found[lower] = checked_text(value, path, longest=8 * 1024, least=0)
        if not HEADER_VALUE.fullmatch(found[lower]) or found[lower] != found[lower].strip(" \t"):
            raise FormatError(path, "has characters that a header cannot have there")
    if "content-type" not in found:
        raise FormatError(f"{members.at('headers')}.Content-Type", "is missing")
    media = media_type(found["content-type"])
    if media not in ("application/json", "text/plain", "text/html") and not media.endswith("+json"):
        raise FormatError(
            f"{members.at('headers')}.Content-Type", "must be JSON (application/json, +json), text/plain or text/html"
        )
    return tuple(found.items())


def _extractor(value: object, path: str, form: str, patterns: Patterns) -> Extractor:
    members = Members(value, path)
    name = members.text("id", longest=LONGEST_ID)
    description = members.optional_text("description")
    selector = members.items("selector", least=1, most=MOST_STEPS)
    least = 1 if form == "html" else 0
    steps = [
        checked_text(step, f"{path}.selector[{index}]", longest=LONGEST_STEP, least=least)
        for index, step in enumerate(selector)
    ]
    kind = members.one_of("type", TYPES if form == "json" else TYPES[:-1])
    required = members.flag("required", default=True)
    predicates = members.items("predicates", least=0, most=MOST_PREDICATES)
    attribute = members.optional_text("attribute", longest=256)
    if attribute is not None and (form == "json" or not attribute):
        raise FormatError(members.at("attribute"), "must be the name of an HTML element's attribute")
    members.end()
    found = tuple(_predicate(item, f"{path}.predicates[{n}]", 1, patterns) for n, item in enumerate(predicates))
    return Extractor(name, description, tuple(steps), kind, required, found, attribute)


def _predicate(value: object, path: str, depth: int, patterns: Patterns) -> Predicate:
    if depth > DEEPEST_PREDICATE:
        raise FormatError(path, f"is nested deeper than {DEEPEST_PREDICATE}")
    members = Members(value, path)
    kind = members.one_of("type", tuple(COMPARISONS))
    comparison = members.one_of("comparison", COMPARISONS[kind])
    nests = comparison in NESTING
    wanted = members.get("value") if nests else members.take("value")
    case_sensitive = members.flag("case_sensitive", default=True)
    flags = members.optional_text("flags") or ""
    members.optional_text("description")
    nested = members.take("nested_predicate") if nests else members.get("nested_predicate")
    members.end()
    if nests and wanted is not None:
        raise FormatError(members.at("value"), f"must be left out: {comparison} is about its nested_predicate")
    if nested is not None and not nests:
        raise FormatError(members.at("nested_predicate"), "is for every and some only")
    if flags and kind != "regex":
        raise FormatError(members.at("flags"), "are for patterns only")
    pattern = None
    if kind == "regex":
        checked_text(wanted, members.at("value"), longest=LONGEST)
        flags += "" if case_sensitive or "i" in flags else "i"
        pattern = patterns.read(wanted, flags, members.at("value"))
    _check_wanted(kind, comparison, wanted, members.at("value"))
    inner = _predicate(nested, members.at("nested_predicate"), depth + 1, patterns) if nests else None
    return Predicate(kind, comparison, wanted, case_sensitive, pattern, inner)


def _check_wanted(kind: str, comparison: str, wanted: Any, path: str) -> None:
    """FormatError for a value with which the comparison cannot hold, whatever it is compared with."""
    if kind == "length":
        checked_count(wanted, path, most=_MOST_LENGTH)
    if kind == "string" or comparison in _ENDS:
        checked_text(wanted, path, longest=64 * 1024, least=0)
    if comparison in _ORDER and (isinstance(wanted, bool | list | dict)):
        raise FormatError(path, "must be a number or text, as nothing else has an order")
