"""What a differing event means, in words, and the attacks of a host that logs show. Pure.

A meaning is help for people, never a verdict: the difference itself is what refuses a machine. Where words rest on an
event's data and the digest does not cover it, they say "the log names".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pluto_measure.compare.explain import boot, firmware, stub
from pluto_measure.compare.explain.cause import Cause, cause_of
from pluto_measure.compare.explain.scene import (
    ATTACKS,
    ESP_ADDON,
    ESP_CREDENTIAL,
    ESP_EXTENSION,
    FOREIGN_APPLICATION,
    LOAD_OPTIONS,
    SMBIOS_COMMAND_LINE,
    Known,
    Meaning,
    Place,
    Scene,
    plain,
)
from pluto_measure.event_text import describe

__all__ = [
    "ATTACKS",
    "ESP_ADDON",
    "ESP_CREDENTIAL",
    "ESP_EXTENSION",
    "FOREIGN_APPLICATION",
    "LOAD_OPTIONS",
    "SMBIOS_COMMAND_LINE",
    "Cause",
    "Known",
    "Meaning",
    "Place",
    "Scene",
    "cause_of",
    "describe",
    "explain",
]

# By the head of a role, the part before its colon.
_BY_ROLE: Final[Mapping[str, Callable[[Place, Scene], Meaning]]] = {
    "td-hob": firmware.td_hob,
    "cfv": firmware.variable_store,
    "fw-cfg": firmware.setting,
    "config": firmware.configuration,
    "post-code": firmware.configuration,
    "variable": firmware.secure_boot_variable,
    "authority": firmware.authority,
    "separator": firmware.separator,
    "acpi": firmware.acpi,
    "smbios": firmware.smbios,
    "boot-order": firmware.order,
    "boot-option": firmware.option,
    "driver": firmware.drivers,
    "calling": boot.image,
    "returning": boot.image,
    "image": boot.image,
    "gpt": boot.partitions,
    "exit-invoked": boot.leaving,
    "exit-done": boot.leaving,
    "exit-failed": boot.leaving,
    "section-name": stub.section,
    "section": stub.section,
    "phase": stub.section,
    "load-options": stub.kernel_input,
    "initrd": stub.kernel_input,
    "override": stub.override,
    "credentials": stub.override,
    "extension": stub.extension,
    "shim": boot.other_chain,
    "grub": boot.other_chain,
    "run-time": boot.run_time,
}
# Where an event's role says nothing, its register does.
_BY_REGISTER: Final[Mapping[str, Callable[[Place, Scene], Meaning]]] = {
    "pcr2": firmware.drivers,
    "pcr3": firmware.drivers,
    "pcr11": stub.section,
    "pcr12": stub.override,
    "pcr13": stub.extension,
    "rtmr3": boot.run_time,
}
_ALL_OF_REGISTER: Final = ("pcr12", "pcr13")  # whatever they hold came from outside the UKI


def explain(place: Place, scene: Scene) -> Meaning:
    """What it means that there is `place.actual` where `place.expected` was expected (None: nothing there)."""
    head = place.role.partition(":")[0]
    chosen = None if place.register in _ALL_OF_REGISTER else _BY_ROLE.get(head)
    return (chosen or _BY_REGISTER.get(place.register, _plain))(place, scene)


def _plain(place: Place, scene: Scene) -> Meaning:
    return plain(place)
