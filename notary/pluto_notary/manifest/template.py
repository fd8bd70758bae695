"""Texts with `<% name %>` in them, completed by a client's variables; and what those variables may be. Pure."""

from __future__ import annotations

import re

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.manifest.document import is_text
from pluto_notary.manifest.members import below, shown
from pluto_notary.manifest.violation import Violation, Work

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    from pluto_notary.manifest.model import Variable

LONGEST_NAME: Final = 64
LONGEST_VALUE: Final = 64 * 1024  # characters of a variable
_TOKEN: Final = re.compile(r"<%[ \t\r\n]*([A-Za-z0-9_]{1,64})[ \t\r\n]*%>")
_ENCODED: Final = {
    "base64": re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"),
    "base64url": re.compile(r"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}(?:==)?|[A-Za-z0-9_-]{3}=?)?"),
    "hex": re.compile(r"(?:[0-9A-Fa-f]{2})*"),
}
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")


@record
class Template:
    """Literal pieces with a variable's name between each two: one name less than pieces."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, path: str) -> Template:
        """FormatError for `<%` that does not begin a variable."""
        pieces = _TOKEN.split(text)
        if any("<%" in literal for literal in pieces[::2]):
            raise FormatError(path, "has a <% that does not begin a variable such as <% name %>")
        return cls(tuple(pieces[::2]), tuple(pieces[1::2]))

    def render(self, values: Mapping[str, str], spelt: Callable[[str], str] = str) -> str:
        """The text; `spelt` is applied to each variable and to nothing else."""
        inserted = [spelt(values[name]) for name in self.names] + [""]
        return "".join(literal + value for literal, value in zip(self.literals, inserted, strict=True))


def parsed(value: Any, path: str) -> Any:
    """A JSON value with each text as a template. Names of members are literal."""
    if isinstance(value, str):
        return Template.parse(value, path)
    if isinstance(value, list):
        return [parsed(item, below(path, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        if any("<%" in name for name in value):
            raise FormatError(path, "has a variable in the name of a member; only values have variables")
        return {name: parsed(item, below(path, name)) for name, item in value.items()}
    return value


def rendered(value: Any, values: Mapping[str, str]) -> Any:
    """The JSON value that `parsed` was made of, completed."""
    if isinstance(value, Template):
        return value.render(values)
    if isinstance(value, list):
        return [rendered(item, values) for item in value]
    return {name: rendered(item, values) for name, item in value.items()} if isinstance(value, dict) else value


def names_in(value: Any) -> set[str]:
    """The variables that are used."""
    if isinstance(value, Template):
        return set(value.names)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for item in inner for name in names_in(item)}


def is_name(text: str) -> bool:
    """Whether a variable can be called so."""
    return _NAME.fullmatch(text) is not None


def complete(declared: Iterable[Variable], given: Mapping[str, str], work: Work) -> dict[str, str]:
    """A value for each variable: the client's, or the default. Violation, which quotes no value."""
    left, values = dict(given), {}
    for variable in declared:
        text = left.pop(variable.name, None)
        if text is None and (variable.required or variable.default is None):
            raise Violation(f"variables.{variable.name}", "is required and was not given")
        values[variable.name] = str(variable.default) if text is None else text
        if problem := unfit(variable, values[variable.name], work):
            raise Violation(f"variables.{variable.name}", problem)
    if left:
        raise Violation(f"variables.{shown(next(iter(left)))}", "is no variable of the manifest")
    return values


def unfit(variable: Variable, text: object, work: Work) -> str | None:
    """What is wrong with a value of a variable, if anything is."""
    if not isinstance(text, str) or len(text) > LONGEST_VALUE or not is_text(text):
        return f"must be text of at most {LONGEST_VALUE} characters"
    if variable.length is not None and len(text) != variable.length:
        return f"must have {variable.length} characters"
    if variable.encoding is not None and not _ENCODED[variable.encoding].fullmatch(text):
        return f"must be {variable.encoding}"
    if variable.pattern is not None and not variable.pattern.is_in(text, work):
        return "does not match the variable's pattern"
    return None
