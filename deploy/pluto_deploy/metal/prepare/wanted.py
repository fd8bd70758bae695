"""Decides what a host should be, from what the operator wants and what was seen. Pure."""

from __future__ import annotations

import ipaddress
from pathlib import PurePosixPath
from typing import Final

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import files, places
from pluto_deploy.metal.prepare.options import LocalPccs, Options, RemotePccs
from pluto_deploy.metal.prepare.preparation import Device, Folder, Placed, Preparation, placed
from pluto_deploy.metal.prepare.record import Record
from pluto_deploy.metal.prepare.sight import Sight
from pluto_deploy.metal.profiles import hetzner_install
from pluto_measure.errors import RefusedError

SYSTEMS: Final = (("ubuntu", "26.04"), ("ubuntu", "25.10"))
WORDS: Final = ("nohibernate", "kvm_intel.tdx=1")
QUOTE_PACKAGES: Final = (
    "tdx-qgs",
    "libsgx-dcap-default-qpl",
    "libsgx-dcap-ql",
    "sgx-ra-service",
)
PCCS_PACKAGES: Final = ("sgx-dcap-pccs", "openssl")
BASE_PACKAGES: Final = ("iproute2", "kmod", "nftables", "python3", "util-linux")
_UFW_CHAINS: Final = ("ip filter FORWARD", "ip6 filter FORWARD")
_ETC: Final = PurePosixPath("/etc/pluto")
_STATE: Final = layout.IMAGES.parent
_PASSING: Final = (Folder(str(layout.RUNTIME)), Folder(str(layout.LOCKS), mode=0o700))  # made anew at every boot


def wanted(options: Options, sight: Sight, *, tools: str | None = None) -> Preparation:
    """The preparation of this host. `tools`: digest of a tools tree that is put there beside those that are.

    RefusedError where the host cannot be made that.
    """
    _refuse(options, sight)
    tdx = not options.insecure_no_tdx
    words = WORDS if tdx else ()
    missing = tuple(word for word in words if word not in sight.parameters)
    if missing and not sight.grub:
        raise RefusedError(
            f"the kernel lacks {' and '.join(missing)}, and there is no GRUB to give it that by",
            hint=f"put {' '.join(words)} on the kernel's command line yourself, reboot, and prepare again",
        )
    routed = options.network.mode == "routed"
    devices = _devices(tdx)
    return Preparation(
        archive=files.archive(options.archive) if options.archive else (),
        packages=(*BASE_PACKAGES, *_quote_packages(options)),
        held=tuple(one for one in _quote_packages(options) if one != "openssl"),
        kernel=files.kernel(words) if words and sight.grub else (),
        words=words,
        missing=missing,
        reboot=bool(missing) and options.reboot,
        groups=(layout.KVM_GROUP, layout.QUOTE_GROUP, *((places.PROVISION_GROUP,) if tdx else ())),
        users={layout.USER: (layout.KVM_GROUP, layout.QUOTE_GROUP)},
        folders=_folders(options),
        modules=files.modules(devices, _PASSING),
        devices=devices,
        quotes=files.quotes(options.pccs) if options.pccs else (),
        pccs=files.local_pccs(options.pccs) if isinstance(options.pccs, LocalPccs) else (),
        network=files.network(options),
        firewall=files.firewall(options, options.uplink or sight.uplink),
        journal=files.journal(),
        routed=routed,
        ufw=_ufw(options, sight),
        record=_record(options, sight, tools),
        notes=_notes(options, sight, missing),
    )


