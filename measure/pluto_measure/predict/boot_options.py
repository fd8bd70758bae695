"""BootOrder and Boot####: what OVMF makes of them by itself, on a variable store that nobody wrote to. Pure.

UEFI specification, section 3.1.3; edk2 `MdeModulePkg/Library/UefiBootManagerLib/{BmBoot,BmBootDescription}.c` and
`OvmfPkg/Library/PlatformBootManagerLib/BdsPlatform.c`. The firmware measures each variable's content alone. Where the
machine is another one, its platform file names the variables (`bootVariables`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.uefi import PathNode, encode_path
from pluto_measure.machine.firmware import MENU_SPLIT
from pluto_measure.machine.inputs import Input
from pluto_measure.machine.platform import Disk, Platform

_VOLUME: Final = uuid.UUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1").bytes_le  # the volume of OVMF's drivers
_SETUP: Final = "462caa21-7614-4503-836e-8ab6f4662331"
_MENU: Final = "eec25bdc-67f2-4d95-b1d5-f81b2039d11d"
_SHELL: Final = "7c04a583-9e3e-4f1c-ad65-e05268d0b4d1"
_MADE_BY_FIRMWARE: Final = bytes.fromhex("4eac0881119f594d850ee21a522c59b2")  # optional data: BmBoot.c's mark
_ACTIVE, _HIDDEN, _APPLICATION = 0x1, 0x8, 0x100
_ROOT_BRIDGE: Final = PathNode(2, 1, bytes.fromhex("d041030a00000000"))  # ACPI(PNP0A03,0)
_GOOGLE_DISK_SLOT: Final = 4
_HINT: Final = "take them from 'pluto-measure acpi harvest', or from a log by 'pluto-measure replay LOG --json'"


def boot_variables(platform: Platform) -> dict[str, Input]:
    """BootOrder, then each Boot#### in its order. FormatError where this machine's have to be told."""
    if platform.boot_variables:
        return _given(platform.boot_variables)
    if platform.kind == "gcp-tdx":
        return _named(*((number, _google_disk(number)) for number in range(1, platform.disks + 1)), (0, _ui_app()))
    devices = platform.devices
    if platform.boot == "disk" and platform.disk is None:
        problem = "neither disk nor bootVariables is given, and the boot disk's entry depends on them"
        raise FormatError("platform file", problem, hint=_HINT)
    if (
        platform.boot == "disk"
        and sum("blk" in device or "scsi" in device or "nvme" in device for device in devices) > 1
    ):
        problem = "bootVariables are not given, and with several disks each other one moves the boot disk's entry"
        raise FormatError("platform file", problem, hint=_HINT)
    return _split_menu(platform) if platform.generation >= MENU_SPLIT else _one_menu(platform)


def _google_disk(number: int) -> bytes:
    """The n-th disk: namespace n of one NVMe controller; the first has no number in its name."""
    name = "UEFI nvme_card-pd" + (f" {number}" if number > 1 else "")
    path = (_ROOT_BRIDGE, PathNode(1, 1, bytes([0, _GOOGLE_DISK_SLOT])), _namespace(number))
    return _option(_ACTIVE, name, path, _MADE_BY_FIRMWARE)


def _namespace(number: int) -> PathNode:
    return PathNode(3, 23, number.to_bytes(4, "little") + bytes(8))


def _one_menu(platform: Platform) -> dict[str, Input]:
    """Up to 202502: the setup program is Boot0000, then come disk and shell; a disk with a bootindex goes first."""
    if platform.boot != "disk" or platform.disk is None:
        return _named((0, _ui_app()))
    entries = [(1, _disk_option(platform.disk)), (0, _ui_app())]
    if _has_shell(platform):
        entries.append((2, _option(_ACTIVE, "EFI Internal Shell", _in_volume(_SHELL))))
    return _named(*entries)


