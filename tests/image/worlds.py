"""Builds of a small definition, in this process: the image in memory, or the command with its folder."""

from __future__ import annotations

from pathlib import Path

from pluto_image import build, cli, source_tree
from pluto_image import definition as definitions
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock


def image_of(folder: Path, store: Store, flavour: str = "release") -> build.Image:
    definition = definitions.load(folder)
    lock = Lock.parse((folder / "lock.json").read_bytes())
    return build.build_image(definition, lock, store, source_tree.read(folder), flavour)


def build_command(folder: Path, store: Store, out: Path, *more: str) -> int:
    return cli.main(["build", str(folder), "--out", str(out), "--store", str(store.root), "--offline", *more])
