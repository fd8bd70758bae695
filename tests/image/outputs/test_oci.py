"""The OCI layout: digests of the bytes, a configuration with every field, a layer that other readers read back."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.outputs import oci
from pluto_image.recipe.model import Container, Kept, User
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import canonical
from simulators import containers

EPOCH: Final = 1_700_000_000
BUILD_ID: Final = "ab" * 32
RECIPE: Final = Container(
    name="tiny",
    entrypoint=("/bin/serve", "--now"),
    user=User("serve", 990, 991, ""),
    ports=(8443, 80),
    env={"PATH": "/bin", "B": "", "A": "1=2"},
    labels={"tee.launch_policy.log_redirect": "never"},
    keep=(Kept(("bin/*", "etc/**"), "test"),),
)
ROOT: Final = (
    Entry("bin", Kind.DIRECTORY, 0o755, b"", "recipe:parents"),
    Entry("bin/other", Kind.SYMLINK, 0o777, b"serve", "recipe:files.link"),
    Entry("bin/serve", Kind.FILE, 0o755, b"program", "package:serve"),
    Entry("etc", Kind.DIRECTORY, 0o755, b"", "recipe:parents"),
    Entry("etc/secret", Kind.FILE, 0o640, b"s" * 512, "package:serve", 990, 991),
    Entry("usr", Kind.DIRECTORY, 0o755, b"", "recipe:parents"),
    Entry("usr/left-out", Kind.FILE, 0o644, b"", "package:serve"),
)


def made(recipe: Container = RECIPE, *, epoch: int = EPOCH, flavour: str = "release") -> oci.Layout:
    return oci.layout(recipe, ROOT, epoch=epoch, version="1.2", build_id=BUILD_ID, flavour=flavour)


def test_every_digest_and_size_is_that_of_the_bytes() -> None:
    files = made().files
    blobs = {name: data for name, data in files.items() if name.startswith("blobs/")}
    assert len(blobs) == 3
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    index = json.loads(files["index.json"])
    (manifest,) = index["manifests"]
    document = json.loads(files[f"blobs/sha256/{manifest['digest'][7:]}"])
    (layer,) = document["layers"]
    for descriptor in (manifest, document["config"], layer):
        assert descriptor["size"] == len(files[f"blobs/sha256/{descriptor['digest'][7:]}"])
    config = json.loads(files[f"blobs/sha256/{document['config']['digest'][7:]}"])
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name in set(files) - {f"blobs/sha256/{layer['digest'][7:]}"}:
        assert files[name] == canonical(json.loads(files[name])), name


def test_old_engines_find_the_same_blobs() -> None:
    files, container = made().files, made().container
    (saved,) = json.loads(files["manifest.json"])
    assert saved["Config"] == "blobs/sha256/" + container.image_id.removeprefix("sha256:")
    assert [files[path] for path in saved["Layers"]] == [containers.layer(files)]
    assert saved["RepoTags"] == [f"localhost/tiny:release-{BUILD_ID}"]


def test_the_configuration_has_every_field() -> None:
    layer = hashlib.sha256(containers.layer(made().files)).hexdigest()
    assert containers.config(made().files) == {
        "architecture": "amd64",
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": {
            "User": "990:991",
            "ExposedPorts": {"8443/tcp": {}, "80/tcp": {}},
            "Env": ["A=1=2", "B=", "PATH=/bin"],
            "Entrypoint": ["/bin/serve", "--now"],
            "WorkingDir": "/",
            "Labels": {
                "tee.launch_policy.log_redirect": "never",
                "org.opencontainers.image.version": "1.2",
                "pluto-tee.build-id": BUILD_ID,
                "pluto-tee.flavour": "release",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "pluto-image build"}],
    }  # fmt: skip


def test_launch_json_gets_what_an_engine_reports() -> None:
    layout = made()
    (manifest,) = json.loads(layout.files["index.json"])["manifests"]
    assert layout.container.manifest_digest == manifest["digest"]
    assert layout.container.args == RECIPE.entrypoint
    assert layout.container.env == (("A", "1=2"), ("B", ""), ("PATH", "/bin"))


def test_nothing_but_content_decides_the_bytes() -> None:
    shuffled = list(ROOT)
    random.Random(5).shuffle(shuffled)
    turned = replace(RECIPE, env=dict(reversed(list(RECIPE.env.items()))), ports=RECIPE.ports[::-1])
    again = oci.layout(turned, shuffled, epoch=EPOCH, version="1.2", build_id=BUILD_ID, flavour="release")
    assert again == made()
    assert made(flavour="debug").container.image_id != made().container.image_id
    assert made(epoch=EPOCH + 1).container.image_id != made().container.image_id


def test_python_reads_the_layer_back() -> None:
    with tarfile.open(fileobj=io.BytesIO(containers.layer(made().files))) as archive:
        members = {member.name: member for member in archive.getmembers()}
        secret = archive.extractfile("etc/secret")
        assert secret is not None
        assert secret.read() == b"s" * 512
    assert list(members) == ["bin", "bin/other", "bin/serve", "etc", "etc/secret"]
    assert {(member.mtime, member.uname, member.gname) for member in members.values()} == {(EPOCH, "", "")}
    assert members["bin/other"].linkname == "serve"
    assert (members["etc/secret"].mode, members["etc/secret"].uid, members["etc/secret"].gid) == (0o640, 990, 991)


names = st.text("abcdefé.-_", min_size=1, max_size=60).filter(lambda name: name.strip(".") and name[:4] != ".wh.")
paths = st.lists(names, min_size=1, max_size=8).map("/".join)
numbers = st.integers(0, 0o7777777)
modes = st.integers(0, 0o7777)
nothing = st.just("")
files = st.builds(Entry, paths, st.just(Kind.FILE), modes, st.binary(max_size=1200), nothing, numbers, numbers)
targets = paths.map(str.encode).filter(lambda target: len(target) <= 100)
links = st.builds(Entry, paths, st.just(Kind.SYMLINK), st.just(0o777), targets, nothing)
folders = st.builds(Entry, paths, st.just(Kind.DIRECTORY), modes, st.just(b""), nothing)


def fits(entry: Entry) -> bool:
    """Whether some slash splits the path into a prefix of at most 155 and a name of at most 100 bytes."""
    path = entry.path.encode() + b"/" * (entry.kind is Kind.DIRECTORY)
    splits = [at for at, byte in enumerate(path[:-1]) if byte == 0x2F and 0 < at <= 155]
    return len(path) <= 100 or any(len(path) - at - 1 <= 100 for at in splits)


@settings(deadline=None)
@given(st.lists(files | links | folders, max_size=5), st.integers(0, 2**33 - 1))
def test_whatever_fits_is_read_back_as_it_was(entries: list[Entry], epoch: int) -> None:
    if not all(map(fits, entries)):
        with pytest.raises(FormatError, match="does not fit into a layer"):
            oci.layer(entries, epoch)
        return
    data = oci.layer(entries, epoch)
    kinds = {tarfile.REGTYPE: Kind.FILE, tarfile.SYMTYPE: Kind.SYMLINK, tarfile.DIRTYPE: Kind.DIRECTORY}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        found = []
        for member in archive:
            assert member.mtime == epoch
            file = archive.extractfile(member) if member.isreg() else None
            content = member.linkname.encode() if file is None else file.read()
            kind = kinds[member.type]
            found.append(Entry(member.name, kind, member.mode, content, "", member.uid, member.gid))
    assert found == entries


@pytest.mark.parametrize(
    ("path", "fitting"),
    [
        ("a" * 100, True),
        ("a" * 101, False),  # one component does not split
        ("a" * 155 + "/" + "b" * 100, True),
        ("a" * 156 + "/" + "b" * 99, False),
        ("a" * 154 + "/" + "b" * 101, False),
        ("a" * 60 + "/" + "b" * 60 + "/" + "c" * 60, True),
    ],
)
def test_a_long_path_is_split_or_refused(path: str, fitting: bool) -> None:
    entry = Entry(path, Kind.FILE, 0o644, b"x", "")
    if not fitting:
        with pytest.raises(FormatError, match="does not fit into a layer"):
            oci.layer([entry], 0)
        return
    with tarfile.open(fileobj=io.BytesIO(oci.layer([entry], 0))) as archive:
        assert archive.getnames() == [path]


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (Entry("a", Kind.SYMLINK, 0o777, b"x" * 101, ""), "links to 101 bytes"),
        (Entry("a/.wh.b", Kind.FILE, 0o644, b"", ""), "removal of a file"),
        (Entry(".wh..wh..opq", Kind.FILE, 0o644, b"", ""), "removal of a file"),
        (Entry("a", Kind.FILE, 0o644, b"", "", 1 << 21), "number 2097152 does not fit"),
        (Entry("a", Kind.FILE, 0o644, b"", "", -1), "number -1 does not fit"),
    ],
)
def test_what_a_layer_cannot_say_is_refused(entry: Entry, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        oci.layer([entry], 0)
