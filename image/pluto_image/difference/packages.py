"""What changed between two locks: packages, their maintainer scripts, wheels and what was computed from them. Pure.

`pluto_image.lock.difference` says the same of two locks that no release has yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pluto_image.difference import lines
from pluto_image.difference.model import Locked, PackageChange, ScriptChange, Value
from pluto_image.lock.lockfile import SCRIPTS, Lock, Package, Wheel

# (package, script) → text of the script, of one side.
Scripts = Mapping[tuple[str, str], bytes]


def packages(before: Lock, after: Lock, texts: tuple[Scripts, Scripts]) -> tuple[PackageChange, ...]:
    """Packages that differ in anything, the image's first. `texts`: scripts of both sides, as far as they were had."""
    found = [*_tree("image", before.image, after.image, texts), *_tree("tools", before.tools, after.tools, texts)]
    wheels = [{one.name: _wheel(one) for one in lock.wheels} for lock in (before, after)]
    for name in sorted({*wheels[0], *wheels[1]}):
        pair = wheels[0].get(name), wheels[1].get(name)
        if pair[0] != pair[1]:
            found.append(PackageChange("wheels", name, *pair, ()))
    return tuple(found)


def scripts_wanted(before: Lock, after: Lock) -> tuple[set[str], set[str]]:
    """SHA-256 of the packages whose scripts' texts are to be had, of both sides."""
    changed = {one.name for one in packages(before, after, ({}, {})) if one.tree == "image" and one.scripts}
    one, two = ({one.sha256 for one in lock.image if one.name in changed} for lock in (before, after))
    return one, two


def facts(before: Lock, after: Lock) -> Iterator[Value]:
    """States of the archives, and files that were computed at lock time."""
    archives = [{f"archive {one.id} ({one.suite})": one.date for one in lock.archives} for lock in (before, after)]
    derived = [{f"derived {one.name}": one.sha256 for one in lock.derived} for lock in (before, after)]
    for kind in (archives, derived):
        yield from values(*kind)


def values(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Value]:
    """Names whose value is another, new or gone, in the order of both."""
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield Value(name, before.get(name), after.get(name))


def _tree(
    tree: str, before: Iterable[Package], after: Iterable[Package], texts: tuple[Scripts, Scripts]
) -> Iterator[PackageChange]:
    one, two = ({package.name: package for package in packages} for packages in (before, after))
    for name in sorted({*one, *two}):
        pair = one.get(name), two.get(name)
        scripts = tuple(_scripts(name, *pair, texts))
        states = _package(pair[0]), _package(pair[1])
        if states[0] != states[1] or scripts:
            yield PackageChange(tree, name, *states, scripts)


def _scripts(
    name: str, before: Package | None, after: Package | None, texts: tuple[Scripts, Scripts]
) -> Iterator[ScriptChange]:
    one, two = (({} if package is None else package.scripts) for package in (before, after))
    for script in SCRIPTS:
        digests = one.get(script), two.get(script)
        if digests[0] != digests[1]:
            given = [text.get((name, script)) for text in texts]
            had = all(text is not None for text, digest in zip(given, digests, strict=True) if digest is not None)
            yield ScriptChange(script, *digests, lines.unified(*given) if had else None)


def _package(one: Package | None) -> Locked | None:
    if one is None:
        return None
    return Locked(one.version, one.source, one.source_version, one.archive, one.size, one.sha256)


def _wheel(one: Wheel) -> Locked:
    return Locked(one.version, one.name, one.version, "", one.size, one.sha256)
