"""The table of harvested inputs: it completes platforms of its shapes, names those that it lacks, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import smbios
from pluto_measure.harvest import entry
from pluto_measure.harvest.entry import Entry
from pluto_measure.harvest.table import KINDS, Table, in_words
from pluto_measure.machine.firmware import Firmware, Inside
from pluto_measure.machine.inputs import Input
from pluto_measure.machine.platform import Platform
from pluto_measure.machine.platform_file import parse_profiles
from simulators import harvests, machines, smbios_tables, tdvf_images
from simulators.harvests import bare_metal, option

IMAGE = Path(__file__).resolve().parents[3] / "image/notary"
SHELL = {2: option("UEFI Misc Device"), 0: option("UiApp"), 3: option("EFI Internal Shell")}


def known(platform: Platform, *, generation: int | None = 202502, memory: int | None = None, **said: Any) -> Entry:
    """The entry of this platform's shape."""
    tpm = platform.kind == "qemu-vtpm"
    items = harvests.items(tpm=tpm, smbios_logged=tpm and (generation or 0) >= 202505, **said)
    return entry.make(
        platform.shape(), items, memory=memory or platform.memory, generation=generation, made_with={"qemu": "11.1.3"}
    )


def laptop(**changes: Any) -> Platform:
    return machines.laptop(**{"acpi": (), **changes})


def test_a_platform_of_a_known_shape_needs_to_give_nothing() -> None:
    platform = bare_metal()
    one = known(platform)
    found = Table.of([one]).complete(platform)
    assert found == replace(platform, acpi=(one.acpi,), boot_variables=one.boot_variables)
    assert (found.smbios, found.fw_cfg) == (None, None)


def test_memory_counts_only_below_the_split() -> None:
    table = Table.of([known(bare_metal())])
    for memory in (2 << 30, 2816 << 20, 512 << 30):
        assert table.complete(bare_metal(memory=memory)).acpi
    with pytest.raises(FormatError, match="1024 MiB of memory"):
        table.complete(bare_metal(memory=1 << 30))


def test_what_a_platform_gives_itself_stays() -> None:
    platform = bare_metal(
        acpi=(machines.acpi("own"),), boot_variables={"BootOrder": Input.of(b"\0\0")}, fw_cfg={}, smbios=Digests.of(b"")
    )
    table = Table.of([known(platform, generation=202505)])
    assert table.complete(platform) == platform
    other = laptop(smbios=Digests.of(b"own"), edk2_generation=202505)
    assert Table.of([known(other, generation=202505)]).complete(other).smbios == Digests.of(b"own")


def test_a_trust_domain_of_an_unknown_shape_is_named_with_what_helps() -> None:
    with pytest.raises(FormatError) as failed:
        Table.of([]).complete(bare_metal(cpus=1, devices=()))
    text = str(failed.value)
    for part in ("1 vCPU,", "2 GiB or at least 2816 MiB", "pc-q35-10.1", "qemu 11.1", "no devices", "by -kernel"):
        assert part in text
    assert machines.FIRMWARE.digests.sha384.hex()[:16] in text
    assert "for the same machine" not in text
    assert failed.value.hint is not None
    assert "pluto-measure acpi harvest" in failed.value.hint


def test_the_nearest_shape_is_named_where_one_thing_differs() -> None:
    table = Table.of([known(bare_metal(cpus=n)) for n in (16, 2, 4)] + [known(laptop())])
    with pytest.raises(FormatError, match=r"for the same machine with 2 vCPUs, 4 vCPUs, 16 vCPUs$"):
        table.complete(bare_metal(cpus=8))
    with pytest.raises(FormatError, match=r"no TPM$"):
        table.complete(bare_metal(cpus=8, machine_type="pc-q35-9.2"))
    with pytest.raises(FormatError, match=r"with devices virtio-net-pci,romfile=; virtio-blk-pci; serial$"):
        table.complete(bare_metal(devices=("virtio-blk-pci",)))


def test_a_tpms_machine_of_an_unknown_shape_stays_as_it_is() -> None:
    platform = laptop()
    assert Table.of([]).complete(platform) is platform


def test_a_trust_domain_with_its_own_acpi_needs_no_entry() -> None:
    platform = bare_metal(acpi=(machines.acpi(),))
    assert Table.of([]).complete(platform) is platform


@pytest.mark.parametrize("kind", ["gcp-tdx", "azure-tdx", "gcp-confidential-space"])
def test_clouds_are_not_for_this_table(kind: str) -> None:
    platform = Platform.default(kind)
    assert Table.of([]).complete(platform) is platform


def test_a_platform_without_firmware_has_no_shape() -> None:
    platform = bare_metal(firmware=None)
    assert Table.of([]).complete(platform) is platform
    with pytest.raises(FormatError, match="firmware is not given"):
        Table.of([]).find(platform)


def test_the_generation_comes_with_the_entry_where_the_platform_does_not_know_it() -> None:
    platform = laptop(firmware=Firmware(Digests.of(b"firmware")))
    assert Table.of([known(platform)]).complete(platform).generation == 202502
    unknown = Table.of([known(platform, generation=None)]).complete(platform)
    assert unknown.edk2_generation is None
    assert unknown.fw_cfg is None


