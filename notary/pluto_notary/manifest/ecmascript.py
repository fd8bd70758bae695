"""Regular expressions of ECMAScript, written as RE2 reads them. Pure.

ECMA-262, section 22.2.1, with flag `u`, as JSON Schema and the published manifests want them; texts are code points.
What RE2 cannot do in linear time is refused: look-around and references back to a group. So is what the two engines
would read differently. Only whether a pattern matches is ever asked, so groups capture nothing.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    Ranges = list[tuple[int, int]]

_LAST: Final = 0x10FFFF
_CONTROLS: Final = {"f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09, "v": 0x0B, "0": 0x00}
_SYNTAX: Final = frozenset("^$\\.*+?()[]{}|/")
_LINE_ENDS: Final = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_DIGITS: Final = ((0x30, 0x39),)
_WORD: Final = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# Word characters too, where case is ignored: they fold to s and k.
_FOLDED_WORD: Final = ((0x17F, 0x17F), (0x212A, 0x212A))
# WhiteSpace and LineTerminator: sections 12.2 and 12.3.
_SPACE: Final = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_CLASSES: Final = {"d": _DIGITS, "s": _SPACE, "w": _WORD}
_QUANTIFIER: Final = re.compile(r"(?:[*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})\??")
_GROUP: Final = re.compile(r"\((?:\?:|\?<[A-Za-z_$][A-Za-z0-9_$]*>|(?!\?))")
_CODE: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_CATEGORY: Final = re.compile(r"([pP])\{(C[cf]|L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?)\}")


class PatternError(ValueError):
    """A pattern that we do not take; the text says why and quotes nothing of it."""


def translated(pattern: str, flags: str) -> str:
    """The pattern for RE2 without flags of its own. `flags`: of i, m, s. PatternError."""
    return _Translator(pattern, flags).whole()


class _Translator:
    def __init__(self, pattern: str, flags: str) -> None:
        self._text, self._at, self._fold = pattern, 0, "i" in flags
        self._begin, self._end = ("(?m:^)", "(?m:$)") if "m" in flags else (r"\A", r"\z")
        self._any = _klass([(0, _LAST)] if "s" in flags else _others(_LINE_ENDS))

    def whole(self) -> str:
        out, depth, repeatable = "", 0, False
        while self._at < len(self._text):
            c = self._text[self._at]
            if quantifier := _QUANTIFIER.match(self._text, self._at):
                if not repeatable:
                    raise self._problem("repeats nothing")
                out, repeatable = out + self._counted(quantifier[0]), False
                self._at = quantifier.end()
            elif c == "(":
                out, depth, repeatable = out + self._opened(), depth + 1, False
            elif c == ")":
                if not depth:
                    raise self._problem("closes a group that is not open")
                out, depth, repeatable, self._at = out + ")", depth - 1, True, self._at + 1
            elif c == "|":
                out, repeatable, self._at = out + "|", False, self._at + 1
            else:
                piece, repeatable = self._term(c)
                out += piece
        if depth:
            raise self._problem("leaves a group open")
        return f"(?i:{out})" if self._fold else out

    def _term(self, c: str) -> tuple[str, bool]:
        """An assertion or an atom, and whether it can be repeated."""
        if c == "[":
            return self._class(), True
        self._at += 1
        if c in "^$":
            return (self._begin if c == "^" else self._end), False
        if c == ".":
            return self._any, True
        if c in "{}]*+?":
            raise self._problem("has a bracket or a repetition out of place; a literal one takes a backslash")
        if c != "\\":
            return _literal(ord(c)), True
        if self._text[self._at : self._at + 1] == "b":
            if self._fold:
                raise self._problem("has a word boundary where case is ignored, which engines read differently")
            self._at += 1
            return r"\b", False
        if self._text[self._at : self._at + 1] == "B":  # RE2 finds one inside each character of several bytes
            raise self._problem(r"has a \B, which engines read differently")
        found, category = self._escape(in_class=False)
        return (category if category else _literal(found[0][0]) if _is_one(found) else _klass(found)), True

    def _opened(self) -> str:
        found = _GROUP.match(self._text, self._at)
        if found is None:
            raise self._problem("looks around, or has a group that we do not take")
        self._at = found.end()
        return "(?:"

    def _counted(self, quantifier: str) -> str:
        low, comma, high = quantifier.rstrip("?").strip("{}").partition(",")
        if low.isdigit() and comma and high and int(low) > int(high):
            raise self._problem("counts from more to less")
        return quantifier

    def _class(self) -> str:
        self._at += 1
        negated = self._text[self._at : self._at + 1] == "^"
        self._at += negated
        ranges: Ranges = []
        categories = ""
        while (c := self._text[self._at : self._at + 1]) != "]":
            if not c:
                raise self._problem("leaves a class open")
            low, category = self._member(c)
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high, other = self._member(self._text[self._at])
                if category or other or not _is_one(low) or not _is_one(high) or low[0][0] > high[0][0]:
                    raise self._problem("has a range that is none")
                low = [(low[0][0], high[0][0])]
            ranges += low
            categories += category
        self._at += 1
        return _klass(ranges, categories, negated=negated)

    def _member(self, c: str) -> tuple[Ranges, str]:
        self._at += 1
        return ([(ord(c), ord(c))], "") if c != "\\" else self._escape(in_class=True)

    def _escape(self, *, in_class: bool) -> tuple[Ranges, str]:
        """What stands after a backslash: ranges of code points, or a category as RE2 spells it."""
        c = self._text[self._at : self._at + 1]
        if c.lower() in _CLASSES and c:
            self._at += 1
            return self._perl(c), ""
        if category := _CATEGORY.match(self._text, self._at):
            if self._fold:
                raise self._problem("has a category where case is ignored, which engines read differently")
            self._at = category.end()
            return [], f"\\{category[0]}"
        if code := _CODE.match(self._text, self._at):
            self._at = code.end()
            return self._point(int(code[1] or code[2] or code[3], 16)), ""
        self._at += 1
        if c in _CONTROLS and not (c == "0" and self._text[self._at : self._at + 1].isdigit()):
            return [(_CONTROLS[c],) * 2], ""
        if c == "b" and in_class:
            return [(0x08, 0x08)], ""
        if c == "c" and re.match("[A-Za-z]", self._text[self._at : self._at + 1]):
            self._at += 1
            return [(ord(self._text[self._at - 1]) % 32,) * 2], ""
        if c and (c in _SYNTAX or (c == "-" and in_class)):
            return [(ord(c), ord(c))], ""
        if c and (c in "123456789" or c == "k"):
            raise self._problem("refers back to a group")
        raise self._problem("has an escape that ECMAScript does not have, or we do not take")

    def _point(self, code: int) -> Ranges:
        """A code point; two escapes may be a surrogate pair."""
        if 0xD800 <= code <= 0xDBFF and self._text[self._at : self._at + 1] == "\\":
            low = _CODE.match(self._text, self._at + 1)
            if low and low[2] and 0xDC00 <= int(low[2], 16) <= 0xDFFF:
                self._at = low.end()
                code = 0x10000 + ((code - 0xD800) << 10) + int(low[2], 16) - 0xDC00
        if code > _LAST or 0xD800 <= code <= 0xDFFF:
            raise self._problem("has an escape that is no character")
        return [(code, code)]

    def _perl(self, c: str) -> Ranges:
        ranges = list(_CLASSES[c.lower()])
        if c.islower():
            return ranges
        return _others([*ranges, *_FOLDED_WORD] if self._fold and c == "W" else ranges)

    def _problem(self, what: str) -> PatternError:
        return PatternError(f"{what} (near character {min(self._at, len(self._text)) + 1})")


def _is_one(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _others(ranges: Ranges | tuple[tuple[int, int], ...]) -> Ranges:
    """All code points but these."""
    found, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return [*found, (start, _LAST)] if start <= _LAST else found


def _klass(ranges: Ranges, categories: str = "", *, negated: bool = False) -> str:
    if not ranges and not categories:
        ranges, negated = [(0, _LAST)], not negated  # [] is nothing, [^] is everything
    inner = "".join(_literal(low) if low == high else f"{_literal(low)}-{_literal(high)}" for low, high in ranges)
    return f"[{'^' if negated else ''}{inner}{categories}]"


def _literal(code: int) -> str:
    return chr(code) if code < 128 and chr(code).isalnum() else f"\\x{{{code:x}}}"
