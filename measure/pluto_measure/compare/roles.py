"""What each event of a log is, in the words of a prediction: "td-hob", "acpi:tables", "load-options", ... Pure.

A role is made of an event's type and data, which nothing proves, and of its place in its register. So roles align logs
and explain them, and never decide: whether two events are the same, their digests say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pluto_measure.compare.event_role import At, role_of
from pluto_measure.formats.eventlog import EventLog, LogEvent
from pluto_measure.machine.inputs import BLOBS

_BY_PLACE: Final[Mapping[str, Sequence[str]]] = {
    "variable": [f"variable:{name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx")],
    "boot-variable": ["boot-order"],
    "tag": ["load-options", "initrd"],
    "config": [],
}
# Roles of events whose data does not say what they are for; and all that a role may begin with.
_VAGUE: Final = re.compile(r"image|driver|variable|boot-variable|authority|ipl|tag|action|config")
_KNOWN: Final = re.compile(
    r"(td-hob|cfv|fw-cfg|variable|separator|acpi|smbios|boot-order|boot-option|calling|returning|gpt|authority|image"
    r"|section-name|section|load-options|initrd|exit-invoked|exit-done|exit-failed|driver|shim|grub|phase|credentials"
    r"|extension|override|payload|payload-info|firmware-version|firmware-contents|firmware-volume|post-code|run-time"
    r"|event|note)(:.*)?",
    re.DOTALL,
)


def roles(log: EventLog) -> tuple[str, ...]:
    """One role for each record of the log. No two kinds of event share one; one kind may occur many times."""
    found = [""] * len(log.events)
    by_register: dict[str, list[int]] = {}
    for position, event in enumerate(log.events):
        by_register.setdefault(log.register(event), []).append(position)
    for register, positions in by_register.items():
        chosen = [log.events[position] for position in positions]
        for position, role in zip(positions, _of_register(register, chosen), strict=True):
            found[position] = role
    return _with_first_image(log, found)


def _of_register(register: str, logged: Sequence[LogEvent]) -> list[str]:
    given: list[str] = []
    for at, event in enumerate(logged):
        before = logged[at - 1] if at else None
        after = logged[at + 1] if at + 1 < len(logged) else None
        given.append(role_of(At(register, event, before, after, given[-1] if given else "")))
    _name_by_place(register, logged, given)
    blobs = [at for at, role in enumerate(given) if role == "acpi"]
    names = list(BLOBS) if len(blobs) == len(BLOBS) else [name for name in BLOBS if name != "tpmLog"]
    for nth, at in enumerate(blobs):
        given[at] = f"acpi:{names[nth]}" if nth < len(names) else "acpi:more"
    return given


def _name_by_place(register: str, logged: Sequence[LogEvent], given: list[str]) -> None:
    """Roles for events whose data was left out of the log (dstack's have none), by the order that firmware keeps."""
    seen: dict[str, int] = {}
    for at, event in enumerate(logged):
        role, nth = given[at], seen.get(given[at], 0)
        if event.data or role not in _BY_PLACE:
            continue
        seen[role] = nth + 1
        names = _BY_PLACE[role]
        if role == "config":
            given[at] = "acpi" if register in ("rtmr0", "pcr1") else role
        elif nth < len(names):
            given[at] = names[nth]


def is_vague(role: str) -> bool:
    """Whether the role says no more than the event's type."""
    return _VAGUE.fullmatch(role) is not None


def _with_first_image(log: EventLog, found: list[str]) -> tuple[str, ...]:
    """The same, with the first image that came from a disk or by -kernel as what the machine was to boot.

    That is a UKI, but the image of -kernel is a kernel unless systemd-stub left a trace of its own.
    """
    stub = any(role.startswith("section") or role == "image:kernel" for role in found)
    place = next((at for at, role in enumerate(found) if role in ("image:disk", "image:given")), None)
    if place is not None:
        found[place] = "image:uki" if found[place] == "image:disk" or stub else "image:kernel"
    return tuple("image:disk" if role == "image:given" else role for role in found)


def are_akin(ours: str, theirs: str) -> bool:
    """Whether two events of one type may stand for each other although their roles are not the same.

    So where one of them says nothing of what it is, and among images, except those that nothing is to be started from.
    """
    for role in (ours, theirs):
        if is_vague(role) or not _KNOWN.fullmatch(role):
            return True
    images = ours.startswith("image:") and theirs.startswith("image:")
    return images and not {ours, theirs} & {"image:firmware", "image:addon"}
