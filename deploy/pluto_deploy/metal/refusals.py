"""What a host is refused for before anything is written there, from one look at it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from pluto_deploy.deployment import BareMetal, Network
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.wish import TDX
from pluto_deploy.metal import layout, slots
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.seen import Seen
from pluto_measure.errors import SourceError, UsageError

PREPARE: Final = "run 'pluto-deploy host prepare'"
_OVERHEAD: Final = 512 << 20  # of memory beside the guest's own: QEMU, page tables, what the TDX module keeps


def unfit(login: Login, platform: BareMetal, seen: Seen) -> None:
    """UsageError where the host was not made ready for what the deployment file asks for."""
    host = seen.prepared
    if host is None:
        raise UsageError(f"{login} was not prepared", hint=PREPARE)
    if host.network != platform.network:
        raise UsageError(
            f"{login} was prepared with network {host.network}, and the deployment asks for {platform.network}"
        )
    if platform.tee == TDX and host.tee != TDX:
        raise UsageError(f"{login} was prepared without TDX", hint=PREPARE)


def taken_ports(login: Login, network: Network, seen: Seen, rules: Mapping[PurePosixPath, bytes | None]) -> None:
    """UsageError where a port is the host's own, or another deployment's by its `rules`: clients would come to the

    wrong one.
    """
    if own := sorted(seen.listening.intersection(network.ports)):
        raise UsageError(f"{login}: a program of the host itself listens on port {own[0]}")
    for path, text in rules.items():
        for address, port in slots.led((text or b"").decode(errors="replace")):
            if port in network.ports and (address is None or network.address in (None, address)):
                raise UsageError(f"{login}: another deployment has port {port}: {path.stem}")


def small_disk(login: Login, free: int, needed: int) -> None:
    """SourceError where `needed` bytes have no room."""
    if free < needed:
        raise SourceError(
            f"{login}: {layout.IMAGES} has {free >> 20} MiB free, the release needs {-(-needed >> 20)} MiB"
        )


def small_memory(login: Login, available: int, generation: Generation) -> None:
    """SourceError where the machine would take memory that the host does not have, in bytes."""
    if available < generation.memory + _OVERHEAD:
        needed = (generation.memory + _OVERHEAD) >> 20
        raise SourceError(
            f"{login}: {available >> 20} MiB of memory are available, the machine needs {needed}",
            hint="write strategy = \"replace\" where there is room for one machine, and run 'pluto-deploy plan'",
        )
