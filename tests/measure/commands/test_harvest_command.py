"""`pluto-measure acpi`: harvests the machines of a platforms.toml into the table, compares, and shows it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.command import parser, run
from pluto_measure.commands import acpi
from pluto_measure.digests import Digests
from pluto_measure.harvest.table import Table
from simulators import harvests
from simulators.harvests import items

PLATFORMS = """
[bare-metal]
platform = "qemu-tdx"
firmware = { file = "firmware.fd" }
memory = "4G"
devices = ["virtio-blk-pci", "serial"]
edk2Generation = 202502

[more-memory]
platform = "qemu-tdx"
firmware = { file = "firmware.fd" }
memory = "64G"
devices = ["virtio-blk-pci", "serial"]
edk2Generation = 202502

[known]
platform = "qemu-tdx"
firmware = { file = "firmware.fd" }
acpi = { loader = "%s", rsdp = "%s", tables = "%s" }

[cloud]
platform = "azure-tdx"
""" % (("ab" * 48,) * 3)
LAPTOP = """
[laptop]
platform = "qemu-vtpm"
firmware = { file = "firmware.fd" }
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a kit and machines to harvest."""
    (tmp_path / "kit").mkdir()
    (tmp_path / "platforms.toml").write_text(PLATFORMS)
    return tmp_path


def program() -> argparse.ArgumentParser:
    top = parser("pluto-measure", "")
    acpi.add(top.add_subparsers(dest="command", required=True))
    return top


def harvest(place: Path, *words: str) -> int:
    options = ("--kit", place / "kit", "--platforms", place / "platforms.toml", "--table", place / "table.json")
    return run(program(), ["acpi", "harvest", *map(str, options), *words])


def machines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["machines"]
    return found


def test_every_shape_is_harvested_once_in_two_sizes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place, "--json") == 0
    out, err = capsys.readouterr()
    said = json.loads(out)["machines"]
    assert [(one["profile"], one["known"]) for one in said] == [("bare-metal", False), ("more-memory", False)]
    assert said[0]["key"] == said[1]["key"]
    assert [words.split("-m ")[1].split()[0] for words in harvests.words(place / "kit")] == ["4096M", "2048M"]
    assert "bare-metal (1 of 2): 4096 MiB" in err
    table = Table.parse((place / "table.json").read_bytes())
    [entry] = table.entries.values()
    assert entry.acpi.blobs["tables"] == Digests.of(b"tables ")
    assert entry.made_with == {
        "qemu": "11.1.3", "firmware": "ovmf 1", "kernel": "linux 1", "processor": "Skylake-Server,phys-bits=46"
    }  # fmt: skip


def test_a_second_harvest_changes_nothing_and_a_check_writes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place) == 0
    before = (place / "table.json").read_bytes()
    assert harvest(place) == 0
    assert (place / "table.json").read_bytes() == before
    assert harvest(place, "--check") == 0
    assert "bare-metal: as it was" in capsys.readouterr().out
    harvests.kit(place / "kit", items(seed="new"))
    assert harvest(place, "--check", "--json") == 5
    assert machines(capsys)[0]["differences"] == ["acpi.tables"]
    assert (place / "table.json").read_bytes() == before
    assert harvest(place) == 0
    assert "bare-metal: other acpi.tables" in capsys.readouterr().out
    assert (place / "table.json").read_bytes() != before


def test_a_machine_that_is_not_in_the_table_fails_the_check(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place, "--check") == 5
    assert "bare-metal: new" in capsys.readouterr().out
    assert not (place / "table.json").exists()


def test_one_profile_leaves_the_others_in_the_table(place: Path) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place) == 0
    (place / "platforms.toml").write_text(PLATFORMS + LAPTOP)
    harvests.kit(place / "kit", items(tpm=True))
    assert harvest(place, "--profile", "laptop") == 0
    entries = Table.parse((place / "table.json").read_bytes()).entries.values()
    assert sorted(bool(entry.shape["tpm"]) for entry in entries) == [False, True]
    assert {str(entry.shape["tpm"]): entry.generation for entry in entries} == {"False": 202502, "True": None}
    (place / "platforms.toml").write_text(LAPTOP)
    assert harvest(place) == 0
    assert [entry.shape["tpm"] for entry in Table.parse((place / "table.json").read_bytes()).entries.values()] == [True]


def test_two_boots_that_do_not_agree_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harvests.kit(place / "kit", items())
    (place / "kit/transcript.2048M").write_bytes(harvests.transcript(items(seed="other")))
    assert harvest(place) == 3
    assert "bare-metal (1 of 2) gave two values for acpi.tables" in capsys.readouterr().err
    assert not (place / "table.json").exists()


def test_blobs_are_kept_under_their_digests(place: Path) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place, "--blobs", str(place / "blobs")) == 0
    found = {path.name: path.read_bytes() for path in (place / "blobs").iterdir()}
    assert {Digests.of(content).sha256.hex() for content in found.values()} == set(found)
    assert b"tables " in found.values()
    (place / "file").write_bytes(b"")
    assert harvest(place, "--blobs", str(place / "file/x")) == 2


def test_firmware_of_ones_own_replaces_the_kits(place: Path) -> None:
    harvests.kit(place / "kit", items(tpm=True))
    own = place / "OVMF.fd"
    own.write_bytes(b"firmware of one's own")
    (place / "platforms.toml").write_text(LAPTOP)
    assert harvest(place, "--firmware", str(own)) == 0
    assert f"-bios {own}" in harvests.words(place / "kit")[-1]
    [entry] = Table.parse((place / "table.json").read_bytes()).entries.values()
    assert entry.shape["firmware"] == Digests.of(own.read_bytes()).sha384.hex()
    assert "firmware" not in entry.made_with


def test_firmware_that_starts_no_trust_domain_is_fine_for_a_tpms_machine(place: Path) -> None:
    harvests.kit(place / "kit", items(tpm=True))
    (place / "kit/firmware.fd").write_bytes(b"no TDVF")
    (place / "platforms.toml").write_text(LAPTOP)
    assert harvest(place) == 0
    assert [e.generation for e in Table.parse((place / "table.json").read_bytes()).entries.values()] == [None]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--profile", "nowhere"], 2, "has no profile nowhere"),
        (["--profile", "cloud"], 2, "profile cloud is no machine of QEMU's"),
        (["--profile", "known"], 2, "profile known is no machine of QEMU's"),
        (["--firmware", "/nowhere"], 2, "firmware /nowhere cannot be read"),
        (["--timeout", "soon"], 2, "invalid float"),
    ],
)
def test_mistakes_are_named(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, problem: str
) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place, *words) == code
    assert problem in capsys.readouterr().err


def test_a_kit_with_another_qemu_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harvests.kit(place / "kit", items(), version="11.2")
    assert harvest(place) == 2
    assert "the machine has QEMU 11.1, and the kit has 11.2" in capsys.readouterr().err
    harvests.kit(place / "kit", items(), version="11.10.3")
    assert harvest(place) == 2


def test_a_profile_with_other_firmware_than_the_kits_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harvests.kit(place / "kit", items())
    (place / "platforms.toml").write_text(LAPTOP.replace('{ file = "firmware.fd" }', f'"{"ab" * 48}"'))
    assert harvest(place) == 2
    assert "profile laptop has another firmware" in capsys.readouterr().err


def test_the_table_is_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harvests.kit(place / "kit", items())
    assert harvest(place) == 0
    capsys.readouterr()
    assert run(program(), ["acpi", "show", "--table", str(place / "table.json")]) == 0
    out = capsys.readouterr().out
    assert Digests.of(b"tables ").sha384.hex() in out
    assert "2 vCPUs, 2 GiB or at least 2816 MiB of memory, booted by -kernel, devices virtio-blk-pci; serial" in out
    assert out.endswith("\n1 machine\n")
    assert run(program(), ["acpi", "show", "--table", str(place / "table.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((place / "table.json").read_text())


def test_no_action_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program(), ["acpi", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UsageError"
