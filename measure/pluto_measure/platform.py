"""The platform file: the shape of a machine, as far as it decides what a boot measures. Pure.

Format: docs/formats/platform.md. One kind is known, `qemu-vtpm`; the others are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads

Read = Callable[[str], bytes]  # a file named in a platform file, relative to it

KINDS: Final = ("qemu-vtpm",)
BOOTS: Final = ("uki-kernel", "disk")
SECURE_BOOT_STATES: Final = ("absent", "off", "on")
VARIABLES: Final = ("PK", "KEK", "db", "dbx")

_WHAT: Final = "platform file"
_PROFILES: Final = "platforms.toml"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST_VARIABLE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SecureBoot:
    """Secure Boot as the firmware reports it.

    absent  the firmware has no Secure Boot: the variable does not exist
    off     it has, and no keys are enrolled or it is switched off
    on      images are checked against db; `variables` must then hold PK, KEK and db

    `variables` maps PK, KEK, db, dbx to their content; one that is missing is absent on the machine too.
    """

    state: str = "absent"
    variables: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state not in SECURE_BOOT_STATES:
            raise FormatError(_WHAT, f"secureBoot.state {self.state!r} is not one of {', '.join(SECURE_BOOT_STATES)}")
        for name, content in self.variables.items():
            if name not in VARIABLES or len(content) > _LARGEST_VARIABLE:
                raise FormatError(_WHAT, f"secureBoot.{name} is not known or too large")
        missing = [name for name in ("PK", "KEK", "db") if not self.variables.get(name)]
        if self.state == "on" and missing:
            raise FormatError(_WHAT, f"secureBoot is on, but {missing[0]} is missing")
        if self.state == "absent" and self.variables:
            raise FormatError(_WHAT, "secureBoot is absent, but variables are given")

    def to_json(self) -> dict[str, object]:
        """Contents by digest: enough to compare two profiles."""
        shown = {name: Digests.of(content).to_json() for name, content in self.variables.items()}
        return {"state": self.state, **shown}


@dataclass(frozen=True, slots=True)
class Platform:
    """One machine shape. Memory in bytes; `firmware` by digest, None where it was not given.

    Option ROMs are always off on our machines, so there is no field for them: PCR 2 holds its separator alone.
    """

    kind: str = "qemu-vtpm"
    boot: str = "uki-kernel"
    cpus: int = 2
    memory: int = 1 << 30
    machine_type: str = "pc-q35-10.1"
    vmm: str = "qemu"
    vmm_version: str = "10.1"
    firmware: Digests | None = None
    secure_boot: SecureBoot = field(default_factory=SecureBoot)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FormatError(_WHAT, f"platform {self.kind!r} is not known, only {', '.join(KINDS)} is")
        if self.boot not in BOOTS:
            raise FormatError(_WHAT, f"boot {self.boot!r} is not one of {', '.join(BOOTS)}")
        if not 1 <= self.cpus <= 4096:
            raise FormatError(_WHAT, f"{self.cpus} vCPUs")
        if not 0 < self.memory < 1 << 52:
            raise FormatError(_WHAT, f"memory of {self.memory} bytes")

    def to_json(self) -> dict[str, object]:
        """Everything resolved, defaults included: `inputs` of a prediction."""
        return {
            "platform": self.kind,
            "vmm": self.vmm,
            "vmmVersion": self.vmm_version,
            "machineType": self.machine_type,
            "firmware": None if self.firmware is None else self.firmware.to_json(),
            "cpus": self.cpus,
            "memory": self.memory,
            "boot": self.boot,
            "secureBoot": self.secure_boot.to_json(),
        }

    @classmethod
    def parse(cls, text: bytes | str, read: Read) -> Self:
        """A platform file. Only `platform` is required; what is missing has the default of `local`'s machine."""
        return cls.from_json(loads(text, what=_WHAT), read)

    @classmethod
    def from_json(cls, value: object, read: Read) -> Self:
        """A platform file that was read already. Raises FormatError."""
        fields = Fields(value, what=_WHAT)
        plain = cls(kind=fields.take("platform", str))
        firmware = fields.get("firmware", None, dict)
        platform = cls(
            kind=plain.kind,
            boot=fields.get("boot", plain.boot, str),
            cpus=fields.get("cpus", plain.cpus, int),
            memory=parse_size(fields.get("memory", plain.memory, int, str)),
            machine_type=fields.get("machineType", plain.machine_type, str),
            vmm=fields.get("vmm", plain.vmm, str),
            vmm_version=fields.get("vmmVersion", plain.vmm_version, str),
            firmware=None if firmware is None else parse_digests(firmware, read),
            secure_boot=_secure_boot(fields.get("secureBoot", {"state": "absent"}, dict), read),
        )
        fields.end()
        return platform


def parse_profile(text: bytes | str, name: str, read: Read) -> Platform:
    """The platform file under the id `name` of a TOML file of them (platforms.toml). Raises FormatError."""
    try:
        profiles = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(_PROFILES, str(error)) from error
    if name not in profiles:
        raise FormatError(_PROFILES, f"profile {name!r} is not there, only {', '.join(sorted(profiles)) or 'none'}")
    return Platform.from_json(profiles[name], read)


def parse_size(value: int | str) -> int:
    """SIZE in bytes: an integer, or digits with K, M, G or T (binary). FormatError."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", value)
    if not found:
        raise FormatError("size", f"{value!r} is not digits with K, M, G or T")
    return int(found[1]) * _UNITS[found[2]]


def parse_digests(value: object, read: Read) -> Digests:
    """INPUT as the digests of its content: {sha256, sha384}, {file} or {base64}. FormatError."""
    if isinstance(value, dict) and "sha256" in value:
        fields = Fields(value, what="input")
        digests = Digests(fields.hex("sha256", 32), fields.hex("sha384", 48))
        fields.end()
        return digests
    return Digests.of(parse_content(value, read))


def parse_content(value: object, read: Read) -> bytes:
    """INPUT as its content: {file} or {base64}. FormatError where only a digest is given."""
    fields = Fields(value, what="input")
    name, encoded = fields.get("file", None, str), fields.get("base64", None, str)
    fields.end()
    if (name is None) == (encoded is None):
        raise FormatError("input", "must be {file} or {base64}: the content itself is measured here")
    if name is not None:
        return read(name)
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise FormatError("input", "not base64") from error


def _secure_boot(value: Mapping[str, object], read: Read) -> SecureBoot:
    fields = Fields(value, what=f"{_WHAT}.secureBoot")
    state = fields.take("state", str)
    given = {name: fields.get(name, None, dict) for name in VARIABLES}
    fields.end()
    return SecureBoot(state, {name: parse_content(item, read) for name, item in given.items() if item is not None})
