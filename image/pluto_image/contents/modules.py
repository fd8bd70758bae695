"""Kernel modules of a root, and why each is there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pluto_image.contents.recipe import Reasons
from pluto_image.formats.depmod import module_info
from pluto_image.recipe.kernel import SIGNATURE, module_name
from pluto_image.tree import Entry, Kind


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """One module. `loaded`: "at boot", or "by its device" where a device alias asks for it; `why` "" if not known."""

    name: str
    size: int
    signed: bool
    loaded: str
    depends: tuple[str, ...]
    why: str


def modules(entries: Sequence[Entry], reasons: Reasons) -> tuple[ModuleFacts, ...]:
    """All modules by name. FormatError for a file that is none."""
    found = []
    for entry in entries:
        if entry.kind is Kind.FILE and entry.path.startswith("usr/lib/modules/") and entry.path.endswith(".ko"):
            name, info = module_name(entry.path), module_info(entry.data)
            loaded = "at boot" if name in reasons.loaded else "by its device" if info.aliases else "with another"
            found.append(
                ModuleFacts(
                    name,
                    len(entry.data),
                    entry.data.endswith(SIGNATURE),
                    loaded,
                    info.depends,
                    reasons.modules.get(name, ""),
                )
            )
    return tuple(sorted(found, key=lambda one: one.name))
