"""[certificate] of DEPLOYMENT.toml: what is read, and what no CA could ever give."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.test_deployment import AZURE, BRIDGED, GOOGLE_TDX, HERE, LOCAL, METAL, SPACE, changed, parse
from pluto_deploy.deployment import Certificate
from pluto_measure.errors import FormatError
from pluto_notary.config import Acme, encode_payload

DIRECTORY = "https://ca.example/directory"


def certified(document: dict[str, Any]) -> dict[str, Any]:
    with_port = changed(document, "network.ports", [443, 8443])
    return changed(with_port, "certificate", {"directory": DIRECTORY})


@pytest.mark.parametrize("document", [METAL, GOOGLE_TDX, AZURE])
@pytest.mark.parametrize("label", [None, "shop"])
def test_a_certificate_is_asked_for_by_the_run_time_configuration(document: dict[str, Any], label: str | None) -> None:
    wanted = certified(changed(document, "notary.deployment", label) if label else document)
    deployment = parse(wanted)
    assert deployment.certificate == Certificate(DIRECTORY, "notary.example", None)
    assert deployment.payload == encode_payload(deployment=label, acme=Acme(DIRECTORY, "notary.example"))
    found = parse(changed(wanted, "certificate.roots", "ca/roots.pem")).certificate
    assert found is not None
    assert found.roots == HERE / "ca/roots.pem"
    assert parse(document).certificate is None


def test_where_the_host_filters_nothing_no_way_to_the_ca_is_listed() -> None:
    document = changed(changed(BRIDGED, "network.ports", [443]), "network.domain", "notary.example")
    assert parse(changed(document, "certificate", {"directory": DIRECTORY})).certificate is not None


@pytest.mark.parametrize("document", [METAL, GOOGLE_TDX, AZURE])
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("certificate.directory", None, "deployment.certificate: directory is missing"),
        ("certificate.directory", "http://ca.example/directory", "deployment.certificate.directory: must be the https"),
        ("certificate.directory", "https://ca.example:443/directory", "deployment.certificate.directory"),
        (
            "certificate.directory",
            "https://ca.example:14000/directory",
            "deployment.network.egress: must have tcp:14000",
        ),
        ("certificate.roots", "", "deployment.certificate.roots: must be a path"),
        ("certificate.insecure", True, "unknown member insecure"),
        ("network.domain", None, "deployment.network.domain: must be a name of two labels or more"),
        ("network.domain", "notary", "deployment.network.domain: must be a name of two labels or more"),
        ("network.ports", [8443], "deployment.network.ports: must have 443 with [certificate]"),
        ("network.egress", ["udp:53", "udp:443"], "deployment.network.egress: must have tcp:443 with [certificate]"),
    ],
)
def test_a_certificate_that_nobody_could_give_is_refused(
    document: dict[str, Any], path: str, value: Any, words: str
) -> None:
    with pytest.raises(FormatError) as caught:
        parse(changed(certified(document), path, value))
    assert words in str(caught.value)


@pytest.mark.parametrize("document", [LOCAL, SPACE])
def test_no_ca_reaches_a_loopback_port_and_a_container_reads_no_setting(document: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r'deployment\.certificate: cannot be had with kind "'):
        parse(changed(document, "certificate", {"directory": DIRECTORY}))
