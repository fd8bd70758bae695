"""DISTs of the tiny definition and of changed versions of it, without their disks. For tests alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from pluto_image import definition as definitions
from pluto_image import source_tree
from pluto_image.build import build_image
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.outputs.everything import outputs
from pluto_measure.publish import digest_list
from simulators import debs, tiny_definition
from simulators.tiny_definition import DEFINITION, PACKAGES, SOURCES

PLATFORMS = b"""
[google]
platform = "gcp-tdx"
machineType = "c3-standard-4"

[azure]
platform = "azure-tdx"

[confidential-space]
platform = "gcp-confidential-space"
"""
Files = Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True)
class Version:
    """What one release is made of, where it is not as the tiny definition says. `scripts`: by package."""

    text: str = DEFINITION
    sources: Mapping[str, bytes] = field(default_factory=dict)
    packages: Mapping[str, tuple[str, Files]] = field(default_factory=dict)
    scripts: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    flavour: str = "release"


def make(root: Path, version: Version | None = None) -> Path:
    """Build it in `root`, its inputs in root/store; the DIST is root/dist."""
    wanted = version or Version()
    store = Store(root / "store")
    packages = {**PACKAGES, **wanted.packages}
    sources = {**SOURCES, "image/tiny/platforms.toml": PLATFORMS, **wanted.sources}
    for name in wanted.without:
        del packages[name]
    with (
        mock.patch.dict(tiny_definition.PACKAGES, packages, clear=True),
        mock.patch.dict(tiny_definition.SOURCES, sources, clear=True),
    ):
        folder = tiny_definition.make(root / "project", store, text=wanted.text)
        lock = _with_scripts(Lock.parse((folder / "lock.json").read_bytes()), wanted.scripts, store)
    (folder / "lock.json").write_text(lock.to_text(), newline="\n")
    definition, source = definitions.load(folder), source_tree.read(folder)
    made = outputs(definition, lock, source, build_image(definition, lock, store, source, wanted.flavour))
    lay(root / "dist", made.texts, made.sums)
    return root / "dist"


def lay(dist: Path, texts: Mapping[str, bytes], sums: Mapping[str, str]) -> None:
    """Write files and the list of digests, which may name files that are not there."""
    for name, data in texts.items():
        (dist / name).parent.mkdir(parents=True, exist_ok=True)
        (dist / name).write_bytes(data)
    (dist / digest_list.SUMS).write_bytes(digest_list.format_sums(sums).encode())


def put(dist: Path, name: str, data: bytes) -> None:
    """Replace a file, and its line in the list."""
    sums = digest_list.parse_sums((dist / digest_list.SUMS).read_bytes())
    lay(dist, {name: data}, {**sums, name: hashlib.sha256(data).hexdigest()})


def _with_scripts(lock: Lock, scripts: Mapping[str, Mapping[str, bytes]], store: Store) -> Lock:
    return replace(lock, image=tuple(_package(one, scripts.get(one.name, {}), store) for one in lock.image))


def _package(one: Package, scripts: Mapping[str, bytes], store: Store) -> Package:
    if not scripts:
        return one
    entries = [
        debs.entry(f"./{path}", data, mode=mode) for path, (mode, data) in tiny_definition.PACKAGES[one.name][1].items()
    ]
    control = debs.control_tar(one.name, one.version, scripts)
    data = debs.ar([("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", debs.tar(entries))])
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in scripts.items()}
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return replace(one, size=len(data), sha256=store.put(data), sha1=sha1, scripts=digests)
