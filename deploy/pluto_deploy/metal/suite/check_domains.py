"""Trust domains on the host: their units are root's and hardened, their sockets nobody else's."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.suite.promises import found, owned

HARDENED = {
    "User": layout.USER,
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "PrivateDevices": "yes",
    "DevicePolicy": "closed",
    "PrivateNetwork": "yes",
    "CapabilityBoundingSet": "",
    "MemorySwapMax": "0",
}


@pytest.fixture
def units(host: Host) -> list[str]:
    paths = found(host, [str(layout.UNITS)], "-name", "pluto-td-*.service", "-type", "f")
    there = sorted(path.rpartition("/")[2] for path in paths)
    if not there:
        pytest.skip("no trust domain is on this host yet")
    return there


def test_unit_files(host: Host, units: list[str]) -> None:
    """The units are root's files."""
    for unit in units:
        assert owned(host, str(layout.UNITS / unit)) == "0644 root:root"


def test_units_are_hardened(host: Host, units: list[str]) -> None:
    """The units are confined, and systemd has them as they lie there."""
    for unit in units:
        properties = host.service(unit).systemd_properties
        given = {name: properties.get(name, "") for name in HARDENED}
        assert given == HARDENED, f"{unit}: {given}"
        assert properties["NeedDaemonReload"] == "no", f"{unit} is not loaded as it lies there"


def test_sockets(host: Host) -> None:
    """Sockets of running machines are open to nobody else."""
    folders = found(host, [str(layout.RUNTIME)], "-mindepth", "1", "-type", "d", "-perm", "/0077")
    assert folders == [], f"open to others: {', '.join(folders)}"
    sockets = found(host, [str(layout.RUNTIME)], "-type", "s", "-perm", "/0077")
    assert sockets == [], f"open to others: {', '.join(sockets)}"


def test_slots(host: Host) -> None:
    """What a slot holds is root's, but for its serial log and its software TPM."""
    tests = ("-mindepth", "2", "(", "-name", "slot.json", "-o", "-name", "config.disk", ")", "(", "!", "-user", "root")
    foreign = found(host, [str(layout.DOMAINS)], *tests, "-o", "-perm", "/0222", ")")
    assert foreign == [], f"not root's alone or not read-only: {', '.join(foreign[:5])}"