def _refuse(options: Options, sight: Sight) -> None:
    """RefusedError for a system, an interface or a network that cannot be worked with."""
    if sight.system not in SYSTEMS:
        shown = " ".join(one for one in sight.system if one) or "an unknown system"
        known = " and ".join(f"{name.capitalize()} {release}" for name, release in SYSTEMS)
        raise RefusedError(f"the host runs {shown}; what can be prepared is {known}")
    if options.profile == "hetzner":
        hetzner_install.refuse_network(options.network)
    network = options.network
    if sight.prepared is not None and sight.prepared.network != str(network):
        raise RefusedError(
            f"the host was prepared with --network {sight.prepared.network}, not {network}",
            hint="say that again, or install the host anew: what its deployments are reached by cannot be changed",
        )
    if network.interface is not None:
        if network.interface not in sight.interfaces:
            raise RefusedError(f"the host has no interface {network.interface}")
        if network.mode == "bridge" and not sight.interfaces[network.interface]:
            raise RefusedError(f"{network.interface} is not a bridge", hint="make one, or use --network routed")
        return
    uplink = options.uplink or sight.uplink
    if uplink is None:
        raise RefusedError("the host has no default route", hint="name the interface to the world by --uplink")
    if uplink not in sight.interfaces:
        raise RefusedError(f"the host has no interface {uplink}")
    for interface, text in sight.networks:
        if interface != layout.BRIDGE and ipaddress.IPv4Interface(text).network.overlaps(layout.NETWORK):
            raise RefusedError(f"{interface} has {text}, and {layout.NETWORK} is the network of the trust domains")


def _quote_packages(options: Options) -> tuple[str, ...]:
    match options.pccs:
        case None:
            return ()
        case LocalPccs():
            return (*QUOTE_PACKAGES, *PCCS_PACKAGES)
        case RemotePccs():
            return QUOTE_PACKAGES


def _devices(tdx: bool) -> tuple[Device, ...]:
    found = (
        Device("net/tun", None, module="tun", static=True),  # who may make an interface, the kernel says, not the node
        Device("kvm", layout.KVM_GROUP, static=True),
        Device("vhost-net", layout.KVM_GROUP, module="vhost_net", static=True),
    )
    return (*found, Device("sgx_provision", places.PROVISION_GROUP)) if tdx else found


def _folders(options: Options) -> tuple[Folder, ...]:
    paths = [_ETC, layout.TOOLS.parent, layout.TOOLS, _STATE, layout.IMAGES, layout.LEASES, layout.DOMAINS]
    if options.network.mode == "routed":
        paths += [layout.TRAFFIC, PurePosixPath("/etc/systemd/network") / f"{layout.NETWORK_FILE}.d"]
    return (*(Folder(str(path)) for path in paths), *_PASSING)


def _ufw(options: Options, sight: Sight) -> tuple[str, ...]:
    """ufw drops what is forwarded, and what asks for an address, unless told otherwise; our rules then decide."""
    if not sight.ufw or options.network.mode != "routed":
        return ()
    return (
        f"route allow in on {layout.BRIDGE}",
        f"route allow out on {layout.BRIDGE}",
        f"allow in on {layout.BRIDGE} to any port 67 proto udp",
    )


def _record(options: Options, sight: Sight, tools: str | None) -> Placed:
    there = {*sight.tools, *((tools,) if tools else ())}
    record = Record(
        network=str(options.network),
        tee="insecure_none" if options.insecure_no_tdx else "tdx",
        ipv6=options.ipv6,
        addresses=options.addresses,
        resolvers=options.resolvers,
        profile=options.profile,
        tools=tuple(sorted(there)),
    )
    return placed(layout.PREPARED, record.to_text())


def _notes(options: Options, sight: Sight, missing: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    if missing and not options.reboot:
        found.append(f"reboot needed: the running kernel lacks {' and '.join(missing)}; --reboot allows it")
    drops = [one for one in sight.drops if not (sight.ufw and one in _UFW_CHAINS)]
    if drops and options.network.mode == "routed":
        found.append(f"another firewall drops what is forwarded, also to trust domains: chain {', '.join(drops)}")
    if options.network.mode != "routed":
        found.append(f"with {options.network} the host filters nothing between a trust domain and its network")
    if options.insecure_no_tdx:
        found.append("insecure: this host runs no trust domains; who has it sees what its machines do")
    return tuple(found)