def _split_menu(platform: Platform) -> dict[str, Input]:
    """From 202505 on: menu, setup program if a trust domain finds it, disk, shell, numbered so; the disk goes first."""
    inside = platform.firmware.inside if platform.firmware is not None else None
    if inside is None or inside.has_setup is None or inside.menu_volume is None:
        problem = f"bootVariables are not given, and what firmware of {platform.generation} has inside is not known"
        raise FormatError("platform file", problem, hint=_HINT)
    hidden, shown = _ACTIVE | _HIDDEN | _APPLICATION, _ACTIVE | _APPLICATION
    options = [_option(hidden, "BootManagerMenuApp", _in_volume(_MENU, inside.menu_volume))]
    if inside.has_setup:
        options.append(_option(shown, "EFI Firmware Setup", _in_volume(_SETUP)))
    if platform.boot != "disk" or platform.disk is None:
        return _named(*enumerate(options))
    first = (len(options), _disk_option(platform.disk))
    entries = [first, *enumerate(options)]
    if _has_shell(platform):
        entries.append((len(options) + 1, _option(shown, "EFI Internal Shell", _in_volume(_SHELL))))
    return _named(*entries)


def _has_shell(platform: Platform) -> bool:
    """As the image says; where nobody looked into it, builds with Secure Boot are taken to leave the shell out."""
    seen = platform.firmware.inside.has_shell if platform.firmware is not None else None
    return platform.secure_boot.state == "absent" if seen is None else seen


def _given(variables: Mapping[str, Input]) -> dict[str, Input]:
    """In the order of the log: BootOrder first, then the options as it lists them, if its content is known."""
    if "BootOrder" not in variables:
        raise FormatError("platform file", "bootVariables has no BootOrder")
    order = variables["BootOrder"]
    names = [name for name in variables if name != "BootOrder"]
    if order.content is not None:
        if len(order.content) % 2:
            raise FormatError(
                "platform file", f"BootOrder has {len(order.content)} bytes, which are no list of numbers"
            )
        numbers = [order.content[at : at + 2] for at in range(0, len(order.content), 2)]
        names = [f"Boot{int.from_bytes(number, 'little'):04X}" for number in numbers]
        if missing := [name for name in names if name not in variables]:
            raise FormatError("platform file", f"BootOrder names {missing[0]}, which bootVariables does not have")
    return {"BootOrder": order, **{name: variables[name] for name in names}}


def _named(*entries: tuple[int, bytes]) -> dict[str, Input]:
    order = b"".join(number.to_bytes(2, "little") for number, _ in entries)
    return {"BootOrder": Input.of(order), **{f"Boot{number:04X}": Input.of(content) for number, content in entries}}


def _ui_app() -> bytes:
    return _option(_ACTIVE | _HIDDEN | _APPLICATION, "UiApp", _in_volume(_SETUP))


def _disk_option(disk: Disk) -> bytes:
    description = {
        "virtio-blk": "UEFI Misc Device",
        "virtio-scsi": "UEFI QEMU QEMU HARDDISK ",
        "nvme": f"UEFI QEMU NVMe Ctrl {_nvme_serial(disk)}1",
    }[disk.bus]
    return _option(_ACTIVE, description, _disk_path(disk), _MADE_BY_FIRMWARE)


def _nvme_serial(disk: Disk) -> str:
    """As the firmware shows it, a blank behind it: none at its beginning, and one where there are several."""
    if disk.bus == "nvme" and not (0 < len(disk.serial) <= 20 and disk.serial.isascii() and disk.serial.isprintable()):
        text = f"disk.serial {disk.serial!r} is not 1 to 20 printable characters of ASCII, as an NVMe controller has it"
        raise FormatError("platform file", text)
    return "".join(f"{word} " for word in disk.serial.split())


def _disk_path(disk: Disk) -> Iterable[PathNode]:
    pci = PathNode(1, 1, bytes([0, disk.slot]))
    match disk.bus:
        case "virtio-scsi":
            return (_ROOT_BRIDGE, pci, PathNode(3, 2, bytes(4)))  # target 0, unit 0
        case "nvme":
            return (_ROOT_BRIDGE, pci, _namespace(1))
        case _:
            return (_ROOT_BRIDGE, pci)


def _in_volume(file: str, volume: bytes = _VOLUME) -> Iterable[PathNode]:
    return (PathNode(4, 7, volume), PathNode(4, 6, uuid.UUID(file).bytes_le))


def _option(attributes: int, description: str, path: Iterable[PathNode], optional_data: bytes = b"") -> bytes:
    """EFI_LOAD_OPTION."""
    encoded = encode_path(tuple(path))
    head = attributes.to_bytes(4, "little") + len(encoded).to_bytes(2, "little")
    return head + description.encode("utf-16-le") + b"\0\0" + encoded + optional_data
