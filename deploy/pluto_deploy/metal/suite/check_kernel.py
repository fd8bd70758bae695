"""The running kernel and its devices: TDX asked for, no hibernation, devices for their groups alone."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare.places import PROVISION_GROUP
from pluto_deploy.metal.prepare.wanted import QUOTE_PACKAGES, WORDS
from pluto_deploy.metal.suite.promises import lines, only_local_pccs, only_tdx


@pytest.mark.parametrize("parameter", WORDS)
def test_parameter(host: Host, parameter: str) -> None:
    """The kernel was started with what a TDX host needs."""
    only_tdx(host)
    given = host.file("/proc/cmdline").content_string.split()
    assert parameter in given, f"{parameter} is not on the running kernel's command line: reboot, if it was prepared"


@pytest.mark.parametrize(
    ("device", "group"),
    [("/dev/kvm", layout.KVM_GROUP), ("/dev/vhost-net", layout.KVM_GROUP), ("/dev/sgx_provision", PROVISION_GROUP)],
)
def test_device(host: Host, device: str, group: str) -> None:
    """A device is for its group alone."""
    only_tdx(host)
    file = host.file(device)
    assert file.exists, f"{device} is not there"
    assert (file.group, file.mode & 0o007) == (group, 0), f"{device} is {file.mode:04o} {file.user}:{file.group}"


@pytest.mark.parametrize("package", QUOTE_PACKAGES)
def test_held(host: Host, package: str) -> None:
    """A package that quotes depend on is installed and held, so that no upgrade changes it unasked."""
    only_tdx(host)
    _held(host, package)


def test_pccs_is_held(host: Host) -> None:
    """The package of the PCCS is installed and held."""
    only_local_pccs(host)
    _held(host, "sgx-dcap-pccs")


def _held(host: Host, package: str) -> None:
    assert host.package(package).is_installed, f"{package} is not installed"
    assert package in lines(host, "apt-mark", "showhold"), f"{package} is not held"
