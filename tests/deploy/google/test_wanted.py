"""[platform] of DEPLOYMENT.toml for Google Cloud: every field, every refusal with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.google import metadata
from pluto_deploy.google.wanted import MACHINE_TYPES, GoogleSpace, GoogleTdx, possible
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

PLACE: dict[str, Any] = {
    "project": "our-project",
    "zone": "europe-west4-a",
    "machineType": "c3-standard-4",
    "network": "default",
    "subnetwork": "default",
    "bucket": "our-bucket",
}
SPACE: dict[str, Any] = PLACE | {
    "serviceAccount": "notary@our-project.iam.gserviceaccount.com",
    "repository": "europe-west4-docker.pkg.dev/our-project/notaries",
}
DIGEST = "sha256:" + "a" * 64
REFERENCE = f"europe-west4-docker.pkg.dev/our-project/notaries/notary@{DIGEST}"


def parse(kind: type[GoogleSpace] | type[GoogleTdx], value: dict[str, Any]) -> GoogleSpace | GoogleTdx:
    fields = Fields(value, what="deployment.platform")
    made = kind.parse(fields, Path())
    fields.end()
    return made


def test_a_place() -> None:
    found = parse(GoogleTdx, PLACE | {"address": "reserved"})
    assert found.place.region == "europe-west4"
    assert found.place.address == "reserved"


def test_confidential_space() -> None:
    found = parse(GoogleSpace, SPACE)
    assert isinstance(found, GoogleSpace)
    assert (found.image, found.restart) == (None, "OnFailure")
    found = parse(GoogleSpace, SPACE | {"image": "confidential-space-debug-260800", "insecure_debugImage": True})
    assert isinstance(found, GoogleSpace)
    assert found.image == "confidential-space-debug-260800"


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        (GoogleTdx, {"project": "Our"}, "deployment.platform.project"),
        (GoogleTdx, {"project": "a/b"}, "deployment.platform.project"),
        (GoogleTdx, {"zone": "europe-west4"}, "deployment.platform.zone"),
        (GoogleTdx, {"machineType": "c3-standard-2"}, "c3-standard-2.*has no TDX.*c3-standard-4"),
        (GoogleTdx, {"machineType": "n2d-standard-4"}, "has no TDX"),
        (GoogleTdx, {"machineType": "c3-highmem-4"}, "has no TDX"),
        (GoogleTdx, {"network": "../x"}, "deployment.platform.network"),
        (GoogleTdx, {"subnetwork": ""}, "deployment.platform.subnetwork"),
        (GoogleTdx, {"bucket": "a?b"}, "deployment.platform.bucket"),
        (GoogleTdx, {"address": "203.0.113.1"}, "deployment.platform.address"),
        (GoogleTdx, {"serviceAccount": SPACE["serviceAccount"]}, "unknown member serviceAccount"),
        (GoogleTdx, {"region": "x"}, "unknown member region"),
        (GoogleSpace, {"serviceAccount": "somebody@example.org"}, "deployment.platform.serviceAccount"),
        (GoogleSpace, {"repository": "docker.io/x/y"}, "deployment.platform.repository"),
        (GoogleSpace, {"restart": "always"}, "deployment.platform.restart"),
        (GoogleSpace, {"image": "debian-13"}, "deployment.platform.image"),
        (GoogleSpace, {"image": "confidential-space-debug-260800"}, "say insecure_debugImage = true"),
        (GoogleSpace, {"image": "confidential-space-260800", "insecure_debugImage": True}, "is no debug image"),
        (GoogleSpace, {"insecure_debugImage": True}, "needs image"),
    ],
)
def test_refusals_name_the_field(kind: type[GoogleSpace] | type[GoogleTdx], change: dict[str, Any], path: str) -> None:
    with pytest.raises(FormatError, match=path):
        parse(kind, (PLACE if kind is GoogleTdx else SPACE) | change)


@pytest.mark.parametrize("name", [*PLACE, "serviceAccount", "repository"])
def test_nothing_has_a_default_that_matters(name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} is missing"):
        parse(GoogleSpace, {key: value for key, value in SPACE.items() if key != name})


RIGHT: dict[str, Any] = {
    "cpus": 4,
    "memory": 16 << 30,
    "ports": (8443,),
    "address": None,
    "mac": None,
    "egress": (("tcp", 443),),
    "payload": b"",
}


@pytest.mark.parametrize("kind", [GoogleSpace, GoogleTdx])
def test_what_fits(kind: type[GoogleSpace] | type[GoogleTdx]) -> None:
    possible(parse(kind, PLACE if kind is GoogleTdx else SPACE), **RIGHT)


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        (GoogleTdx, {"cpus": 8}, "deployment.size"),
        (GoogleTdx, {"memory": 8 << 30}, "deployment.size"),
        (GoogleTdx, {"ports": (443, 444)}, "deployment.network.ports"),
        (GoogleSpace, {"ports": (443,)}, "deployment.network.ports"),
        (GoogleTdx, {"address": "203.0.113.1"}, "deployment.network: "),
        (GoogleTdx, {"mac": "52:54:00:00:00:01"}, "deployment.network: "),
        (GoogleSpace, {"egress": ()}, "deployment.network.egress"),
        (GoogleSpace, {"payload": b"{}"}, "deployment.notary"),
    ],
)
def test_what_could_never_work_together(
    kind: type[GoogleSpace] | type[GoogleTdx], change: dict[str, Any], path: str
) -> None:
    with pytest.raises(FormatError, match=path):
        possible(parse(kind, PLACE if kind is GoogleTdx else SPACE), **(RIGHT | change))


def test_every_type_has_four_gibibytes_for_a_vcpu() -> None:
    assert all(memory == cpus * 4 << 30 and cpus >= 4 for cpus, memory in MACHINE_TYPES.values())


def test_metadata_of_a_container() -> None:
    assert metadata.space(REFERENCE, restart="Never") == {
        "tee-image-reference": REFERENCE,
        "tee-restart-policy": "Never",
        "tee-container-log-redirect": "serial",
        "tee-monitoring-enable": "none",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"tee-image-ref": REFERENCE},
        {"tee-image-reference": REFERENCE.rpartition("@")[0] + ":latest"},
        {"tee-image-reference": REFERENCE.replace("sha256:", "sha512:")},
        {"tee-restart-policy": "never"},
        {"tee-container-log-redirect": "yes"},
        {"tee-monitoring-enable": "ALL"},
        {"tee-dev-shm-size-kb": "0"},
        {"tee-env-PATH": "/"},
        {"tee-cmd": "[]"},
        {"tee-added-capabilities": "[]"},
        {"test-fake-verifier": "true"},
        {"gca-service-env": "staging"},
        {"ita-api-key": "k"},
        {"startup-script": "x"},
        {"ssh-keys": "x"},
    ],
)
def test_metadata_that_is_never_set(change: dict[str, str]) -> None:
    with pytest.raises(FormatError, match=r"^metadata: "):
        metadata.checked({"tee-image-reference": REFERENCE} | change)


def test_metadata_of_a_machine_of_our_own_always_has_its_configuration() -> None:
    assert metadata.domain(b"") == {"pluto-config": "AAAAAA=="}
    payload = b'{"deployment":"x","version":1}'
    assert metadata.payload(metadata.domain(payload)) == payload
    with pytest.raises(FormatError):
        metadata.domain(b"{}")
    for items in ({}, {"pluto-config": ""}, {"pluto-config": payload.decode()}, {"pluto-config": "ä"}):
        with pytest.raises(FormatError):
            metadata.payload(items)


def test_metadata_without_a_container() -> None:
    with pytest.raises(FormatError, match="tee-image-reference is missing"):
        metadata.checked({"tee-restart-policy": "Never"})
