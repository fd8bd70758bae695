"""What differs between two OCI layouts: blobs are named by their content, so what refers to them is followed. Pure.

Format: OCI Image Format Specification 1.1, "Image Layout", "Image Manifest", "Image Configuration" and "Layers".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pluto_image.formats.decompress import decompressed
from pluto_image.rebuild.explain.difference import Difference, both, sized
from pluto_image.rebuild.explain.fields import stretch
from pluto_image.rebuild.explain.known import Known
from pluto_image.rebuild.explain.tar import tar_differences
from pluto_image.rebuild.explain.text import json_differences
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

FOLDER: Final = "oci/"
_INDEX: Final = "oci/index.json"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_MOST_LAYERS: Final = 200
_LARGEST: Final = 512 * 1024 * 1024


def oci_differences(
    name: str, published: Mapping[str, View], rebuilt: Mapping[str, View], known: Known
) -> Iterator[Difference]:
    """For one file of oci/ that is not equal; the two sides are all files by name."""
    ours, theirs = _roles(published), _roles(rebuilt)
    sizes = both(lambda view: sized(view.size), published.get(name), rebuilt.get(name))
    role = next((role for role, file in [*theirs.items(), *ours.items()] if file == name), "")
    if name in published and name in rebuilt:
        one, two = _bytes(published[name]), _bytes(rebuilt[name])
        yield from _blob(name, role, one, two, known) if role else json_differences(name, one, two)
    elif not role and name in rebuilt:
        yield Difference(name, "", *sizes, "a build makes this file, and it is missing")
    elif not role:
        yield Difference(name, "", *sizes, f"no build makes this file, and nothing in {_INDEX} refers to it")
    elif name in rebuilt:
        other = ours.get(role)
        instead = "refers to none" if other is None else "lacks it" if other == name else f"has {other}"
        follows = other is not None and other != name and other in published
        yield Difference(name, role, *sizes, f"the rebuilt {role}; the release {instead}", follows)
    elif role not in theirs:
        yield Difference(name, role, *sizes, f"a build makes no {role}")
    else:
        yield from _blob(name, role, _bytes(published[name]), _bytes(rebuilt[theirs[role]]), known)


def _blob(name: str, role: str, published: bytes, rebuilt: bytes, known: Known) -> Iterator[Difference]:
    if not role.startswith("layer"):
        for one in json_differences(name, published, rebuilt):
            yield replace(one, where=f"{role} {one.where}".strip())
        return
    try:
        archives = _unpacked(published), _unpacked(rebuilt)
    except FormatError as error:
        yield Difference(name, role, *stretch(published, rebuilt), f"is no layer that a build writes: {error.problem}")
        return
    if archives[0] == archives[1]:
        yield Difference(name, role, *stretch(published, rebuilt), "the same layer in other compressed bytes")
    else:
        yield from tar_differences(name, *archives, known.origins.named, place=role)


def _roles(files: Mapping[str, View]) -> dict[str, str]:
    """manifest, config and layer N, each with the file that index and manifest lead to; a broken layout has fewer."""
    found: dict[str, str] = {}
    match _document(files, _INDEX):
        case {"manifests": [{"digest": str(digest)}, *_]}:
            _add(found, "manifest", digest)
    match _document(files, found.get("manifest", "")):
        case {"config": {"digest": str(digest)}, "layers": list(layers)}:
            _add(found, "config", digest)
            for number, layer in enumerate(layers[:_MOST_LAYERS]):
                match layer:
                    case {"digest": str(digest)}:
                        _add(found, f"layer {number}", digest)
    return found


def _add(found: dict[str, str], role: str, digest: str) -> None:
    if (match := _DIGEST.fullmatch(digest)) is not None:
        found[role] = f"{FOLDER}blobs/sha256/{match[1]}"


def _document(files: Mapping[str, View], name: str) -> Any:
    try:
        return loads(_bytes(files[name]), what=name) if name in files else None
    except FormatError:
        return None


def _unpacked(layer: bytes) -> bytes:
    compression = "gz" if layer.startswith(b"\x1f\x8b") else "zst" if layer.startswith(b"\x28\xb5\x2f\xfd") else ""
    parts, size = [], 0
    for part in decompressed(layer, compression, "layer"):
        size += len(part)
        if size > _LARGEST:
            raise FormatError("layer", f"unpacks to more than {_LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)


def _bytes(view: View) -> bytes:
    return view.read(0, _LARGEST)
