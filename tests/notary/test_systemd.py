"""What systemd hands over is read exactly, and nothing is assumed where it is absent."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pluto_measure.errors import FormatError
from pluto_notary import systemd

BUILD = "ab" * 32


def test_descriptors_are_found_by_name() -> None:
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "evidence:tpm:log"}
    assert systemd.handed_descriptors(environment, 7) == {"evidence": 3, "tpm": 4, "log": 5}


def test_a_unit_with_several_addresses_hands_over_several_descriptors_of_one_name() -> None:
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "4", "LISTEN_FDNAMES": "https:log:https:tpm"}
    assert systemd.descriptors_named(environment, 7, "https") == (3, 5)
    assert systemd.descriptors_named(environment, 7, "evidence") == ()
    assert systemd.handed_descriptors(environment, 7) == {"https": 3, "log": 4, "tpm": 6}


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "8", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}])
def test_descriptors_for_nobody_or_another_process_are_not_taken(environment: dict[str, str]) -> None:
    assert systemd.handed_descriptors(environment, 7) == {}
    assert systemd.descriptors_named(environment, 7, "a") == ()


@pytest.mark.parametrize(("count", "names"), [("x", "a"), ("2", "a"), ("-1", ""), ("99", ":".join("a" * 99))])
def test_descriptors_that_do_not_fit_their_names_are_refused(count: str, names: str) -> None:
    with pytest.raises(FormatError):
        systemd.handed_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": count, "LISTEN_FDNAMES": names}, 7)


def test_the_service_manager_is_told_where_there_is_one(tmp_path: Path) -> None:
    systemd.notify({}, "READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("line", [f"BUILD_ID={BUILD}", f'BUILD_ID="{BUILD}"'])
def test_the_build_id_is_read_from_os_release(line: str) -> None:
    assert systemd.build_id(f"NAME=Pluto\n{line}\n") == BUILD


@pytest.mark.parametrize("text", ["", "NAME=x\n", "BUILD_ID=\n", "BUILD_ID=rolling\n", f"BUILD_ID={BUILD}00\n"])
def test_an_os_release_without_a_build_id_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        systemd.build_id(text)
