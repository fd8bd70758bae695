"""What an explanation may look at: both logs, what is known of the expected machine, the place that differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

from pluto_measure.event_text import describe
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.predict.events import Banks, ExpectedEvent

SMBIOS_COMMAND_LINE: Final = "smbios-command-line"
ESP_CREDENTIAL: Final = "esp-credential"
ESP_ADDON: Final = "esp-addon"
ESP_EXTENSION: Final = "esp-extension"
LOAD_OPTIONS: Final = "load-options"
FOREIGN_APPLICATION: Final = "foreign-application"
ATTACKS: Final = (
    SMBIOS_COMMAND_LINE,
    ESP_CREDENTIAL,
    ESP_ADDON,
    ESP_EXTENSION,
    LOAD_OPTIONS,
    FOREIGN_APPLICATION,
)

APPLICATION: Final = EventType.EV_EFI_BOOT_SERVICES_APPLICATION
_STARTED: Final = (APPLICATION, EventType.EV_EFI_BOOT_SERVICES_DRIVER, EventType.EV_EFI_ACTION)
OTHER_CHAIN: Final = "another boot chain was started (shim, GRUB)"
_MOST_SECTIONS: Final = 64
_HIGHEST: Final = 1 << 52


@dataclass(frozen=True, slots=True)
class Meaning:
    """Words for one difference.

    attack      one of ATTACKS, if the log shows one
    harmless    the difference says nothing of the machine: it may occur on every boot
    recomputed  the differing digest was computed again from the cause that is named, so the words are no guess
    cause       the same in fewer words, equal for differences that one cause makes; by default the words themselves
    weight      how much of the rest the cause explains: a lower one is named first
    hint        what to do about it
    """

    text: str
    attack: str | None = None
    harmless: bool = False
    recomputed: bool = False
    cause: str = ""
    weight: int = 3
    hint: str | None = None

    @property
    def is_understood(self) -> bool:
        """Whether the register stays explainable in spite of it."""
        return (self.harmless or self.recomputed) and self.attack is None


@dataclass(frozen=True, slots=True)
class Place:
    """One difference: what was expected, what the log has (None: nothing), and the role of either.

    `moved`: the register in which the same event is missing, or too many.
    """

    register: str
    expected: ExpectedEvent | None
    actual: LogEvent | None
    role: str
    moved: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the `inputs` of a prediction say of the expected machine; None or empty where they say nothing."""

    platform: str | None = None
    memory: int | None = None
    sections: tuple[Section, ...] = ()
    generation: int | None = None
    command_line: str | None = None
    boot: str | None = None
    vmm_version: str | None = None

    @classmethod
    def of(cls, inputs: Mapping[str, object]) -> Self:
        """From the JSON of a prediction or profile. What does not fit is left out: it would only have helped."""
        firmware = inputs.get("firmware")
        listed = firmware.get("sections") if isinstance(firmware, dict) else None
        generation = inputs.get("edk2Generation")
        memory = inputs.get("memory")
        return cls(
            platform=_text(inputs, "platform"),
            memory=memory if isinstance(memory, int) else None,
            sections=_sections(listed),
            generation=generation if isinstance(generation, int) else None,
            command_line=_text(inputs, "commandLine"),
            boot=_text(inputs, "boot"),
            vmm_version=_text(inputs, "vmmVersion"),
        )


