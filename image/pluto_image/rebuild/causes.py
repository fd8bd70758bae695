"""Why a release differs from what was rebuilt: what it says of itself against what it was rebuilt from. Pure.

A cause is likely, not proved: whoever changes a file can change what is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pluto_image import source_tree
from pluto_image.contents import opened
from pluto_image.formats.compress import LIBRARY
from pluto_image.lock.difference import moved
from pluto_image.rebuild.again import Ingredients
from pluto_image.rebuild.explain.difference import Explained, printable
from pluto_image.rebuild.explain.files import LISTED
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

_BUILD_ID: Final = re.compile(rb'^BUILD_ID="?([0-9a-f]{64})"?$', re.MULTILINE)
_MOST: Final = 8  # names that are listed


@dataclass(frozen=True, slots=True)
class Cause:
    """`id` names the kind for programs."""

    id: str
    text: str

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "text": self.text}


@dataclass(frozen=True, slots=True)
class Scene:
    """What the causes are looked for in. `uki`, `release`: published bytes; `builder`: paths that differ here.

    `changed`: files that do not have the digest that the release's own list gives them.
    """

    made_of: Ingredients
    build_id: str
    uki: bytes
    rebuilt_uki: bytes
    release: bytes
    builder: Sequence[str] | None
    changed: Sequence[str]


def causes(scene: Scene) -> tuple[Cause, ...]:
    """The likely ones, the most telling first; at least one."""
    found = [*_inputs(scene), *_image(scene), *_builder(scene), *_changed(scene)]
    unknown = Cause(
        "published-files",
        "definition, lock, sources and builder are those that the release names, so its files were not made of them",
    )
    return tuple(found) or (unknown,)


def _inputs(scene: Scene) -> list[Cause]:
    made_of, stated = scene.made_of, _stated(scene.release)
    tree = source_tree.digest(made_of.source.files)
    found = []
    for kind, said, real in (
        ("definition", stated.get("definition"), made_of.definition.digest.hex()),
        ("lock", stated.get("lock"), made_of.lock.digest),
        ("sources", stated.get("sources"), tree),
    ):
        if said is not None and said != real:
            file = {"definition": "image.toml in source.tar", "lock": "lock.json", "sources": "source.tar"}[kind]
            found.append(
                Cause(
                    f"other-{kind}", f"release.json was made with other {kind} ({printable(said)}) than {file} ({real})"
                )
            )
    if made_of.shelved is not None and made_of.shelved.digest != made_of.lock.digest:
        names = _several([str(one) for one in moved(made_of.shelved, made_of.lock)])
        found.append(
            Cause("other-lock", f"lock.json is not the one in source.tar; from that to this: {names or 'no package'}")
        )
    return found


def _image(scene: Scene) -> list[Cause]:
    """What the published image says of itself."""
    if scene.uki == scene.rebuilt_uki:
        return []
    try:
        one, two = opened.sections(scene.uki), opened.sections(scene.rebuilt_uki)
    except FormatError:
        return []
    found = []
    said = _BUILD_ID.search(one.get(".osrel", b""))
    if said is not None and said[1].decode() != scene.build_id:
        found.append(
            Cause(
                "other-build",
                f"pluto.efi says that it is build {said[1].decode()}, these inputs are {scene.build_id}: it was built "
                "from another definition, lock or source",
            )
        )
    if _recompressed(one.get(opened.INITRD, b""), two.get(opened.INITRD, b"")):
        ours, theirs = ".".join(map(str, LIBRARY)), _stated(scene.release).get("libzstd")
        said_so = f", release.json names libzstd {printable(theirs)}" if theirs not in (None, ours) else ""
        found.append(
            Cause(
                "other-compressor",
                f"the root is the same and compressed in other bytes; here by libzstd {ours}{said_so}",
            )
        )
    return found


def _builder(scene: Scene) -> list[Cause]:
    if not scene.builder:
        return []
    files = _several(scene.builder)
    return [Cause("other-builder", f"the builder that is installed here is not that of source.tar: {files}")]


def listed_otherwise(explained: Iterable[Explained]) -> tuple[str, ...]:
    """The files that do not have the digest which the release's own list gives them."""
    return tuple(one.file for one in explained if any(each.where == LISTED for each in one.differences))


def _changed(scene: Scene) -> list[Cause]:
    if not scene.changed:
        return []
    files = _several(scene.changed)
    return [Cause("changed-afterwards", f"not as the release's own SHA256SUMS lists them: {files}")]


def _stated(release: bytes) -> Mapping[str, str]:
    """Digests and the compressor's version as release.json has them; what is not there is left out."""
    try:
        document: Any = loads(release, what="release.json")
    except FormatError:
        return {}
    paths = {
        "definition": ("predicate", "build", "definition", "sha256"),
        "lock": ("predicate", "build", "lock", "sha256"),
        "sources": ("predicate", "source", "treeDigest", "sha256"),
        "libzstd": ("predicate", "build", "tools", "libzstd"),
    }
    found = {}
    for name, path in paths.items():
        value = document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            found[name] = value
    return found


def _recompressed(one: bytes, two: bytes) -> bool:
    try:
        return one != two and opened.unpacked(one) == opened.unpacked(two)
    except FormatError:
        return False


def _several(names: Sequence[str]) -> str:
    rest = len(names) - _MOST
    return ", ".join(printable(name) for name in names[:_MOST]) + (f" and {rest} more" if rest > 0 else "")
