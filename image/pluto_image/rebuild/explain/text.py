"""What differs between two texts, JSON documents or digest lists: by line, word or place in the document. Pure.

A place is a JSON pointer (RFC 6901), but members of lists are named by what tells them apart: /files[path=a/b]/mode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Final

from pluto_image.rebuild.explain.difference import Difference, both, printable, sized
from pluto_image.rebuild.explain.fields import stretch
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

_NAMES: Final = ("path", "name", "id", "SPDXID", "file")  # what tells the members of a list apart
_DIGEST: Final = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{96})(?![0-9a-f])", re.ASCII)
_DEEPEST: Final = 60
_LONGEST_TEXT: Final = 64 * 1024  # bytes of a text that is compared by line
_MOST_PARTS: Final = 1000  # lines or words that are aligned


def json_differences(file: str, published: bytes, rebuilt: bytes) -> Iterator[Difference]:
    """By JSON pointer. Members of lists are matched by name where each has one of its own, else by place."""
    try:
        one, two = loads(published, what=file), loads(rebuilt, what=file)
    except FormatError as error:
        yield Difference(
            file, "", printable(published[:80]), "", f"is not the JSON that a build writes: {error.problem}"
        )
        return
    if one == two and _order(one) == _order(two):
        yield Difference(file, "", *stretch(published, rebuilt), "the same JSON value in another spelling")
        return
    yield from _values(file, "", one, two, 0)


def line_differences(file: str, where: str, published: bytes, rebuilt: bytes, meaning: str) -> Iterator[Difference]:
    """By line."""
    return _parts(file, where, published.split(b"\n"), rebuilt.split(b"\n"), "line", meaning)


def word_differences(file: str, where: str, published: bytes, rebuilt: bytes, meaning: str) -> Iterator[Difference]:
    """By word, as of a command line; other blanks are a difference too."""
    return _parts(file, where, published.split(b" "), rebuilt.split(b" "), "word", meaning)


def content_differences(file: str, where: str, published: bytes, rebuilt: bytes, meaning: str) -> Iterator[Difference]:
    """One, of two that differ: short texts by their first line that does, others by size and first byte."""
    if max(len(published), len(rebuilt)) <= _LONGEST_TEXT and _is_text(published) and _is_text(rebuilt):
        yield next(line_differences(file, where, published, rebuilt, meaning))
    else:
        one, two = stretch(published, rebuilt)
        yield Difference(file, where, f"{sized(len(published))}, {one}", f"{sized(len(rebuilt))}, {two}", meaning)


def sums_differences(
    file: str, published: Mapping[str, str], rebuilt: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[Difference]:
    """Digest lists by name. `found`: SHA-256 in hex of the published files, as far as it is known."""
    for name in sorted({*published, *rebuilt}):
        one, two, real = published.get(name, ""), rebuilt.get(name, ""), found.get(name, "")
        if one == two:
            continue
        follows = True
        if not one or not two:
            meaning = "a build makes no such file" if one else "the file is not listed"
        elif real == one:
            meaning = "the digest of the published file, which differs from the rebuilt one"
        else:
            follows = False
            equal = "the file is what was rebuilt, and the list has another digest for it"
            meaning = equal if real == two else "neither the published nor the rebuilt file has this digest"
        yield Difference(file, name, one, two, meaning, follows)


def _values(file: str, place: str, one: Any, two: Any, depth: int) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(two, dict) and depth < _DEEPEST:
        yield from _members(file, place, _keyed(one), _keyed(two), depth)
    elif isinstance(one, list) and isinstance(two, list) and depth < _DEEPEST:
        names = _named(one), _named(two)
        if names[0] is not None and names[1] is not None:
            yield from _members(file, place, names[0], names[1], depth)
        else:
            yield from _members(file, place, _numbered(one), _numbered(two), depth)
    elif type(one) is not type(two) or one != two:
        shown = _shown(one), _shown(two)
        yield Difference(file, place or "/", *shown, "another value", _only_digests(*shown))


def _members(file: str, place: str, one: Mapping[str, Any], two: Mapping[str, Any], depth: int) -> Iterator[Difference]:
    equal = True
    for difference in _differing(file, place, one, two, depth):
        equal = False
        yield difference
    if equal and list(one) != list(two):
        shown = both(lambda names: printable(", ".join(list(names)[:8])), one, two)
        yield Difference(file, place or "/", *shown, "the same members in another order")


def _differing(
    file: str, place: str, one: Mapping[str, Any], two: Mapping[str, Any], depth: int
) -> Iterator[Difference]:
    for key in dict.fromkeys([*one, *two]):
        here = f"{place}{key}"
        if key not in two:
            named_so = _DIGEST.search(key) is not None
            yield Difference(file, here, _shown(one[key]), "", "is not in the rebuilt file", named_so)
        elif key not in one:
            named_so = _DIGEST.search(key) is not None
            yield Difference(file, here, "", _shown(two[key]), "is missing in the published file", named_so)
        else:
            yield from _values(file, here, one[key], two[key], depth + 1)


def _named(values: list[Any]) -> dict[str, Any] | None:
    """The members of a list by a name that each of them has and no two share; None where there is none."""
    for key in _NAMES:
        if values and all(isinstance(value, dict) and isinstance(value.get(key), str) for value in values):
            found = {f"[{key}={value[key]}]": value for value in values}
            if len(found) == len(values):
                return found
    return None


def _only_digests(one: str, two: str) -> bool:
    """Whether two texts are the same but for SHA-256 and SHA-384 in them, which differ with what they are of."""
    return _DIGEST.search(one) is not None and _DIGEST.sub("", one) == _DIGEST.sub("", two)


def _keyed(value: dict[str, Any]) -> dict[str, Any]:
    return {f"/{key.replace('~', '~0').replace('/', '~1')}": member for key, member in value.items()}


def _is_text(data: bytes) -> bool:
    try:
        return all(one.isprintable() or one in "\n\t" for one in data.decode())
    except UnicodeDecodeError:
        return False


def _numbered(values: list[Any]) -> dict[str, Any]:
    return {f"/{number}": value for number, value in enumerate(values)}


def _order(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _shown(value: Any) -> str:
    return printable(value) if isinstance(value, str) else printable(json.dumps(value, ensure_ascii=False))


def _parts(file: str, where: str, one: list[bytes], two: list[bytes], kind: str, meaning: str) -> Iterator[Difference]:
    if len(one) + len(two) > _MOST_PARTS:
        yield Difference(file, where, *stretch(b"\n".join(one), b"\n".join(two)), meaning)
        return
    for tag, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if tag != "equal":
            place = f"{kind} {a + 1 if a < b or c == d else c + 1}"
            shown = both(lambda part: printable(b" ".join(part)), one[a:b], two[c:d])
            yield Difference(file, f"{where}: {place}" if where else place, *shown, meaning)
