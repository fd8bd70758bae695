"""The kit of a harvest: what `pluto-image tools` made of locked packages, and `acpi harvest` runs. Pure.

KIT/kit.json      this; the commands in it hold for the machine that made it
KIT/guest.efi     kernel and initrd with the guest program, as a UKI
KIT/guest.raw     a disk with that UKI in its ESP
KIT/firmware.fd   the firmware of the tools tree, under the name that it has in a DIST
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1
FILE: Final = "kit.json"
UKI: Final = "guest.efi"
DISK: Final = "guest.raw"
FIRMWARE: Final = "firmware.fd"
_WHAT: Final = "kit.json"


@dataclass(frozen=True, slots=True)
class Kit:
    """Commands are argument vectors to be completed, `environment` is the whole one.

    qemu_version  as QEMU names itself, such as "11.1.3"
    packages      the locked packages by name: "qemu", "firmware", "kernel" with their versions, for the record
    """

    qemu: tuple[str, ...]
    swtpm: tuple[str, ...]
    environment: Mapping[str, str]
    qemu_version: str
    packages: Mapping[str, str]

    def to_text(self) -> str:
        return pretty(
            {
                "version": VERSION,
                "qemu": list(self.qemu),
                "swtpm": list(self.swtpm),
                "environment": dict(self.environment),
                "qemuVersion": self.qemu_version,
                "packages": dict(self.packages),
            }
        )

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError."""
        fields = Fields(loads(text, what=_WHAT), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        qemu, swtpm = (_command(fields.take(name, list), name) for name in ("qemu", "swtpm"))
        kit = cls(
            qemu=qemu,
            swtpm=swtpm,
            environment=_texts(fields.take("environment", dict), "environment"),
            qemu_version=fields.take("qemuVersion", str),
            packages=_texts(fields.take("packages", dict), "packages"),
        )
        fields.end()
        return kit


def _command(words: list[object], name: str) -> tuple[str, ...]:
    found = tuple(word for word in words if isinstance(word, str))
    if not words or len(found) != len(words):
        raise FormatError(_WHAT, f"{name} must be the words of a command")
    return found


def _texts(value: Mapping[str, object], name: str) -> dict[str, str]:
    found = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(found) != len(value):
        raise FormatError(_WHAT, f"{name} must hold texts")
    return found
