"""Installing a server of Hetzner's as a host: installimage's configuration file, and what its network allows. Pure.

Source: Hetzner's installimage (github.com/hetzneronline/installimage): `installimage -a -c FILE` in the rescue system.
Its documentation of networks: the switch forwards frames from the MAC address of the server alone; an address or a
network beside the first is routed to the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pluto_deploy.metal.prepare.options import Network
from pluto_measure.errors import RefusedError, UsageError

_DRIVE: Final = re.compile(r"(nvme\d{1,2}n\d{1,2}|sd[a-z]{1,2}|vd[a-z])")
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_IMAGE: Final = re.compile(r"(/[A-Za-z0-9._+-]+)*/?[A-Za-z0-9][A-Za-z0-9._+-]*\.(tar|tgz|tbz|txz|tar\.(gz|bz2|xz|zst))")
_DRIVES_OF: Final = {0: 2, 1: 2, 5: 3, 6: 4, 10: 4}  # the fewest that a RAID level takes
_LONGEST_HOSTNAME: Final = 253


@dataclass(frozen=True, slots=True)
class Installation:
    """One server. `image`: a file of installimage's; `drives`: below /dev; `raid`: level, None without RAID."""

    image: str
    hostname: str
    drives: tuple[str, ...]
    raid: int | None = 1

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image) or ".." in self.image:
            raise UsageError(f"{self.image!r} is not the name of an image's archive")
        if not _HOSTNAME.fullmatch(self.hostname) or len(self.hostname) > _LONGEST_HOSTNAME:
            raise UsageError(f"{self.hostname!r} is not a host name")
        for drive in self.drives:
            if not _DRIVE.fullmatch(drive):
                raise UsageError(f"{drive!r} is not a drive such as nvme0n1 or sda")
        if not self.drives or len(set(self.drives)) != len(self.drives):
            raise UsageError("drives are one or more, each named once")
        if self.raid is not None and self.raid not in _DRIVES_OF:
            raise UsageError(f"RAID level {self.raid} is not one of {', '.join(map(str, _DRIVES_OF))}")
        if self.raid is not None and len(self.drives) < _DRIVES_OF[self.raid]:
            raise UsageError(f"RAID level {self.raid} takes {_DRIVES_OF[self.raid]} drives or more")


def render(wanted: Installation) -> str:
    """installimage's configuration file. No swap: nothing of a machine's memory belongs on a drive."""
    lines = ["# For installimage -a -c FILE. Written by `pluto-deploy host install-config`."]
    lines += [f"DRIVE{number} /dev/{drive}" for number, drive in enumerate(wanted.drives, 1)]
    lines += [f"SWRAID {0 if wanted.raid is None else 1}"]
    if wanted.raid is not None:
        lines += [f"SWRAIDLEVEL {wanted.raid}"]
    lines += [
        "BOOTLOADER grub",
        f"HOSTNAME {wanted.hostname}",
        "PART /boot/efi esp 512M",
        "PART /boot ext4 2G",
        "PART / ext4 all",
        f"IMAGE {wanted.image}",
    ]
    return "\n".join(lines) + "\n"


def refuse_network(network: Network) -> None:
    """RefusedError for a network that the switch does not carry."""
    if network.mode != "routed":
        raise RefusedError(
            f"{network} does not work at Hetzner: the switch drops frames from any MAC address but the server's own",
            hint="use --network routed, and --address for each further address that is routed to the server",
        )
