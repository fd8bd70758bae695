"""Groups of system calls, as far as a score of SystemCallFilter= asks about them. Pure.

systemd.exec(5), "SystemCallFilter=", for the groups; `systemd-analyze syscall-filter` of systemd 257 for their members.
Left out are calls that x86-64 does not have, and those in none of the groups that are scored (`SCORED`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHOWN: Final = _set("chown fchown fchownat lchown")
_CLOCK: Final = _set("adjtimex clock_adjtime clock_settime settimeofday")
_MODULE: Final = _set("delete_module finit_module init_module")
_MOUNT: Final = _set(
    "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount2"
)
_OBSOLETE: Final = _set(
    "_sysctl afs_syscall create_module get_kernel_syms getpmsg putpmsg query_module security sysfs tuxcall uselib"
    " ustat vserver"
)
_RAW_IO: Final = _set("ioperm iopl")
_REBOOT: Final = _set("kexec_file_load kexec_load reboot")
_RESOURCES: Final = _set(
    "ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam sched_setscheduler"
    " set_mempolicy set_mempolicy_home_node setpriority setrlimit"
)
_SETUID: Final = _set("setgroups setresuid setreuid setuid")
_SWAP: Final = _set("swapoff swapon")
_DEBUG: Final = _set("lookup_dcookie perf_event_open pidfd_getfd ptrace")
_CPU_EMULATION: Final = frozenset({"modify_ldt"})
_PRIVILEGED: Final = (
    _CHOWN | _CLOCK | _MODULE | _RAW_IO | _REBOOT | _SETUID | _SWAP
    | _set("_sysctl acct bpf capset chroot fanotify_init fanotify_mark nfsservctl open_by_handle_at pivot_root quotactl"
        " quotactl_fd setdomainname setfsuid sethostname vhangup")
)  # fmt: skip
_EVERY: Final = _PRIVILEGED | _MOUNT | _OBSOLETE | _RESOURCES | _DEBUG | _CPU_EMULATION
_EMPTY: Final[frozenset[str]] = frozenset()

SCORED: Final = (
    "@swap", "@obsolete", "@clock", "@cpu-emulation", "@debug", "@mount", "@module", "@raw-io", "@reboot",
    "@privileged", "@resources",
)  # fmt: skip
GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "@chown": _CHOWN,
    "@clock": _CLOCK,
    "@cpu-emulation": _CPU_EMULATION,
    "@debug": _DEBUG,
    "@module": _MODULE,
    "@mount": _MOUNT,
    "@obsolete": _OBSOLETE,
    "@privileged": _PRIVILEGED,
    "@raw-io": _RAW_IO,
    "@reboot": _REBOOT,
    "@resources": _RESOURCES,
    "@setuid": _SETUID,
    "@swap": _SWAP,
    "@system-service": _CHOWN | _SETUID | _RESOURCES | {"capset", "setfsuid"},
    "@known": _EVERY - {"nfsservctl"},
    **dict.fromkeys(
        (
            "@default", "@aio", "@basic-io", "@file-system", "@io-event", "@ipc", "@keyring", "@memlock",
            "@network-io", "@pkey", "@process", "@sandbox", "@signal", "@sync", "@timer",
        ),
        _EMPTY,
    ),
}  # fmt: skip


def named(word: str) -> frozenset[str]:
    """The calls that a word of SystemCallFilter= stands for: a group's, or itself; none for what nobody asks about."""
    if word.startswith("@"):
        return GROUPS.get(word, _EMPTY)
    return frozenset({word}) & _EVERY
