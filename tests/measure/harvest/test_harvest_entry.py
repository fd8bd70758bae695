"""An entry of the table: what the guest said, held against itself and the TPM's log, and as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import smbios
from pluto_measure.harvest import entry
from pluto_measure.harvest.entry import Entry, Smbios
from pluto_measure.machine.inputs import Input
from simulators import harvests, smbios_tables
from simulators.harvests import ATTRIBUTES, items, option

SHAPE: dict[str, object] = {"cpus": 2, "tpm": False}
MADE_WITH = {"qemu": "11.1.3"}


def made(said: dict[str, bytes], *, tpm: bool = False, generation: int | None = 202502) -> Entry:
    shape = {**SHAPE, "tpm": tpm}
    return entry.make(shape, said, memory=4 << 30, generation=generation, made_with=MADE_WITH)


def test_digests_and_contents_are_those_of_what_the_guest_said() -> None:
    said = items(options={2: option("UEFI Misc Device"), 0: option("UiApp"), 0x1A: option("EFI Internal Shell")})
    found = made(said)
    assert list(found.acpi.blobs) == ["loader", "rsdp", "tables"]
    assert found.acpi.blobs["tables"] == Digests.of(said["fw_cfg:etc/acpi/tables"])
    assert found.acpi.blobs["loader"] == Digests.of(said["fw_cfg:etc/table-loader"])
    assert list(found.boot_variables) == ["BootOrder", "Boot0002", "Boot0000", "Boot001A"]
    assert found.boot_variables["BootOrder"].content == bytes([2, 0, 0, 0, 0x1A, 0])
    assert found.boot_variables["Boot0002"].content == option("UEFI Misc Device")
    assert {name: item.content for name, item in found.fw_cfg.items()} == {
        "BootMenu": bytes(2),
        "bootorder": said["fw_cfg:bootorder"],
    }
    assert (found.smbios, found.generation, found.made_with) == (None, 202502, MADE_WITH)


def test_with_a_tpm_its_log_area_is_measured_before_the_tables() -> None:
    assert list(made(items(tpm=True), tpm=True).acpi.blobs) == ["loader", "rsdp", "tpmLog", "tables"]


def test_smbios_is_kept_where_the_firmware_measures_it() -> None:
    said = items(tpm=True, smbios_logged=True)
    found = made(said, tpm=True, generation=202505)
    assert found.smbios == Smbios(4 << 30, Input.of(smbios_tables.machine()))
    assert found.smbios is not None
    assert found.smbios.measured() == Digests.of(smbios.measured(smbios_tables.machine()))
    assert made(items(), generation=None).smbios is None


def test_a_log_without_smbios_is_not_that_of_such_firmware() -> None:
    with pytest.raises(FormatError, match="has 6 such measurements, the guest read 7"):
        made(items(tpm=True), tpm=True, generation=202505)


@pytest.mark.parametrize(
    "name", ["fw_cfg:etc/table-loader", "fw_cfg:etc/acpi/rsdp", "fw_cfg:etc/tpm/log", "efi:Boot0000", "smbios"]
)
def test_what_the_firmware_measured_must_be_what_the_guest_read(name: str) -> None:
    said = items(tpm=True, smbios_logged=True)
    changed = bytearray(said[name])
    changed[6] ^= 1  # of the table-loader: the second letter of a name; of the variable: behind the attributes
    if name == "fw_cfg:etc/table-loader":
        changed = bytearray(said[name]) + harvests.record(3)
    with pytest.raises(FormatError, match="not what the guest read"):
        made({**said, name: bytes(changed)}, tpm=True, generation=202505)


def test_a_machine_with_a_tpm_whose_log_is_missing_is_refused() -> None:
    said = items(tpm=True)
    del said["tpm-log"]
    with pytest.raises(FormatError, match="no log"):
        made(said, tpm=True)


@pytest.mark.parametrize("name", ["fw_cfg:etc/table-loader", "fw_cfg:etc/acpi/tables", "efi:BootOrder", "smbios"])
def test_what_the_guest_left_out_is_named(name: str) -> None:
    said = items()
    del said[name]
    with pytest.raises(FormatError, match=f"did not say {name}"):
        made(said)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("etc/acpi/tables", "etc/acpi/rsdp"), "in the order"),
        (("etc/acpi/rsdp",), "in the order"),
        (("etc/acpi/rsdp", "etc/vmgenid_guid", "etc/acpi/tables"), "etc/vmgenid_guid, which no prediction knows"),
    ],
)
def test_blobs_that_no_prediction_expects_are_refused(names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        made({**items(), "fw_cfg:etc/table-loader": harvests.script(names)})


@pytest.mark.parametrize("order", [b"", b"\0", b"\0\0\0"])
def test_a_boot_order_that_is_no_list_is_refused(order: bytes) -> None:
    with pytest.raises(FormatError, match="BootOrder has"):
        made({**items(), "efi:BootOrder": ATTRIBUTES + order})


def test_a_boot_order_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(FormatError, match="did not say efi:Boot0001"):
        made({**items(), "efi:BootOrder": ATTRIBUTES + b"\1\0"})


def test_differences_name_what_differs_and_nothing_else() -> None:
    one = made(items())
    assert one.differences(made(items())) == ()
    assert one.differences(replace(one, made_with={}, smbios=Smbios(1, Input.of(b"")))) == ()
    assert one.differences(made(items(seed="x"))) == ("acpi.tables",)
    more = made(items(options={0: option("UiApp"), 1: option("Shell")}))
    assert one.differences(more) == ("bootVariables.BootOrder", "bootVariables.Boot0001")
    assert more.differences(one) == ("bootVariables.BootOrder", "bootVariables.Boot0001")
    assert one.differences(replace(one, fw_cfg={})) == ("fwCfg.BootMenu", "fwCfg.bootorder")


@pytest.mark.parametrize("generation", [None, 202502, 202508])
def test_json_comes_back(generation: int | None) -> None:
    one = made(items(), generation=generation)
    assert Entry.from_json(one.to_json(), what="entry") == one


def test_a_key_is_that_of_the_shape_alone() -> None:
    one = made(items())
    assert one.key == made(items(seed="x")).key == entry.key_of({"tpm": False, "cpus": 2})
    assert one.key != entry.key_of({"tpm": True, "cpus": 2})


def broken(**changes: Any) -> dict[str, object]:
    return {name: value for name, value in {**made(items()).to_json(), **changes}.items() if value != "gone"}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (broken(shape="gone"), "shape is missing"),
        (broken(acpi={"loader": "ab" * 48}), "rsdp is missing"),
        (broken(bootVariables={}), "must hold BootOrder"),
        (broken(bootVariables={"BootOrder": {"base64": ""}, "Boot000a": {"base64": ""}}), "else Boot#### alone"),
        (broken(bootVariables={"BootOrder": "ab" * 48}), "its digest"),
        (broken(bootVariables={"BootOrder": {"file": "etc/passwd"}}), "stands alone"),
        (broken(fwCfg={"bootorder": {"file": "x"}}), "stands alone"),
        (broken(smbios={"memory": 1}), "base64 is missing"),
        (broken(smbios={"memory": 1, "base64": "AAAA"}), "SMBIOS"),
        (broken(smbios={"memory": 1, "base64": "%"}), "base64"),
        (broken(edk2Generation=2025), "stable tag"),
        (broken(harvestedWith="gone"), "harvestedWith is missing"),
        (broken(more=1), "unknown member more"),
        ("text", "must be an object"),
    ],
)
def test_other_json_is_refused(document: object, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Entry.from_json(document, what="entry")
