"""What a service may do once it runs, from the settings of its unit. Pure.

systemd.exec(5) and systemd.resource-control(5) for what the settings mean; how several assignments of one setting add
up, what a value that is none does (nothing), and which settings imply others is as in systemd 257.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.lint import sandbox_lists as lists
from pluto_image.lint.unit_files import Unit

_ARCHITECTURES: Final = (
    "native x86 x86-64 x32 arm arm64 loongarch64 mips mips64 mips64-n32 mips-le mips64-le mips64-le-n32 parisc parisc64"
    " ppc ppc64 ppc64-le riscv64 s390 s390x"
)
# Settings that are yes or no, with the further words that are a kind of yes.
_SWITCHES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        (
            "DynamicUser", "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateDevices",
            "PrivateIPC", "PrivateMounts", "PrivateNetwork", "ProtectClock", "ProtectHostname", "ProtectKernelLogs",
            "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC", "RestrictRealtime", "RestrictSUIDSGID",
        ),
        frozenset[str](),
    ),
    "PrivateTmp": frozenset({"disconnected"}),
    "PrivateUsers": frozenset({"self", "identity"}),
    "ProtectControlGroups": frozenset({"private", "strict"}),
    "PrivatePIDs": frozenset(),
}  # fmt: skip
_WORDS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {  # default, and what else there is
    "ProtectHome": ("no", frozenset({"read-only", "tmpfs"})),
    "ProtectSystem": ("no", frozenset({"full", "strict"})),
    "KeyringMode": ("private", frozenset({"inherit", "private", "shared"})),
    "ProtectProc": ("default", frozenset({"default", "noaccess", "invisible", "ptraceable"})),
    "ProcSubset": ("all", frozenset({"all", "pid"})),
    "DevicePolicy": ("auto", frozenset({"auto", "closed", "strict"})),
    "NotifyAccess": ("none", frozenset({"none", "main", "exec", "all"})),
}
_YES_OR_WORD: Final = frozenset({"ProtectHome", "ProtectSystem"})
# Each of these, if set at all, gives the service mounts of its own.
_PATHS: Final = (
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths",
    "BindReadOnlyPaths", "TemporaryFileSystem", "MountImages", "ExtensionImages", "ExtensionDirectories",
    "LogNamespace", "RootImage",
)  # fmt: skip
_ON: Final = (
    "PrivateDevices", "PrivateTmp", "PrivateIPC", "PrivatePIDs", "ProtectControlGroups",
    "ProtectKernelModules", "ProtectKernelTunables", "ProtectKernelLogs",
)  # fmt: skip
_TAKES: Final = {
    "PrivateDevices": ("CAP_MKNOD", "CAP_SYS_RAWIO"),
    "ProtectKernelModules": ("CAP_SYS_MODULE",),
    "ProtectKernelLogs": ("CAP_SYSLOG",),
    "ProtectClock": ("CAP_SYS_TIME", "CAP_WAKE_ALARM"),
}
_DEVICE: Final = re.compile(r"/dev/|block-|char-")
_UMASK: Final = re.compile(r"0*[0-7]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What counts for a service. `on`: the switches that are on, by name; `words`: the settings of one word."""

    on: frozenset[str]
    words: Mapping[str, str]
    user: str
    has_groups: bool
    capabilities: frozenset[str]
    has_ambient: bool
    umask: int
    delegates: bool
    has_root: bool
    has_devices: bool
    namespaces: frozenset[str]  # that it may make
    families: lists.Families
    architectures: frozenset[str]
    filter: lists.Filter
    addresses: lists.Addresses
    starts_late: bool  # DefaultDependencies=

    @property
    def is_root(self) -> bool:
        """Whether it runs as root."""
        return self.user in ("0", "root") or (not self.user and "DynamicUser" not in self.on)


