"""sbom.spdx.json: what the image is made of, for scanners. Pure and deterministic.

Specification: SPDX 2.3 (JSON); package URLs: purl specification, type "deb". Licences are NOASSERTION: packages say
theirs in words that nobody here has read for them. Paths and hashes of single files are in files.json.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pluto_image.definition import Definition
from pluto_image.lockfile import Lock, Package, Wheel
from pluto_image.outputs.sources import shipped
from pluto_measure.launch import Launch

_IMAGE: Final = "SPDXRef-image"
_NAMESPACE: Final = "https://pluto-tee.org/spdx"
_NO: Final = "NOASSERTION"
_ODD: Final = re.compile(r"[^A-Za-z0-9.-]")


def document(definition: Definition, lock: Lock, launch: Launch) -> dict[str, Any]:
    """The SPDX document of one build."""
    binaries = shipped(definition, lock)
    suites = {one.id: one.suite for one in lock.archives}
    packages = [_image(definition, launch)]
    packages += [_binary(one, suites[one.archive]) for one in binaries]
    packages += [_source(one, suites[one.archive]) for one in _first_of_each_source(binaries)]
    packages += [_wheel(one) for one in lock.wheels]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE)]
    relations += [_relation(_IMAGE, "CONTAINS", _id("deb", one.name)) for one in binaries]
    relations += [
        _relation(_id("deb", one.name), "GENERATED_FROM", _id("src", one.source, one.source_version))
        for one in binaries
    ]
    relations += [_relation(_IMAGE, "CONTAINS", _id("wheel", one.name)) for one in lock.wheels]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{definition.name}-{definition.version}-{launch.flavour}",
        "documentNamespace": f"{_NAMESPACE}/{definition.name}/{launch.build_id}",
        "creationInfo": {"created": _time(definition.epoch), "creators": ["Tool: pluto-image"]},
        "packages": packages,
        "relationships": relations,
    }


def _image(definition: Definition, launch: Launch) -> dict[str, Any]:
    found = _package(_IMAGE, definition.name, definition.version, "Organization: Pluto TEE VM", "OPERATING-SYSTEM")
    if launch.uki_digests is not None:
        found["packageFileName"] = "pluto.efi"
        found["checksums"] = [_sha256(launch.uki_digests.sha256.hex())]
    return found | {"licenseDeclared": _NO, "comment": f"build {launch.build_id}, flavour {launch.flavour}"}


def _binary(one: Package, suite: str) -> dict[str, Any]:
    found = _package(_id("deb", one.name), one.name, one.version, "Organization: Debian", "LIBRARY")
    found["packageFileName"] = one.path.rpartition("/")[2]
    found["checksums"] = [_sha256(one.sha256), {"algorithm": "SHA1", "checksumValue": one.sha1}]
    found["sourceInfo"] = f"built from {one.source} {one.source_version}"
    return found | {"externalRefs": [_purl(one.name, one.version, one.architecture, suite)]}


def _source(one: Package, suite: str) -> dict[str, Any]:
    name, version = one.source, one.source_version
    found = _package(_id("src", name, version), name, version, "Organization: Debian", "SOURCE")
    return found | {"externalRefs": [_purl(name, version, "source", suite)]}


def _wheel(one: Wheel) -> dict[str, Any]:
    found = _package(_id("wheel", one.name), one.name, one.version, _NO, "LIBRARY")
    found |= {"packageFileName": one.file, "checksums": [_sha256(one.sha256)]}
    return found | {"externalRefs": [_reference(f"pkg:pypi/{_quoted(one.name)}@{_quoted(one.version)}")]}


def _package(identifier: str, name: str, version: str, supplier: str, purpose: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": version,
        "supplier": supplier,
        "downloadLocation": _NO,
        "filesAnalyzed": False,
        "licenseConcluded": _NO,
        "licenseDeclared": _NO,
        "copyrightText": _NO,
        "primaryPackagePurpose": purpose,
    }


def _first_of_each_source(packages: tuple[Package, ...]) -> list[Package]:
    found: dict[tuple[str, str], Package] = {}
    for package in packages:
        found.setdefault((package.source, package.source_version), package)
    return [found[key] for key in sorted(found)]


def _purl(name: str, version: str, architecture: str, suite: str) -> dict[str, str]:
    where = f"arch={_quoted(architecture)}&distro={_quoted(suite)}"
    return _reference(f"pkg:deb/debian/{_quoted(name)}@{_quoted(version)}?{where}")


def _reference(locator: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}


def _quoted(text: str) -> str:
    """Percent-encoding of the purl specification, which leaves a colon as it is."""
    return quote(text, safe=":")


def _id(*parts: str) -> str:
    """An SPDX identifier: letters, digits, dot, hyphen. What else a name has is spelled out, so that none collide."""
    return "SPDXRef-" + "-".join(_ODD.sub(lambda found: f".{ord(found[0]):02x}.", part) for part in parts)


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _sha256(digits: str) -> dict[str, str]:
    return {"algorithm": "SHA256", "checksumValue": digits}


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
