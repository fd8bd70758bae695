"""Finding and reading the configuration's disk, against folders that stand for /sys/block and /dev."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pluto_notary import config, fetch_config
from pluto_notary.errors import ConfigError
from pluto_notary.serial import EventWriter

DISK = config.encode_config_disk(config.encode_payload(deployment="a"))


class Machine:
    """Folders for /sys/block and /dev, and a clock that sleeping moves; `arrivals` appear at their times."""

    def __init__(self, path: Path) -> None:
        self.blocks, self.devices, self.now = path / "block", path / "dev", 0.0
        self.blocks.mkdir()
        self.devices.mkdir()
        self.arrivals: list[tuple[float, str, str, bytes]] = []

    def add(self, name: str, serial: str, content: bytes = DISK) -> None:
        (self.blocks / name).mkdir(exist_ok=True)
        (self.blocks / name / "serial").write_text(serial)
        (self.devices / name).write_bytes(content)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for arrival in [a for a in self.arrivals if a[0] <= self.now]:
            self.add(*arrival[1:])
            self.arrivals.remove(arrival)

    def read(self) -> bytes:
        return fetch_config.read_disk(self.blocks, self.devices, clock=lambda: self.now, sleep=self.sleep)

    def payload(self) -> bytes:
        return config.decode_config_disk(self.read())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("serial", ["pluto-config", "pluto-config\n", "pluto-config\0\0"])
def test_the_disk_is_found_by_its_serial_number(machine: Machine, serial: str) -> None:
    machine.add("vda", "something else", b"")
    machine.add("vdb", serial)
    (machine.blocks / "loop0").mkdir()
    assert machine.read() == DISK


def test_a_disk_that_comes_late_is_waited_for(machine: Machine) -> None:
    machine.arrivals.append((3.0, "vda", "pluto-config", DISK))
    assert machine.read() == DISK
    assert 3.0 <= machine.now < 4.0


def test_no_disk_is_refused_after_a_while(machine: Machine) -> None:
    machine.add("vda", "another")
    with pytest.raises(ConfigError) as caught:
        machine.read()
    assert caught.value.reason == "absent"
    assert 25 < machine.now < 60


def test_two_disks_are_refused_since_the_host_could_mean_either(machine: Machine) -> None:
    machine.add("vda", "pluto-config")
    machine.add("vdb", "pluto-config")
    with pytest.raises(ConfigError) as caught:
        machine.read()
    assert caught.value.reason == "ambiguous"


def test_a_disk_whose_node_never_opens_is_refused_as_unreadable(machine: Machine) -> None:
    machine.add("vda", "pluto-config")
    (machine.devices / "vda").unlink()
    with pytest.raises(ConfigError) as caught:
        machine.read()
    assert caught.value.reason == "unreadable"


def test_names_that_are_no_virtio_disks_are_not_opened(machine: Machine) -> None:
    for name in ("sda", "vda1", "vd..", "nvme0n1"):
        machine.add(name, "pluto-config")
    assert fetch_config.find_disks(machine.blocks) == []


def test_a_huge_disk_is_read_no_further_than_needed_to_refuse_it(machine: Machine) -> None:
    machine.add("vda", "pluto-config", bytes(10 * config.DISK_SIZE))
    assert len(machine.read()) == config.DISK_SIZE + 1
    with pytest.raises(ConfigError) as caught:
        config.decode_config_disk(machine.read())
    assert caught.value.reason == "size"


def test_a_refused_configuration_is_said_on_the_serial_line_and_leaves_nothing(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.add("vda", "pluto-config", b"\xff" * config.DISK_SIZE)
    lines: list[bytes] = []
    (tmp_path / "run").mkdir()
    code = fetch_config.fetch(
        EventWriter(lines.append, clock=lambda: 0.0), read=machine.payload, directory=tmp_path / "run"
    )
    assert code == 3
    assert lines == [b"pluto: config-refused reason=length\n"]
    assert list((tmp_path / "run").iterdir()) == []
    assert "larger than" in capsys.readouterr().err


def test_an_accepted_configuration_is_readable_by_all_and_writable_by_none(machine: Machine, tmp_path: Path) -> None:
    machine.add("vda", "pluto-config")
    lines: list[bytes] = []
    (tmp_path / "run").mkdir()
    writer = EventWriter(lines.append, clock=lambda: 0.0)
    assert fetch_config.fetch(writer, read=machine.payload, directory=tmp_path / "run") == 0
    payload = (tmp_path / "run/config.json").read_bytes()
    digest = hashlib.sha256(payload).hexdigest()
    assert (tmp_path / "run/config.digest").read_text() == f"{digest}\n"
    assert lines == [f"pluto: config-accepted digest={digest}\n".encode()]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()} == {0o444}
