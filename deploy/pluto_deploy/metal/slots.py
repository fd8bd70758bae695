"""The files that a deployment puts on a host, path by path: of a slot, of its traffic, of what serves. Pure.

All of them follow from the wish and the slot's number, so that `render` shows what `apply` writes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Final

from pluto_deploy.deployment import ROUTED, BareMetal, Deployment
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.wish import Wish
from pluto_deploy.metal import layout, unit
from pluto_deploy.metal import traffic as rules
from pluto_deploy.metal.layout import SLOTS, Slot
from pluto_deploy.metal.prepare.places import address6
from pluto_deploy.metal.seen import Seen
from pluto_measure.errors import FormatError
from pluto_notary.config import encode_config_disk

Owner = tuple[str, str]
ROOT: Final[Owner] = ("root", "root")
MACHINE: Final[Owner] = (layout.USER, layout.USER)
_LEASES: Final = PurePosixPath(f"/etc/systemd/network/{layout.NETWORK_FILE}.d")


@dataclass(frozen=True, slots=True)
class Placed:
    """One file on a host."""

    path: PurePosixPath
    mode: int
    owner: Owner
    content: bytes


@dataclass(frozen=True, slots=True)
class Files:
    """What a slot is made of, but for its record, which comes last. `folders`: path, mode, owner."""

    folders: tuple[tuple[str, int, Owner], ...]
    files: tuple[Placed, ...]
    lease: Placed | None


def files(wish: Wish, slot: Slot, tpm: Mapping[str, bytes] | None = None) -> Files:
    """Everything of a machine of the wanted generation in this slot. `tpm`: the state of a software TPM, emulated."""
    expected, generation = wish.expected, wish.generation
    text = unit.unit(
        slot,
        expected.platform,
        image_digest=generation.release,
        tools_digest=generation.tools,
        config_digest=bytes.fromhex(generation.config),
        tee=generation.tee,
        network=generation.network,
        mac=wish.deployment.network.mac,
    )
    keeper = resources.files("pluto_deploy.metal").joinpath("keeper.py").read_bytes()
    folders = [(str(layout.domain(slot.name)), 0o755, ROOT), (str(slot.folder), 0o755, ROOT)]
    folders.append((str(unit.KEEPER.parent), 0o755, ROOT))
    placed = [
        Placed(slot.config, 0o444, ROOT, encode_config_disk(wish.deployment.payload)),
        Placed(unit.KEEPER, 0o755, ROOT, keeper),
        Placed(slot.unit_file, 0o644, ROOT, text.encode()),
    ]
    if tpm is not None:
        folders.append((str(slot.folder / unit.TPM_STATE), 0o700, MACHINE))
        placed += [Placed(slot.folder / unit.TPM_STATE / name, 0o600, MACHINE, data) for name, data in tpm.items()]
    lease = Placed(_lease(slot), 0o644, ROOT, unit.lease(slot).encode())
    return Files(tuple(folders), tuple(placed), lease if generation.network == ROUTED else None)


def record(wish: Wish, slot: Slot) -> Placed:
    """The file that makes a slot complete."""
    return Placed(slot.record, 0o444, ROOT, wish.generation.to_text())


def places(slot: Slot) -> tuple[PurePosixPath, ...]:
    """What a slot has outside of its own folder."""
    return (slot.unit_file, _lease(slot), slot.runtime)


def traffic(deployment: Deployment, slot: Slot | None, *others: Slot, ipv6: bool = False) -> Placed:
    """The rules that lead clients to this slot, if to any, and let it and the others out where they may go."""
    network = deployment.network
    text = rules.rules(
        deployment.name,
        [("tcp", port) for port in network.ports],
        serving=slot,
        address=network.address,
        egress=network.egress,
        others=others,
        ipv6=ipv6,
    )
    return Placed(layout.traffic(deployment.name), 0o644, ROOT, text.encode())


def let_out(deployment: Deployment, slot: Slot, text: str, *, ipv6: bool = False) -> Placed:
    """The rules `text`, and a slot that does not serve may go out, too. Where clients are led stays as it is."""
    more = traffic(deployment, None, slot, ipv6=ipv6).content.decode().splitlines()
    known = text.splitlines() or more[:1]
    return _rules(deployment.name, [*known, *(line for line in more if line not in known and line[:1] != "#")])


def led(text: str) -> list[tuple[str | None, int]]:
    """The public addresses (None: any of the host's) and TCP ports that rules lead to a machine."""
    line = r"^add element inet \w+ slots6?(?:_at)? \{ (?:(\S+) \. )?tcp \. ([0-9]{1,5}) :"
    return [(address or None, int(port)) for address, port in re.findall(line, text, re.MULTILINE)]


def kept_in(name: str, slot: Slot, text: str) -> Placed:
    """The rules `text` without a slot that does not serve."""
    ours = (f" {slot.address} ", f" {address6(slot.number)} ")
    return _rules(name, [line for line in text.splitlines() if not any(one in line for one in ours)])


def _rules(name: str, lines: Sequence[str]) -> Placed:
    return Placed(layout.traffic(name), 0o644, ROOT, "".join(f"{line}\n" for line in lines).encode())


def unused(name: str, seen: Seen, *, all_of_it: bool) -> list[PurePosixPath]:
    """What no machine of anybody refers to. `all_of_it`: of a deployment without machines its own places, too."""
    mine = [machine.generation for machine in seen.machines if machine.generation is not None]
    gone = list(seen.partials)
    with contextlib.suppress(FormatError):  # a record that says nothing to us may name anything
        used = (*mine, *map(Generation.parse, seen.others))
        gone += [layout.image(one) for one in sorted(seen.releases - {one.release for one in used})]
        gone += [layout.tools(one) for one in sorted(seen.tools - {one.tools for one in used})]
    if all_of_it and not seen.machines:
        owners = {f"{name} {letter}" for letter in SLOTS}
        gone += [layout.LEASES / str(number) for owner, number in seen.leases.items() if owner in owners]
        gone += [layout.domain(name), *((unit.KEEPER.parent,) if seen.alone else ())]
    return gone


def serving(slot: Slot) -> Placed:
    """The file that says which slot serves."""
    return Placed(layout.serving(slot.name), 0o644, ROOT, f"{slot.letter}\n".encode())


def files_of_an_empty_host(wish: Wish) -> dict[str, bytes]:
    """What `apply` would write on a host that has nothing yet: by path."""
    platform = wish.deployment.platform
    assert isinstance(platform, BareMetal), "only hosts have slots of this kind"
    shown: dict[str, bytes] = {}
    for number, letter in enumerate(SLOTS, layout.FIRST_LEASE):
        slot = Slot(wish.deployment.name, letter, number)
        made = files(wish, slot)
        lease = () if made.lease is None else (made.lease,)
        shown |= {str(one.path): one.content for one in (*made.files, *lease, record(wish, slot))}
    if platform.network == ROUTED:
        shown[str(layout.traffic(wish.deployment.name))] = traffic(
            wish.deployment, Slot(wish.deployment.name, SLOTS[0], layout.FIRST_LEASE)
        ).content
    return shown


def _lease(slot: Slot) -> PurePosixPath:
    return _LEASES / f"{slot.name}-{slot.letter}.conf"
