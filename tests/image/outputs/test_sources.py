"""sources.json: every package of a release has its source named, the kernel's too, and the form is the schema's."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_image import definition as definitions
from pluto_image.debian import deb
from pluto_image.debian.relations import parse_relations
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock, Package, Wheel
from pluto_image.outputs import sources

NOTARY = Path(__file__).resolve().parents[3] / "image/notary"
DEFINITION = definitions.load(NOTARY)
LOCK = Lock.parse((NOTARY / "lock.json").read_bytes())
SCHEMA = json.loads((resources.files("pluto_image") / "schemas/sources.json").read_text())
SHIPPED = (*LOCK.image, *(one for one in LOCK.tools if one.name == "ovmf"))


def document(lock: Lock = LOCK) -> dict[str, Any]:
    found = json.loads(json.dumps(sources.document(DEFINITION, lock)))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found  # type: ignore[no-any-return]


def package(name: str, version: str, source: str, source_version: str, archive: str = "main") -> Package:
    path = f"pool/{name}.deb"
    return Package(name, version, "amd64", 1, "0" * 64, "0" * 40, path, archive, source, source_version, {})


def test_every_shipped_package_is_said_to_be_made_of_its_source() -> None:
    made = {(one, entry["name"], entry["version"]) for entry in document()["sources"] for one in entry["packages"]}
    wanted = {(f"{one.name} {one.version}", one.source, one.source_version) for one in SHIPPED}
    assert wanted <= made
    assert {binary for binary, _, _ in made} == {binary for binary, _, _ in wanted}, "nothing of the tools but firmware"


def test_entries_are_sorted_and_name_where_they_lie() -> None:
    found = document()["sources"]
    keys = [(one["name"], one["version"]) for one in found]
    assert keys == sorted(set(keys))
    suites = {one.id: one.suite for one in LOCK.archives}
    for one in found:
        assert one["suite"] == suites[one["archive"]]
        assert one["path"] == f"package/{one['name']}/{one['version']}/"
        assert one["packages"] == sorted(one["packages"])


def test_the_kernel_is_made_of_linux_and_of_signatures() -> None:
    """The source package of a signed kernel holds signatures alone; the GPL asks for the code."""
    kernel = package("linux-image-6.1.0-9-cloud-amd64", "6.1.27-1", "linux-signed-amd64", "6.1.27+1")
    assert sources.sources_of(kernel) == (("linux-signed-amd64", "6.1.27+1"), ("linux", "6.1.27-1"))
    names = package("linux-image-cloud-amd64", "6.1.27-1", "linux-signed-amd64", "6.1.27+1")
    assert sources.sources_of(names) == (("linux-signed-amd64", "6.1.27+1"),), "a package without files"
    other = package("linux-image-6.1.0", "1", "my-linux-signed-amd64", "1")
    assert sources.sources_of(other) == (("my-linux-signed-amd64", "1"),)


def test_further_sources_are_those_that_the_packages_say() -> None:
    """Built-Using (Debian policy §7.8) names sources whose code is in a package although it is not built from them."""
    store = Store(default_root())
    for one in SHIPPED:
        data = store.get(one.sha256)
        if data is None:
            pytest.skip("the locked inputs are not in the store")
        said = parse_relations(deb.read(data).control.get("Built-Using", ""), architecture="amd64")
        wanted = {(relation.name, relation.version) for (relation,) in said}
        assert set(sources.sources_of(one)[1:]) == wanted, one.name


def test_one_source_of_several_packages_is_one_entry() -> None:
    image = (package("a", "1+b1", "source", "1"), package("b", "1", "source", "1"), package("c", "2", "source", "2"))
    found = document(replace(LOCK, image=image))["sources"]
    assert [(one["version"], one["packages"]) for one in found if one["name"] == "source"] == [
        ("1", ["a 1+b1", "b 1"]),
        ("2", ["c 2"]),
    ]


def test_wheels_derived_files_and_the_projects_own() -> None:
    wheel = Wheel("h12", "1.0", "h12-1.0-py3-none-any.whl", 1, "ab" * 32)
    found = document(replace(LOCK, wheels=(wheel,)))
    assert found["wheels"] == [{"name": "h12", "version": "1.0", "sha256": "ab" * 32}]
    (derived,) = LOCK.derived
    assert found["derived"] == [{"name": derived.name, "sha256": derived.sha256, "inputs": derived.inputs}]
    assert found["own"] == {"file": "source.tar", "licence": "Apache-2.0"}


def test_the_offer_says_of_what_for_how_long_and_at_what_price() -> None:
    offer = document()["offer"]
    for words in ("notary 0.1.0", "snapshot archive", "anybody who asks within three years", "costs to make and send"):
        assert words in offer


def test_no_host_is_named() -> None:
    assert "://" not in json.dumps(document())
    assert ".org" not in json.dumps(document())


@pytest.mark.parametrize("member", ["offer", "sources", "own"])
def test_the_schema_asks_for_every_member(member: str) -> None:
    found = document()
    del found[member]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(found)
