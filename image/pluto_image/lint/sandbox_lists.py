"""Settings of a service that add up over several assignments: capabilities, calls, addresses and their like. Pure.

Each function takes the values of one setting in the order in which systemd reads them: systemd.exec(5) and
systemd.resource-control(5). A word that means nothing is left out, as systemd 257 leaves it out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.lint import system_calls

YES: Final = frozenset({"1", "yes", "y", "true", "t", "on"})
NO: Final = frozenset({"0", "no", "n", "false", "f", "off"})
# capabilities(7), Linux 6.12.
_CAPABILITIES: Final = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH"
    " FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN"
    " NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT"
    " SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
)
CAPABILITIES: Final = frozenset(f"CAP_{name}" for name in _CAPABILITIES.split())
NAMESPACES: Final = frozenset({"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"})
_ERRNO: Final = re.compile(r"kill|E[A-Z0-9]+|[0-9]{1,3}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-5]", re.ASCII)
_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}


@dataclass(frozen=True, slots=True)
class Families:
    """RestrictAddressFamilies=: the listed ones alone, or all but them."""

    only: bool = False
    listed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filter:
    """SystemCallFilter=: the listed calls alone, or all but them; `is_set` is false where nothing is filtered."""

    is_set: bool = False
    only: bool = False
    listed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Addresses:
    """IPAddressDeny= and IPAddressAllow=, and whether a program of its own filters packets."""

    denies_all: bool = False
    allows_local: bool = False
    allows_other: bool = False
    has_program: bool = False


def capabilities(values: Iterable[str], initial: frozenset[str]) -> frozenset[str]:
    """Of CapabilityBoundingSet= or AmbientCapabilities=; `initial` is what holds where nothing is assigned."""
    found = initial
    for value in values:
        named = frozenset(word.upper() for word in value.removeprefix("~").split()) & CAPABILITIES
        without = value.startswith("~")
        if not named or found == initial:
            found = CAPABILITIES - named if without else named
        else:
            found = found - named if without else found | named
    return found


def namespaces(values: Iterable[str]) -> frozenset[str]:
    """Of RestrictNamespaces=: those that the service may make."""
    found: frozenset[str] | None = None
    for value in values:
        named = frozenset(value.removeprefix("~").split())
        if not value or value.lower() in NO:
            found = None if not value else NAMESPACES
        elif value.lower() in YES:
            found = frozenset()
        elif named - NAMESPACES:
            continue
        elif value.startswith("~"):
            found = (NAMESPACES if found is None else found) - named
        else:
            found = named if found is None else found | named
    return NAMESPACES if found is None else found


def families(values: Iterable[str]) -> Families:
    """Of RestrictAddressFamilies=."""
    only, listed, fresh = False, frozenset[str](), True
    for value in values:
        if value in ("", "none"):
            only, listed, fresh = value == "none", frozenset(), True
            continue
        named, without = frozenset(value.removeprefix("~").split()), value.startswith("~")
        if fresh:
            only, fresh = not without, False
        listed = listed | named if without != only else listed - named
    return Families(only, listed)


def call_filter(values: Iterable[str]) -> Filter:
    """Of SystemCallFilter=."""
    only, listed, fresh = False, frozenset[str](), True
    for value in values:
        if not value:
            only, listed, fresh = False, frozenset(), True
            continue
        without = value.startswith("~")
        if fresh:
            only, fresh = not without, False
        for word in value.removeprefix("~").split():
            name, colon, errno = word.partition(":")
            if colon and (not without or _ERRNO.fullmatch(errno) is None):
                continue  # an errno says how a call is refused, so it goes with refusals only
            listed = listed | system_calls.named(name) if without != only else listed - system_calls.named(name)
    return Filter(not fresh, only, listed)


def addresses(deny: Iterable[str], allow: Iterable[str], programs: Iterable[str]) -> Addresses:
    """Of IPAddressDeny=, IPAddressAllow= and both filter paths: the words that count (`words`)."""
    denied, allowed = set(_networks(deny)), set(_networks(allow))
    local = {network for network in allowed if network.is_loopback}
    everything = {ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")}
    return Addresses(everything <= denied, bool(local), bool(allowed - local), any(programs))


def words(values: Iterable[str]) -> list[str]:
    """Words of all assignments; an empty one forgets those before it."""
    found: list[str] = []
    for value in values:
        found = [*found, *value.split()] if value else []
    return found


def _networks(given: Iterable[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for word in given:
        for text in _NAMED.get(word, (word,)):
            try:
                yield ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue  # no address, so systemd leaves it out, too
