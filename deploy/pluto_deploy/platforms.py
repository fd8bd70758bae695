"""[platform] of DEPLOYMENT.toml: where a machine runs. Pure: fields in, frozen values out.

Kinds of this computer and of a host are here, those of clouds beside their targets. Format: docs/formats/deployment.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pluto_deploy.azure.wanted import KIND as AZURE_KIND
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND, GoogleSpace, GoogleTdx
from pluto_deploy.metal.login import Login
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy import is_machine

TEES: Final = ("tdx", "insecure_none")
ACCELERATORS: Final = ("auto", "tcg", "kvm")
BOOTS: Final = ("uki-kernel", "disk")
ROUTED: Final = "routed"
POLICY: Final = "policy"
OPENSSH: Final = "openssh"
_INTERFACE: Final = re.compile(r"(bridge|macvtap):([a-zA-Z0-9][a-zA-Z0-9_.-]{0,14})")


@dataclass(frozen=True, slots=True)
class Local:
    """This computer, with a software TPM."""

    boot: str
    accelerator: str

    kind = "local"

    @classmethod
    def parse(cls, fields: Fields, folder: Path) -> Self:
        """FormatError. The caller ends `fields`."""
        del folder  # it names no file
        return cls(
            boot=one_of(f"{fields.what}.boot", fields.get("boot", "uki-kernel", str), BOOTS),
            accelerator=one_of(f"{fields.what}.accelerator", fields.get("accelerator", "auto", str), ACCELERATORS),
        )


@dataclass(frozen=True, slots=True)
class BareMetal:
    """A TDX host that is reached by SSH.

    profile  of the release's platforms.toml; None: the only one that has as many vCPUs
    machine  the machine's name in evidence ("ppid:…", "platformInstance:…"); None: any that the policy names
    network  "routed", "bridge:INTERFACE" or "macvtap:INTERFACE"
    """

    login: Login
    tee: str
    profile: str | None
    machine: str | None
    network: str

    kind = "bare-metal"

    @classmethod
    def parse(cls, fields: Fields, folder: Path) -> Self:
        """FormatError. The caller ends `fields`."""
        known, key = fields.take("knownHosts", str), fields.get("key", None, str)
        for name, path in (("knownHosts", known), ("key", key)):
            if path is not None and not is_path(path):
                raise FormatError(f"{fields.what}.{name}", "must be a path")
        try:
            login = Login.parse(
                fields.take("host", str),
                key=None if key is None else folder / key,
                known_hosts=None if known == OPENSSH else folder / known,
            )
        except UsageError as error:
            raise FormatError(f"{fields.what}.host", str(error)) from error
        machine, network = fields.take("machine", str), fields.get("network", ROUTED, str)
        if machine != POLICY and (not is_machine(machine) or machine.partition(":")[0] not in _MACHINES):
            problem = (
                f'must be "ppid:" or "platformInstance:" and 32 hex digits, or "{POLICY}" for any that the policy names'
            )
            raise FormatError(f"{fields.what}.machine", problem)
        if network != ROUTED and not _INTERFACE.fullmatch(network):
            problem = f'must be "{ROUTED}", "bridge:INTERFACE" or "macvtap:INTERFACE"'
            raise FormatError(f"{fields.what}.network", problem)
        return cls(
            login=login,
            tee=one_of(f"{fields.what}.tee", fields.take("tee", str), TEES),
            profile=fields.get("profile", None, str),
            machine=None if machine == POLICY else machine,
            network=network,
        )


Platform = Local | BareMetal | GoogleSpace | GoogleTdx | Azure
_MACHINES: Final = ("ppid", "platformInstance")
_KINDS: Final[Mapping[str, Callable[[Fields, Path], Platform]]] = {
    "local": Local.parse,
    "bare-metal": BareMetal.parse,
    SPACE_KIND: GoogleSpace.parse,
    TDX_KIND: GoogleTdx.parse,
    AZURE_KIND: Azure.parse,
}
KINDS: Final = tuple(_KINDS)


def parse(fields: Fields, folder: Path) -> Platform:
    """The table, relative paths of which are below `folder`. FormatError."""
    kind = one_of(f"{fields.what}.kind", fields.take("kind", str), KINDS)
    platform = _KINDS[kind](fields, folder)
    fields.end()
    return platform


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """The value. FormatError where it is none of those."""
    if value not in known:
        raise FormatError(name, f"{str(value)[:80]!r} is not one of {', '.join(known)}")
    return str(value)


def is_path(text: str) -> bool:
    """Whether it could be a path."""
    return bool(text) and text.isprintable()
