"""Harvests for real: the committed table again, the local machine by its own arguments, and other people's machines.

Every boot takes some ten seconds. What real machines' tables hash to is read from the folder of real data.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.local import machine as local
from pluto_deploy.local.machine import Machine
from pluto_measure.digests import Digests
from pluto_measure.formats import eventlog
from pluto_measure.harvest import entry, machine, qemu
from pluto_measure.harvest import kit as kits
from pluto_measure.harvest.kit import Kit
from pluto_measure.harvest.table import Table
from pluto_measure.machine.inputs import Input
from pluto_measure.machine.platform import Platform
from pluto_measure.machine.platform_file import parse_profile
from pluto_measure.predict import predict
from pluto_measure.registers.replay import replay, replay_expected
from simulators import launches

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "image/notary/platform-inputs.json"
PLATFORMS = ROOT / "image/notary/platforms.toml"
TIMEOUT = 300.0

# This many vCPUs and devices, in this order, have two of the machines whose tables' digests are public.
MORE: dict[str, dict[str, Any]] = {
    "small_0d_new": {"cpus": 8, "disks": 3, "behind": (), "arguments": ()},
    "medium_2d_new": {
        "cpus": 16,
        "disks": 5,
        "behind": ("pcie-root-port,id=pci.1,bus=pcie.0,slot=1,pref64-reserve=512G", "vfio-pci,bus=pci.1,addr=0x0"),
        "arguments": ("-fw_cfg", "name=opt/ovmf/X-PciMmio64Mb,string=262144"),
    },
}
HOLE = ("-global", "q35-pcihost.pci-hole64-size=4096G")

pytestmark = pytest.mark.more_boots


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit, made of the inputs that `make test-boots` fetched."""
    out = tmp_path_factory.mktemp("harvest") / "kit"
    words: list[str | Path] = [
        "tools",
        ROOT / "image/notary",
        "--out",
        out,
        "--offline",
        "--relock",
        ROOT / "build/relock",
    ]
    command = "import sys; from pluto_image.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"the kit cannot be made (run 'make inputs' first): {done.stderr}"
    return out


@pytest.fixture(scope="module")
def kit(folder: Path) -> Kit:
    return Kit.parse((folder / kits.FILE).read_bytes())


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.parse(TABLE.read_bytes())


def profile(name: str, folder: Path) -> Platform:
    return parse_profile(PLATFORMS.read_bytes(), name, lambda file: (folder / file).read_bytes())


def test_a_harvest_gives_what_the_committed_table_says(folder: Path, tmp_path: Path) -> None:
    """Both boots of one machine, through the command."""
    words: list[str | Path] = ["acpi", "harvest", "--kit", folder, "--profile", "bare-metal", "--check", "--json"]
    code = "import sys; from pluto_measure.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["differences"] for one in json.loads(done.stdout)["machines"]] == [[]]


@pytest.mark.parametrize("boot", ["uki-kernel", "disk"])
def test_the_local_machine_has_the_inputs_of_its_shape_and_pcr1_is_exact(
    boot: str, kit: Kit, folder: Path, table: Table, tmp_path: Path
) -> None:
    """Started with `pluto-deploy local`'s own arguments, but for the guest. Its TPM's log is what PCR 1 replays to."""
    (tmp_path / "config").write_bytes(bytes(1 << 16))
    said = tmp_path / "transcript"
    port = (
        "-chardev",
        f"file,id=transcript,path={said}",
        "-device",
        f"isa-debugcon,iobase={qemu.PORT},chardev=transcript",
    )
    with machine.software_tpm(kit, tmp_path / "tpm") as channel:
        wiring = local.Wiring(
            firmware=folder / kits.FIRMWARE,
            uki=folder / kits.UKI,
            disk=folder / kits.DISK,
            config=tmp_path / "config",
            serial_log=tmp_path / "serial.log",
            tpm_fd=channel,
            monitor_fd=-1,
            port=0,
        )
        arguments = without_monitor(local.arguments(Machine(boot=boot), wiring, port))
        items = machine.run(kit, arguments, said, tpm_fd=channel, timeout=TIMEOUT)
    firmware = Digests.of((folder / kits.FIRMWARE).read_bytes())
    platform = Machine(boot=boot).platform(firmware)
    assert platform.shape() == profile(f"local-{boot}", folder).shape()
    known = table.find(platform)
    assert known is not None
    found = entry.make(platform.shape(), items, memory=platform.memory, generation=202502, made_with={})
    assert found.differences(known) == ()

    logged = replay(eventlog.parse(items["tpm-log"]))
    expected = replay_expected(e for e in predict(launches.LAUNCH, table.complete(platform)) if e.register == "pcr1")
    assert {bank: values["pcr1"] for bank, values in expected.items()} == {
        bank: logged[bank]["pcr1"] for bank in expected
    }


