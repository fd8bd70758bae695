"""What a debug image holds more than a release: sources of a line with `flavour`, under one build id."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_image import build, source_tree
from pluto_image import definition as definitions
from pluto_image.inputs.store import Store
from pluto_image.lint import LintError
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError
from simulators import tiny_definition

LINE = """
[[files.source]]
base = "image/tiny/debug"
paths = ["**"]
to = "usr/share/tiny"
flavour = "debug"
reason = "test"
"""
WORLD = "usr/share/tiny/debug-world.json"


def made(root: Path, store: Store, line: str = LINE) -> Path:
    folder = tiny_definition.make(root, store, text=f"{tiny_definition.DEFINITION}\n{line}")
    (folder / "debug").mkdir()
    (folder / "debug/debug-world.json").write_bytes(b"{}")
    return folder


def image_of(folder: Path, store: Store, flavour: str) -> build.Image:
    lock = Lock.parse((folder / "lock.json").read_bytes())
    return build.build_image(definitions.load(folder), lock, store, source_tree.read(folder), flavour)


def files(image: build.Image) -> dict[str, bytes]:
    return {entry.path: entry.data for entry in image.entries}


def test_a_debug_image_holds_the_file_and_a_release_does_not(tmp_path: Path, store: Store) -> None:
    folder = made(tmp_path, store)
    release, debug = (files(image_of(folder, store, flavour)) for flavour in ("release", "debug"))
    assert (debug[WORLD], release.get(WORLD)) == (b"{}", None)
    # Nothing else: what was tried in a debug image is what a release does.
    assert set(debug) - set(release) == {"usr/share", "usr/share/tiny", WORLD}
    assert {path for path in release if release[path] != debug[path]} == {"usr/lib/os-release"}


def test_the_build_id_covers_the_file_in_both_flavours(tmp_path: Path, store: Store) -> None:
    folder = made(tmp_path, store)
    before = {image_of(folder, store, flavour).build_id for flavour in ("release", "debug")}
    (folder / "debug/debug-world.json").write_bytes(b"{ }")
    after = {image_of(folder, store, flavour).build_id for flavour in ("release", "debug")}
    assert (len(before), len(after), len(before | after)) == (1, 1, 2)


@pytest.mark.parametrize("flavour", ["release", "debug"])
def test_a_pattern_without_a_match_is_an_error_in_both_flavours(flavour: str, tmp_path: Path, store: Store) -> None:
    folder = made(tmp_path, store, LINE.replace('"**"', '"gone"'))
    with pytest.raises(FormatError, match="'gone' matches nothing"):
        image_of(folder, store, flavour)


@pytest.mark.parametrize("flavour", ["release", "debug"])
def test_a_file_for_debug_takes_no_others_place_in_either_flavour(flavour: str, tmp_path: Path, store: Store) -> None:
    folder = made(tmp_path, store, LINE.replace("usr/share/tiny", "etc"))
    (folder / "debug/hostname").write_bytes(b"other\n")
    with pytest.raises(FormatError, match="etc/hostname comes from"):
        image_of(folder, store, flavour)


@pytest.mark.parametrize("value", ['"release"', '"Debug"', "true", '["debug"]'])
def test_no_other_flavour_is_known(value: str, tmp_path: Path, store: Store) -> None:
    with pytest.raises(FormatError, match="flavour"):
        image_of(made(tmp_path, store, LINE.replace('"debug"\nreason', f"{value}\nreason")), store, "debug")


def test_a_recipe_that_forgets_the_flavour_makes_no_release(tmp_path: Path, store: Store) -> None:
    folder = made(tmp_path, store, LINE.replace('flavour = "debug"\n', ""))
    assert WORLD in files(image_of(folder, store, "debug"))
    with pytest.raises(LintError, match=r"debug-world\.json is for debug images alone"):
        image_of(folder, store, "release")
