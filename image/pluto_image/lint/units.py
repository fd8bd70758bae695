"""Checks systemd units: what starts is what the recipe says, what it starts exists, what listens is declared. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from pluto_image.lint.tree import resolve
from pluto_image.tree import Entry, Kind

# systemd.unit(5), "System Unit Search Path".
FOLDERS: Final = (
    "etc/systemd/system", "etc/systemd/system.attached", "etc/systemd/system.control", "run/systemd/system",
    "usr/local/lib/systemd/system", "usr/lib/systemd/system",
)  # fmt: skip
_LISTENING: Final = ("Stream", "Datagram", "SequentialPacket", "FIFO", "Special", "Netlink", "MessageQueue")
_LISTEN: Final = frozenset(f"Listen{kind}" for kind in _LISTENING)
_EXEC: Final = frozenset({"ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecReload", "ExecCondition"})
# Units that give a place to type, take instructions from the host, or write to PCRs that policies expect to be still.
FORBIDDEN: Final = (
    "debug-shell", "emergency.", "rescue.", "getty", "serial-getty", "console-getty", "container-getty",
    "systemd-pcr", "systemd-tpm2", "systemd-creds", "systemd-sysext", "systemd-confext", "systemd-firstboot",
    "systemd-network-generator", "systemd-udev-load-credentials", "systemd-storagetm", "systemd-bsod", "ssh",
    "sys-firmware-efi", "sys-kernel-debug", "initrd",
)  # fmt: skip


def check(entries: Sequence[Entry], *, enabled: Collection[str], listen: Collection[str]) -> Iterator[str]:
    """One sentence for each mistake. `enabled`: TARGET.wants/UNIT for every link that may exist."""
    by_path = {entry.path: entry for entry in entries}
    units = {path: entry for path, entry in by_path.items() if posixpath.dirname(path) in FOLDERS}
    known = {posixpath.basename(path) for path in units}
    for path, entry in by_path.items():
        folder, name = posixpath.basename(posixpath.dirname(path)), posixpath.basename(path)
        if posixpath.dirname(posixpath.dirname(path)) not in FOLDERS:
            continue
        if folder.endswith((".wants", ".requires", ".upholds")):
            yield from _wanted(f"{folder}/{name}", enabled, known)
        elif folder.endswith(".d") and entry.kind is Kind.FILE:  # a drop-in can do all that a unit can
            yield from _unit(f"{folder}/{name}", entry, by_path, listen)
    for path, entry in sorted(units.items()):
        name = posixpath.basename(path)
        if entry.kind is Kind.SYMLINK:
            continue
        if entry.kind is Kind.FILE and name.startswith(FORBIDDEN):
            yield f"unit {name} must not be in the image"
        yield from _unit(name, entry, by_path, listen)


def settings(text: str) -> Iterator[tuple[str, str]]:
    """Assignments of a unit file in order, continuation lines joined; sections do not matter here."""
    whole = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith(("#", ";")):
            continue  # also in the middle of a continued line
        whole += line.removesuffix("\\") + " "
        if line.endswith("\\"):
            continue
        name, equals, value = whole.partition("=")
        if equals and not whole.startswith("["):
            yield name.strip(), value.strip()
        whole = ""
    name, equals, value = whole.partition("=")  # a continuation at the end of the file
    if equals:
        yield name.strip(), value.strip()


def _wanted(link: str, enabled: Collection[str], known: Collection[str]) -> Iterator[str]:
    unit = link.partition("/")[2]
    template = f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}"
    if link not in enabled:
        yield f"unit link {link} is not in the recipe"
    if unit not in known and template not in known:
        yield f"unit link {link} starts a unit that is not in the image"


def _unit(name: str, entry: Entry, by_path: Mapping[str, Entry], listen: Collection[str]) -> Iterator[str]:
    for key, value in settings(entry.data.decode(errors="replace")):
        if key in _LISTEN and value and value not in listen:
            yield f"socket unit {name} listens on {value}, which is not declared"
        if key in _EXEC and value:
            program = value.split()[0].lstrip("-@:+!|")
            if resolve(program.lstrip("/"), by_path) not in by_path and not value.startswith("-"):
                yield f"unit {name} starts {program}, which is not in the image"
