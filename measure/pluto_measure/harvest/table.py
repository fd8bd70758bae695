"""The table of harvested inputs, by shape: image/notary/platform-inputs.json. Pure.

Format: docs/formats/platform-inputs.md. A platform whose shape is in it needs to give none of these inputs itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.harvest.entry import LOW_MEMORY, SMBIOS_SINCE, Entry, key_of
from pluto_measure.machine.platform import Platform

VERSION: Final = 1
KINDS: Final = ("qemu-tdx", "qemu-vtpm")
HINT: Final = "add the machine to platforms.toml and run 'make harvest' ('pluto-measure acpi harvest')"
_WHAT: Final = "platform-inputs.json"


@dataclass(frozen=True, slots=True)
class Table:
    """Entries by key, sorted."""

    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """The later of two entries of one shape holds."""
        found = {entry.key: entry for entry in entries}
        return cls({key: found[key] for key in sorted(found)})

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError, also where a key is not that of its shape."""
        fields = Fields(loads(text, what=_WHAT), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        listed = fields.take("entries", dict)
        fields.end()
        entries = {key: Entry.from_json(value, what=f"{_WHAT}.{key[:16]}") for key, value in listed.items()}
        for key, entry in entries.items():
            if entry.key != key:
                raise FormatError(_WHAT, f"{key[:64]} is not the digest of the shape below it")
        if list(entries) != sorted(entries):
            raise FormatError(_WHAT, "entries are not sorted by key")
        return cls(entries)

    def to_text(self) -> str:
        """The one text of this table."""
        entries = {key: entry.to_json() for key, entry in self.entries.items()}
        return pretty({"version": VERSION, "entries": entries})

    def find(self, platform: Platform) -> Entry | None:
        """The entry of this platform's shape. FormatError where the firmware is not given."""
        return self.entries.get(key_of(platform.shape()))

    def complete(self, platform: Platform) -> Platform:
        """The platform with what its shape's entry knows and it does not give itself; others as they are.

        FormatError for a trust domain whose ACPI is nowhere to be had; it names the shape. A TPM's machine stays as it
        is then: the rule of its PCR 1 is to replay the log.
        """
        if platform.kind not in KINDS or platform.firmware is None:
            return platform
        entry = self.find(platform)
        if entry is None:
            if platform.kind == "qemu-tdx" and not platform.acpi:
                raise FormatError(_WHAT, f"no inputs are known for {self._named(platform.shape())}", hint=HINT)
            return platform
        return _completed(platform, entry)

    def _named(self, shape: Mapping[str, Any]) -> str:
        """The shape in words, and what of it is other in the entry that is nearest."""
        text = in_words(shape)
        by_difference = [(_other(shape, entry.shape), entry.shape) for entry in self.entries.values()]
        if not by_difference:
            return text
        fewest = min(len(names) for names, _ in by_difference)
        if fewest != 1:
            return text
        name = next(names[0] for names, _ in by_difference if len(names) == 1)
        known = [_one_in_words(name, other) for names, other in by_difference if names == [name]]
        others = sorted(set(known), key=lambda word: (len(word), word))
        return f"{text}; they are for the same machine with {', '.join(others)}"


def in_words(shape: Mapping[str, Any]) -> str:
    """One machine in a sentence's middle."""
    return ", ".join(_one_in_words(name, shape) for name in shape if name not in ("vmmVersion",))


def _one_in_words(name: str, shape: Mapping[str, Any]) -> str:
    value = shape[name]
    match name:
        case "cpus":
            return f"{value} vCPU" if value == 1 else f"{value} vCPUs"
        case "lowMemory":
            return "2 GiB or at least 2816 MiB of memory" if value == LOW_MEMORY else f"{value >> 20} MiB of memory"
        case "vmm" | "vmmVersion":
            return f"{shape['vmm']} {shape['vmmVersion']}"
        case "firmware":
            return f"firmware {str(value)[:16]}"
        case "boot":
            return "booted from disk" if value == "disk" else "booted by -kernel"
        case "devices":
            return f"devices {'; '.join(value)}" if value else "no devices"
        case "tpm":
            return "a TPM" if value else "no TPM"
        case _:
            return str(value)


def _other(shape: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    return [name for name in shape if shape[name] != known.get(name)]


def _completed(platform: Platform, entry: Entry) -> Platform:
    changes: dict[str, Any] = {}
    if not platform.acpi:
        changes["acpi"] = (entry.acpi,)
    if not platform.boot_variables and _holds_in_a_trust_domain(platform, entry):
        changes["boot_variables"] = dict(entry.boot_variables)
    generation = platform.edk2_generation or (platform.firmware.generation if platform.firmware else None)
    if generation is None and entry.generation is not None:
        generation = changes["edk2_generation"] = entry.generation
    if generation is not None and generation >= SMBIOS_SINCE:
        if platform.fw_cfg is None:
            changes["fw_cfg"] = dict(entry.fw_cfg)
        table = entry.smbios
        # The table names memory and processor, and no emulated processor is that of a TDX host.
        if platform.smbios is None and table and platform.kind != "qemu-tdx" and table.memory == platform.memory:
            changes["smbios"] = table.measured()
    return replace(platform, **changes)


def _holds_in_a_trust_domain(platform: Platform, entry: Entry) -> bool:
    """Whether a trust domain makes these options too: it does not load every volume that emulation does."""
    if platform.kind != "qemu-tdx" or platform.firmware is None:
        return True
    inside = platform.firmware.inside
    found = {
        "EFI Internal Shell": inside.has_shell,
        "EFI Firmware Setup": inside.has_setup,
        "BootManagerMenuApp": inside.menu_volume is not None,
    }
    options = [item.bytes_of(name) for name, item in entry.boot_variables.items() if name != "BootOrder"]
    return all(found.get(uefi.parse_load_option(option).description, True) for option in options)
