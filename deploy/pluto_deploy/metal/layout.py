"""Every path, user, group, unit, interface and address on a prepared host. Pure; nothing else spells one of them.

A deployment has two slots, a and b. Each slot of each deployment leases a number of the host, from which its tap, its
MAC address and its address on the host's own bridge follow.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pluto_measure.errors import FormatError

USER: Final = "pluto-td"  # runs QEMU; owns nothing that is measured
KVM_GROUP: Final = "kvm"
QUOTE_GROUP: Final = "pluto-qgs"  # may ask for quotes
QUOTE_SOCKET: Final = PurePosixPath("/var/run/tdx-qgs/qgs.socket")

TOOLS: Final = PurePosixPath("/opt/pluto/tools")
IMAGES: Final = PurePosixPath("/var/lib/pluto/images")
LEASES: Final = PurePosixPath("/var/lib/pluto/leases")  # one file per number: "NAME SLOT"
DOMAINS: Final = PurePosixPath("/var/lib/pluto/td")
RUNTIME: Final = PurePosixPath("/run/pluto")
LOCKS: Final = PurePosixPath("/run/lock/pluto")
HOST_LOCK: Final = LOCKS / ".host.lock"  # no deployment's name begins so
UNITS: Final = PurePosixPath("/etc/systemd/system")
TRAFFIC: Final = PurePosixPath("/etc/pluto/traffic")  # one nft file per deployment
PREPARED: Final = PurePosixPath("/etc/pluto/host.json")  # what `host prepare` did, for `plan` to read

TABLE: Final = "pluto"  # of nft, family inet
BRIDGE: Final = "pluto0"
NETWORK_FILE: Final = "50-pluto0.network"  # of networkd, whose drop-ins are the leases
NETWORK: Final = ipaddress.IPv4Network("10.88.0.0/24")
HOST_ADDRESS: Final = ipaddress.IPv4Address("10.88.0.1")
FIRST_LEASE: Final = 2
LAST_LEASE: Final = 250
GUEST_PORT: Final = 8443

SLOTS: Final = ("a", "b")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def checked_name(name: str) -> str:
    """The name of a deployment: 1 to 32 of a-z, 0-9 and inner hyphens. FormatError for all else."""
    if not _NAME.fullmatch(name):
        raise FormatError("name", "must be 1 to 32 of a-z, 0-9 and inner hyphens")
    return name


def image(digest: str) -> PurePosixPath:
    """The folder of a release's files. `digest`: SHA-256 of its release.json in hex."""
    return IMAGES / _checked_digest(digest)


def tools(digest: str) -> PurePosixPath:
    """The folder of a tools tree. `digest`: of the tools in the release's lock, in hex."""
    return TOOLS / _checked_digest(digest)


def domain(name: str) -> PurePosixPath:
    """The folder of a deployment."""
    return DOMAINS / checked_name(name)


def serving(name: str) -> PurePosixPath:
    """The file that says which slot serves: one letter and a line end."""
    return domain(name) / "serving"


def traffic(name: str) -> PurePosixPath:
    """The nft rules of a deployment."""
    return TRAFFIC / f"{checked_name(name)}.nft"


def lock(name: str) -> PurePosixPath:
    """The lock that whoever changes a deployment holds."""
    return LOCKS / f"{checked_name(name)}.lock"


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the two places of a deployment for a machine. `number`: its lease, FIRST_LEASE to LAST_LEASE."""

    name: str
    letter: str
    number: int

    def __post_init__(self) -> None:
        checked_name(self.name)
        if self.letter not in SLOTS:
            raise FormatError("slot", f"{self.letter!r} is not one of {', '.join(SLOTS)}")
        if not FIRST_LEASE <= self.number <= LAST_LEASE:
            raise FormatError("slot", f"number {self.number} is not from {FIRST_LEASE} to {LAST_LEASE}")

    @property
    def folder(self) -> PurePosixPath:
        return domain(self.name) / self.letter

    @property
    def record(self) -> PurePosixPath:
        """What the slot holds; written last, so that a slot without it is not complete."""
        return self.folder / "slot.json"

    @property
    def config(self) -> PurePosixPath:
        return self.folder / "config.disk"

    @property
    def serial_log(self) -> PurePosixPath:
        return self.folder / "serial.log"

    @property
    def runtime(self) -> PurePosixPath:
        """Sockets of the running machine."""
        return RUNTIME / f"{self.name}-{self.letter}"

    @property
    def monitor(self) -> PurePosixPath:
        """QMP."""
        return self.runtime / "qmp.sock"

    @property
    def unit(self) -> str:
        return f"pluto-td-{self.name}-{self.letter}.service"

    @property
    def unit_file(self) -> PurePosixPath:
        return UNITS / self.unit

    @property
    def tap(self) -> str:
        return f"pt{self.number}"

    @property
    def mac(self) -> str:
        """Locally administered, QEMU's prefix."""
        return f"52:54:00:88:00:{self.number:02x}"

    @property
    def address(self) -> ipaddress.IPv4Address:
        return NETWORK.network_address + self.number


def _checked_digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise FormatError("digest", "must be 64 lower-case hex digits")
    return digest
