"""What a host should be: a frozen value that the decision makes and the operations carry out. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Placed:
    """A file on the host. Its content may be secret, so it is not shown."""

    path: str
    content: bytes = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on the host."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Device:
    """A node below /dev, for `group` alone (None: as it is). `static`: it is there before its module is loaded."""

    name: str
    group: str | None
    module: str | None = None
    static: bool = False


@dataclass(frozen=True, slots=True)
class Preparation:
    """All of it. Files come in sets: what has to happen after a change hangs on a set.

    packages    by name; `held` among them stay at their version
    words       of the running kernel's command line; those that `missing` lists are not there yet
    reboot      whether the host is rebooted for them
    users       by name: their further groups
    services    enabled and running; `enabled`: enabled only
    ufw         rules that the host's own ufw needs so as not to drop what ours allow
    notes       what the operator has to know
    """

    archive: tuple[Placed, ...]
    packages: tuple[str, ...]
    held: tuple[str, ...]
    kernel: tuple[Placed, ...]
    words: tuple[str, ...]
    missing: tuple[str, ...]
    reboot: bool
    groups: tuple[str, ...]
    users: Mapping[str, tuple[str, ...]]
    folders: tuple[Folder, ...]
    modules: tuple[Placed, ...]
    devices: tuple[Device, ...]
    quotes: tuple[Placed, ...]
    pccs: tuple[Placed, ...]
    network: tuple[Placed, ...]
    firewall: tuple[Placed, ...]
    journal: tuple[Placed, ...]
    routed: bool
    ufw: tuple[str, ...]
    record: Placed
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """For the worker."""

        def plain(value: Any) -> Any:
            match value:
                case bytes():
                    return {"base64": base64.b64encode(value).decode()}
                case dict():
                    return {name: plain(one) for name, one in value.items()}
                case list() | tuple():
                    return [plain(one) for one in value]
                case _:
                    return value

        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` made."""
        sets = ("archive", "kernel", "modules", "quotes", "pccs", "network", "firewall", "journal")
        texts = ("packages", "held", "words", "missing", "groups", "ufw", "notes")
        parts: dict[str, Any] = {name: tuple(_placed(one) for one in value[name]) for name in sets}
        parts |= {name: tuple(value[name]) for name in texts}
        return cls(
            **parts,
            reboot=value["reboot"],
            routed=value["routed"],
            users={name: tuple(groups) for name, groups in value["users"].items()},
            folders=tuple(Folder(**one) for one in value["folders"]),
            devices=tuple(Device(**one) for one in value["devices"]),
            record=_placed(value["record"]),
        )


def placed(path: PurePosixPath | str, text: str | bytes, **more: Any) -> Placed:
    """A file from its text."""
    return Placed(str(path), text.encode() if isinstance(text, str) else text, **more)


def _placed(value: Mapping[str, Any]) -> Placed:
    return Placed(**{**value, "content": base64.b64decode(value["content"]["base64"])})
