"""A manifest in words: what is asked, what must hold, what is shown to whom, what a client must bring. Pure."""

from __future__ import annotations

from http import HTTPStatus

from pluto_measure.record import record
from pluto_notary.manifest.canonical import canonical
from pluto_notary.manifest.explain_notes import notes
from pluto_notary.manifest.manifest import Manifest
from pluto_notary.manifest.model import Extractor, Predicate, Variable
from pluto_notary.manifest.template import Template

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

_LONGEST: Final = 200  # characters of what is quoted
_WORDS: Final = {
    "equal": "is",
    "notEqual": "is not",
    "greaterThan": "is greater than",
    "lessThan": "is less than",
    "greaterThanOrEqual": "is at least",
    "lessThanOrEqual": "is at most",
    "contains": "contains",
    "notContains": "does not contain",
    "startsWith": "starts with",
    "endsWith": "ends with",
    "includes": "has an item that is",
}
_ALWAYS: Final = "but what each request has: Host, Accept, Accept-Encoding, User-Agent, Connection, the body's length"


@record
class Explanation:
    """Sentences by subject. None quotes more than a piece of what the author wrote."""

    asked: tuple[str, ...]
    enforced: tuple[str, ...]
    shown: tuple[str, ...]
    variables: tuple[str, ...]
    notes: tuple[str, ...]


def explain(manifest: Manifest) -> Explanation:
    """What a manifest means, for people."""
    extractors = manifest.answered.extractors
    return Explanation(
        tuple(_asked(manifest)),
        tuple(_enforced(manifest)),
        tuple(f"{extractor.id}: {_shown(extractor, manifest.answered.format)}" for extractor in extractors),
        tuple(_variable(variable) for variable in manifest.asked.variables),
        notes(manifest),
    )


def _asked(manifest: Manifest) -> list[str]:
    asked = manifest.asked
    lines = [f"{asked.method} https://{asked.authority}{asked.target}"]
    lines += [f"header {name}: {_template(template)}" for name, template in asked.headers]
    lines.append(f"no other header {_ALWAYS}")
    if asked.body is None:
        return [*lines, "no body"]
    kind = {"json": "JSON", "urlencoded": "form", "text": "text"}[asked.body.form]
    return [*lines, f"a {kind} body: {_quoted(_plain(asked.body.content))}"]


def _enforced(manifest: Manifest) -> list[str]:
    asked, answered = manifest.asked, manifest.answered
    lines = [f"the certificate of the site is valid for {asked.host}", "the request is the one above and no other"]
    if manifest.http_version:
        lines.append(f"both sides speak {manifest.http_version}")
    try:
        standard = HTTPStatus(answered.status).phrase
    except ValueError:
        standard = ""
    phrase = (
        f"with the phrase {_quoted(answered.message)}" if answered.message else f"with the phrase {standard} or none"
    )
    lines.append(f"the answer has status {answered.status}, {phrase}")
    lines += [f"the answer's header {name} is {_quoted(value)}, once" for name, value in answered.headers]
    for extractor in answered.extractors:
        kind = extractor.type or "value"
        if extractor.required:
            lines.append(f"{extractor.id} is there and is {_article(kind)}")
            lines += [f"{extractor.id} {_predicate(predicate)}" for predicate in extractor.predicates]
        else:
            held = "".join(f" and {_predicate(predicate)}" for predicate in extractor.predicates)
            lines.append(f"{extractor.id} may be missing; it is shown only if it is {_article(kind)}{held}")
    return lines


def _shown(extractor: Extractor, form: str) -> str:
    steps = " > ".join(extractor.selector)
    if form == "json":
        where = f"what stands at {_cut(steps)} in the answer's JSON"
    else:
        what = f"the attribute {extractor.attribute}" if extractor.attribute else "the text"
        which = "all elements that match" if extractor.type == "array" else "the first element that matches"
        where = f"{what} of {which} {_cut(steps)} in the answer's page"
    return where if not extractor.description else f"{where} ({_cut(extractor.description)})"


def _variable(variable: Variable) -> str:
    how = "required" if variable.required else f"optional, else {_quoted(variable.default)}"
    parts = [f"{variable.name} ({how})"]
    if variable.description:
        parts.append(_cut(variable.description))
    if variable.length is not None:
        parts.append(f"exactly {variable.length} characters")
    if variable.encoding:
        parts.append(variable.encoding)
    if variable.pattern:
        parts.append(f"must match {_cut(variable.pattern.source)}")
    return "; ".join(parts)


def _predicate(predicate: Predicate) -> str:
    case = "" if predicate.case_sensitive or predicate.type == "length" else ", whatever the case of its letters"
    if predicate.nested:
        which = "only items" if predicate.comparison == "every" else "at least one item"
        return f"has {which} of the kind that {_predicate(predicate.nested)}"
    if predicate.pattern:
        matches = "matches" if predicate.comparison in ("equal", "contains") else "does not match"
        flags = f" (flags {predicate.pattern.flags})" if predicate.pattern.flags else ""
        return f"{matches} the pattern {_cut(predicate.pattern.source)}{flags}"
    subject = "has a length that " if predicate.type == "length" else ""
    return f"{subject}{_WORDS[predicate.comparison]} {_quoted(predicate.value)}{case}"


def _template(template: Template) -> str:
    names = [f"<{name}>" for name in template.names] + [""]
    return _cut("".join(literal + name for literal, name in zip(template.literals, names, strict=True)))


def _plain(value: Any) -> Any:
    """The JSON value with its variables as <name>."""
    if isinstance(value, Template):
        return _template(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _quoted(value: Any) -> str:
    return _cut(canonical(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
