"""The notary as a container image: an OCI layout that is also what `docker load` takes. Pure.

    oci-layout                   {"imageLayoutVersion": "1.0.0"}
    index.json                   one manifest, by its digest
    blobs/sha256/HEX             manifest, configuration, one layer, each under the digest of its bytes
    manifest.json                the same configuration and layer in the words of `docker save`, for old engines

Every JSON file is canonical and every time is the definition's. The layer is a tar archive that nothing compresses,
so no library's version can move its digest. Formats: OCI Image Format Specification 1.1; POSIX.1-2017, pax, "ustar
Interchange Format":

    name[100] mode[8] uid[8] gid[8] size[12] mtime[12] chksum[8] typeflag[1] linkname[100]
    magic[6] version[2] uname[32] gname[32] devmajor[8] devminor[8] prefix[155] pad[12]          numbers are octal text
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import Final

from pluto_image.outputs import container as containers
from pluto_image.recipe import model
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import canonical
from pluto_measure.launch import Container

# The name that engines give a loaded image: this "registry" is none, so nobody else can publish under it.
_REGISTRY: Final = "localhost"
_PLATFORM: Final = {"architecture": "amd64", "os": "linux"}
_MEDIA: Final = "application/vnd.oci.image."
_BLOBS: Final = "blobs/sha256/"

_HEADER: Final = Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_BLOCK: Final = 512
_LONGEST_NAME, _LONGEST_PREFIX, _LONGEST_LINK = 100, 155, 100  # bytes
_TYPES: Final = {Kind.FILE: b"0", Kind.SYMLINK: b"2", Kind.DIRECTORY: b"5"}
_WHITEOUT: Final = ".wh."  # what a layer calls a file that it removes


@dataclass(frozen=True, slots=True)
class Layout:
    """The files by their path in the layout, and what launch.json says of the image."""

    files: Mapping[str, bytes]
    container: Container


def layout(
    recipe: model.Container, entries: Sequence[Entry], *, epoch: int, version: str, build_id: str, flavour: str
) -> Layout:
    """The container of one build. `entries`: the finished root; `epoch`: seconds since 1970; `build_id`: 64 hex digits.

    FormatError where the recipe's selection cannot stand alone, or a path does not fit into the layer.
    """
    archive = layer(containers.select(recipe, entries), epoch)
    blobs = _Blobs()
    layers = [blobs.put("layer.v1.tar", archive)]
    labels = _labels(recipe, version, build_id, flavour)
    config = blobs.put("config.v1+json", canonical(_config(recipe, layers, labels, epoch)))
    manifest = blobs.put("manifest.v1+json", canonical(_document("manifest.v1+json", config=config, layers=layers)))
    tag = f"{flavour}-{build_id}"
    reference = f"{_REGISTRY}/{recipe.name}:{tag}"
    # The second name is the one that Docker and containerd take, which would otherwise make a name of the first.
    names = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": reference}
    index = _document("index.v1+json", manifests=[{**manifest, "annotations": names, "platform": _PLATFORM}])
    saved = [{"Config": _path(config), "Layers": [_path(item) for item in layers], "RepoTags": [reference]}]
    files = {
        "oci-layout": canonical({"imageLayoutVersion": "1.0.0"}),
        "index.json": canonical(index),
        "manifest.json": canonical(saved),
        **blobs.files,
    }
    env = tuple(sorted(recipe.env.items()))
    return Layout(files, Container(str(manifest["digest"]), str(config["digest"]), recipe.entrypoint, env))


def layer(entries: Iterable[Entry], epoch: int) -> bytes:
    """A ustar archive of entries that are sorted, parents first. FormatError for what does not fit."""
    return b"".join(part for entry in entries for part in _member(entry, epoch)) + bytes(2 * _BLOCK)


class _Blobs:
    """Collects blobs under their digests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, media: str, data: bytes) -> dict[str, object]:
        """Keep a blob; its descriptor (OCI "Content Descriptors")."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[_BLOBS + digest] = data
        return {"mediaType": _MEDIA + media, "digest": f"sha256:{digest}", "size": len(data)}


def _path(descriptor: Mapping[str, object]) -> str:
    return _BLOBS + str(descriptor["digest"]).removeprefix("sha256:")


def _document(media: str, **members: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": _MEDIA + media, **members}


def _labels(recipe: model.Container, version: str, build_id: str, flavour: str) -> dict[str, str]:
    own = {
        "org.opencontainers.image.version": version,
        "pluto-tee.build-id": build_id,
        "pluto-tee.flavour": flavour,
    }
    return {**recipe.labels, **own}


def _config(
    recipe: model.Container, layers: Sequence[Mapping[str, object]], labels: Mapping[str, str], epoch: int
) -> dict[str, object]:
    """The image's configuration. An uncompressed layer's digest is its diff id, too."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        **_PLATFORM,
        "created": created,
        "config": {
            "User": f"{recipe.user.uid}:{recipe.user.gid}",
            "ExposedPorts": {f"{port}/tcp": {} for port in recipe.ports},
            "Env": [f"{name}={value}" for name, value in sorted(recipe.env.items())],
            "Entrypoint": list(recipe.entrypoint),
            "WorkingDir": "/",
            "Labels": dict(labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [item["digest"] for item in layers]},
        "history": [{"created": created, "created_by": "pluto-image build"} for _ in layers],
    }


def _member(entry: Entry, epoch: int) -> Iterator[bytes]:
    prefix, name = _split(entry)
    data = entry.data if entry.kind is Kind.FILE else b""
    link = entry.data if entry.kind is Kind.SYMLINK else b""
    if len(link) > _LONGEST_LINK:
        raise FormatError(entry.path, f"links to {len(link)} bytes, and a layer takes {_LONGEST_LINK}")
    fields = [
        name,
        _octal(entry, entry.mode, 8),
        _octal(entry, entry.uid, 8),
        _octal(entry, entry.gid, 8),
        _octal(entry, len(data), 12),
        _octal(entry, epoch, 12),
        b" " * 8,
        _TYPES[entry.kind],
        link,
        b"ustar\0",
        b"00",
        b"",  # owners have numbers only
        b"",
        _octal(entry, 0, 8),
        _octal(entry, 0, 8),
        prefix,
    ]
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    yield _HEADER.pack(*fields)
    yield data
    yield bytes(-len(data) % _BLOCK)


def _split(entry: Entry) -> tuple[bytes, bytes]:
    """The path as prefix and name; of a directory with a slash behind it."""
    if any(part.startswith(_WHITEOUT) for part in entry.path.split("/")):
        raise FormatError(entry.path, "would be taken for the removal of a file")
    path = entry.path.encode() + (b"/" if entry.kind is Kind.DIRECTORY else b"")
    if len(path) <= _LONGEST_NAME:
        return b"", path
    # At the last slash that leaves a name of at least one byte and a prefix that fits.
    at = path.rfind(b"/", 0, min(len(path) - 1, _LONGEST_PREFIX + 1))
    if at <= 0 or len(path) - at - 1 > _LONGEST_NAME:
        raise FormatError(entry.path, f"a path of {len(path)} bytes does not fit into a layer")
    return path[:at], path[at + 1 :]


def _octal(entry: Entry, value: int, size: int) -> bytes:
    text = b"%0*o" % (size - 1, value)
    if value < 0 or len(text) >= size:
        raise FormatError(entry.path, f"the number {value} does not fit into a layer")
    return text
