"""Reads platform files: strictly, each member by its name. Pure. Format: docs/formats/platform.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, unhex
from pluto_measure.machine.firmware import Firmware, parse_generation
from pluto_measure.machine.inputs import Acpi, Input, Read
from pluto_measure.machine.platform import GOOGLE_MACHINES, VARIABLES, Disk, Platform, SecureBoot

_WHAT: Final = "platform file"
_PROFILES: Final = "platforms.toml"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse(text: bytes | str, read: Read) -> Platform:
    """A platform file. Only `platform` is required; what is missing has the default of the kind. FormatError."""
    return from_json(loads(text, what=_WHAT), read)


def from_json(value: object, read: Read) -> Platform:
    """A platform file that was read already. FormatError."""
    fields = Fields(value, what=_WHAT)
    plain = Platform.default(fields.take("platform", str))
    machine_type = fields.get("machineType", plain.machine_type, str)
    cpus, memory = _size_of(plain, machine_type, has_memory=isinstance(value, Mapping) and "memory" in value)
    generation = fields.get("edk2Generation", None, int, str)
    config_id, acpi = fields.get("mrConfigId", None, str), fields.get("acpi", None, dict, list)
    platform = replace(
        plain,
        boot=fields.get("boot", plain.boot, str),
        cpus=fields.get("cpus", cpus, int),
        memory=parse_size(fields.get("memory", memory, int, str)),
        machine_type=machine_type,
        vmm=fields.get("vmm", plain.vmm, str),
        vmm_version=fields.get("vmmVersion", plain.vmm_version, str),
        edk2_generation=None if generation is None else parse_generation(generation),
        page_order=fields.get("pageOrder", None, str),
        disks=fields.get("disks", plain.disks, int),
        disk=_disk(fields.get("disk", None, dict)),
        acpi=tuple(Acpi.parse(item, read, what="acpi") for item in _listed(acpi)),
        insecure_unmeasured_acpi=fields.get("insecure_unmeasured_acpi", False, bool),
        boot_variables=_inputs(fields.get("bootVariables", {}, dict), read, "bootVariables"),
        fw_cfg=_optional_inputs(fields.get("fwCfg", None, dict), read, "fwCfg"),
        smbios=_smbios(fields.get("smbios", None, str, dict), read),
        devices=_texts(fields.get("devices", [], list), "devices"),
        endorsed_mrtds=tuple(
            unhex(text, 48, what="endorsedMrtds") for text in _texts(fields.get("endorsedMrtds", [], list), "MRTD")
        ),
        mr_config_id=None if config_id is None else unhex(config_id, 48, what="mrConfigId"),
        secure_boot=_secure_boot(fields.get("secureBoot", None, dict), read, plain.secure_boot, plain.kind),
    )
    firmware = fields.get("firmware", None, str, dict)
    fields.end()
    if firmware is None:
        return platform
    if isinstance(firmware, dict) and "sections" in firmware:
        return replace(platform, firmware=Firmware.from_json(firmware))
    return platform.with_firmware(Input.parse(firmware, read, what="firmware"))


def _size_of(plain: Platform, machine_type: str, *, has_memory: bool) -> tuple[int, int]:
    """vCPUs and bytes of memory of a machine whose file does not give them: Google's are known by their type."""
    if plain.vmm != "google":
        return plain.cpus, plain.memory
    if machine_type in GOOGLE_MACHINES:
        cpus, memory = GOOGLE_MACHINES[machine_type]
        return cpus, memory << 30
    if not has_memory:
        raise FormatError(_WHAT, f"machineType {machine_type!r} is not known, so memory has to be given")
    return plain.cpus, plain.memory


def parse_profile(text: bytes | str, name: str, read: Read) -> Platform:
    """The platform file under the id `name` of a TOML file of them (platforms.toml). FormatError."""
    return from_json(profile_members(text, name), read)


def profile_members(text: bytes | str, name: str) -> Any:
    """The same, not read any further. FormatError where no profile has that name."""
    profiles = _profiles(text)
    if name not in profiles:
        raise FormatError(_PROFILES, f"profile {name!r} is not there, only {', '.join(sorted(profiles)) or 'none'}")
    return profiles[name]


def parse_profiles(text: bytes | str, read: Read) -> dict[str, Platform]:
    """All platform files of a platforms.toml, by id in the order of the file. FormatError."""
    return {name: from_json(value, read) for name, value in _profiles(text).items()}


def _profiles(text: bytes | str) -> dict[str, Any]:
    # Imported here: a machine by its kind, or by a platform file of its own, needs no TOML.
    import tomllib

    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(_PROFILES, str(error)) from error


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(values: list[Any], what: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise FormatError(_WHAT, f"{what} must be a list of texts")
    return tuple(values)


def _inputs(value: Mapping[str, Any], read: Read, what: str) -> dict[str, Input]:
    return {name: Input.parse(item, read, what=f"{what}.{name}") for name, item in value.items()}


def _optional_inputs(value: Mapping[str, Any] | None, read: Read, what: str) -> dict[str, Input] | None:
    return None if value is None else _inputs(value, read, what)


def _disk(value: Mapping[str, Any] | None) -> Disk | None:
    if value is None:
        return None
    fields = Fields(value, what=f"{_WHAT}.disk")
    disk = Disk(fields.take("bus", str), fields.take("slot", int), fields.get("serial", "", str))
    fields.end()
    return disk


def _smbios(value: object, read: Read) -> Digests | None:
    """A table by its bytes is filtered as the firmware does; a digest is that of what was measured."""
    if value is None:
        return None
    given = Input.parse(value, read, what="smbios")
    if given.content is None:
        return given.digests
    # Imported here: only firmware from 202505 on measures SMBIOS.
    from pluto_measure.formats import smbios

    return Digests.of(smbios.measured(given.content))


def _secure_boot(value: Mapping[str, object] | None, read: Read, plain: SecureBoot, kind: str) -> SecureBoot:
    if value is None:
        return plain
    fields = Fields(value, what=f"{_WHAT}.secureBoot")
    state = fields.take("state", str)
    given = {name: fields.get(name, None, str, dict) for name in VARIABLES}
    fields.end()
    inputs = {
        name: Input.parse(item, read, what=f"secureBoot.{name}") for name, item in given.items() if item is not None
    }
    variables = {name: item.digests if item.content is None else item.content for name, item in inputs.items()}
    return SecureBoot(state, variables, known=kind != "azure-tdx")


def parse_size(value: int | str) -> int:
    """SIZE in bytes: an integer, or digits with K, M, G or T (binary). FormatError."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", value)
    if not found:
        raise FormatError("size", f"{value!r} is not digits with K, M, G or T", hint="spell it as 64G")
    return int(found[1]) * _UNITS[found[2]]