@dataclass(frozen=True)
class Scene:
    """Both logs by register, the roles of the actual one, and what is known of the expected machine.

    `ours` says whose the expected events are: "this release", or another log.
    """

    expected: Mapping[str, Sequence[ExpectedEvent]]
    actual: Mapping[str, Sequence[LogEvent]]
    roles: Mapping[str, Sequence[str]]
    known: Known = field(default_factory=Known)
    ours: str = "this release"
    _started: dict[str, tuple[ExpectedEvent | None, int | None, list[LogEvent]]] = field(default_factory=dict)

    def started_before(self, register: str) -> tuple[ExpectedEvent | None, int | None, list[LogEvent]]:
        """The image that the machine is to boot, where the log starts it (None: nowhere), and what was started before
        that has no place there in any boot of it: images, and boot options that were tried.
        """
        if register not in self._started:
            self._started[register] = _started_before(self.expected.get(register, ()), self.actual.get(register, ()))
        return self._started[register]

    def with_role(self, *heads: str) -> list[tuple[str, LogEvent]]:
        """Role and event of all that the log has of these kinds, in no order between registers."""
        return [found for head in heads for found in self._by_head.get(head, ())]

    @cached_property
    def _by_head(self) -> dict[str, list[tuple[str, LogEvent]]]:
        found: dict[str, list[tuple[str, LogEvent]]] = {}
        for register, logged in self.actual.items():
            for role, event in zip(self.roles[register], logged, strict=True):
                found.setdefault(role.partition(":")[0], []).append((role, event))
        return found

    @cached_property
    def from_outside(self) -> list[LogEvent]:
        """What the stub took from outside the UKI, and nobody expects."""
        found = [("pcr12", event) for event in self.actual.get("pcr12", ())]
        listed = zip(self.roles.get("rtmr2", ()), self.actual.get("rtmr2", ()), strict=True)
        found += [("rtmr2", event) for role, event in listed if role in ("override", "credentials")]
        wanted = {register: self.expected.get(register, ()) for register, _ in found}
        known = {
            name: {value for event in events for value in event.digests.values()} for name, events in wanted.items()
        }
        return [event for register, event in found if known[register].isdisjoint(event.digests.values())]

    @cached_property
    def is_direct(self) -> bool:
        """Whether a kernel is expected without a UKI around it."""
        listed = {event.role for events in self.expected.values() for event in events}
        return self.known.boot == "direct" or ("image:kernel" in listed and "image:uki" not in listed)

    @cached_property
    def has_other_chain(self) -> bool:
        """Whether shim or GRUB measured something."""
        return bool(self.with_role("shim", "grub"))


def _started_before(
    ours: Sequence[ExpectedEvent], log: Sequence[LogEvent]
) -> tuple[ExpectedEvent | None, int | None, list[LogEvent]]:
    first = next((event for event in ours if event.role in ("image:uki", "image:kernel")), None)
    at = next((i for i, event in enumerate(log) if first is not None and matches(first, event)), None)
    left = [event for event in ours if event.type in _STARTED and event.type != APPLICATION]
    strangers = []
    for event in log[: at or 0]:
        if event.type not in _STARTED:
            continue
        known = next((wanted for wanted in left if wanted.type == event.type and matches(wanted, event)), None)
        if known is None:
            strangers.append(event)
        else:
            left.remove(known)
    return first, at, strangers


def matches(wanted: ExpectedEvent, actual: LogEvent) -> bool:
    """Whether the logged digests are those expected, in every bank that both have."""
    common = [bank for bank in wanted.digests if bank in actual.digests]
    return bool(common) and all(wanted.digests[bank] == actual.digests[bank] for bank in common)


def strongest(banks: Banks) -> tuple[str, bytes] | None:
    """The digest to test guesses with: the algorithm's name and its value."""
    return next(((name, banks[name]) for name in ("sha384", "sha256", "sha512", "sha1") if name in banks), None)


def plain(place: Place) -> Meaning:
    """What can be said without knowing what the event is for."""
    register, wanted, actual = place.register, place.expected, place.actual
    if wanted is None and actual is not None:
        return Meaning(f"{register} has an event that nobody expects: {describe(actual)}")
    if wanted is not None and actual is None:
        return Meaning(f"{register} lacks an event: {wanted.description}")
    if wanted is None or actual is None:
        return Meaning(f"{register} differs")
    return Meaning(f"{register} has {describe(actual)} where {wanted.description} was expected")


def _text(inputs: Mapping[str, object], name: str) -> str | None:
    value = inputs.get(name)
    return value if isinstance(value, str) else None


def _sections(listed: object) -> tuple[Section, ...]:
    if not isinstance(listed, list) or len(listed) > _MOST_SECTIONS:
        return ()
    found = tuple(_section(item) for item in listed if isinstance(item, dict))
    known = tuple(section for section in found if section is not None)
    holds = len(known) == len(listed) and sum(section.type is SectionType.TD_HOB for section in known) == 1
    return known if holds else ()


def _section(item: Mapping[str, object]) -> Section | None:
    names = ("offset", "rawSize", "address", "memorySize", "attributes")
    numbers = [value for value in map(item.get, names) if isinstance(value, int) and 0 <= value < _HIGHEST]
    kind = item.get("type")
    if len(numbers) != len(names) or not isinstance(kind, str) or kind not in SectionType.__members__:
        return None
    offset, raw, address, size, attributes = numbers
    return Section(offset, raw, address, size, SectionType[kind], attributes)
