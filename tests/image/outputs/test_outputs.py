"""All outputs of one build: every file is in the statement, both digests are right, and what may be in a release."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_image import artifact, build, source_tree, sparse
from pluto_image import definition as definitions
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.outputs import everything, references
from pluto_image.outputs.everything import Outputs
from pluto_image.recipe import packages, tables
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.launch import Container, Launch
from pluto_measure.measurements import Measurements
from pluto_measure.publish.platforms import described
from pluto_measure.publish.release import Release
from pluto_measure.publish.statement import Statement
from simulators import launches, tiny_definition

ROOT = Path(__file__).resolve().parents[3]
NOTARY = ROOT / "image/notary"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    root = tmp_path_factory.mktemp("tiny")
    store = Store(root / "store")
    return outputs(tiny_definition.make(root, store), store)


def outputs(folder: Path, store: Store, flavour: str = "release", without: str = "") -> Outputs:
    definition, lock = definitions.load(folder), Lock.parse((folder / "lock.json").read_bytes())
    source = source_tree.read(folder)
    source = replace(
        source, files={path: data for path, data in source.files.items() if not path.endswith(without or "/")}
    )
    image = build.build_image(definition, lock, store, source, flavour)
    return everything.outputs(definition, lock, source, image)


def test_a_dist_has_all_names_and_the_container(made: Outputs) -> None:
    names = {*made.texts, *made.sparse}
    assert set(artifact.NAMES) <= names
    assert all(name.startswith("oci/") for name in names - set(artifact.NAMES))


def test_both_digests_of_every_file_are_right(made: Outputs) -> None:
    for name, data in made.texts.items():
        digests = made.digests[name]
        assert (digests.sha256, digests.sha384) == (hashlib.sha256(data).digest(), hashlib.sha384(data).digest())
    for name, (size, chunks) in made.sparse.items():
        assert sparse.sparse_digest(size, chunks()) == made.digests[name].sha256.hex()
        sha384, at = hashlib.sha384(), 0
        for offset, data in chunks():
            sha384.update(bytes(offset - at))
            sha384.update(data)
            at = offset + len(data)
        sha384.update(bytes(size - at))
        assert sha384.digest() == made.digests[name].sha384
    assert set(made.digests) == {*made.texts, *made.sparse}


def test_the_statement_lists_every_other_file(made: Outputs) -> None:
    statement = Statement.parse(made.texts["release.json"])
    assert {one.name: one.digests for one in statement.subjects} == {
        name: digests for name, digests in made.digests.items() if name != "release.json"
    }
    assert Release.parse(statement).to_json() == statement.predicate


def test_the_vhd_is_the_disk_and_a_footer(made: Outputs) -> None:
    (size, raw), (longer, vhd) = made.sparse["disk.raw"], made.sparse["disk.vhd"]
    *same, (end, footer) = vhd()
    assert same == list(raw())
    assert (longer, end, len(footer)) == (size + 512, size, 512)


def test_a_definition_without_facts_of_a_release_is_a_mistake(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = tiny_definition.make(tmp_path, store)
    with pytest.raises(UsageError, match=r"release\.toml, which says what a release of it is"):
        outputs(folder, store, without="release.toml")


def test_a_software_tpm_is_in_no_release() -> None:
    """The notary's platforms.toml has two, for the laptop."""
    beside = {path.name: path.read_bytes() for path in NOTARY.iterdir() if path.is_file()}
    firmware = {"firmware.fd": firmware_of_the_lock()}
    values = references.measurements(launch(), firmware, beside)
    assert b"qemu-vtpm" in beside["platforms.toml"]
    assert {profile.platform for profile in values.profiles} == {
        "qemu-tdx", "gcp-tdx", "azure-tdx", "gcp-confidential-space",
    }  # fmt: skip
    assert Measurements.parse(values.to_text()) == values
    tpm = replace(values.profiles[0], platform="qemu-vtpm")
    with pytest.raises(FormatError, match="which no release vouches for"):
        described(tpm)


def test_without_platforms_nothing_is_accepted() -> None:
    assert references.measurements(launch(), {}, {}).profiles == ()


def test_a_platform_that_names_what_no_build_makes_is_refused() -> None:
    text = b'[one]\nplatform = "qemu-tdx"\nfirmware = { file = "other.fd" }\n'
    with pytest.raises(FormatError, match=r"names other\.fd, which a build does not make"):
        references.measurements(launch(), {}, {"platforms.toml": text})


def launch() -> Launch:
    digest = f"sha256:{'1' * 64}"
    return replace(launches.LAUNCH, container=Container(digest, digest, ("/usr/bin/python3",), (("PATH", "/usr/bin"),)))


def firmware_of_the_lock() -> bytes:
    lock = Lock.parse((NOTARY / "lock.json").read_bytes())
    recipe = definitions.load(NOTARY)
    wanted = tables.parse(recipe.recipe).firmware
    package = next(one for one in lock.tools if one.name == wanted.package)
    data = Store(default_root()).get(package.sha256)
    if data is None:
        pytest.skip("the locked inputs are not in the store")
    return packages.one_file(data, wanted)
