"""Platform files: what is accepted, in its one spelling, what each kind has as its default, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import smbios
from pluto_measure.machine import platform_file
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi, Input
from pluto_measure.machine.platform import KINDS, Disk, Platform, SecureBoot
from pluto_measure.machine.platform_file import parse_profile, parse_profiles, parse_size
from simulators import smbios_tables, tdvf_images

KEY = {"base64": base64.b64encode(b"key").decode()}
TDVF = tdvf_images.image()
DIGEST = "ab" * 48
SECTION = {"type": "TD_HOB", "offset": 0, "rawSize": 0, "address": 0, "memorySize": 4096, "attributes": 0}
ACPI = {"loader": DIGEST, "rsdp": {"sha384": "cd" * 48}, "tables": KEY}


def read(name: str) -> bytes:
    return {"OVMF.fd": TDVF, "key": b"key"}[name]


def parse(platform: str = "qemu-vtpm", **members: Any) -> Platform:
    return platform_file.parse(json.dumps({"platform": platform, **members}), read)


def test_what_is_missing_has_a_default_and_the_default_is_spelled_out() -> None:
    platform = parse()
    assert platform == Platform() == Platform.default("qemu-vtpm")
    assert platform.to_json() == {
        "platform": "qemu-vtpm",
        "vmm": "qemu",
        "vmmVersion": "11.1",
        "machineType": "pc-q35-10.1",
        "firmware": None,
        "cpus": 2,
        "memory": 1 << 30,
        "boot": "uki-kernel",
        "secureBoot": {"state": "absent"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_default_that_says_what_it_is(kind: str) -> None:
    assert parse(kind) == Platform.default(kind)
    assert Platform.default(kind).to_json()["platform"] == kind


def test_every_member_is_read() -> None:
    platform = parse(
        vmm="qemu",
        vmmVersion="11.1.3",
        machineType="pc-q35-11.1",
        firmware={"file": "OVMF.fd"},
        edk2Generation="edk2-stable202502",
        cpus=4,
        memory="524288M",
        boot="disk",
        disk={"bus": "nvme", "slot": 3, "serial": "x"},
        acpi={**ACPI, "tpmLog": DIGEST},
        bootVariables={"BootOrder": KEY, "Boot000A": DIGEST},
        fwCfg={"bootorder": KEY},
        devices=["virtio-net-pci"],
        mrConfigId="ef" * 48,
        secureBoot={"state": "on", "PK": KEY, "KEK": {"file": "key"}, "db": KEY, "dbx": DIGEST},
    )
    assert platform.memory == 512 << 30
    assert platform.firmware == Firmware(Digests.of(TDVF))
    assert (platform.edk2_generation, platform.generation, platform.version) == (202502, 202502, (11, 1, 3))
    assert platform.disk == Disk("nvme", 3, "x")
    assert set(platform.acpi[0].blobs) == {"loader", "rsdp", "tables", "tpmLog"}
    assert platform.acpi[0].blobs["tables"] == Digests.of(b"key")
    assert platform.boot_variables["BootOrder"] == Input.of(b"key")
    assert platform.fw_cfg == {"bootorder": Input.of(b"key")}
    unknown = Digests(b"", bytes.fromhex(DIGEST))
    assert platform.secure_boot == SecureBoot("on", {"PK": b"key", "KEK": b"key", "db": b"key", "dbx": unknown})
    shown = platform.to_json()
    assert shown["secureBoot"] == {
        "state": "on",
        **dict.fromkeys(("PK", "KEK", "db"), Digests.of(b"key").to_json()),
        "dbx": {"sha384": DIGEST},
    }
    assert shown["mrConfigId"] == "ef" * 48
    assert shown["disk"] == {"bus": "nvme", "slot": 3, "serial": "x"}
    assert shown["devices"] == ["virtio-net-pci"]
    json.dumps(shown)


def test_a_trust_domains_firmware_is_read_as_far_as_it_is_measured() -> None:
    platform = parse("qemu-tdx", firmware={"file": "OVMF.fd"}, edk2Generation=202502)
    assert platform.firmware == Firmware.of(TDVF, "interleaved", 202502)
    by_digest = parse("qemu-tdx", firmware=Digests.of(TDVF).sha384.hex())
    assert by_digest.firmware == Firmware(Digests(b"", Digests.of(TDVF).sha384))
    with pytest.raises(FormatError, match="does not say which edk2 it is"):
        _ = by_digest.generation


@pytest.mark.parametrize(
    ("vmm", "version", "order"),
    [
        ("qemu", "8.2.2", "sectioned"),
        ("qemu", "7.2", "interleaved"),
        ("qemu", "9.0", "interleaved"),
        ("qemu", "10.1.0+ds", "interleaved"),
        ("cloud-hypervisor", "8.0", "interleaved"),
    ],
)
def test_the_page_order_follows_the_vmm_unless_it_is_given(vmm: str, version: str, order: str) -> None:
    assert parse("qemu-tdx", vmm=vmm, vmmVersion=version).order == order
    assert parse("qemu-tdx", vmm=vmm, vmmVersion=version, pageOrder="sectioned").order == "sectioned"


def test_a_google_machine_has_the_size_of_its_type() -> None:
    platform = parse("gcp-tdx", machineType="c3-standard-22")
    assert (platform.cpus, platform.memory, platform.boot) == (22, 88 << 30, "disk")
    assert parse("gcp-tdx", machineType="c3-standard-22", memory="32G").memory == 32 << 30
    assert platform.generation == 202502
    assert not platform.secure_boot.known
    assert parse("gcp-tdx", secureBoot={"state": "off"}).secure_boot.known
    assert platform.to_json()["secureBoot"] == {"state": "off", "variables": "not given"}


def test_google_may_have_an_allow_list_of_acpi_and_endorsed_registers() -> None:
    platform = parse("gcp-tdx", acpi=[ACPI, {**ACPI, "loader": "00" * 48}], endorsedMrtds=[DIGEST])
    assert [acpi.blobs["loader"].sha384[0] for acpi in platform.acpi] == [0xAB, 0]
    assert platform.endorsed_mrtds == (bytes.fromhex(DIGEST),)
    listed = platform.to_json()["acpi"]
    assert isinstance(listed, list)
    assert [item["loader"]["sha384"][:2] for item in listed] == ["ab", "00"]
    assert parse("gcp-tdx", insecure_unmeasured_acpi=True).insecure_unmeasured_acpi


def test_what_a_prediction_says_of_a_machine_is_a_platform_file() -> None:
    platform = parse("gcp-tdx", firmware={"file": "OVMF.fd"}, edk2Generation=202502, acpi=ACPI, disks=2)
    assert isinstance(platform.to_json()["firmware"], dict)
    again = platform_file.from_json({**platform.to_json(), "secureBoot": {"state": "off"}}, read)
    assert again.to_json()["firmware"] == platform.to_json()["firmware"]
    assert again.disks == 2


def test_on_azure_nobody_knows_the_keys_so_secure_boot_is_a_state_alone() -> None:
    secure_boot = parse("azure-tdx", secureBoot={"state": "on"}).secure_boot
    assert (secure_boot.state, secure_boot.known, secure_boot.variables) == ("on", False, {})


def test_smbios_by_its_bytes_is_filtered_and_by_its_digest_taken() -> None:
    table = smbios_tables.machine()
    encoded = {"base64": base64.b64encode(table).decode()}
    assert parse(smbios=encoded).smbios == Digests.of(smbios.measured(table))
    assert parse(smbios=DIGEST).smbios == Digests(b"", bytes.fromhex(DIGEST))


def test_the_shape_is_what_decides_harvested_inputs() -> None:
    small = parse("qemu-tdx", firmware={"file": "OVMF.fd"}, edk2Generation=202502, memory="1G", devices=["x"])
    assert small.shape() == {
        "vmm": "qemu",
        "vmmVersion": "11.1",
        "machineType": "pc-q35-10.1",
        "firmware": Digests.of(TDVF).sha384.hex(),
        "cpus": 2,
        "lowMemory": 1 << 30,
        "boot": "kernel",
        "devices": ["x"],
        "tpm": False,
    }
    large = [parse("qemu-tdx", firmware=Digests.of(TDVF).to_json(), memory=size).shape() for size in ("2816M", "512G")]
    assert large[0] == large[1]
    assert large[0]["lowMemory"] == 2 << 30
    with pytest.raises(FormatError, match="firmware is not given"):
        parse("qemu-tdx").shape()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"platform": "sev-snp"}, "'sev-snp' is not known"),
        ({"boot": "grub"}, "boot 'grub' is not one of"),
        ({"platform": "gcp-tdx", "boot": "direct"}, "boots from a disk"),
        ({"cpus": 0}, "0 vCPUs"),
        ({"cpus": True}, "cpus must be int"),
        ({"memory": 0}, "memory of 0 bytes"),
        ({"memory": "1g"}, "is not digits with K, M, G or T"),
        ({"colour": {}}, "unknown member colour"),
        ({"edk2Generation": 202300}, "not a stable tag"),
        ({"edk2Generation": "2025.02"}, "not a stable tag"),
        ({"edk2Generation": 202211}, "202302 is the first"),
        ({"pageOrder": "random"}, "pageOrder 'random'"),
        ({"disk": {"bus": "ide", "slot": 1}}, "disk.bus 'ide'"),
        ({"disk": {"bus": "nvme", "slot": 32}}, "disk.slot 32"),
        ({"disk": {"bus": "nvme", "slot": 3, "lun": 1}}, "unknown member lun"),
        ({"acpi": {"loader": DIGEST, "rsdp": DIGEST}}, "tables is missing"),
        ({"acpi": {**ACPI, "dsdt": DIGEST}}, "unknown member dsdt"),
        ({"acpi": [ACPI, ACPI]}, "is for gcp-tdx"),
        ({"insecure_unmeasured_acpi": True}, "is for gcp-tdx"),
        ({"endorsedMrtds": [DIGEST]}, "is for gcp-tdx"),
        ({"bootVariables": {"bootorder": KEY}}, "neither BootOrder nor"),
        ({"bootVariables": {"Boot000a": KEY}}, "neither BootOrder nor"),
        ({"devices": [1]}, "devices must be a list of texts"),
        ({"mrConfigId": "00"}, "96 lower-case hex"),
        (
            {"vmmVersion": "new", "platform": "qemu-tdx", "firmware": {"file": "OVMF.fd"}},
            "does not begin with a number",
        ),
        ({"secureBoot": {"state": "maybe"}}, "secureBoot.state 'maybe'"),
        ({"secureBoot": {"state": "on", "PK": KEY, "KEK": KEY}}, "db is missing"),
        ({"secureBoot": {"state": "absent", "PK": KEY}}, "absent, but variables are given"),
        ({"secureBoot": {"state": "off", "MOK": KEY}}, "unknown member MOK"),
        ({"secureBoot": {"state": "off", "db": {"sha256": "00"}}}, "64 lower-case"),
        ({"secureBoot": {"state": "off", "db": {}}}, "neither sha256 nor sha384"),
        ({"secureBoot": {"state": "off", "db": {"base64": "!"}}}, "not base64"),
        ({"secureBoot": {}}, "state is missing"),
        ({"platform": "gcp-tdx", "machineType": "c3-standard-88"}, "'c3-standard-88' is not known, so memory"),
        ({"platform": "gcp-tdx", "disk": {"bus": "nvme", "slot": 4}}, "gcp-tdx has disks"),
        ({"platform": "gcp-tdx", "disks": 0}, "gcp-tdx has disks"),
        ({"disks": 2}, "disks is for gcp-tdx"),
        ({"firmware": {"sha384": DIGEST, "sections": [], "cfv": DIGEST}}, "has not one TD_HOB section"),
        ({"firmware": {"sha384": DIGEST, "sections": [SECTION | {"type": "X"}], "cfv": DIGEST}}, "type 'X'"),
        ({"firmware": {"sha384": DIGEST, "sections": [SECTION | {"address": -1}], "cfv": DIGEST}}, "is nowhere"),
        ({"firmware": "OVMF.fd"}, "not hex"),
        ({"firmware": 1}, "firmware must be str or dict"),
    ],
)
def test_what_cannot_be_predicted_or_is_not_known_is_refused(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse(**members)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("1K", 1024), ("2M", 2 << 20), ("1G", 1 << 30), ("1T", 1 << 40)])
def test_sizes_are_binary(text: str, size: int) -> None:
    assert parse_size(text) == parse_size(size) == size


def test_platforms_by_name_are_read_one_by_one_or_all() -> None:
    text = '[a]\nplatform = "qemu-vtpm"\n[b]\nplatform = "gcp-tdx"\n'
    assert list(parse_profiles(text, read)) == ["a", "b"]
    assert parse_profile(text, "b", read).kind == "gcp-tdx"
    with pytest.raises(FormatError, match="only a, b"):
        parse_profile(text, "c", read)


def test_an_allow_list_says_its_blobs() -> None:
    acpi = Acpi.parse(ACPI, read, what="acpi")
    assert acpi.to_json() == {
        "loader": {"sha384": DIGEST},
        "rsdp": {"sha384": "cd" * 48},
        "tables": Digests.of(b"key").to_json(),
    }
