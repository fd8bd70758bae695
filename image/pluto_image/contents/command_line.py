"""A kernel command line token by token, with what each asks for. Pure.

Sources: Linux, Documentation/admin-guide/kernel-parameters.rst; systemd, kernel-command-line(7), systemd(1).
`lint.command_line` decides which tokens an image may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# By whole token, else by name.
MEANINGS: Final[Mapping[str, str]] = {
    "console": "where the kernel, and programs that are told so, write: the serial port",
    "lockdown=integrity": "nobody changes the running kernel, root included",
    "lockdown=confidentiality": "nobody changes the running kernel or reads its memory, root included",
    "module.sig_enforce": "only modules with a signature of the kernel's makers are loaded",
    "random.trust_bootloader=off": "a seed from the host does not count as random",
    "random.trust_bootloader=on": "a seed from the boot loader counts as random",
    "random.trust_cpu=on": "the processor's random numbers count: the host cannot choose them",
    "random.trust_cpu=off": "the processor's random numbers alone do not count",
    "tsc=reliable": "the processor's counter is the clock",
    "tsc=unstable": "the processor's counter is not used as a clock",
    "no-kvmclock": "the host's clock is not used",
    "mitigations": "mitigations of processor faults",
    "init_on_alloc=1": "memory is zeroed when it is handed out",
    "init_on_free=1": "memory is zeroed when it is given back",
    "slab_nomerge": "kernel objects of different kinds do not share memory",
    "vsyscall=none": "no old way into the kernel at a fixed address",
    "debugfs=off": "no debugging files",
    "ia32_emulation=0": "no 32-bit programs",
    "oops=panic": "a fault in the kernel stops the machine",
    "panic": "after how many seconds a stopped machine starts again; -1 at once",
    "loglevel": "how much the kernel says",
    "quiet": "the kernel says little",
    "net.ifnames=0": "network cards keep the kernel's names, such as eth0",
    "net.ifnames=1": "network cards are named after their place",
    "ima_appraise=off": "no appraisal of files: all of them are in the measured initrd",
    "sysctl.kernel.sysrq=0": "no commands to the kernel by key",
    "systemd.import_credentials=no": "no credentials from the host, by SMBIOS or fw_cfg",
    "systemd.firstboot=off": "no questions at the first boot",
    "systemd.gpt_auto=no": "no disk is mounted because it is there",
    "systemd.dump_core=no": "no memory image when systemd fails",
    "systemd.crash_shell=no": "no shell when systemd fails",
    "systemd.crash_action": "what happens when systemd fails",
    "systemd.show_status": "whether systemd writes its progress to the console",
    "systemd.getty_auto=no": "no login on the console",
    "systemd.log_level": "how much systemd says",
    "pluto.flavour=debug": "a debug build says so, in a measured place",
    "pluto.source=dirty": "made from files that were not committed, which it says in a measured place",
}


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the command line; `meaning` is "" where it is not known."""

    text: str
    meaning: str


def tokens(text: str) -> tuple[Token, ...]:
    """The words of a command line in their order."""
    return tuple(
        Token(word, MEANINGS.get(word) or MEANINGS.get(word.partition("=")[0], "")) for word in text.split(" ") if word
    )
