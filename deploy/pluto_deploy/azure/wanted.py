"""`[platform]` of kind "azure-tdx": whose subscription, where, what size, and who logs in how. Pure.

An unknown key is an error, and no secret can be written here: `key` names a file. Format: docs/formats/deployment.md.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import Fields

KIND: Final = "azure-tdx"
ROUTES: Final = ("disk", "gallery")
LOGINS: Final = ("secret", "certificate", "workload-identity", "managed-identity")
GUEST_STATES: Final = ("NonPersistedTPM", "VMGuestStateOnly", "DiskWithVMGuestState")
GUEST_PORT: Final = 8443
PORTS: Final = (443, GUEST_PORT)  # a machine serves on both

_WHAT: Final = "deployment.platform"
_GIB: Final = 1 << 30
_V5: Final = {"DC": (2, 4, 8, 16, 32, 48, 64, 96), "EC": (2, 4, 8, 16, 32, 48, 64, 96, 128)}
_V6: Final = {"DC": (2, 4, 8, 16, 32, 48, 64, 96, 128), "EC": (2, 4, 8, 16, 32, 48, 64)}
_PER_CPU: Final = {"DC": 4 * _GIB, "EC": 8 * _GIB}
# Sizes with Intel TDX, and nothing else: vCPUs and bytes of memory. `eds` has a local disk, which nothing uses.
SIZES: Final = {
    f"Standard_{line}{cpus}{kind}_{generation}": (cpus, cpus * _PER_CPU[line])
    for generation, lines in (("v5", _V5), ("v6", _V6))
    for line, all_cpus in lines.items()
    for cpus in all_cpus
    for kind in ("es", "eds")
}

_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_GROUP: Final = re.compile(r"[A-Za-z0-9._()-]{0,89}[A-Za-z0-9_()-]")
_LOCATION: Final = re.compile(r"[a-z]{2,30}[0-9]?")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?")
_SUBNET: Final = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/\s]{1,90}/providers/Microsoft\.Network"
    r"/virtualNetworks/[A-Za-z0-9._-]{1,80}/subnets/[A-Za-z0-9._-]{1,80}"
)
_ZONES: Final = ("1", "2", "3")
_MOST_OPERATORS: Final = 32


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in. `client`: the application; None: the machine's own identity.

    key  a file: the secret, or key and certificate (PEM), or the federated token; None: as the environment says
    """

    how: str
    client: str | None
    key: Path | None


@dataclass(frozen=True, slots=True)
class Azure:
    """A resource group that is there, and what is made in it.

    guest_state  how the disk and the state of the vTPM are kept: securityEncryptionType
    operators    networks that reach a machine before clients do; () is no restriction
    address      the name of a public address that is there and stays; None: one is made, and goes with the deployment
    subnet       the id of a subnet that is there; None: a network is made
    """

    tenant: str
    subscription: str
    group: str
    location: str
    zone: str | None
    size: str
    route: str
    guest_state: str
    login: Login
    operators: tuple[str, ...]
    address: str | None
    subnet: str | None

    kind = KIND

    @property
    def makes(self) -> dict[str, object]:
        """What of it decides what a machine is: another value is another machine."""
        made: dict[str, object] = {"vmSize": self.size, "guestState": self.guest_state, "zone": self.zone or ""}
        return {**made, "subnet": self.subnet or ""}

    @classmethod
    def parse(cls, fields: Fields, folder: Path) -> Self:
        """The fields of [platform] but for `kind`; relative paths are below `folder`. FormatError names the field."""
        login = _login(fields, folder)
        made = cls(
            tenant=_matching(fields, "tenant", _GUID, "a GUID in lower case"),
            subscription=_matching(fields, "subscription", _GUID, "a GUID in lower case"),
            group=_matching(fields, "resourceGroup", _GROUP, "the name of a resource group"),
            location=_matching(fields, "location", _LOCATION, 'a region such as "westeurope"'),
            zone=_optional(fields, "zone", re.compile("|".join(_ZONES)), f"one of {', '.join(_ZONES)}"),
            size=_size(fields),
            route=_one_of(fields, "route", ROUTES),
            guest_state=_one_of(fields, "guestState", GUEST_STATES, GUEST_STATES[0]),
            login=login,
            operators=_operators(fields),
            address=_optional(fields, "address", _RESOURCE, "the name of a public address in the resource group"),
            subnet=_optional(fields, "subnet", _SUBNET, "the id of a subnet"),
        )
        fields.end()
        return made

    def refuse_shape(self, cpus: int, memory: int) -> None:
        """FormatError where [size] is not what the machine has."""
        if (cpus, memory) != SIZES[self.size]:
            known = SIZES[self.size]
            problem = f"{self.size} has {known[0]} vCPUs and {known[1] // _GIB} GiB of memory: write these"
            raise FormatError("deployment.size", problem)

    def refuse_ports(self, ports: tuple[int, ...]) -> None:
        """FormatError unless clients come to the machine's own ports: nothing before it translates ports."""
        if not set(ports) <= set(PORTS):
            raise FormatError("deployment.network.ports", f"must be of {list(PORTS)}: no port is translated on Azure")


