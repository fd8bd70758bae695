"""What the recipe takes of each locked wheel. Pure: wheel bytes in, entries out.

A file goes where its [[files.wheel]] line says, as it is: nothing is installed, no entry point is written, the `.data`
folder of a wheel is not spread, no byte code is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pluto_image.formats import unzip
from pluto_image.recipe.model import WheelFiles
from pluto_image.recipe.patterns import Selection, matches
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_TABLE: Final = "image.toml [files.wheel]"
# Code that is not source, by its usual names and by its first bytes: ELF, PE, Mach-O (both byte orders, and fat).
_NATIVE: Final = (".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".exe", ".pyc")
_MAGIC: Final = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"!<arch>\n")


def check_wheels(lines: Iterable[WheelFiles], names: Iterable[str]) -> None:
    """Every locked wheel is laid by a line and every line names a locked wheel. Raises FormatError."""
    named, locked = {line.name for line in lines}, set(names)
    if missing := sorted(named - locked):
        raise FormatError(_TABLE, f"wheel {missing[0]} is not in the lock")
    if unused := sorted(locked - named):
        raise FormatError(_TABLE, f"nothing is said about wheel {unused[0]}; say what is kept of it")


def take(
    lines: Sequence[WheelFiles], name: str, data: bytes, limits: unzip.Limits = unzip.DEFAULT_LIMITS
) -> tuple[Entry, ...]:
    """The files of one wheel that its lines lay, mode 0644. FormatError for a bad wheel or an idle pattern."""
    own = [line for line in lines if line.name == name]
    everything = Selection(tuple(dict.fromkeys(path for line in own for path in line.paths)))
    files = unzip.read(data, what=f"wheel {name}", want=everything.wants, limits=limits)
    if unused := everything.unused():
        raise FormatError(_TABLE, f"pattern {unused[0]!r} matches nothing in wheel {name}")
    entries = []
    for line in own:
        for path, content in files.items():
            if not any(matches(pattern, path) for pattern in line.paths):
                continue
            if _is_native(path, content) and not _named(path, line.paths):
                raise FormatError(
                    f"wheel {name}", f"{path} is native or byte code; only a pattern with its ending may take it"
                )
            entries.append(Entry(f"{line.to}/{path}", Kind.FILE, 0o644, content, f"wheel:{name}"))
    return tuple(entries)


def _suffix(path: str) -> str:
    """The ending that makes a file native by name, "" if none does; `x.so.1` counts as `.so`."""
    base = path.rpartition("/")[2]
    if ".so." in base:
        return ".so"
    return next((suffix for suffix in _NATIVE if base.endswith(suffix)), "")


def _is_native(path: str, data: bytes) -> bool:
    return bool(_suffix(path)) or data.startswith(_MAGIC)


def _named(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern asks for this file as native code: it is the path itself, or has the file's native ending."""
    suffix = _suffix(path)
    fitting = [pattern for pattern in patterns if matches(pattern, path)]
    return path in fitting or (bool(suffix) and any(_suffix(pattern) == suffix for pattern in fitting))
