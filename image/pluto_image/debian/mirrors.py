"""Where Debian mirrors are: from --mirror, else from the machine's own apt configuration. No host name stands here.

A mirror is trusted with nothing: what it delivers is checked by signature or hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pluto_image.debian.archive import paragraphs
from pluto_measure.errors import FormatError, UsageError

APT: Final = Path("/etc/apt")
_MAIN, _SECURITY = "debian", "debian-security"
_CODENAMES: Final = "buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable"
_SUITE: Final = re.compile(rf"(?:{_CODENAMES})(?:-updates|-backports|-proposed-updates|-security|/updates)?")
_LINE: Final = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)")


def from_options(urls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Mirrors by archive path from --mirror: the URL of the folder that holds debian and debian-security.

    The URL of a `debian` folder itself is taken as well. Raises UsageError.
    """
    found: dict[str, list[str]] = {_MAIN: [], _SECURITY: []}
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise UsageError(f"mirror {url!r} is not an http or https URL")
        root = url.rstrip("/").removesuffix(f"/{_SECURITY}").removesuffix(f"/{_MAIN}")
        for path, bases in found.items():
            bases.append(f"{root}/{path}")
    return _unique(found)


def from_apt(folder: Path = APT) -> dict[str, tuple[str, ...]]:
    """Mirrors by archive path from sources.list and sources.list.d; empty where apt knows no Debian archive.

    An archive that apt does not name is looked for beside one that it does.
    """
    found: dict[str, list[str]] = {_MAIN: [], _SECURITY: []}
    for url, suites, components in _entries(folder):
        if "main" not in components or not re.match(r"https?://[^/]", url):
            continue
        for suite in suites:
            if _SUITE.fullmatch(suite.strip("/")):
                security = suite.endswith("-security") or suite.rstrip("/").endswith("/updates")
                found[_SECURITY if security else _MAIN].append(url.rstrip("/"))
    for path, other in ((_MAIN, _SECURITY), (_SECURITY, _MAIN)):
        found[path] += [url.removesuffix(other) + path for url in found[other] if url.endswith(f"/{other}")]
    return _unique(found)


def _entries(folder: Path) -> Iterable[tuple[str, list[str], list[str]]]:
    """(URL, suites, components) of every enabled source of binary packages."""
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        yield from _deb822(text, path) if path.suffix == ".sources" else _one_line(text)


def _deb822(text: str, path: Path) -> Iterable[tuple[str, list[str], list[str]]]:
    try:
        found = list(paragraphs(text, what=str(path)))
    except FormatError:
        return  # apt's own matter; other files may name a mirror
    for fields in found:
        lower = {name.lower(): value for name, value in fields.items()}
        if lower.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in lower.get("types", "").split():
            continue
        for url in lower.get("uris", "").split():
            yield url, lower.get("suites", "").split(), lower.get("components", "").split()


def _one_line(text: str) -> Iterable[tuple[str, list[str], list[str]]]:
    for line in text.splitlines():
        if match := _LINE.match(line.split("#", 1)[0].strip()):
            url, suite, components = match.groups()
            yield url, [suite], components.split()


def _unique(found: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {path: tuple(dict.fromkeys(urls)) for path, urls in found.items() if urls}