def _login(fields: Fields, folder: Path) -> Login:
    how = _one_of(fields, "login", LOGINS)
    client = _optional(fields, "client", _GUID, "a GUID in lower case")
    key: str | None = fields.get("key", None, str)
    if key is not None and not (key and key.isprintable()):
        raise FormatError(f"{_WHAT}.key", "must be a path")
    if client is None and how != "managed-identity":
        raise FormatError(f"{_WHAT}.client", f'is needed with login "{how}": the id of the application')
    if how == "managed-identity" and key is not None:
        raise FormatError(f"{_WHAT}.key", "a managed identity has no key")
    if how == "certificate" and key is None:
        raise FormatError(f"{_WHAT}.key", "must name a PEM file with key and certificate")
    return Login(how, client, None if key is None else folder / key)


def _size(fields: Fields) -> str:
    size: str = fields.take("vmSize", str)
    if size not in SIZES:
        problem = f"{size[:60]!r} is no size with Intel TDX; they are Standard_DC…es_v6, Standard_EC…es_v6, …eds…, …_v5"
        raise FormatError(f"{_WHAT}.vmSize", problem)
    return size


def _operators(fields: Fields) -> tuple[str, ...]:
    given = fields.take("operators", list, str)
    if given == "any":
        return ()
    if isinstance(given, str) or not 1 <= len(given) <= _MOST_OPERATORS:
        raise FormatError(f"{_WHAT}.operators", f'must be 1 to {_MOST_OPERATORS} networks, or "any"')
    try:
        return tuple(str(ipaddress.IPv4Network(one)) for one in map(_text, given))
    except ValueError as error:
        raise FormatError(f"{_WHAT}.operators", f"{str(error)[:120]}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is not a network")
    return value


def _matching(fields: Fields, name: str, form: re.Pattern[str], wanted: str) -> str:
    value: str = fields.take(name, str)
    if not form.fullmatch(value):
        raise FormatError(f"{_WHAT}.{name}", f"{value[:80]!r} is not {wanted}")
    return value


def _optional(fields: Fields, name: str, form: re.Pattern[str], wanted: str) -> str | None:
    value: str | None = fields.get(name, None, str)
    if value is not None and not form.fullmatch(value):
        raise FormatError(f"{_WHAT}.{name}", f"{value[:80]!r} is not {wanted}")
    return value


def _one_of(fields: Fields, name: str, known: tuple[str, ...], default: str | None = None) -> str:
    value: str = fields.take(name, str) if default is None else fields.get(name, default, str)
    if value not in known:
        raise FormatError(f"{_WHAT}.{name}", f"{value[:80]!r} is not one of {', '.join(known)}")
    return value


def refuse_login_elsewhere(login: Login, environment: dict[str, str]) -> None:
    """UsageError where the environment lacks what the login needs and no file was named."""
    name = {"secret": "AZURE_CLIENT_SECRET", "workload-identity": "AZURE_FEDERATED_TOKEN_FILE"}.get(login.how)
    if login.key is None and name is not None and not environment.get(name):
        raise UsageError(f'login "{login.how}" needs {name} in the environment, or a file that `key` names')
