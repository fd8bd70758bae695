"""One image of an OCI layout, checked before a byte of it is sent. Thin IO.

Formats: OCI Image Format Specification 1.1, "Image Layout", "Image Manifest"; docs/formats/container.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pluto_deploy.cloud.blocks import digests, size_of
from pluto_measure.errors import FormatError, SourceError, VerificationError
from pluto_measure.formats.strict_json import loads

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LIMIT: Final = 1 << 20  # bytes of index and manifest
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that a manifest names. `digest` with "sha256:" before it."""

    digest: str
    size: int
    path: Path


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest, byte for byte, and the blobs that it names: configuration first, then layers."""

    digest: str
    manifest: bytes = field(repr=False)
    blobs: tuple[Blob, ...]

    @classmethod
    def read(cls, folder: Path, digest: str) -> Self:
        """The image with this digest ("sha256:HEX"); all its blobs are hashed.

        FormatError for what is no layout with that one image, VerificationError where a blob is not what it is named
        after, SourceError where something cannot be read.
        """
        index = _document(_text(folder / "index.json"), "index.json")
        entries = index.get("manifests")
        if not isinstance(entries, list) or len(entries) != 1:
            raise FormatError("index.json", "must name exactly one manifest")
        named, size = _descriptor(entries[0], "index.json", MANIFEST)
        if named != digest:
            raise VerificationError(f"{folder} holds the image {named}, not {digest}")
        manifest = _text(_path(folder, digest))
        if len(manifest) != size or f"sha256:{hashlib.sha256(manifest).hexdigest()}" != digest:
            raise VerificationError(f"the manifest in {folder} is not {digest}")
        return cls(digest, manifest, tuple(_blobs(folder, manifest)))


def _blobs(folder: Path, manifest: bytes) -> list[Blob]:
    document = _document(manifest, "manifest")
    layers = document.get("layers")
    if document.get("mediaType") != MANIFEST or not isinstance(layers, list) or not layers:
        raise FormatError("manifest", f"must be of type {MANIFEST} and have layers")
    blobs = []
    for value in (document.get("config"), *layers):
        digest, size = _descriptor(value, "manifest")
        path = _path(folder, digest)
        if size_of(path) != size or f"sha256:{digests(path).sha256}" != digest:
            raise VerificationError(f"{path} is not {size} bytes with that digest")
        blobs.append(Blob(digest, size, path))
    return blobs


def _descriptor(value: object, what: str, kind: str | None = None) -> tuple[str, int]:
    """Digest and size of a descriptor. Other members are not ours to judge: the digest covers them."""
    members: Mapping[str, Any] = value if isinstance(value, dict) else {}
    media, digest, size = members.get("mediaType"), members.get("digest"), members.get("size")
    if not isinstance(media, str) or (kind is not None and media != kind):
        raise FormatError(what, f"a descriptor's mediaType is {media!r}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise FormatError(what, f"a descriptor's digest is {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise FormatError(what, f"a descriptor's size is {size!r}")
    return digest, size


def _document(text: bytes, what: str) -> dict[str, Any]:
    found = loads(text, what=what, limit=_LIMIT)
    if not isinstance(found, dict) or found.get("schemaVersion") != 2:
        raise FormatError(what, "is no object of schemaVersion 2")
    return found


def _text(path: Path) -> bytes:
    if size_of(path) > _LIMIT:
        raise FormatError(path.name, f"has more than {_LIMIT} bytes")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def _path(folder: Path, digest: str) -> Path:
    return folder / "blobs/sha256" / digest.removeprefix("sha256:")