def sandbox(unit: Unit) -> Sandbox:
    """The sandbox of a service unit."""
    on = {name for name, words in _SWITCHES.items() if _switch(_service(unit, name), words)}
    words = {name: _word(unit, name) for name in _WORDS}
    if "DynamicUser" in on:
        on |= {"PrivateTmp", "RemoveIPC", "NoNewPrivileges", "RestrictSUIDSGID"}
        words["ProtectSystem"] = "strict"
        words["ProtectHome"] = "read-only" if words["ProtectHome"] == "no" else words["ProtectHome"]
    if words["NotifyAccess"] == "none" and _wants_notifications(unit):
        words["NotifyAccess"] = "main"
    if "PrivateDevices" in on and words["DevicePolicy"] == "auto":
        words["DevicePolicy"] = "closed"
    if not _settled(_service(unit, "PrivateMounts")) and _implies_mounts(unit, on, words):
        on.add("PrivateMounts")
    taken = {name for setting, names in _TAKES.items() if setting in on for name in names}
    has_devices = any(_DEVICE.match(word) for word in _list(unit, "DeviceAllow"))
    closed = has_devices or words["DevicePolicy"] != "auto"
    needs_devices = "ProtectClock" in on or bool(unit.last("Service", "RootImage"))
    return Sandbox(
        on=frozenset(on),
        words=words,
        user=unit.last("Service", "User"),
        has_groups=bool(_list(unit, "SupplementaryGroups")),
        capabilities=lists.capabilities(_service(unit, "CapabilityBoundingSet"), lists.CAPABILITIES) - taken,
        has_ambient=bool(lists.capabilities(_service(unit, "AmbientCapabilities"), frozenset())),
        umask=_umask(unit),
        delegates=_delegates(unit),
        has_root=any(unit.last("Service", name) not in ("", "/") for name in ("RootDirectory", "RootImage")),
        has_devices=has_devices or (closed and needs_devices),
        namespaces=lists.namespaces(_service(unit, "RestrictNamespaces")),
        families=lists.families(_service(unit, "RestrictAddressFamilies")),
        architectures=frozenset(_list(unit, "SystemCallArchitectures")) & set(_ARCHITECTURES.split()),
        filter=lists.call_filter(_service(unit, "SystemCallFilter")),
        addresses=lists.addresses(
            _list(unit, "IPAddressDeny"),
            _list(unit, "IPAddressAllow"),
            _list(unit, "IPIngressFilterPath") + _list(unit, "IPEgressFilterPath"),
        ),
        starts_late=_switch(["yes", *unit.all("Unit", "DefaultDependencies")]),
    )


def _service(unit: Unit, name: str) -> list[str]:
    return unit.all("Service", name)


def _switch(values: Iterable[str], words: frozenset[str] = frozenset()) -> bool:
    """The last assignment that means anything."""
    state = False
    for value in values:
        lower = value.lower()
        state = True if lower in lists.YES or value in words else False if lower in lists.NO else state
    return state


def _settled(values: Iterable[str]) -> bool:
    return any(value.lower() in lists.YES | lists.NO for value in values)


def _word(unit: Unit, name: str) -> str:
    found, words = _WORDS[name]
    for value in _service(unit, name):
        if value in words:
            found = value
        elif name in _YES_OR_WORD and value.lower() in lists.YES | lists.NO:
            found = "yes" if value.lower() in lists.YES else "no"
    return found


def _list(unit: Unit, name: str) -> list[str]:
    return lists.words(_service(unit, name))


def _wants_notifications(unit: Unit) -> bool:
    watchdog = unit.last("Service", "WatchdogSec")
    return unit.last("Service", "Type") in ("notify", "notify-reload") or watchdog not in ("", "0", "infinity")


def _implies_mounts(unit: Unit, on: Iterable[str], words: Mapping[str, str]) -> bool:
    defaults = {"ProtectHome": "no", "ProtectSystem": "no", "ProtectProc": "default", "ProcSubset": "all"}
    return (
        any(name in on for name in _ON)
        or any(words[name] != default for name, default in defaults.items())
        or any(_list(unit, name) for name in _PATHS)
    )


def _umask(unit: Unit) -> int:
    good = [value for value in _service(unit, "UMask") if _UMASK.fullmatch(value)]
    return int(good[-1], 8) if good else 0o022


def _delegates(unit: Unit) -> bool:
    values = _service(unit, "Delegate")
    return bool(values) and values[-1].lower() not in lists.NO
