"""What an author of a manifest may not have meant: notes, none of which makes a manifest wrong. Pure."""

from __future__ import annotations

from pluto_notary.manifest.document import kind_of
from pluto_notary.manifest.response import patterns_of

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from pluto_notary.manifest.manifest import Manifest
    from pluto_notary.manifest.model import Extractor, Predicate

_SECRET: Final = frozenset(("authorization", "cookie", "x-api-key", "x-auth-token"))
_TEXTUAL: Final = ("contains", "notContains", "startsWith", "endsWith")


def notes(manifest: Manifest) -> tuple[str, ...]:
    """One sentence each."""
    return (*_of_request(manifest), *_of_response(manifest))


def _of_request(manifest: Manifest) -> Iterator[str]:
    asked = manifest.asked
    if manifest.version == 1:
        yield "this is version 1; its path is taken as one value with the id json, which goes into the statement"
    if manifest.http_version == "HTTP/1.1":
        yield "only HTTP/1.1 is spoken, since a version is stated; leave it out to allow HTTP/2"
    for name, template in asked.headers:
        if name in _SECRET and not template.names:
            yield f"the header {name} stands in the manifest for everybody to read; a variable would keep it secret"
    if asked.body and asked.body.form == "json" and "content-type" not in dict(asked.headers):
        yield "the body is JSON, but no Content-Type says so to the site"
    for variable in asked.variables:
        if variable.pattern and not variable.pattern.is_anchored:
            yield f"the pattern of {variable.name} may match a part of it; ^ and $ make it match the whole"
        if not variable.pattern and variable.length is None and not variable.encoding:
            yield f"{variable.name} may be any text: it has no pattern"


def _of_response(manifest: Manifest) -> Iterator[str]:
    answered = manifest.answered
    if not answered.extractors:
        yield "nothing of the body is taken: a statement says only that such an answer was given"
    for extractor in answered.extractors:
        if not extractor.required and extractor.predicates:
            yield f"{extractor.id} is optional: if a predicate fails, it is left out and nothing else happens"
        if extractor.type in ("array", "object"):
            yield f"all of {extractor.id} is shown or committed to, not only the part that predicates are about"
        for predicate in extractor.predicates:
            if why := _never(extractor, predicate):
                yield f"{extractor.id} can never fulfil {predicate.type} {predicate.comparison}: {why}"
            for pattern in patterns_of(predicate):
                if not pattern.is_anchored:
                    yield f"a pattern of {extractor.id} may match a part of a text; ^ and $ make it match the whole"


def _never(extractor: Extractor, predicate: Predicate) -> str | None:
    """Why a predicate fails for each value of the extractor's type."""
    kind, wanted = extractor.type, kind_of(predicate.value)
    if kind is None:
        return None
    if predicate.type in ("string", "regex"):
        return None if kind == "string" else f"it is not text but of type {kind}"
    if predicate.type == "array":
        return None if kind == "array" else f"it is of type {kind}, not an array"
    if predicate.type == "length":
        return None if kind in ("string", "array", "object") else f"a {kind} has no length"
    if kind == "array" and predicate.comparison in ("contains", "notContains"):
        return None
    if predicate.comparison in _TEXTUAL and kind != "string":
        return f"it is of type {kind}"
    return None if kind == wanted else f"it is of type {kind}, and is compared with one of type {wanted}"
