"""The inputs of one shape: made of what a harvest's guest said, checked against each other, and as JSON. Pure.

Format: docs/formats/platform-inputs.md.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventType
from pluto_measure.formats.strict_json import Fields, canonical
from pluto_measure.harvest import loader_script
from pluto_measure.machine.firmware import parse_generation
from pluto_measure.machine.inputs import BLOBS, Acpi, Input

LOW_MEMORY: Final = 2 << 30  # `lowMemory` of every machine with at least 2816 MiB, and of one with 2 GiB
SMBIOS_SINCE: Final = 202505  # edk2: from this on the firmware measures SMBIOS, and fw_cfg items beside ACPI
_HARVEST: Final = "harvest"
_ATTRIBUTES: Final = 4  # bytes that efivarfs puts before a variable's content
_ORDER: Final = "BootOrder"
_VARIABLE: Final = re.compile(r"BootOrder|Boot[0-9A-F]{4}")
_FW_CFG: Final = "fw_cfg:"
_ACPI_DATA: Final = b"ACPI DATA"


@dataclass(frozen=True, slots=True)
class Smbios:
    """The whole SMBIOS table of a machine with this much memory (bytes): unlike ACPI it names memory and processor."""

    memory: int
    table: Input

    def measured(self) -> Digests:
        """Digests of the event. FormatError."""
        return Digests.of(_measured(self.table.bytes_of("smbios")))


@dataclass(frozen=True, slots=True)
class Entry:
    """What QEMU and firmware make for one shape.

    shape           Platform.shape()
    acpi            digests of the blobs
    boot_variables  BootOrder, then each Boot#### in its order, with content
    fw_cfg          the other items that firmware from edk2 202505 on measures, with content
    smbios          where the firmware measures it
    generation      of the firmware, where it is known
    made_with       for the record: versions of QEMU, firmware and kernel, processor model
    """

    shape: Mapping[str, object]
    acpi: Acpi
    boot_variables: Mapping[str, Input]
    fw_cfg: Mapping[str, Input]
    smbios: Smbios | None
    generation: int | None
    made_with: Mapping[str, str]

    @property
    def key(self) -> str:
        """SHA-256 of the shape's canonical JSON, in hex."""
        return key_of(self.shape)

    def differences(self, other: Self) -> tuple[str, ...]:
        """The names of inputs that differ; who made them, and with how much memory, does not count."""
        ours, theirs = dict(self._inputs()), dict(other._inputs())
        names = [*ours, *(name for name in theirs if name not in ours)]
        return tuple(name for name in names if ours.get(name) != theirs.get(name))

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "shape": dict(self.shape),
            "acpi": self.acpi.to_json(),
            "bootVariables": _contents(self.boot_variables),
            "fwCfg": _contents(self.fw_cfg),
        }
        if self.smbios is not None:
            document["smbios"] = {"memory": self.smbios.memory, **_content(self.smbios.table)}
        if self.generation is not None:
            document["edk2Generation"] = self.generation
        return {**document, "harvestedWith": dict(self.made_with)}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> Self:
        """FormatError."""
        fields = Fields(value, what=what)
        generation = fields.get("edk2Generation", None, int)
        entry = cls(
            shape=fields.take("shape", dict),
            acpi=Acpi.parse(fields.take("acpi", dict), _no_file, what=f"{what}.acpi"),
            boot_variables=_inputs(fields.take("bootVariables", dict), f"{what}.bootVariables"),
            fw_cfg=_inputs(fields.take("fwCfg", dict), f"{what}.fwCfg"),
            smbios=_smbios(fields.optional("smbios"), f"{what}.smbios"),
            generation=None if generation is None else parse_generation(generation),
            made_with={name: str(text) for name, text in fields.take("harvestedWith", dict).items()},
        )
        fields.end()
        if not (_ORDER in entry.boot_variables and all(map(_VARIABLE.fullmatch, entry.boot_variables))):
            raise FormatError(f"{what}.bootVariables", "must hold BootOrder, and else Boot#### alone")
        return entry

    def _inputs(self) -> Iterator[tuple[str, object]]:
        yield from ((f"acpi.{name}", digests) for name, digests in self.acpi.blobs.items())
        yield from ((f"bootVariables.{name}", item) for name, item in self.boot_variables.items())
        yield from ((f"fwCfg.{name}", item) for name, item in self.fw_cfg.items())


def key_of(shape: Mapping[str, object]) -> str:
    """SHA-256 of the shape's canonical JSON, in hex."""
    return hashlib.sha256(canonical(dict(shape))).hexdigest()


