"""[platform] of kind azure-tdx: what is taken, and what is refused by the name of its field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.azure.wanted import SIZES, Azure
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

GUID = "01234567-89ab-cdef-0123-456789abcdef"
GOOD: dict[str, Any] = {
    "tenant": GUID,
    "subscription": GUID,
    "resourceGroup": "notaries",
    "location": "westeurope",
    "vmSize": "Standard_DC4es_v6",
    "route": "disk",
    "login": "secret",
    "client": GUID,
    "operators": ["198.51.100.0/24"],
}


def parse(**changes: Any) -> Azure:
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return Azure.parse(Fields(fields, what="deployment.platform"), Path("/etc/pluto"))


def test_what_is_left_out() -> None:
    platform = parse()
    assert (platform.zone, platform.guest_state, platform.address, platform.subnet) == (
        None,
        "NonPersistedTPM",
        None,
        None,
    )
    assert platform.login.key is None


def test_everything() -> None:
    subnet = f"/subscriptions/{GUID}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
    platform = parse(
        zone="2",
        guestState="VMGuestStateOnly",
        login="certificate",
        key="key.pem",
        operators="any",
        address="www",
        subnet=subnet,
    )
    assert platform.login.key == Path("/etc/pluto/key.pem")
    assert (platform.operators, platform.zone, platform.address, platform.subnet) == ((), "2", "www", subnet)
    assert parse(login="managed-identity", client=None).login.client is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant", "contoso"),
        ("tenant", GUID.upper()),
        ("subscription", ""),
        ("resourceGroup", "ends."),
        ("resourceGroup", "a/b"),
        ("location", "West Europe"),
        ("zone", "4"),
        ("vmSize", "Standard_DC4as_v5"),
        ("vmSize", "Standard_D4s_v5"),
        ("vmSize", "Standard_DC3es_v6"),
        ("route", "image"),
        ("guestState", "ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey"),
        ("login", "password"),
        ("client", "me"),
        ("client", None),
        ("key", ""),
        ("operators", []),
        ("operators", "all"),
        ("operators", ["198.51.100.1/24"]),
        ("operators", [5]),
        ("operators", ["x"]),
        ("operators", ["10.0.0.0/8"] * 33),
        ("address", "../x"),
        ("subnet", "default"),
    ],
)
def test_what_is_refused_is_named(field: str, value: Any) -> None:
    with pytest.raises(FormatError, match=rf"deployment\.platform(\.{field}|: {field} is missing)"):
        parse(**{field: value})


def test_what_does_not_go_together() -> None:
    with pytest.raises(FormatError, match="managed identity has no key"):
        parse(login="managed-identity", key="x")
    with pytest.raises(FormatError, match="PEM"):
        parse(login="certificate")
    with pytest.raises(FormatError, match="unknown member secret"):
        parse(secret="s")
    with pytest.raises(FormatError, match="4 vCPUs and 16 GiB"):
        parse().refuse_shape(4, 8 << 30)
    parse().refuse_shape(4, 16 << 30)
    with pytest.raises(FormatError, match="8443"):
        parse().refuse_ports((443, 80))
    for ports in ((443,), (8443,), (8443, 443)):
        parse().refuse_ports(ports)


def test_the_sizes_are_those_with_tdx() -> None:
    assert SIZES["Standard_DC2es_v6"] == (2, 8 << 30)
    assert SIZES["Standard_EC64eds_v6"] == (64, 512 << 30)
    assert "Standard_EC96es_v6" not in SIZES
    assert not [size for size in SIZES if "as_" in size or "ads_" in size], "those are AMD's"
