"""The SBOM: one package for everything that is shipped, relations that lead somewhere, URLs by their specification."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image import definition as definitions
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, Package, Wheel
from pluto_image.outputs import sbom
from pluto_measure.formats.strict_json import pretty
from pluto_measure.launch import Launch
from simulators import tiny_definition
from simulators.launches import LAUNCH

NOTARY = Path(__file__).resolve().parents[3] / "image/notary"
DEFINITION = definitions.load(NOTARY)
LOCK = Lock.parse((NOTARY / "lock.json").read_bytes())
OVMF = next(one for one in LOCK.tools if one.name == "ovmf")


def document(lock: Lock = LOCK, launch: Launch = LAUNCH) -> dict[str, Any]:
    return sbom.document(DEFINITION, lock, launch)


def packages(lock: Lock = LOCK) -> dict[str, dict[str, Any]]:
    return {one["SPDXID"]: one for one in document(lock)["packages"]}


def related(kind: str, lock: Lock = LOCK) -> set[tuple[str, str]]:
    return {
        (one["spdxElementId"], one["relatedSpdxElement"])
        for one in document(lock)["relationships"]
        if one["relationshipType"] == kind
    }


def locator(package: dict[str, Any]) -> str:
    (reference,) = package["externalRefs"]
    assert (reference["referenceCategory"], reference["referenceType"]) == ("PACKAGE-MANAGER", "purl")
    return str(reference["referenceLocator"])


def with_package(name: str, version: str, architecture: str = "amd64", archive: str = "main") -> Lock:
    digest = "12" * 32
    path = f"pool/{name}_{version}_{architecture}.deb"
    one = Package(name, version, architecture, 1, digest, "34" * 20, path, archive, name, version, {})
    return replace(LOCK, image=(one,), wheels=())


def test_every_locked_package_is_in_it_once_as_locked() -> None:
    binaries = [one for one in packages().values() if one.get("packageFileName", "").endswith(".deb")]
    found = Counter((one["name"], one["versionInfo"], one["checksums"][0]["checksumValue"]) for one in binaries)
    assert found == Counter((one.name, one.version, one.sha256) for one in (*LOCK.image, OVMF))
    for one in binaries:
        assert [each["algorithm"] for each in one["checksums"]] == ["SHA256", "SHA1"]


def test_the_image_contains_its_packages_and_the_projects_own_files_but_not_the_firmware() -> None:
    names = packages()
    contained = {names[key]["name"] for one, key in related("CONTAINS") if one == "SPDXRef-image"}
    assert contained == {one.name for one in LOCK.image} | {one.name for one in LOCK.wheels} | {"pluto-tee"}
    assert related("RUNTIME_DEPENDENCY_OF") == {("SPDXRef-firmware-ovmf", "SPDXRef-image")}
    assert "firmware.fd" in names["SPDXRef-firmware-ovmf"]["comment"]
    assert related("DESCRIBES") == {("SPDXRef-DOCUMENT", "SPDXRef-image")}


def test_every_binary_package_is_generated_from_its_source() -> None:
    names = packages()
    made = {
        (names[one]["name"], names[other]["name"], names[other]["versionInfo"])
        for one, other in related("GENERATED_FROM")
    }
    assert {(one.name, one.source, one.source_version) for one in (*LOCK.image, OVMF)} <= made
    kernel = next(one for one in LOCK.image if re.match(r"linux-image-\d", one.name))
    assert (kernel.name, "linux", kernel.version) in made
    assert {one["name"] for one in names.values() if one.get("primaryPackagePurpose") == "SOURCE"} == {
        source for _, source, _ in made
    }


def test_identifiers_are_legal_and_unique_and_relations_lead_somewhere() -> None:
    """SPDX 2.3 §7.2: letters, digits, dot and hyphen."""
    found = [one["SPDXID"] for one in document()["packages"]]
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one) for one in found)
    for one in document()["relationships"]:
        assert {one["spdxElementId"], one["relatedSpdxElement"]} <= {*found, "SPDXRef-DOCUMENT"}
    assert len({tuple(one.values()) for one in document()["relationships"]}) == len(document()["relationships"])


# Examples of the type's own definition, and others: a plus is encoded, a colon never is (ECMA-427).
@pytest.mark.parametrize(
    ("name", "version", "architecture", "expected"),
    [
        ("curl", "7.50.3-1", "i386", "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=trixie"),
        ("dpkg", "1.19.0.4", "amd64", "pkg:deb/debian/dpkg@1.19.0.4?arch=amd64&distro=trixie"),
        ("attr", "1:2.4.47-2", "source", "pkg:deb/debian/attr@1:2.4.47-2?arch=source&distro=trixie"),
        ("attr", "1:2.4.47-2+b1", "amd64", "pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64&distro=trixie"),
        ("libstdc++6", "14.2.0-19", "amd64", "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie"),
        ("systemd", "257~rc1", "all", "pkg:deb/debian/systemd@257~rc1?arch=all&distro=trixie"),
    ],
)
def test_package_urls_of_debian(name: str, version: str, architecture: str, expected: str) -> None:
    lock = with_package(name, version, architecture)
    (found,) = (one for key, one in packages(lock).items() if key.startswith("SPDXRef-deb-"))
    assert locator(found) == expected


@pytest.mark.parametrize("archive", ["main", "security", "backports"])
def test_the_distribution_is_the_release_whatever_the_suite(archive: str) -> None:
    found = packages(with_package("a", "1", archive=archive))
    assert locator(found["SPDXRef-deb-a"]).endswith("&distro=trixie")
    assert locator(found["SPDXRef-src-a..1"]) == "pkg:deb/debian/a@1?arch=source&distro=trixie"


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("Django", "1.11.1", "pkg:pypi/django@1.11.1"),
        ("zope.interface", "5.0", "pkg:pypi/zope-interface@5.0"),
        ("a__B.-c", "1!2.0+local", "pkg:pypi/a-b-c@1%212.0%2Blocal"),
    ],
)
def test_package_urls_of_wheels(name: str, version: str, expected: str) -> None:
    lock = replace(LOCK, wheels=(Wheel(name, version, "one.whl", 1, "56" * 32),))
    (found,) = (one for one in packages(lock).values() if one.get("packageFileName") == "one.whl")
    assert locator(found) == expected
    assert found["checksums"] == [{"algorithm": "SHA256", "checksumValue": "56" * 32}]
    assert ("SPDXRef-image", found["SPDXID"]) in related("CONTAINS", lock)


def test_the_projects_own_files_are_the_only_ones_with_a_licence() -> None:
    said = {one["SPDXID"]: (one["licenseConcluded"], one["licenseDeclared"]) for one in packages().values()}
    assert said.pop("SPDXRef-own") == ("Apache-2.0", "Apache-2.0")
    assert set(said.values()) == {("NOASSERTION", "NOASSERTION")}


def test_the_document_is_about_one_build() -> None:
    one = document()
    assert one["creationInfo"] == {"created": "2026-11-01T00:00:00Z", "creators": ["Tool: pluto-image"]}
    assert one["name"] == "notary-0.1.0-release"
    (image,) = (package for package in one["packages"] if package["SPDXID"] == "SPDXRef-image")
    assert image["supplier"] == "Organization: Pluto TEE VM"
    assert image["checksums"][0]["checksumValue"] == hashlib.sha256(b"file").hexdigest()
    others = (replace(LAUNCH, flavour="debug"), replace(LAUNCH, build_id="ef" * 32))
    spaces = {document(launch=launch)["documentNamespace"] for launch in (LAUNCH, *others)}
    assert len(spaces) == 3, "SPDX 2.3 §6.5: no two documents share a namespace"


def test_who_made_an_image_is_not_guessed(tmp_path: Path) -> None:
    folder = tiny_definition.make(tmp_path, Store(tmp_path / "store"))
    lock = Lock.parse((folder / "lock.json").read_bytes())
    found = sbom.document(definitions.load(folder), lock, replace(LAUNCH, uki_digests=None))
    image = found["packages"][0]
    assert (image["name"], image["supplier"]) == ("tiny", "NOASSERTION")
    assert "checksums" not in image


def test_no_host_is_named_but_that_of_the_namespace() -> None:
    found = document()
    assert found.pop("documentNamespace").startswith("https://pluto-tee.org/spdx/notary/")
    assert "://" not in json.dumps(found)


def test_the_same_every_time() -> None:
    assert pretty(document()) == pretty(document(Lock.parse(LOCK.to_text())))
