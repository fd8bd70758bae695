"""The units of the trust domain, as text: who may touch what."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pluto_notary import fetch_metadata
from pluto_notary.errors import ConfigError
from pluto_notary.server.__main__ import _CONFIG_SECONDS

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "image/notary/rootfs/usr/lib/systemd/system"
SERVICES = ("pluto-config", "pluto-evidence", "pluto-notary")
WORST_EXPOSURE = 1.5  # of `systemd-analyze security`, 0 (best) to 10


def lines(unit: str) -> list[tuple[str, str]]:
    """Key and value of every setting, in order; systemd allows keys more than once."""
    text = (UNITS / unit).read_text()
    found = [line.partition("=") for line in text.splitlines() if line and line[0] not in "#["]
    return [(key, value) for key, _, value in found]


def values(unit: str, key: str) -> list[str]:
    return [value for name, value in lines(unit) if name == key]


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("pluto-*")))
def test_every_unit_is_well_formed(unit: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    assert set(parser.sections()) <= {"Unit", "Service", "Socket", "Mount", "Install"}


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_has_a_capability_a_core_file_or_a_way_to_more_rights(service: str) -> None:
    unit = f"{service}.service"
    assert values(unit, "User") == [service]
    assert values(unit, "CapabilityBoundingSet") == [""]
    assert values(unit, "NoNewPrivileges") == ["yes"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "MemoryDenyWriteExecute") == ["yes"]
    assert values(unit, "LimitCORE") == ["0"]
    assert values(unit, "DevicePolicy") == ["closed"]


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_event_schema_reaches_the_serial_line(service: str) -> None:
    assert values(f"{service}.service", "StandardOutput") == ["file:/dev/kmsg"]
    assert values(f"{service}.service", "StandardError") == ["journal"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_interpreter_is_isolated_and_writes_no_byte_code(service: str) -> None:
    (command,) = values(f"{service}.service", "ExecStart")
    assert command.startswith("/usr/bin/python3 -I -B -m pluto_notary.")
    assert len(command.split()) == 5


def test_only_the_evidence_helper_is_handed_the_tpm_and_the_notary_no_device_at_all() -> None:
    assert [value for value in values("pluto-evidence.service", "OpenFile") if ":tpm" in value]
    for unit in ("pluto-notary.service", "pluto-config.service"):
        assert not values(unit, "OpenFile")
        assert "tpm" not in (UNITS / unit).read_text().lower()
    assert values("pluto-notary.service", "PrivateDevices") == ["yes"]
    assert values("pluto-notary.service", "DeviceAllow") == ["/dev/kmsg w"]


def test_two_ports_are_listened_on_by_one_name_and_one_group_may_ask_for_evidence() -> None:
    assert values("pluto-notary.socket", "ListenStream") == ["8443", "443"]  # the first is the one that `ready` names
    assert values("pluto-notary.socket", "FileDescriptorName") == ["https"]
    assert values("pluto-evidence.socket", "ListenStream") == ["/run/pluto/evidence.sock"]
    assert values("pluto-evidence.socket", "SocketGroup") == ["pluto-notary"]
    assert values("pluto-evidence.socket", "SocketMode") == ["0660"]


def test_only_those_who_ask_a_metadata_service_may_reach_it_and_by_tcp_alone() -> None:
    address, _ = fetch_metadata.ADDRESS
    for unit in ("pluto-config.service", "pluto-evidence.service"):
        assert values(unit, "IPAddressDeny") == ["any"]
        assert values(unit, "IPAddressAllow") == [address]
        assert values(unit, "RestrictAddressFamilies") == ["AF_INET"]
    assert address not in " ".join(values("pluto-notary.service", "IPAddressAllow"))
    assert "169.254.0.0/16" in " ".join(values("pluto-notary.service", "IPAddressDeny")).split()


def test_the_configuration_waits_for_no_network_and_ends_before_those_who_wait_for_it() -> None:
    ordered = " ".join(values("pluto-config.service", "After") + values("pluto-config.service", "Requires"))
    assert "network" not in ordered, "a machine that has a disk would wait for an address"
    assert values("pluto-config.service", "DefaultDependencies") == ["no"]
    longest = fetch_metadata.WAIT_SECONDS + 10  # the last exchange, and the program's start
    assert longest < float(values("pluto-config.service", "TimeoutStartSec")[0])
    assert longest < _CONFIG_SECONDS < float(values("pluto-notary.service", "TimeoutStartSec")[0])


def test_the_notary_pulls_in_its_configuration_and_is_not_restarted_without_one() -> None:
    assert "pluto-config.service" in values("pluto-notary.service", "Requires")[0].split()
    assert values("pluto-notary.service", "RestartPreventExitStatus") == [str(ConfigError.exit_code)]


def test_the_crypto_library_is_told_that_there_is_no_provider_of_old_algorithms() -> None:
    assert values("pluto-notary.service", "Environment") == ["CRYPTOGRAPHY_OPENSSL_NO_LEGACY=1"]


@pytest.mark.interop
@pytest.mark.parametrize("service", SERVICES)
def test_systemd_finds_little_exposure(service: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no peer: systemd-analyze is absent")
    unit = str(UNITS / f"{service}.service")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--json=short", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("no peer: systemd-analyze is too old")
    exposures = [float(item["exposure"] or 0) for item in json.loads(done.stdout)]
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={int(WORST_EXPOSURE * 10)}", "--no-pager", unit],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert verdict.returncode == 0, sorted(exposures)[-5:]
