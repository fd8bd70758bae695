"""Expressions of workflows, ${{ … }}, as far as ours use them; what is not known here fails the test.

or:    and { "||" and }
and:   equal { "&&" equal }
equal: not { ("==" | "!=") not }
not:   "!" not | atom
atom:  'text' | true | false | "(" or ")" | name "(" [ or { "," or } ] ")" | name { "." name }
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_TOKEN: Final = re.compile(r"\s*(?:('(?:[^']|'')*')|(\|\||&&|==|!=|[!(),.])|([A-Za-z_][\w-]*))")
_INSIDE: Final = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
Functions = Mapping[str, Callable[..., Any]]


def text(template: str, names: Mapping[str, Any], functions: Functions) -> str:
    """The template with the value of each expression in it, as GitHub prints values."""
    return _INSIDE.sub(lambda match: shown(value(match.group(1), names, functions)), template)


def condition(source: str, names: Mapping[str, Any], functions: Functions) -> bool:
    """An `if`, with or without the braces. Without a status function it asks for success, too."""
    inner = _INSIDE.fullmatch(source.strip())
    bare = inner.group(1) if inner else source
    asks = re.search(r"\b(success|failure|always|cancelled)\(\)", bare)
    wanted = truth(value(bare, names, functions)) if bare.strip() else True
    return wanted and (asks is not None or bool(functions["success"]()))


def value(source: str, names: Mapping[str, Any], functions: Functions) -> Any:
    """The value of one expression. SyntaxError or LookupError for what is not known."""
    parser = _Parser(_tokens(source), names, functions)
    found = parser.either()
    if parser.left:
        raise SyntaxError(f"{source!r}: {parser.left[0]!r} is left over")
    return found


def truth(found: Any) -> bool:
    return found not in (None, False, "", 0)


def shown(found: Any) -> str:
    if found is None:
        return ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def _tokens(source: str) -> list[str]:
    found, at, source = [], 0, source.strip()
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise SyntaxError(f"{source!r} at {at}")
        found.append(next(filter(None, match.groups())))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: Sequence[str], names: Mapping[str, Any], functions: Functions) -> None:
        self.left = list(tokens)
        self._names, self._functions = names, functions

    def either(self) -> Any:
        found = self._both()
        while self._takes("||"):
            other = self._both()
            found = found if truth(found) else other
        return found

    def _both(self) -> Any:
        found = self._equal()
        while self._takes("&&"):
            other = self._equal()
            found = other if truth(found) else found
        return found

    def _equal(self) -> Any:
        found = self._negated()
        while self.left and self.left[0] in ("==", "!="):
            wanted = self.left.pop(0) == "=="
            found = (shown(found) == shown(self._negated())) is wanted
        return found

    def _negated(self) -> Any:
        return not truth(self._negated()) if self._takes("!") else self._atom()

    def _atom(self) -> Any:
        if not self.left:
            raise SyntaxError("an expression ends too early")
        token = self.left.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token == "(":
            found = self.either()
            self._demand(")")
            return found
        if token in ("true", "false"):
            return token == "true"
        return self._call(token) if self._takes("(") else self._looked_up(token)

    def _call(self, name: str) -> Any:
        given: list[Any] = []
        while not self._takes(")"):
            given.append(self.either())
            if self.left and self.left[0] != ")":
                self._demand(",")
        return self._functions[name](*given)

    def _looked_up(self, name: str) -> Any:
        """A context must be known; below it, what is not there is nothing."""
        found = self._names[name]
        while self._takes("."):
            member = self.left.pop(0)
            found = found.get(member) if isinstance(found, Mapping) else None
        return found

    def _takes(self, token: str) -> bool:
        if self.left and self.left[0] == token:
            self.left.pop(0)
            return True
        return False

    def _demand(self, token: str) -> None:
        if not self._takes(token):
            raise SyntaxError(f"{token!r} is missing")
