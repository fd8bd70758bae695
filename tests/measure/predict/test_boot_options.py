"""BootOrder and Boot####: those of real logs byte for byte, and what cannot be told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, firmware_volume, uefi
from pluto_measure.formats.eventlog import EventType
from pluto_measure.formats.uefi import PathNode
from pluto_measure.machine.firmware import Firmware, Inside
from pluto_measure.machine.inputs import Input
from pluto_measure.machine.platform import Disk, Platform, SecureBoot
from pluto_measure.predict.boot_options import boot_variables
from simulators import recorded_boots

DIRECT = Platform(kind="qemu-tdx", edk2_generation=202502)
UI_APP = "23ada07f5261f12f34a0bd8e46760962d6b4d576a416f1fea1c64bc656b1d28eacf7047ae6e967c58fd2a98bfa74c298"
ORDER_0000 = "1dd6f7b457ad880d840d41c961283bab688e94e4b59359ea45686581e90feccea3c624b1226113f824f315eb60ae0a7c"
KEYS = SecureBoot("on", {"PK": b"p", "KEK": b"k", "db": b"d"})


def disk(bus: str = "virtio-blk", slot: int = 2, serial: str = "", secure_boot: SecureBoot | None = None) -> Platform:
    known = SecureBoot() if secure_boot is None else secure_boot
    return replace(DIRECT, boot="disk", disk=Disk(bus, slot, serial), secure_boot=known)


def contents(platform: Platform) -> dict[str, bytes]:
    return {name: item.bytes_of(name) for name, item in boot_variables(platform).items()}


def logged(path: Path) -> list[tuple[str, bytes]]:
    """The boot variables of a real log, in its order."""
    events = eventlog.parse(path.read_bytes()).events
    found = [uefi.parse_variable(e.data) for e in events if e.type == EventType.EV_EFI_VARIABLE_BOOT]
    return [(variable.name, variable.data) for variable in found]


# Logs of real boots, and the machine of each


@pytest.mark.parametrize(
    ("folder", "platform"),
    [
        ("tx-crb-c2-m2048", disk()),
        ("tx-crb-c1-m1024", disk()),
        ("tx-tis-c2-m2048", disk()),
        ("tx-crb-nvme-no-option-rom", disk("nvme", serial="x")),
        ("tx-crb-secureboot-on", disk(secure_boot=KEYS)),
        ("neg-load-options-override", DIRECT),
    ],
)
def test_recorded_boots(vectors: Path, folder: str, platform: Platform) -> None:
    assert folder in recorded_boots.FOLDERS
    path = vectors / "qemu-swtpm" / folder / "binary_bios_measurements"
    assert list(contents(platform).items()) == logged(path)
    of_tpm = replace(platform, kind="qemu-vtpm")
    assert contents(of_tpm) == contents(platform)


@pytest.mark.parametrize(
    ("log", "platform"),
    [
        ("qemu-ubuntu2510-direct.ccel.bin", DIRECT),
        ("trustee-CCEL_data_ovmf", DIRECT),
        ("gcp-cos113.ccel.bin", Platform.default("gcp-tdx")),
        ("trustee-CCEL_data_gcp", Platform.default("gcp-tdx")),
    ],
)
def test_logs_of_trust_domains(vectors: Path, log: str, platform: Platform) -> None:
    assert list(contents(platform).items()) == logged(vectors / "measure/ccel" / log)


# The same by digest and by field, without any log


def digests(platform: Platform) -> dict[str, str]:
    return {name: item.digests.sha384.hex() for name, item in boot_variables(platform).items()}


@pytest.mark.parametrize("boot", ["uki-kernel", "direct"])
@pytest.mark.parametrize("secure_boot", [SecureBoot(), SecureBoot("off"), KEYS])
def test_kernel_boots_have_the_setup_program_alone(boot: str, secure_boot: SecureBoot) -> None:
    platform = replace(DIRECT, boot=boot, secure_boot=secure_boot)
    assert digests(platform) == {"BootOrder": ORDER_0000, "Boot0000": UI_APP}


def test_the_setup_program_field_by_field() -> None:
    content = contents(DIRECT)["Boot0000"]
    assert len(content) == 62
    option = uefi.parse_load_option(content)
    assert (option.attributes, option.description, option.optional_data) == (0x109, "UiApp", b"")
    volume, file = "c9bdb87cebf8344faaea3ee4af6516a1", "21aa2c4614760345836e8ab6f4662331"
    assert option.paths == ((PathNode(4, 7, bytes.fromhex(volume)), PathNode(4, 6, bytes.fromhex(file))),)


def test_a_disk_is_first_then_setup_then_the_shell() -> None:
    options = contents(disk(slot=5))
    assert list(options) == ["BootOrder", "Boot0001", "Boot0000", "Boot0002"]
    assert options["BootOrder"] == bytes.fromhex("010000000200")
    entry, shell = uefi.parse_load_option(options["Boot0001"]), uefi.parse_load_option(options["Boot0002"])
    assert (entry.attributes, entry.description) == (1, "UEFI Misc Device")
    assert entry.paths == ((PathNode(2, 1, bytes.fromhex("d041030a00000000")), PathNode(1, 1, b"\0\5")),)
    assert entry.optional_data == bytes.fromhex("4eac0881119f594d850ee21a522c59b2")
    assert (shell.attributes, shell.description, shell.optional_data) == (1, "EFI Internal Shell", b"")
    assert shell.paths[0][1].data == bytes.fromhex("83a5047c3e9e1c4fad65e05268d0b4d1")
    assert digests(disk(slot=5))["Boot0000"] == UI_APP


@pytest.mark.parametrize(
    ("secure_boot", "seen", "shell"),
    [
        (SecureBoot(), None, True),
        (SecureBoot("off"), None, False),
        (KEYS, None, False),
        (SecureBoot(), True, True),
        (SecureBoot(), False, False),
        (SecureBoot("off"), True, True),
        (KEYS, False, False),
    ],
)
def test_the_shell_is_an_option_where_it_is_inside(secure_boot: SecureBoot, seen: bool | None, shell: bool) -> None:
    for firmware in (Firmware(Digests.of(b""), inside=Inside(has_shell=seen)), *([None] if seen is None else [])):
        options = contents(replace(disk(secure_boot=secure_boot), firmware=firmware))
        assert list(options) == ["BootOrder", "Boot0001", "Boot0000", *(["Boot0002"] if shell else [])]
        assert options["BootOrder"] == bytes.fromhex("010000000200" if shell else "01000000")


def test_each_bus_has_its_description_and_path() -> None:
    found = {}
    for bus in ("virtio-blk", "virtio-scsi", "nvme"):
        option = uefi.parse_load_option(contents(disk(bus, 31, "pluto"))["Boot0001"])
        (path,) = option.paths
        assert path[1] == PathNode(1, 1, b"\0\x1f")
        found[option.description] = path[2:]
    assert found == {
        "UEFI Misc Device": (),
        "UEFI QEMU QEMU HARDDISK ": (PathNode(3, 2, bytes(4)),),
        "UEFI QEMU NVMe Ctrl pluto 1": (PathNode(3, 23, b"\1\0\0\0" + bytes(8)),),
    }


@pytest.mark.parametrize(
    ("serial", "shown"),
    [(" a  b ", "a b 1"), ("x" * 20, f"{'x' * 20} 1"), (" " * 20, "1"), ("~", "~ 1")],
)
def test_a_serial_loses_the_blanks_that_the_firmware_drops(serial: str, shown: str) -> None:
    option = uefi.parse_load_option(contents(disk("nvme", serial=serial))["Boot0001"])
    assert option.description == f"UEFI QEMU NVMe Ctrl {shown}"


@pytest.mark.parametrize("serial", ["", "x" * 21, "é", "a\0", "a\n", "\ud800"])
def test_a_serial_that_no_controller_has_is_refused(serial: str) -> None:
    with pytest.raises(FormatError, match="is not 1 to 20 printable characters"):
        boot_variables(disk("nvme", serial=serial))
    assert boot_variables(disk(serial=serial))  # nobody reads it there


def test_google_names_its_disk() -> None:
    options = digests(Platform.default("gcp-tdx"))
    assert list(options) == ["BootOrder", "Boot0001", "Boot0000"]
    assert options["Boot0001"].startswith("a25333c7")
    assert options["Boot0000"] == UI_APP
    assert contents(Platform.default("gcp-tdx"))["BootOrder"] == bytes.fromhex("01000000")


def test_google_has_the_same_whatever_its_generation() -> None:
    newer = replace(Platform.default("gcp-tdx"), edk2_generation=202511)
    assert boot_variables(newer) == boot_variables(Platform.default("gcp-tdx"))


# What is told


def given_as(**variables: Input) -> Platform:
    return replace(DIRECT, edk2_generation=202505, boot_variables=variables)


def names(platform: Platform) -> list[str]:
    return list(boot_variables(platform))


def test_given_variables_come_in_the_order_of_boot_order() -> None:
    one, two, ten = Input.of(b"1"), Input.of(b"2"), Input.of(b"10")
    order = Input.of(bytes.fromhex("0a0002000100"))
    found = boot_variables(given_as(Boot0001=one, Boot0002=two, BootOrder=order, Boot000A=ten, Boot0099=one))
    assert list(found.items()) == [("BootOrder", order), ("Boot000A", ten), ("Boot0002", two), ("Boot0001", one)]


def test_given_variables_win_over_what_the_firmware_would_make() -> None:
    order = {"BootOrder": Input.of(b"")}
    for platform in (DIRECT, disk(), Platform.default("gcp-tdx")):
        assert boot_variables(replace(platform, boot_variables=order)) == order


def test_an_order_by_its_digest_leaves_the_order_of_the_file() -> None:
    known = {"sha384": hashlib.sha384(b"\2\0\1\0").hexdigest()}

    def read(name: str) -> bytes:
        raise AssertionError(name)

    order = Input.parse(known, read, what="BootOrder")
    platform = given_as(Boot0002=Input.of(b"2"), BootOrder=order, Boot0001=Input.of(b"1"))
    assert names(platform) == ["BootOrder", "Boot0002", "Boot0001"]


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"Boot0000": Input.of(b"")}, "bootVariables has no BootOrder"),
        ({"BootOrder": Input.of(b"\1\0")}, "BootOrder names Boot0001, which bootVariables does not have"),
        ({"BootOrder": Input.of(b"\0\0\xcd\xab"), "Boot0000": Input.of(b"")}, "BootOrder names BootABCD"),
        ({"BootOrder": Input.of(b"\0"), "Boot0000": Input.of(b"")}, "BootOrder has 1 bytes"),
        ({"BootOrder": Input.of(b"\0\0\0"), "Boot0000": Input.of(b"")}, "BootOrder has 3 bytes"),
    ],
)
def test_given_variables_that_do_not_go_together_are_refused(variables: Mapping[str, Input], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        boot_variables(given_as(**variables))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 0xFFFF), unique=True, max_size=20))
def test_any_order_is_followed(numbers: list[int]) -> None:
    order = Input.of(b"".join(number.to_bytes(2, "little") for number in numbers))
    variables = {f"Boot{number:04X}": Input.of(b"%d" % number) for number in sorted(numbers)}
    assert names(given_as(**variables, BootOrder=order)) == ["BootOrder", *(f"Boot{n:04X}" for n in numbers)]


# What nobody can tell


@pytest.mark.parametrize("generation", [202505, 202508, 202511])
@pytest.mark.parametrize("platform", [DIRECT, disk()])
def test_newer_firmware_is_asked_for(platform: Platform, generation: int) -> None:
    with pytest.raises(FormatError, match=f"what firmware of {generation} has inside") as caught:
        boot_variables(replace(platform, edk2_generation=generation))
    assert "acpi harvest" in str(caught.value.hint)


def test_a_disk_that_is_not_described_is_asked_for() -> None:
    with pytest.raises(FormatError, match="neither disk nor bootVariables is given") as caught:
        boot_variables(replace(DIRECT, boot="disk"))
    assert "acpi harvest" in str(caught.value.hint)


def test_firmware_of_an_unknown_generation_is_asked_for() -> None:
    with pytest.raises(FormatError, match="does not say which edk2 it is"):
        boot_variables(replace(DIRECT, edk2_generation=None))


# From 202505 on

MENU = "5068e6a9ded2a1c3a8ebb5d26004410ea8670742d8f444c5c3d161b76c66fa23a7b1d2fb3f9840570b675384b5818f2d"
SETUP = "dd424f2eeb35f3e8a2c2f50f6cc87ff90b7577e92ce63e13a22869d07d104fd5ea9800e6e4f12c5058fc4eaa78374f20"
ORDER_0000_0001 = "52b9a02de946b947364b57d8210c63113b9058996e2a3ba7cead54af11ae0873b085d1e52bc01e4febe57ca05ca1332b"
DRIVERS = firmware_volume.DXE_VOLUME


def newer(platform: Platform, inside: Inside) -> Platform:
    return replace(platform, edk2_generation=202505, firmware=Firmware(Digests.of(b""), inside=inside))


def test_menu_and_setup_are_two_options_with_the_digests_that_boots_gave() -> None:
    found = digests(newer(DIRECT, Inside(202505, True, True, DRIVERS)))
    assert found == {"BootOrder": ORDER_0000_0001, "Boot0000": MENU, "Boot0001": SETUP}


def test_without_a_setup_program_the_menu_is_alone() -> None:
    assert digests(newer(DIRECT, Inside(202605, False, False, DRIVERS))) == {"BootOrder": ORDER_0000, "Boot0000": MENU}


@pytest.mark.parametrize(
    ("inside", "order"),
    [
        (Inside(202505, True, True, DRIVERS), "0200000001000300"),
        (Inside(202605, False, False, DRIVERS), "01000000"),
        (Inside(202605, True, False, DRIVERS), "010000000200"),
    ],
)
def test_a_disk_is_numbered_behind_the_menu_and_tried_before_it(inside: Inside, order: str) -> None:
    options = contents(newer(disk(), inside))
    assert options["BootOrder"].hex() == order
    first = f"Boot{options['BootOrder'][0]:04X}"
    assert uefi.parse_load_option(options[first]).description == "UEFI Misc Device"
    if inside.has_shell:
        assert uefi.parse_load_option(list(options.values())[-1]).attributes == 0x101


def test_the_menu_is_named_by_the_volume_it_lies_in() -> None:
    option = uefi.parse_load_option(contents(newer(DIRECT, Inside(202605, False, False, b"V" * 16)))["Boot0000"])
    assert option.paths[0][0] == PathNode(4, 7, b"V" * 16)


@pytest.mark.parametrize("inside", [Inside(), Inside(202505, True, True, None), Inside(202505, True, None, DRIVERS)])
def test_what_nobody_looked_into_has_options_that_nobody_knows(inside: Inside) -> None:
    with pytest.raises(FormatError, match="what firmware of 202505 has inside is not known"):
        boot_variables(newer(DIRECT, inside))


def test_googles_second_disk_is_a_namespace_of_the_first_ones_controller() -> None:
    found = digests(replace(Platform.default("gcp-tdx"), disks=2))
    assert contents(replace(Platform.default("gcp-tdx"), disks=2))["BootOrder"] == bytes.fromhex("010002000000")
    assert found["Boot0001"].startswith("a25333c7")
    assert found["Boot0002"].startswith("90680657")  # of a published log with one disk more


def test_with_several_disks_the_boot_disks_entry_has_to_be_told() -> None:
    several = replace(disk(), devices=("virtio-net-pci", "virtio-blk-pci", "virtio-blk-pci,bootindex=0"))
    with pytest.raises(FormatError, match="with several disks"):
        boot_variables(several)
