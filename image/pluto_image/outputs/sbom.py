"""sbom.spdx.json: what the image is made of, for scanners. Pure and deterministic.

Specification: SPDX 2.3 (JSON); package URLs: ECMA-427, types "deb" and "pypi". Licences are NOASSERTION but for the
project's own: packages say theirs in words that nobody here has read for them. Paths and hashes of single files are in
files.json. Format: docs/formats/sbom.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pluto_image.definition import Definition
from pluto_image.lock.lockfile import Lock, Package, Wheel
from pluto_image.outputs import sources
from pluto_image.recipe import tables
from pluto_measure.launch import Launch

_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_IMAGE: Final = "SPDXRef-image"
_OWN: Final = "SPDXRef-own"
_NAMESPACE: Final = "https://pluto-tee.org/spdx"
_DEBIAN: Final = "Organization: Debian"
_NO: Final = "NOASSERTION"
_ODD: Final = re.compile(r"[^A-Za-z0-9.-]")
_FIRMWARE: Final = {
    "primaryPackagePurpose": "FIRMWARE",
    "comment": "not in the image: one file of it is firmware.fd, for machines that bring no firmware",
}


def document(definition: Definition, lock: Lock, launch: Launch) -> dict[str, Any]:
    """The SPDX document of one build."""
    suites = {one.id: one.suite for one in lock.archives}
    inside = {_id("deb", one.name): one for one in lock.image}
    beside = {_id("firmware", one.name): one for one in sources.firmware(definition, lock)}
    wheels = {_id("wheel", one.name): one for one in lock.wheels}
    binaries = inside | beside
    packages = [
        _image(definition, launch),
        _own(definition, launch),
        *(_binary(key, one, suites[one.archive]) for key, one in inside.items()),
        *(_binary(key, one, suites[one.archive]) | _FIRMWARE for key, one in beside.items()),
        *(_source(one, suites[made[0].archive]) for one, made in sources.by_source(binaries.values())),
        *(_wheel(key, one) for key, one in wheels.items()),
    ]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": f"{definition.name}-{definition.version}-{launch.flavour}",
        "documentNamespace": f"{_NAMESPACE}/{definition.name}/{launch.build_id}/{launch.flavour}",
        "creationInfo": {"created": _time(definition.epoch), "creators": ["Tool: pluto-image"]},
        "packages": packages,
        "relationships": _relations([*inside, *wheels, _OWN], beside, binaries),
    }


def _relations(inside: Iterable[str], beside: Iterable[str], binaries: Mapping[str, Package]) -> list[dict[str, str]]:
    triples = [(_DOCUMENT, "DESCRIBES", _IMAGE)]
    triples += [(_IMAGE, "CONTAINS", key) for key in inside]
    triples += [(key, "RUNTIME_DEPENDENCY_OF", _IMAGE) for key in beside]
    triples += [
        (key, "GENERATED_FROM", _id("src", *source))
        for key, one in binaries.items()
        for source in sources.sources_of(one)
    ]
    names = ("spdxElementId", "relationshipType", "relatedSpdxElement")
    return [dict(zip(names, triple, strict=True)) for triple in triples]


def _image(definition: Definition, launch: Launch) -> dict[str, Any]:
    said = tables.parse(definition.recipe).files.os_release
    vendor = said.get("VENDOR_NAME", said.get("NAME"))
    found = _package(_IMAGE, definition.name, definition.version, f"Organization: {vendor}" if vendor else _NO)
    found["primaryPackagePurpose"] = "OPERATING-SYSTEM"
    if launch.uki_digests is not None:
        found["packageFileName"] = "pluto.efi"
        found["checksums"] = [_checksum("SHA256", launch.uki_digests.sha256.hex())]
    words = "of each package it has the files that files.json lists, and no other"
    return found | {"comment": f"build {launch.build_id}, flavour {launch.flavour}; {words}"}


def _own(definition: Definition, launch: Launch) -> dict[str, Any]:
    """The project's own files, which source.tar holds."""
    found = _package(_OWN, "pluto-tee", definition.version, "Organization: Pluto TEE VM")
    licence = dict.fromkeys(("licenseConcluded", "licenseDeclared"), sources.LICENCE)
    return found | licence | {"packageFileName": "source.tar", "sourceInfo": f"source.tar of build {launch.build_id}"}


def _binary(key: str, one: Package, suite: str) -> dict[str, Any]:
    found = _package(key, one.name, one.version, _DEBIAN)
    found["packageFileName"] = one.path.rpartition("/")[2]
    found["checksums"] = [_checksum("SHA256", one.sha256), _checksum("SHA1", one.sha1)]
    found["sourceInfo"] = " and ".join(f"{name} {version}" for name, version in sources.sources_of(one))
    return found | {"externalRefs": [_debian(one.name, one.version, one.architecture, suite)]}


def _source(source: tuple[str, str], suite: str) -> dict[str, Any]:
    found = _package(_id("src", *source), *source, _DEBIAN)
    found["primaryPackagePurpose"] = "SOURCE"
    return found | {"externalRefs": [_debian(*source, "source", suite)]}


def _wheel(key: str, one: Wheel) -> dict[str, Any]:
    found = _package(key, one.name, one.version, _NO)
    found |= {"packageFileName": one.file, "checksums": [_checksum("SHA256", one.sha256)]}
    name = re.sub(r"[-_.]+", "-", one.name).lower()  # PEP 503
    return found | {"externalRefs": [_purl(f"pypi/{_quoted(name)}@{_quoted(one.version)}")]}


def _package(identifier: str, name: str, version: str, supplier: str) -> dict[str, Any]:
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
    }


def _debian(name: str, version: str, architecture: str, suite: str) -> dict[str, str]:
    """The package's URL. Its distribution is the release, whatever suite of it the package came by."""
    where = f"arch={_quoted(architecture)}&distro={_quoted(suite.partition('-')[0])}"
    return _purl(f"deb/debian/{_quoted(name)}@{_quoted(version)}?{where}")


def _purl(rest: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"pkg:{rest}"}


def _quoted(text: str) -> str:
    """Percent-encoding of package URLs, which leaves a colon as it is."""
    return quote(text, safe=":")


def _id(kind: str, *parts: str) -> str:
    """An SPDX identifier: letters, digits, dot, hyphen. What else a name or version has is spelled out, + as .2b."""
    return f"SPDXRef-{kind}-" + "..".join(_ODD.sub(lambda odd: f".{ord(odd[0]):02x}.", part) for part in parts)


def _checksum(algorithm: str, digits: str) -> dict[str, str]:
    return {"algorithm": algorithm, "checksumValue": digits}


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
