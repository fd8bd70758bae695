"""SHA256SUMS: the SHA-256 of every file of a build, as sha256sum writes and checks it. Pure.

    list = 1*( digest "  " name LF )    digest: 64 lower-case hex digits    name: plain names, parted by "/"

In one spelling: sorted by name, no name twice, the list itself not in it. Format: docs/formats/release.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import unhex

SUMS: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*)", re.IGNORECASE)


def parse_sums(data: bytes) -> dict[str, str]:
    """SHA256SUMS to name → hex. FormatError for anything but sorted lines of plain names."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError(SUMS, "is not ASCII") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if (match := _LINE.fullmatch(line)) is None:
            raise FormatError(SUMS, f"line {number} is not a digest and a plain name")
        name = match[2]
        if name == SUMS or (sums and name <= next(reversed(sums))):
            raise FormatError(SUMS, f"{name} is out of order")
        sums[name] = unhex(match[1], 32, what=SUMS).hex()
    if format_sums(sums).encode() != data:
        raise FormatError(SUMS, "is not in its one spelling")
    return sums


def format_sums(sums: Mapping[str, str]) -> str:
    """The text of SHA256SUMS, of name → hex."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
