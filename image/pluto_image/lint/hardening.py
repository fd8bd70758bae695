"""How exposed a service is, from 0 (nothing to take) to 10: the score of `systemd-analyze security`. Pure.

Rows, weights and rounding are those of systemd 257, `src/analyze/analyze-security.c`: each row has a weight, a range
and a badness within it, and the exposure is the weighted mean of the badness. Settings: systemd.exec(5). It counts what
a unit leaves open and does not judge the program that runs in it. What differs from the tool: docs/inspect.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pluto_image.lint import system_calls
from pluto_image.lint.sandbox import Sandbox, sandbox
from pluto_image.lint.unit_files import Unit

# Words for a score in tenths, from the first that is not above it.
LEVELS: Final = (
    (100, "dangerous"), (90, "unsafe"), (75, "exposed"), (50, "medium"), (10, "ok"), (1, "safe"), (0, "perfect"),
)  # fmt: skip
Badness = Callable[[Sandbox], int | None]  # None: does not apply to this service


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `open_to`: what the service may do where the setting is not there."""

    setting: str
    weight: int
    range: int
    badness: Badness
    open_to: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What one setting adds to a score, in tenths, rounded up; `badness` of `check.range`."""

    check: Check
    badness: int
    tenths: int

    @property
    def text(self) -> str:
        """Such as "0.2"."""
        return _decimal(self.tenths)


@dataclass(frozen=True, slots=True)
class Score:
    """The exposure of one service in tenths, 0 to 100, and what it is made of, the dearest first.

    `applying`: how many rows of the table say something about it.
    """

    tenths: int
    applying: int
    costs: tuple[Cost, ...]

    @property
    def text(self) -> str:
        """Such as "0.5"."""
        return _decimal(self.tenths)

    @property
    def level(self) -> str:
        """Such as "safe"."""
        return next(word for least, word in LEVELS if self.tenths >= least)


def starts_program(unit: Unit) -> bool:
    """Whether the unit is a service that runs anything: what runs nothing has no exposure."""
    commands = (value for place, key, value in unit.settings if place == "Service" and key.startswith("Exec"))
    return unit.kind == "service" and any(commands)


def score(unit: Unit) -> Score:
    """The score of a service unit."""
    own = sandbox(unit)
    found = [(check, badness) for check in CHECKS if (badness := check.badness(own)) is not None]
    total = sum(check.weight for check, _ in found)
    costs = [
        Cost(check, badness, _up(_up(badness * check.weight * 100, check.range), total))
        for check, badness in found
        if badness
    ]
    costs.sort(key=lambda cost: (-cost.badness * cost.check.weight / cost.check.range, cost.check.setting))
    exposed = sum(_up(cost.badness * cost.check.weight, cost.check.range) for cost in costs)
    return Score(_up(exposed * 100, total), len(found), tuple(costs))


def _decimal(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"


def _up(value: int, by: int) -> int:
    return -(-value // by)


def _off(name: str) -> Badness:
    return lambda own: int(name not in own.on)


def _late(badness: Badness) -> Badness:
    """What a service of the early boot cannot ask for does not count there."""
    return lambda own: badness(own) if own.starts_late else None


def _unprivileged(badness: Badness) -> Badness:
    return lambda own: None if own.is_root else badness(own)


def _user(own: Sandbox) -> int:
    if own.user == "nobody":
        return 9
    return 10 if own.is_root else 0


def _home(own: Sandbox) -> int:
    return {"yes": 0, "tmpfs": 1, "read-only": 5}.get(own.words["ProtectHome"], 10)


def _system(own: Sandbox) -> int:
    return {"strict": 0, "full": 3, "yes": 5}.get(own.words["ProtectSystem"], 10)


def _umask(own: Sandbox) -> int:
    """Who else may use new files: everybody, everybody to read, the group, the group to read, nobody."""
    for bits, badness in ((0o002, 10), (0o004, 5), (0o020, 2), (0o040, 1)):
        if not own.umask & bits:
            return badness
    return 0


def _proc(own: Sandbox) -> int:
    return {"noaccess": 1, "invisible": 0, "ptraceable": 0}.get(own.words["ProtectProc"], 3)


def _architectures(own: Sandbox) -> int:
    return 0 if own.architectures == {"native"} else 8 if own.architectures else 10


def _addresses(own: Sandbox) -> int:
    given = own.addresses
    if given.has_program:
        return 0
    if not given.denies_all:
        return 10
    return 5 if given.allows_other else 2 if given.allows_local else 0


def _devices(own: Sandbox) -> int:
    return 10 if own.words["DevicePolicy"] == "auto" else 5 if own.has_devices else 0


def _capability(*names: str) -> Badness:
    wanted = frozenset(f"CAP_{name}" for name in names)
    return lambda own: int(bool(own.capabilities & wanted))


def _namespace(name: str) -> Badness:
    return lambda own: int(name in own.namespaces)


_NAMED_FAMILIES: Final = frozenset({"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"})


def _family(*names: str) -> Badness:
    """Whether any of the families (none: any that has no row of its own) may be used."""

    def badness(own: Sandbox) -> int:
        listed = own.families.listed
        found = listed & frozenset(names) if names else listed - _NAMED_FAMILIES
        return int(bool(found) == own.families.only)

    return badness


def _calls(group: str) -> Badness:
    def badness(own: Sandbox) -> int:
        given, calls = own.filter, system_calls.GROUPS[group]
        if not given.is_set:
            return 10
        if given.only:
            return 9 if calls & given.listed else 0
        return 10 if calls - given.listed else 0

    return badness


def _switches() -> Iterator[Check]:
    for name, weight, open_to in (
        ("PrivateDevices", 1000, "sees hardware devices"),
        ("PrivateMounts", 1000, "mounts for the whole system"),
        ("PrivateNetwork", 2500, "is on the machine's network"),
        ("PrivateUsers", 1000, "sees other users"),
        ("ProtectControlGroups", 1000, "changes control groups"),
        ("ProtectKernelModules", 1000, "reads or loads kernel modules"),
        ("ProtectKernelTunables", 1000, "changes /proc/sys and its like"),
        ("ProtectKernelLogs", 1000, "reads or writes the kernel's log"),
        ("ProtectClock", 1000, "sets the clock"),
        ("ProtectHostname", 50, "changes the host name"),
        ("LockPersonality", 100, "changes its execution domain"),
        ("MemoryDenyWriteExecute", 100, "makes memory that is writable and executable"),
        ("NoNewPrivileges", 1000, "gains privileges by what it starts"),
        ("RestrictRealtime", 500, "asks for realtime scheduling"),
        ("RestrictSUIDSGID", 1000, "makes set-user-id files"),
    ):
        yield Check(f"{name}=", weight, 1, _off(name), open_to)
    yield Check("PrivateTmp=", 1000, 1, _late(_off("PrivateTmp")), "shares /tmp with others")
    yield Check("RemoveIPC=", 100, 1, _unprivileged(_off("RemoveIPC")), "leaves IPC objects behind")


def _capabilities() -> Iterator[Check]:
    for names, weight, open_to in (
        ("SYS_ADMIN", 1500, "administers the system"),
        ("SETUID SETGID SETPCAP", 1500, "becomes another user, hands on capabilities"),
        ("SYS_PTRACE", 1500, "reads and steers other processes"),
        ("SYS_TIME", 1000, "sets the clock"),
        ("NET_ADMIN", 1000, "configures the network"),
        ("SYS_RAWIO", 1000, "reaches memory and ports directly"),
        ("SYS_MODULE", 1000, "loads kernel modules"),
        ("AUDIT_CONTROL AUDIT_READ AUDIT_WRITE", 500, "uses the audit log"),
        ("SYSLOG", 500, "uses the kernel's log"),
        ("SYS_NICE SYS_RESOURCE", 500, "goes beyond limits and priorities"),
        ("MKNOD", 500, "makes device nodes"),
        ("CHOWN FSETID SETFCAP", 1000, "changes owners and capabilities of files"),
        ("DAC_OVERRIDE DAC_READ_SEARCH FOWNER IPC_OWNER", 1000, "passes by permissions of files"),
        ("KILL", 500, "signals any process"),
        ("NET_BIND_SERVICE NET_BROADCAST NET_RAW", 500, "binds low ports, sends raw packets"),
        ("SYS_BOOT", 100, "reboots"),
        ("MAC_ADMIN MAC_OVERRIDE", 100, "changes mandatory access control"),
        ("LINUX_IMMUTABLE", 75, "marks files immutable"),
        ("IPC_LOCK", 50, "locks memory"),
        ("SYS_CHROOT", 50, "changes its root"),
        ("BLOCK_SUSPEND", 25, "keeps the machine awake"),
        ("WAKE_ALARM", 25, "wakes the machine"),
        ("LEASE", 25, "leases files"),
        ("SYS_TTY_CONFIG", 25, "hangs up terminals"),
        ("SYS_PACCT", 25, "switches accounting"),
        ("BPF", 25, "loads BPF programs"),
    ):
        few = names.split()
        title = f"CapabilityBoundingSet=~{' '.join(f'CAP_{name}' for name in few)}"
        yield Check(title, weight, 1, _capability(*few), open_to)


def _restrictions() -> Iterator[Check]:
    for name, weight, open_to in (
        ("user", 1500, "makes user namespaces"),
        ("mnt", 500, "makes mount namespaces"),
        ("ipc", 500, "makes IPC namespaces"),
        ("pid", 500, "makes process namespaces"),
        ("cgroup", 500, "makes cgroup namespaces"),
        ("net", 500, "makes network namespaces"),
        ("uts", 100, "makes host name namespaces"),
    ):
        yield Check(f"RestrictNamespaces=~{name}", weight, 1, _namespace(name), open_to)
    for names, weight, open_to in (
        ("AF_INET AF_INET6", 1500, "opens Internet sockets"),
        ("AF_UNIX", 25, "opens local sockets"),
        ("AF_NETLINK", 200, "opens netlink sockets"),
        ("AF_PACKET", 1000, "opens packet sockets"),
        ("", 1250, "opens sockets of rare kinds"),
    ):
        title = f"RestrictAddressFamilies=~{names or '(others)'}"
        yield Check(title, weight, 1, _family(*names.split()), open_to)
    for group in system_calls.SCORED:
        weight = {"@obsolete": 250, "@cpu-emulation": 250, "@privileged": 700, "@resources": 700}.get(group, 1000)
        yield Check(f"SystemCallFilter=~{group}", weight, 10, _calls(group), f"calls some of {group}")


CHECKS: Final = (
    *_switches(),
    *_capabilities(),
    *_restrictions(),
    Check("User=/DynamicUser=", 2000, 10, _user, "runs as root, or as nobody"),
    Check("SupplementaryGroups=", 200, 1, _unprivileged(lambda own: int(own.has_groups)), "is in further groups"),
    Check("ProtectHome=", 1000, 10, _late(_home), "sees home directories"),
    Check("ProtectSystem=", 1000, 10, _late(_system), "writes to the system's files"),
    Check("RootDirectory=/RootImage=", 200, 1, _late(lambda own: int(not own.has_root)), "lives in the system's root"),
    Check("UMask=", 100, 10, _umask, "makes files that others may read"),
    Check("KeyringMode=", 1000, 1, lambda own: int(own.words["KeyringMode"] != "private"), "shares a key ring"),
    Check("ProtectProc=", 1000, 3, _proc, "sees other users' processes"),
    Check("ProcSubset=", 10, 1, lambda own: int(own.words["ProcSubset"] != "pid"), "sees all of /proc"),
    Check("NotifyAccess=", 1000, 1, lambda own: int(own.words["NotifyAccess"] == "all"), "lets children notify"),
    Check("Delegate=", 100, 1, lambda own: int(own.delegates), "keeps a control group tree of its own"),
    Check("SystemCallArchitectures=", 1000, 10, _architectures, "calls the kernel by old ABIs"),
    Check("IPAddressDeny=", 1000, 10, _addresses, "reaches IP addresses"),
    Check("DeviceAllow=", 1000, 10, _devices, "opens devices"),
    Check("AmbientCapabilities=", 500, 1, lambda own: int(own.has_ambient), "is given capabilities"),
)
