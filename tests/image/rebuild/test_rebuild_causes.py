"""What a release says it was built from is read strictly; why it differs from that is named."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image import definition as definitions
from pluto_image import source_tree
from pluto_image.formats import compress, cpio, uki
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_image.rebuild import again, builder
from pluto_image.rebuild.again import Ingredients
from pluto_image.rebuild.causes import Scene, causes, listed_otherwise
from pluto_image.rebuild.explain.difference import Difference, Explained
from pluto_image.rebuild.explain.files import LISTED
from pluto_measure.errors import FormatError, VerificationError
from simulators import tiny_definition
from simulators.pe_images import KERNEL, STUB

BUILD, OTHER = "1" * 64, "2" * 64
LAUNCH = b'{"flavour": "release", "commandLine": "quiet"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_definition.make(tmp_path, Store(tmp_path / "store"))


def parts(folder: Path) -> tuple[bytes, bytes]:
    """source.tar and lock.json of the definition."""
    return source_tree.read(folder).tar(1_700_000_000), (folder / "lock.json").read_bytes()


def made_of(folder: Path, launch: bytes = LAUNCH, release: bytes = b"{}") -> Ingredients:
    return again.ingredients(*parts(folder), launch, release)


def test_sources_definition_and_lock_are_those_of_the_release(folder: Path) -> None:
    found = made_of(folder)
    read = source_tree.read(folder)
    assert (found.source.files, found.source.definition, found.source.dirty) == (read.files, "image/tiny", ())
    assert found.source.tar(1_700_000_000) == parts(folder)[0]
    assert found.definition == definitions.load(folder)
    assert found.lock == found.shelved == Lock.parse(parts(folder)[1])


def test_flavour_and_dirtiness_come_from_launch_json_or_else_from_the_statement(folder: Path) -> None:
    def said(launch: bytes, release: bytes = b"{}") -> tuple[str, bool]:
        found = made_of(folder, launch, release)
        return found.flavour, bool(found.source.dirty)

    dirty = b'{"flavour": "debug", "commandLine": "a pluto.source=dirty"}'
    assert said(LAUNCH) == ("release", False)
    assert said(dirty) == ("debug", True)
    assert said(dirty.replace(b"debug", b"release")) == ("release", False), "no release is dirty, so bytes will differ"
    statement = b'{"predicate": {"flavour": "debug", "source": {"dirty": true}}}'
    assert said(b"damaged", statement) == ("debug", True)
    with pytest.raises(FormatError, match="which flavour"):
        said(b"damaged", b'{"predicate": {"flavour": "other", "source": {"dirty": true}}}')


def test_a_lock_for_another_definition_is_not_authentic(folder: Path) -> None:
    tar, lock = parts(folder)
    other = replace(Lock.parse(lock), definition_digest="0" * 64).to_text().encode()
    with pytest.raises(VerificationError, match="another definition than that in source"):
        again.ingredients(tar, other, LAUNCH, b"{}")


def odd_tar(name: str, kind: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as out:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "x" if kind == tarfile.SYMTYPE else ""
        out.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("tar", "problem"),
    [
        (source_tree.tar({"a/image.toml": b"", "b/image.toml": b""}, 0), "holds 2 definitions"),
        (source_tree.tar({"image.toml": b""}, 0), "holds 0 definitions"),
        (odd_tar("a", tarfile.SYMTYPE), "no plain file"),
        (odd_tar("a", tarfile.DIRTYPE), "no plain file"),
        (odd_tar("../a", tarfile.REGTYPE), "leaves the root"),
        (odd_tar("a", tarfile.FIFOTYPE), "FIFO is not accepted"),
        (source_tree.tar({"a/image.toml": b""}, 0)[:700], "ends too early"),
        (b"", "ends too early"),
    ],
)
def test_a_source_tar_that_no_build_writes_is_refused(tar: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        again.ingredients(tar, b"{}", LAUNCH, b"{}")


def image(build_id: str, initrd: bytes = b"x") -> bytes:
    sections = [(".osrel", f'BUILD_ID="{build_id}"\n'.encode()), (".initrd", initrd), (".linux", KERNEL)]
    return uki.build(STUB, sections)


def statement(found: Ingredients, **other: str) -> bytes:
    """What release.json says, with some of it replaced."""
    said = {
        "definition": found.definition.digest.hex(),
        "lock": found.lock.digest,
        "sources": source_tree.digest(found.source.files),
        "libzstd": "1.5.7",
    } | other
    build = {name: {"sha256": said[name]} for name in ("definition", "lock")} | {"tools": {"libzstd": said["libzstd"]}}
    source = {"treeDigest": {"sha256": said["sources"]}}
    return json.dumps({"predicate": {"build": build, "source": source}}).encode()


Change = Callable[[Ingredients], dict[str, Any]]
ARCHIVE = b"".join(cpio.newc([], 0))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda _: {}, ["published-files"]),
        (lambda one: {"release": statement(one, lock=OTHER)}, ["other-lock"]),
        (lambda one: {"release": statement(one, definition=OTHER)}, ["other-definition"]),
        (lambda one: {"release": statement(one, sources=OTHER)}, ["other-sources"]),
        (lambda _: {"release": b"damaged"}, ["published-files"]),
        (lambda _: {"release": b"[1]"}, ["published-files"]),
        (lambda _: {"uki": image(OTHER)}, ["other-build"]),
        (lambda _: {"uki": b"damaged"}, ["published-files"]),
        (lambda _: {"builder": ["image/pluto_image/formats/disk.py"]}, ["other-builder"]),
        (lambda _: {"builder": None}, ["published-files"]),
        (lambda _: {"changed": ["disk.raw"]}, ["changed-afterwards"]),
        (
            lambda one: {
                "uki": image(BUILD, ARCHIVE),
                "rebuilt_uki": image(BUILD, compress.zstd([ARCHIVE])),
                "release": statement(one, libzstd="1.5.6"),
            },
            ["other-compressor"],
        ),
    ],
)
def test_the_likely_cause_is_named(change: Change, wanted: list[str], folder: Path) -> None:
    found = made_of(folder)
    scene = Scene(found, BUILD, image(BUILD), image(BUILD), statement(found), (), ())
    told = causes(replace(scene, **change(found)))
    assert [one.id for one in told] == wanted
    assert all(len(one.text) > 30 for one in told)


def test_a_lock_that_is_not_the_one_in_source_tar_names_the_packages(folder: Path) -> None:
    tar, lock = parts(folder)
    old = Lock.parse(lock)
    moved = tuple(replace(one, version="257.2", sha256="0" * 64) if one.name == "init" else one for one in old.image)
    found = again.ingredients(tar, replace(old, image=moved).to_text().encode(), LAUNCH, b"{}")
    told = causes(Scene(found, BUILD, b"", b"", statement(found), (), ()))
    assert [(one.id, one.text) for one in told] == [
        ("other-lock", "lock.json is not the one in source.tar; from that to this: init 257.1 -> 257.2")
    ]


def test_a_compressor_of_another_version_is_named(folder: Path) -> None:
    found = made_of(folder)
    raw, packed = image(BUILD, ARCHIVE), image(BUILD, compress.zstd([ARCHIVE]))
    (told,) = causes(Scene(found, BUILD, raw, packed, statement(found, libzstd="1.5.6"), (), ()))
    assert "here by libzstd 1.5.7, release.json names libzstd 1.5.6" in told.text


def test_files_that_were_changed_after_the_list_was_written_are_found() -> None:
    late = Difference("a", LISTED, "1", "2", "not as listed")
    assert listed_otherwise([Explained("a", (late,)), Explained("b", (replace(late, where=""),))]) == ("a",)


def test_the_installed_builder_is_compared_with_the_published_one() -> None:
    import pluto_image
    import pluto_measure

    here = {
        folder + path.relative_to(root).as_posix(): path.read_bytes()
        for folder, root in (
            ("image/pluto_image/", Path(str(pluto_image.__file__)).parent),
            ("measure/pluto_measure/", Path(str(pluto_measure.__file__)).parent),
        )
        for path in root.rglob("*.py")
    }
    assert builder.differing(here) == ()
    name = "image/pluto_image/formats/disk.py"
    assert builder.differing(here | {name: b"# another\n", "image/pluto_image/new.py": b""}) == (
        name, "image/pluto_image/new.py"
    )  # fmt: skip
    assert builder.differing({key: data for key, data in here.items() if key != name}) == (name,)
    assert builder.differing({"notary/pluto_notary/a.py": b""}) is None
