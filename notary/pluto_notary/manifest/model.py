"""A manifest as values: what may be asked, what must be answered, what is to be taken from the answer. Pure."""

from __future__ import annotations

from pluto_measure.record import record
from pluto_notary.manifest.patterns import Pattern

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

    from pluto_notary.manifest.template import Template

# Bytes of an answer's body, decoded, by its format. More is not judged, so nobody need read it.
LARGEST_BODY: Final = {"json": 8 * 1024 * 1024, "html": 2 * 1024 * 1024}


@record
class Variable:
    """What a client must, or may, say to complete the request."""

    name: str
    description: str | None
    required: bool
    default: str | None
    pattern: Pattern | None  # must match somewhere
    length: int | None  # of characters, exactly; version 1
    encoding: str | None  # "base64", "base64url", "hex": what the text must be; version 1


@record
class Body:
    """A request's body. `content`: for "json" a JSON value with templates in its texts, else one template."""

    form: str  # "json", "urlencoded", "text"
    content: Any


@record
class Request:
    """What is asked. Header names are in lower case."""

    method: str
    host: str
    port: int
    target: str
    version: str | None  # "HTTP/1.1", "HTTP/2"; None: any
    headers: tuple[tuple[str, Template], ...]
    body: Body | None
    variables: tuple[Variable, ...]

    @property
    def authority(self) -> str:
        """What goes into Host."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"


@record
class Predicate:
    """What must hold of a value."""

    type: str  # "value", "length", "regex", "string", "array"
    comparison: str
    value: Any  # JSON; None for "every" and "some"
    case_sensitive: bool
    pattern: Pattern | None  # of "regex"
    nested: Any  # a Predicate: of "every" and "some"


@record
class Extractor:
    """A value to be taken from the answer, and what must hold of it."""

    id: str
    description: str | None
    selector: tuple[str, ...]
    type: str | None  # "string", "number", "boolean", "array", "object"; None: any of them, in version 1
    required: bool
    predicates: tuple[Predicate, ...]
    attribute: str | None  # of an HTML element; None: its text
    path: tuple[str | int, ...] | None = None  # version 1: a path whose last step may be a value


@record
class Response:
    """What must be answered. Header names are in lower case."""

    status: int
    version: str | None
    message: str | None  # None: the status's own phrase, or none
    headers: tuple[tuple[str, str], ...]
    format: str  # "json", "html"
    extractors: tuple[Extractor, ...]


@record
class Value:
    """A value that was taken from an answer, and of which all that the manifest states holds."""

    id: str
    type: str
    json: bytes  # in canonical form: manifest.canonical
