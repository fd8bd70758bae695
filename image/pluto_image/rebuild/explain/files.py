"""Every file that is not equal, in words: which kind of file it is decides how it is looked into. Pure.

A published file is a stranger's. Everything here is bounded: what is too large to be one of ours is not looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from pluto_image.rebuild.compare import Compared, Verdict
from pluto_image.rebuild.explain.difference import Difference, Explained, both, printable, sized
from pluto_image.rebuild.explain.disk import disk_differences, vhd_differences
from pluto_image.rebuild.explain.fields import hexed, stretch
from pluto_image.rebuild.explain.gzip import archive_differences
from pluto_image.rebuild.explain.known import Known
from pluto_image.rebuild.explain.oci import FOLDER, oci_differences
from pluto_image.rebuild.explain.tar import tar_differences
from pluto_image.rebuild.explain.text import json_differences, line_differences, sums_differences
from pluto_image.rebuild.explain.uki import uki_differences
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError
from pluto_measure.publish.digest_list import SUMS, parse_sums

_LARGEST: Final = 512 * 1024 * 1024  # bytes of a file that is read whole
_LONGEST_LIST: Final = 16 * 1024 * 1024
# What boots, what that was made of, what holds it, what is said of it; before all of them what no build makes.
_ORDER: Final = (
    "pluto.efi", "firmware.fd", "oci/blobs/", "lock.json", "source.tar", "disk.", "gcp.tar.gz", "files.json",
    "launch.json", "measurements.json", "sbom.spdx.json", "sources.json", "oci/", "release.json", SUMS,
)  # fmt: skip
LISTED: Final = "SHA-256"  # where a file differs from what the release's own digest list says
Files = Mapping[str, View]


def explain(compared: Sequence[Compared], published: Files, rebuilt: Files, known: Known) -> tuple[Explained, ...]:
    """What differs, for each file that is not equal; what boots comes first, lists of digests last."""
    listed = _listed(published)
    hashed = cache(lambda name: published[name].sha256())
    wrong = [one for one in compared if one.verdict is not Verdict.EQUAL]
    return tuple(
        Explained.of(one.name, _file(one, published, rebuilt, known, compared, listed, hashed))
        for one in sorted(wrong, key=lambda one: _rank(one.name))
    )


def _rank(name: str) -> int:
    return next((place for place, begin in enumerate(_ORDER) if name.startswith(begin)), -1)


def _file(
    one: Compared,
    published: Files,
    rebuilt: Files,
    known: Known,
    compared: Sequence[Compared],
    listed: Mapping[str, str],
    hashed: Callable[[str], str],
) -> Iterator[Difference]:
    name = one.name
    if name == SUMS and one.verdict is Verdict.DIFFERENT:
        yield from _sums(published, rebuilt, compared, hashed)
        return
    if one.verdict is Verdict.DIFFERENT and name in listed and _near(one) and hashed(name) != listed[name]:
        meaning = f"not what {SUMS} of the release lists for it, so it was changed afterwards (published, listed)"
        yield Difference(name, LISTED, hashed(name), listed[name], meaning)
    if name.startswith(FOLDER):
        yield from oci_differences(name, published, rebuilt, known)
    elif one.verdict is Verdict.MISSING:
        yield Difference(
            name, "", "", sized(one.rebuilt_size or 0), "a build makes this file, and the release lacks it"
        )
    elif one.verdict is Verdict.EXTRA:
        yield Difference(name, "", sized(one.published_size or 0), "", "no build makes this file")
    else:
        silent = True
        for difference in _content(name, published[name], rebuilt, known):
            silent = False
            yield difference
        if silent:
            at = one.spans.first or 0
            shown = both(lambda view: hexed(view.read(at, 16)), published[name], rebuilt[name])
            yield Difference(name, f"from {at:#x}", *shown, "other bytes")


def _content(name: str, published: View, files: Files, known: Known) -> Iterator[Difference]:
    rebuilt = files[name]
    if name == "disk.raw":
        yield from disk_differences(name, published, rebuilt, known)
        return
    if name == "disk.vhd":
        yield from vhd_differences(name, published, rebuilt, known)
        return
    if published.size > _LARGEST:
        yield Difference(name, "", sized(published.size), sized(rebuilt.size), "is too large to be looked into")
        return
    one, two = published.read(0, published.size), rebuilt.read(0, rebuilt.size)
    if name.endswith(".efi"):
        yield from uki_differences(name, one, two, known.origins, known.kernel)
    elif name.endswith(".tar.gz"):
        yield from archive_differences(name, one, two, known, files.get("disk.raw"))
    elif name.endswith(".tar"):
        yield from tar_differences(name, one, two, lambda path: f"source file {printable(path)}")
    elif name.endswith(".json"):
        yield from json_differences(name, one, two)
    else:
        yield Difference(name, "", *stretch(one, two), "other bytes than the locked package has")


def _sums(
    published: Files, rebuilt: Files, compared: Iterable[Compared], hashed: Callable[[str], str]
) -> Iterator[Difference]:
    one, two = published[SUMS].read(0, _LONGEST_LIST), rebuilt[SUMS].read(0, _LONGEST_LIST)
    try:
        lists = parse_sums(one), parse_sums(two)
    except FormatError as error:
        yield from line_differences(SUMS, "", one, two, f"is no digest list that a build writes: {error.problem}")
        return
    found = {each.name: lists[1].get(each.name, "") for each in compared if each.verdict is Verdict.EQUAL}
    for each in compared:
        if each.verdict is Verdict.DIFFERENT and each.name != SUMS and _near(each):
            found[each.name] = hashed(each.name)
    yield from sums_differences(SUMS, *lists, found)


def _listed(published: Files) -> Mapping[str, str]:
    try:
        return parse_sums(published[SUMS].read(0, _LONGEST_LIST)) if SUMS in published else {}
    except FormatError:
        return {}


def _near(one: Compared) -> bool:
    """Whether the published file is small enough to be hashed: not much larger than the rebuilt one."""
    return (one.published_size or 0) <= 2 * (one.rebuilt_size or 0) + (1 << 20)