def test_newer_firmware_measures_settings_and_smbios() -> None:
    platform = laptop(edk2_generation=202505)
    found = Table.of([known(platform, generation=202505)]).complete(platform)
    assert found.smbios == Digests.of(smbios.measured(smbios_tables.machine()))
    assert found.fw_cfg is not None
    assert sorted(found.fw_cfg) == ["BootMenu", "bootorder"]


def test_smbios_holds_for_its_memory_and_an_emulated_processor_alone() -> None:
    platform = laptop(edk2_generation=202505, memory=4 << 30)
    assert Table.of([known(platform, generation=202505, memory=2 << 30)]).complete(platform).smbios is None
    domain = bare_metal(edk2_generation=202505)
    found = Table.of([known(domain, generation=202505)]).complete(domain)
    assert (found.smbios, found.fw_cfg is not None) == (None, True)


def test_a_trust_domain_does_not_get_options_that_it_would_not_make() -> None:
    devices = ("virtio-blk-pci", "virtio-blk-pci,bootindex=0")
    for has_shell, kept in ((True, True), (False, False), (None, False)):
        firmware = replace(machines.FIRMWARE, inside=Inside(202502, has_shell, True))
        platform = bare_metal(boot="disk", devices=devices, firmware=firmware)
        found = Table.of([known(platform, options=SHELL)]).complete(platform)
        assert bool(found.boot_variables) is kept, has_shell
        assert found.acpi
    split = {0: option("BootManagerMenuApp"), 1: option("EFI Firmware Setup")}
    for inside, kept in ((Inside(202505, None, True, bytes(16)), True), (Inside(202505, None, True), False)):
        platform = bare_metal(firmware=replace(machines.FIRMWARE, inside=inside))
        found = Table.of([known(platform, options=split)]).complete(platform)
        assert bool(found.boot_variables) is kept
    emulated = laptop(boot="disk", devices=devices)
    assert Table.of([known(emulated, options=SHELL)]).complete(emulated).boot_variables


def test_the_text_comes_back_and_is_the_only_one() -> None:
    entries = [known(bare_metal(cpus=n)) for n in (1, 2)] + [known(laptop(), generation=202505)]
    table = Table.of(entries)
    assert Table.parse(table.to_text()) == table == Table.of(reversed(entries))
    assert list(table.entries) == sorted(one.key for one in entries)
    assert Table.of([known(laptop(), seed="old"), known(laptop())]).entries == {known(laptop()).key: known(laptop())}


def text(**changes: Any) -> str:
    document = json.loads(Table.of([known(bare_metal(cpus=n)) for n in (1, 2)]).to_text())
    return json.dumps({name: value for name, value in {**document, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("", "not JSON"),
        (text(version=2), "version 2"),
        (text(entries=None), "entries is missing"),
        (text(more=1), "unknown member"),
        (text(entries={"ab": known(bare_metal()).to_json()}), "not the digest of the shape"),
        (text(entries=dict(reversed(json.loads(text())["entries"].items()))), "not sorted"),
    ],
)
def test_other_texts_are_refused(broken: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Table.parse(broken)


def test_words_of_a_shape_say_what_decides_it() -> None:
    shape = laptop(boot="disk", devices=("virtio-blk-pci,bootindex=0",)).shape()
    assert "1024 MiB of memory, booted from disk, devices virtio-blk-pci,bootindex=0, a TPM" in in_words(shape)


@pytest.fixture(scope="module")
def committed() -> Table:
    return Table.parse((IMAGE / "platform-inputs.json").read_bytes())


def test_the_committed_table_is_in_its_one_spelling(committed: Table) -> None:
    assert (IMAGE / "platform-inputs.json").read_text() == committed.to_text()


def test_the_committed_table_follows_its_schema(committed: Table) -> None:
    schema = json.loads((resources.files("pluto_measure") / "schemas/platform-inputs.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(committed.to_text()), schema)


def test_the_committed_table_has_every_machine_of_platforms_toml_and_no_other(committed: Table) -> None:
    shapes = {key: one.shape for key, one in committed.entries.items()}
    firmware = {str(shape["firmware"]) for shape in shapes.values()}
    assert len(firmware) == 1, "one firmware is locked"
    platforms = parse_profiles((IMAGE / "platforms.toml").read_bytes(), lambda _: tdvf_images.image())
    digests = Digests(b"", bytes.fromhex(firmware.pop()))
    wanted = {
        entry.key_of(replace(platform, firmware=Firmware(digests)).shape())
        for platform in platforms.values()
        if platform.kind in KINDS and not platform.acpi
    }
    assert wanted == set(shapes)


def test_direct_boots_of_the_committed_table_have_the_one_option_of_that_firmware(committed: Table) -> None:
    # Digests of BootOrder and of Boot0000, the setup program, in the logs of real trust domains with such firmware.
    for one in committed.entries.values():
        if one.shape["boot"] == "kernel":
            found = {name: item.digests.sha384.hex()[:16] for name, item in one.boot_variables.items()}
            assert found == {"BootOrder": "1dd6f7b457ad880d", "Boot0000": "23ada07f5261f12f"}