@pytest.mark.interop
@pytest.mark.parametrize("name", MORE)
def test_tables_are_those_of_real_trust_domains_but_for_what_newer_qemu_left_out(
    name: str, kit: Kit, folder: Path, vectors: Path
) -> None:
    """Those ran QEMU 10.1; from 11 on, a method is gone that set the selector of CPU hot-plug to zero."""
    results = json.loads((vectors / "measure/acpi/harvest.json").read_text())["results"]
    [published] = [one["tables_sha384"] for one in results if one["platform"] == name]
    shape = MORE[name]
    disks = tuple(f"virtio-scsi-pci,id=scsi{n},disable-legacy=on,iommu_platform=true" for n in range(shape["disks"]))
    platform = Platform(
        kind="qemu-tdx",
        cpus=shape["cpus"],
        memory=4 << 30,
        devices=("e1000,bus=pcie.0,addr=0x2,romfile=", "vfio-pci", *disks, *shape["behind"]),
    ).with_firmware(Input.of((folder / kits.FIRMWARE).read_bytes()))
    extra = (*HOLE, *shape["arguments"])
    items = machine.harvest(
        kit, folder, platform, folder / kits.FIRMWARE, platform.memory, timeout=TIMEOUT, extra=extra
    )
    tables = items["fw_cfg:etc/acpi/tables"]
    assert Digests.of(tables).sha384.hex() != published
    assert Digests.of(with_selector_reset(tables)).sha384.hex() == published


def without_monitor(arguments: Sequence[str]) -> list[str]:
    """Nobody talks to this machine; a monitor is no device, so the guest sees none of it."""
    at = next(index for index, word in enumerate(arguments) if word.startswith("socket,id=monitor"))
    assert [arguments[at - 1], arguments[at + 1]] == ["-chardev", "-mon"]
    return [*arguments[: at - 1], *arguments[at + 3 :]]


def with_selector_reset(tables: bytes) -> bytes:
    """The tables with the method _INI {CSEL = 0} at the end of the device PRES, as QEMU up to 10 had it.

    ACPI specification, section 20.2: DefMethod := 0x14 PkgLength NameString Flags TermList; a PkgLength of two bytes
    has the low four bits in the first one. DSDT lies behind FACS; RSDT holds unpatched offsets into the blob.
    """
    method = bytes.fromhex("140c") + b"_INI" + bytes.fromhex("08") + bytes.fromhex("7000") + b"CSEL"
    dsdt, length = 64, int.from_bytes(tables[68:72], "little")
    body = bytearray(tables[dsdt : dsdt + length])
    device = body.index(b"\x5b\x82", body.index(b"CPU Hotplug resources") - 60)
    assert body[device + 4 : device + 20].find(b"PRES") > 0
    scope = body.rindex(b"\x10", 0, device)
    for at in (device + 2, scope + 1):
        assert body[at] >> 6 == 1
        size = (body[at] & 0xF | body[at + 1] << 4) + len(method)
        end = at + size - len(method)
        body[at : at + 2] = bytes([0x40 | size & 0xF, size >> 4])
        if at == device + 2:
            body[end:end] = method
    body[4:8] = len(body).to_bytes(4, "little")
    rest = bytearray(tables[dsdt + length :])
    rsdt = rest.index(b"RSDT")
    for at in range(rsdt + 36, rsdt + int.from_bytes(rest[rsdt + 4 : rsdt + 8], "little"), 4):
        moved = int.from_bytes(rest[at : at + 4], "little") + len(method)
        rest[at : at + 4] = moved.to_bytes(4, "little")
    return (tables[:dsdt] + body + rest)[: len(tables)]