def blobs(items: Mapping[str, bytes]) -> dict[str, bytes]:
    """The ACPI blobs by their names in BLOBS, in the order in which the firmware reads them. FormatError.

    `items` is what the guest said.
    """
    names = (loader_script.SCRIPT, *loader_script.allocated(_said(items, _FW_CFG + loader_script.SCRIPT)))
    short = {file: name for name, file in BLOBS.items()}
    if odd := [name for name in names if name not in short]:
        raise FormatError(_HARVEST, f"the firmware reads {odd[0]}, which no prediction knows")
    found = {short[name]: _said(items, _FW_CFG + name) for name in names}
    if list(found) != [name for name in BLOBS if name in found] or not {"rsdp", "tables"} <= found.keys():
        raise FormatError(_HARVEST, f"the firmware reads the blobs in the order {', '.join(found)}")
    return found


def boot_variables(items: Mapping[str, bytes]) -> dict[str, bytes]:
    """BootOrder, then each option that it names, without attributes. FormatError."""
    order = _said(items, f"efi:{_ORDER}")[_ATTRIBUTES:]
    if not order or len(order) % 2:
        raise FormatError(_HARVEST, f"BootOrder has {len(order)} bytes")
    numbers = [int.from_bytes(order[at : at + 2], "little") for at in range(0, len(order), 2)]
    names = [f"Boot{number:04X}" for number in numbers]
    return {_ORDER: order, **{name: _said(items, f"efi:{name}")[_ATTRIBUTES:] for name in names}}


def make(
    shape: Mapping[str, object],
    items: Mapping[str, bytes],
    *,
    memory: int,
    generation: int | None,
    made_with: Mapping[str, str],
) -> Entry:
    """The entry of a shape from what its guest said; a TPM's log, where there is one, must say the same. FormatError.

    `memory` (bytes) is what the machine had; `generation` decides whether SMBIOS is kept.
    """
    acpi, variables = blobs(items), boot_variables(items)
    table, measures = _said(items, "smbios"), generation is not None and generation >= SMBIOS_SINCE
    if "tpm-log" in items:
        measured = (*acpi.values(), *variables.values())
        _check_log(items["tpm-log"], measured, _measured(table) if measures else None)
    elif shape.get("tpm"):
        raise FormatError(_HARVEST, "the machine has a TPM, and the guest saw no log of it")
    known = {*BLOBS.values()}
    others = {name.removeprefix(_FW_CFG): data for name, data in items.items() if name.startswith(_FW_CFG)}
    return Entry(
        shape=shape,
        acpi=Acpi({name: Input.of(data).digests for name, data in acpi.items()}),
        boot_variables={name: Input.of(data) for name, data in variables.items()},
        fw_cfg={name: Input.of(data) for name, data in sorted(others.items()) if name not in known},
        smbios=Smbios(memory, Input.of(table)) if measures else None,
        generation=generation,
        made_with=made_with,
    )


def _check_log(log: bytes, measured: tuple[bytes, ...], table: bytes | None) -> None:
    """What the firmware measured is what the guest read: digests of the log against the bytes, in order."""
    events = [event for event in eventlog.parse(log).events if event.index == 1]
    found = [e for e in events if e.data.startswith(_ACPI_DATA) or e.type == EventType.EV_EFI_VARIABLE_BOOT]
    if table is not None:
        found += [event for event in events if event.type == EventType.EV_EFI_HANDOFF_TABLES]
        measured = (*measured, table)
    if len(found) != len(measured):
        raise FormatError(_HARVEST, f"the TPM's log has {len(found)} such measurements, the guest read {len(measured)}")
    for event, content in zip(found, measured, strict=True):
        if not event.covers(content):
            raise FormatError(_HARVEST, f"what the firmware measured is not what the guest read: {event.data[:40]!r}")


def _said(items: Mapping[str, bytes], name: str) -> bytes:
    if name not in items:
        raise FormatError(_HARVEST, f"the guest did not say {name}")
    return items[name]


def _content(item: Input) -> dict[str, object]:
    return {"base64": base64.b64encode(item.bytes_of("input")).decode()}


def _contents(inputs: Mapping[str, Input]) -> dict[str, object]:
    return {name: _content(item) for name, item in inputs.items()}


def _inputs(value: Mapping[str, object], what: str) -> dict[str, Input]:
    found = {name: Input.parse(item, _no_file, what=f"{what}.{name}") for name, item in value.items()}
    for name, item in found.items():
        item.bytes_of(f"{what}.{name}")
    return found


def _smbios(fields: Fields | None, what: str) -> Smbios | None:
    if fields is None:
        return None
    memory, encoded = fields.take("memory", int), fields.take("base64", str)
    fields.end()
    table = Input.parse({"base64": encoded}, _no_file, what=what)
    found = Smbios(memory, table)
    found.measured()
    return found


def _measured(table: bytes) -> bytes:
    # Imported here: only firmware from 202505 on measures SMBIOS.
    from pluto_measure.formats import smbios

    return smbios.measured(table)


def _no_file(name: str) -> bytes:
    raise FormatError("platform inputs", f"{name!r} is a file, and the table stands alone")
