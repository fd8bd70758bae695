"""Values from an HTML page, by CSS selectors. Pure; slow on hostile pages, so `worker` runs it where it can be killed.

Beautiful Soup over the standard library's html.parser: it builds no tree as browsers do, so an element without an end
tag contains what follows. Text is that of the element and of all in it, with white space collapsed as a reader sees it;
scripts, styles and comments in it are none.
"""

from __future__ import annotations

import re
import warnings

import soupsieve
from bs4 import BeautifulSoup

from pluto_measure.errors import FormatError
from pluto_notary.manifest.document import number
from pluto_notary.manifest.extract_json import NotFoundError
from pluto_notary.manifest.model import LARGEST_BODY
from pluto_notary.manifest.violation import Violation

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

    from bs4 import Tag

    from pluto_notary.manifest.model import Extractor

LARGEST: Final = LARGEST_BODY["html"]
DEEPEST: Final = 1024  # elements in each other
MOST_ELEMENTS: Final = 100_000
MOST_MATCHES: Final = 10_000  # of any step of a selector
LARGEST_TEXT: Final = 1024 * 1024  # characters of all values of one extractor
_SPACE: Final = re.compile(r"[ \t\n\f\r]+")
# What a Content-Type may call the encoding, as the Encoding Standard reads it.
_CHARSETS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "windows-1252": "cp1252",
}
_CHARSET: Final = re.compile(r';[ \t]*charset[ \t]*=[ \t]*"?([A-Za-z0-9_.:-]+)"?', re.IGNORECASE)


class _Page(BeautifulSoup):
    """A document that stops growing at its bounds."""

    pluto_elements = 0

    def pushTag(self, tag: Tag) -> None:  # noqa: N802  the library's name
        self.pluto_elements += 1
        if self.pluto_elements > MOST_ELEMENTS:
            raise FormatError("page", f"has more than {MOST_ELEMENTS} elements")
        if len(self.tagStack) > DEEPEST:
            raise FormatError("page", f"is nested deeper than {DEEPEST} elements")
        super().pushTag(tag)


def page(body: bytes, content_type: str) -> BeautifulSoup:
    """Parse a page. Its encoding is what the Content-Type says, else UTF-8; nothing is guessed. FormatError."""
    if len(body) > LARGEST:
        raise FormatError("page", f"has more than {LARGEST} bytes")
    named = _CHARSET.search(content_type)
    charset = _CHARSETS.get(named[1].lower()) if named else "utf-8"
    if charset is None:
        raise FormatError("page", "has an encoding that is not read here")
    try:
        text = body.decode(charset).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FormatError("page", f"is not in the encoding that it says, as its byte {error.start} shows") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pages that look like something else: ours to judge
        try:
            # Attributes as they are: classes in one text, the first of two of one name, as in the standard.
            return _Page(text, "html.parser", multi_valued_attributes=None, on_duplicate_attribute="ignore")
        except FormatError:
            raise
        except Exception as error:  # whatever a page makes of the library, it is no page to us
            raise FormatError("page", "cannot be read as HTML") from error


def check_selectors(extractor: Extractor, path: str) -> None:
    """FormatError for a selector that is none."""
    for index, selector in enumerate(extractor.selector):
        try:
            _compiled(selector)
        except NotFoundError as error:
            raise FormatError(f"{path}.selector[{index}]", str(error)) from None


def value_in(soup: BeautifulSoup, extractor: Extractor) -> Any:
    """The first match, or all of them for the type array. NotFoundError; Violation for too many."""
    elements = [soup]
    for step, selector in enumerate(extractor.selector):
        elements = _matches(elements, selector)
        if not elements:
            raise NotFoundError(f"step {step} of the selector leads to nothing")
    found = elements if extractor.type == "array" else elements[:1]
    texts, length = [], 0
    for element in found:
        texts.append(_text(element, extractor.attribute))
        length += len(texts[-1])
        if length > LARGEST_TEXT:
            raise Violation("manifest.response.body", f"a value has more than {LARGEST_TEXT} characters")
    return texts if extractor.type == "array" else _typed(texts[0], extractor.type)


def _matches(elements: list[Any], selector: str) -> list[Any]:
    """What a selector finds in elements, each once, in the order of the page."""
    program, found = _compiled(selector), {}
    for element in elements:
        for match in program.iselect(element):
            found[id(match)] = match
            if len(found) > MOST_MATCHES:
                raise Violation("manifest.response.body", f"a selector finds more than {MOST_MATCHES} elements")
    return list(found.values())


def _compiled(selector: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return soupsieve.compile(selector)
        except Exception as error:  # the library raises what comes to its hand
            raise NotFoundError("is no CSS selector that is known here") from error


def _text(element: Any, attribute: str | None) -> str:
    if attribute is None:
        return _SPACE.sub(" ", element.get_text()).strip(" ")
    value = element.get(attribute.lower())
    if value is None:
        raise NotFoundError("the element has no such attribute")
    return str(value)


def _typed(text: str, kind: str | None) -> Any:
    """The value that a text spells as JSON would; None, which is of no type, if it does not."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    return number(text.strip(" \t\n\f\r")) if kind == "number" else text
