"""Checks a kernel command line: every token known, with a value that means something, the hardening ones present. Pure.

A token that the kernel or systemd does not know is ignored silently at boot (`lockdown=1` is such a one: the kernel
calls it malformed and goes on without lockdown). So an unknown token is an error here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

# x86: COMMAND_LINE_SIZE is 2048 with the final zero.
LIMIT: Final = 2047

# Token name to the values it may have here; None is a token without a value.
KNOWN: Final[Mapping[str, frozenset[str | None]]] = {
    "console": frozenset({"ttyS0,115200", "ttyS0"}),
    "lockdown": frozenset({"integrity", "confidentiality"}),
    "module.sig_enforce": frozenset({"1", None}),
    "random.trust_bootloader": frozenset({"off", "on"}),
    "random.trust_cpu": frozenset({"off", "on"}),
    "tsc": frozenset({"reliable", "unstable"}),
    "no-kvmclock": frozenset({None}),
    "mitigations": frozenset({"auto", "auto,nosmt"}),
    "init_on_alloc": frozenset({"1"}),
    "init_on_free": frozenset({"1"}),
    "slab_nomerge": frozenset({None}),
    "vsyscall": frozenset({"none"}),
    "debugfs": frozenset({"off"}),
    "ia32_emulation": frozenset({"0"}),
    "panic": frozenset({"-1", "10", "30"}),
    "oops": frozenset({"panic"}),
    "loglevel": frozenset({"3", "4", "5", "6", "7"}),
    "quiet": frozenset({None}),
    "net.ifnames": frozenset({"0", "1"}),
    "ima_appraise": frozenset({"off"}),
    "sysctl.kernel.sysrq": frozenset({"0"}),
    "systemd.import_credentials": frozenset({"no"}),
    "systemd.firstboot": frozenset({"off"}),
    "systemd.gpt_auto": frozenset({"no"}),
    "systemd.show_status": frozenset({"no", "yes", "auto", "error"}),
    "systemd.getty_auto": frozenset({"no"}),
    "systemd.dump_core": frozenset({"no"}),
    "systemd.crash_shell": frozenset({"no"}),
    "systemd.crash_action": frozenset({"poweroff", "reboot"}),
    "systemd.log_level": frozenset({"info", "notice", "warning", "debug"}),
    "pluto.flavour": frozenset({"debug"}),
    "pluto.source": frozenset({"dirty"}),
}

# Facts about the host as an adversary stand in docs/formats/definition-recipe.md, "command line".
REQUIRED: Final = (
    "lockdown",
    "module.sig_enforce=1",
    "random.trust_bootloader=off",
    "random.trust_cpu=on",
    "tsc=reliable",
    "no-kvmclock",
    "systemd.import_credentials=no",
    "systemd.firstboot=off",
    "systemd.gpt_auto=no",
    "systemd.dump_core=no",
)


def check(text: str, *, flavour: str) -> Iterator[str]:
    """One sentence for each mistake."""
    if not text.isascii() or not text.isprintable() or len(text) > LIMIT:
        yield f"command line must be at most {LIMIT} printable ASCII characters"
    tokens = text.split(" ")
    names = []
    for token in tokens:
        name, equals, value = token.partition("=")
        names.append(name)
        if name not in KNOWN:
            yield f"command line token {token!r} is not known"
        elif (value if equals else None) not in KNOWN[name]:
            yield f"command line token {token!r} has a value that does not count"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"command line token {name!r} occurs twice"
    for wanted in REQUIRED:
        if wanted not in (tokens if "=" in wanted else names):
            yield f"command line lacks {wanted}"
    if ("pluto.flavour=debug" in tokens) != (flavour == "debug"):
        yield f"command line does not say that the flavour is {flavour}"
