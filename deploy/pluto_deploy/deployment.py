"""DEPLOYMENT.toml: what an operator wants to run, where, and whose word counts. Pure: TOML in, a frozen value out.

An unknown key is an error, and so is what could never work together. `trust` and `policy` are required: nothing is
deployed that was not verified. Format: docs/formats/deployment.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pluto_deploy import platforms
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.google.wanted import GoogleSpace
from pluto_deploy.google.wanted import possible as possible_on_google
from pluto_deploy.metal.layout import GUEST_PORT, checked_name
from pluto_deploy.platforms import POLICY, ROUTED, BareMetal, Local, Platform, is_path, one_of
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.machine.platform_file import parse_size
from pluto_measure.toml import table
from pluto_notary.config import Acme, encode_payload, is_directory, is_host_name
from pluto_notary.errors import ConfigError

__all__ = ["POLICY", "ROUTED", "BareMetal", "Certificate", "Deployment", "Local", "Network", "Platform"]

T = TypeVar("T")
VERSION: Final = 1
STRATEGIES: Final = ("blue-green", "replace")
HTTPS: Final = 443

_WHAT: Final = "deployment"
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_EGRESS: Final = re.compile(r"(tcp|udp):([1-9][0-9]{0,4})")
_LONGEST_TIMEOUT: Final = 24 * 3600
_MOST_PORTS: Final = 16


@dataclass(frozen=True, slots=True)
class Network:
    """Where clients come, and where the trust domain may go.

    address  of the host that the ports are on (routed), or of the trust domain itself (bridge, macvtap)
    mac      of the trust domain (bridge, macvtap), as the provider registered it
    egress   (protocol, port) that may be connected to from inside; nothing else is
    """

    domain: str | None
    ports: tuple[int, ...]
    address: str | None
    mac: str | None
    egress: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the notary asks a CA for, by ACME: it is awaited before what clients reach is appraised.

    directory  the URL of the CA's ACME directory
    domain     the name that it is for
    roots      a PEM file: whose word for it counts; None: this computer's own
    """

    directory: str
    domain: str
    roots: Path | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One machine that serves, as an operator wants it. Memory in bytes, `timeout` in seconds from start to evidence.

    `trust` is None only for a build of one's own on one's own computer, which no file can ask for.
    """

    name: str
    release: Path
    trust: Path | None
    policy: Path | None
    platform: Platform
    cpus: int
    memory: int
    network: Network
    payload: bytes  # the run-time configuration
    strategy: str
    timeout: int
    certificate: Certificate | None = None

    @property
    def kind(self) -> str:
        return self.platform.kind

    @classmethod
    def parse(cls, text: bytes | str, folder: Path) -> Self:
        """DEPLOYMENT.toml; its relative paths are below `folder`. FormatError."""
        fields = Fields(table(text, what=_WHAT), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        platform = platforms.parse(fields.sub("platform"), folder)
        size, update = fields.sub("size"), fields.sub("update")
        network = _network(fields.sub("network"))
        certificate = _certificate(fields.optional("certificate"), network, platform, folder)
        deployment = cls(
            name=_named("name", checked_name, fields.take("name", str)),
            release=_path(fields, "release", folder),
            trust=_path(fields, "trust", folder),
            policy=_path(fields, "policy", folder),
            platform=platform,
            cpus=_between("size.cpus", size.take("cpus", int), 1, 4096),
            memory=_named("size.memory", parse_size, size.take("memory", int, str)),
            network=network,
            payload=_notary(fields.sub("notary"), certificate),
            strategy=one_of(f"{_WHAT}.update.strategy", update.take("strategy", str), STRATEGIES),
            timeout=_between("update.timeout", update.take("timeout", int), 1, _LONGEST_TIMEOUT),
            certificate=certificate,
        )
        for part in (size, update, fields):
            part.end()
        _possible(deployment)
        return deployment


def _network(fields: Fields) -> Network:
    domain, address = fields.get("domain", None, str), fields.get("address", None, str)
    mac = fields.get("mac", None, str)
    ports, egress = fields.take("ports", list), fields.take("egress", list)
    fields.end()
    if domain is not None and (len(domain) > 253 or not _DOMAIN.fullmatch(domain)):
        raise FormatError(f"{_WHAT}.network.domain", "must be a host name in lower case")
    if address is not None:
        address = _named("network.address", _address, address)
    if not 1 <= len(ports) <= _MOST_PORTS or len(set(map(str, ports))) != len(ports):
        raise FormatError(f"{_WHAT}.network.ports", f"must be 1 to {_MOST_PORTS} different ports")
    if mac is not None and (not _MAC.fullmatch(mac) or int(mac[1], 16) & 1):
        raise FormatError(f"{_WHAT}.network.mac", "must be six pairs of lower-case hex digits, of one station")
    listed = tuple(_port(port, "network.ports") for port in ports)
    return Network(domain, listed, address, mac, tuple(map(_egress, egress)))


def _certificate(fields: Fields | None, network: Network, platform: Platform, folder: Path) -> Certificate | None:
    """FormatError also where no CA could ever give one."""
    if fields is None:
        return None
    directory, roots = fields.take("directory", str), fields.get("roots", None, str)
    fields.end()
    if not is_directory(directory):
        problem = "must be the https URL of an ACME directory, in its plainest spelling"
        raise FormatError(f"{_WHAT}.certificate.directory", problem)
    if roots is not None and not is_path(roots):
        raise FormatError(f"{_WHAT}.certificate.roots", "must be a path")
    if isinstance(platform, Local | GoogleSpace):
        why = "no CA reaches a port of the loopback interface"
        why = why if isinstance(platform, Local) else "the container reads no setting of the operator's"
        raise FormatError(f"{_WHAT}.certificate", f'cannot be had with kind "{platform.kind}": {why}')
    if network.domain is None or not is_host_name(network.domain):
        problem = "must be a name of two labels or more with [certificate]: it is what the CA vouches for"
        raise FormatError(f"{_WHAT}.network.domain", problem)
    if HTTPS not in network.ports:
        raise FormatError(f"{_WHAT}.network.ports", f"must have {HTTPS} with [certificate]: that is where the CA comes")
    filtered = not isinstance(platform, BareMetal) or platform.network == ROUTED
    if filtered and (way := ("tcp", _port_of(directory))) not in network.egress:
        problem = f"must have tcp:{way[1]} with [certificate]: the notary asks the CA by it"
        raise FormatError(f"{_WHAT}.network.egress", problem)
    return Certificate(directory, network.domain, None if roots is None else folder / roots)


def _port_of(directory: str) -> int:
    port = directory.split("/", 3)[2].partition(":")[2]
    return int(port) if port else HTTPS


def _notary(fields: Fields, certificate: Certificate | None) -> bytes:
    label = fields.get("deployment", None, str)
    fields.end()
    acme = None if certificate is None else Acme(certificate.directory, certificate.domain)
    try:
        return encode_payload(deployment=label, acme=acme)
    except ConfigError as error:
        raise FormatError(f"{_WHAT}.notary", str(error)) from error


def _possible(deployment: Deployment) -> None:
    """FormatError for values that are right one by one, and could never work together."""
    network, platform = deployment.network, deployment.platform
    if deployment.memory <= 0 or deployment.memory % (1 << 20):
        raise FormatError(f"{_WHAT}.size.memory", "must be a whole number of MiB")
    if isinstance(platform, Local):
        if network.domain or network.address or network.mac or network.egress or len(network.ports) != 1:
            problem = "a local machine has one port on the loopback interface, no domain, no address and no egress"
            raise FormatError(f"{_WHAT}.network", problem)
    elif isinstance(platform, Azure):
        _possible_on_azure(deployment, platform)
    elif isinstance(platform, BareMetal):
        _possible_on_a_host(deployment, platform)
    else:
        possible_on_google(
            platform,
            cpus=deployment.cpus,
            memory=deployment.memory,
            ports=network.ports,
            address=network.address,
            mac=network.mac,
            egress=network.egress,
            payload=deployment.payload,
        )


def _possible_on_azure(deployment: Deployment, platform: Azure) -> None:
    platform.refuse_shape(deployment.cpus, deployment.memory)
    platform.refuse_ports(deployment.network.ports)
    if deployment.network.address is not None or deployment.network.mac is not None:
        problem = "address and mac are the cloud's to give: a public address is named by platform.address"
        raise FormatError(f"{_WHAT}.network", problem)


def _possible_on_a_host(deployment: Deployment, platform: BareMetal) -> None:
    network = deployment.network
    if platform.tee != "tdx" and platform.machine is not None:
        problem = f'nothing proves which machine it is without TDX: with tee "{platform.tee}" it must be "{POLICY}"'
        raise FormatError(f"{_WHAT}.platform.machine", problem)
    if platform.network == ROUTED:
        if network.mac is not None:
            raise FormatError(
                f"{_WHAT}.network.mac", "is for bridge and macvtap: a routed trust domain has one already"
            )
        if (ssh := platform.login.port or 22) in network.ports:
            raise FormatError(f"{_WHAT}.network.ports", f"{ssh} is the port by which the host itself is reached")
        return
    if deployment.strategy != "replace":
        problem = f'{platform.network} gives the trust domain one address of its own, so strategy must be "replace"'
        raise FormatError(f"{_WHAT}.update", problem)
    own = set(network.ports) <= {HTTPS, GUEST_PORT}  # nothing translates ports, and the notary listens on both
    if network.address is None or network.mac is None or not own or network.egress:
        problem = f"with {platform.network} the host filters nothing: address and mac are required"
        raise FormatError(f"{_WHAT}.network", f"{problem}, ports are of {HTTPS} and {GUEST_PORT}, egress is []")


def _path(fields: Fields, name: str, folder: Path) -> Path:
    text: str = fields.take(name, str)
    if not is_path(text):
        raise FormatError(f"{_WHAT}.{name}", "must be a path")
    return folder / text


def _address(text: str) -> str:
    """In its one spelling, as rules of a packet filter have it. A zone would be any text."""
    found = ipaddress.ip_address(text)
    if "%" in text or found.is_unspecified or found.is_multicast or found.is_loopback:
        raise ValueError(f"{text[:60]!r} is not the address of a host")
    return str(found)


def _between(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise FormatError(f"{_WHAT}.{name}", f"{value} is not from {least} to {most}")
    return value


def _named(name: str, parse: Callable[[Any], T], value: Any) -> T:
    try:
        return parse(value)
    except (FormatError, ValueError) as error:
        problem = error.problem if isinstance(error, FormatError) else str(error)
        raise FormatError(f"{_WHAT}.{name}", problem) from error


def _port(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise FormatError(f"{_WHAT}.{name}", f"{str(value)[:20]!r} is not a port")
    return value


def _egress(value: Any) -> tuple[str, int]:
    found = _EGRESS.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise FormatError(f"{_WHAT}.network.egress", f"{str(value)[:20]!r} is not tcp:PORT or udp:PORT")
    return found[1], _port(int(found[2]), "network.egress")
